#!/usr/bin/env bash
# Instructions of one whole request through a running gateway: TLS, HTTP/1.1 on a kept connection, a token that was seen before,
# routing, limits, revocation, permission, headers, an upstream, metrics, access log. Counted by valgrind's callgrind, so nearly
# the same on a busy machine, and compared with the golden number in gateway/instructions.txt. BLESS=1 rewrites that. PROFILES
# names a folder for what callgrind_annotate reads, FLOOR=1 counts bare Pingora beside it,
# STEPS=1 counts each step of the ladder instead, and compares nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

golden=gateway/instructions.txt
margin=10 # percent
for program in valgrind callgrind_control; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "request-instructions: $program is not installed (Debian: valgrind)" >&2
        exit 1
    fi
done

arguments=(--gateway "$target/counted/gateway")
build=(-p gateway)
if [[ -n "${FLOOR:-}${STEPS:-}" ]]; then
    arguments+=(--floor "$target/counted/floor" ${STEPS:+--steps})
    build+=(-p floor)
fi
if [[ -n "${PROFILES:-}" ]]; then
    mkdir -p "$PROFILES"
    arguments+=(--profiles "$(realpath "$PROFILES")")
fi
cargo build --profile counted "${build[@]}" --bins --features gateway/countable
# What counts is built as the tests are, which have made most of it already.
cargo build --workspace --bin instructions
said="$("$target/debug/instructions" "${arguments[@]}" "$@")"
echo "$said"
[[ -z "${STEPS:-}" ]] || exit 0
now="$(sed -n 's/^gateway //p' <<<"$said")"

against_golden request-instructions "a request" "$now" "$golden" "$margin" " To see where, run this with PROFILES=FOLDER before and after the
change, and callgrind_annotate --inclusive=yes FOLDER/gateway.1."
