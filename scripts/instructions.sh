#!/usr/bin/env bash
# Instructions of one warm `Gate::decide` (release build, counted by valgrind's callgrind, so the same on a busy
# machine), compared with the golden number in crates/gate/instructions.txt. BLESS=1 rewrites that. The same decision beside
# 100,000 other tenants, 10,000 other routes, 500 other permissions or a million refused tokens must cost the same within the
# margin: what a request costs does not grow with what is stored.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

golden=crates/gate/instructions.txt
margin=10 # percent
if ! command -v valgrind >/dev/null 2>&1; then
    echo "instructions: valgrind is not installed (Debian: valgrind)" >&2
    exit 1
fi

cargo build --release -p gate --example warm_decide
program="$target/release/examples/warm_decide"

decisions=2000
# counted [BESIDE]: instructions of one decision.
counted() {
    local total
    total="$(valgrind --tool=callgrind --toggle-collect='*measured*' --callgrind-out-file=/dev/null \
        "$program" "$decisions" "$@" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p')"
    if [[ -z "$total" ]]; then
        echo "instructions: $program $decisions $* counted nothing" >&2
        return 1
    fi
    echo $((total / decisions))
}
now="$(counted)"

against_golden instructions "a warm decision" "$now" "$golden" "$margin"
[[ -z "${BLESS:-}" ]] || exit 0
status=0
for beside in tenants routes permissions refused; do
    large="$(counted "$beside")"
    echo "instructions: $large beside many $beside"
    if ((large * 100 > now * (100 + margin))); then
        echo "instructions: a decision costs more the more $beside there are" >&2
        status=1
    fi
done
exit "$status"
