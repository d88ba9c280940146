#!/usr/bin/env bash
# What CI runs: each step with its minutes, then a summary. Goes on after a failed step, so that one run names all.
set -euo pipefail
cd "$(dirname "$0")/.."

summary=()
failed=()

step() { # NAME COMMAND...
    local name="$1" started="$SECONDS" status=0
    shift
    echo
    echo "==== $name"
    "$@" || status=$?
    local minutes
    minutes="$(awk -v s=$((SECONDS - started)) 'BEGIN { printf "%.1f", s / 60 }')"
    local verdict=ok
    if [[ "$status" -ne 0 ]]; then
        verdict="FAILED ($status)"
        failed+=("$name")
    fi
    echo "==== $name: $verdict, $minutes min"
    summary+=("$(printf '%-10s %6s min  %s' "$name" "$minutes" "$verdict")")
}

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
tests() { scripts/test.sh 2>&1 | tee "$log"; }

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace; }

# What the tests generate is compared with what is committed; a run that changes a file leaves a trace here.
tree() { git status --porcelain 2>/dev/null && git diff 2>/dev/null; }
generated() {
    if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        echo "not a git checkout: golden files were compared by the tests only"
        return
    fi
    local after
    after="$(tree)"
    [[ "$after" == "$before" ]] && return
    echo "the tests changed files; run \`make bless\` and commit what it writes:"
    diff <(echo "$before") <(echo "$after") || true
    return 1
}

# Who is answered what: written by the tests, compared with what is committed.
reports() { sed '' control-api/tests/reports/*.txt; }

before="$(tree || true)"
step setup scripts/setup.sh --services
step format cargo fmt --all --check
step clippy cargo clippy --workspace --all-targets -- -D warnings
step docs docs
step test tests
step instr scripts/instructions.sh
step request scripts/request-instructions.sh
step generated generated
step reports reports

echo
echo "==== summary, $((SECONDS / 60)) min in all"
printf '%s\n' "${summary[@]}"
# The runner's closing lines again: nextest's summary with what failed and where, and cargo's for the examples in the docs.
sed -i 's/\x1b\[[0-9;]*m//g' "$log"
sed -n '/^ *Summary \[/,/^$/p; /^test result:/p' "$log"
grep -A 6 "^ *thread '.*panicked at" "$log" | head -n 100 || true
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
echo "all steps passed"
