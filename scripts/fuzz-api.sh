#!/usr/bin/env bash
# Every operation of the control API's description, asked with inputs made from it and against it (schemathesis), by the
# platform's staff and by a tenant's administrator, of the real binary. Fails on a 5xx, on an answer that is not as the
# description says, and on a connection that dies. Of each operation every bound, form and omission that the description has
# is asked, and EXAMPLES random inputs (default 12): all of it ends within about ten minutes. Says its SEED, by which it is the
# same again. Needs python3 with venv, and its package index for the first run.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh
PROFILE="${PROFILE:-dev}"
profile="$PROFILE" folder="$target/$PROFILE"
[[ "$profile" == dev ]] && folder="$target/debug"

scripts/setup.sh
[[ -n "${PORTCULLIS:-}" ]] || cargo build --profile "$profile" -p standalone --bins
from_pypi schemathesis 'schemathesis==4.32.5'
seed="${SEED:-$((RANDOM * 32768 + RANDOM))}"
# One address asks all of it, and guesses at passwords.
for rate in $(grep -o '`identity\.rates\.[a-z_]*`' docs/config-control-api.md | tr -d '`' | cut -d. -f3); do
    export "PORTCULLIS_CONTROL_API__IDENTITY__RATES__${rate^^}=0"
done
export PORTCULLIS_CONTROL_API__SESSIONS__LOCK_AFTER=1000000
start_node "$(mktemp -d)" "${PORTCULLIS:-$folder}"

export PYTHONPATH=scripts/fuzz-api SCHEMATHESIS_HOOKS=hooks FUZZ_NODE="$work/ready.json" FUZZ_NOTES="$work/notes.json"
address="$(python3 -c "import json, sys; print(json.load(open(sys.argv[1]))['control_api'])" "$FUZZ_NODE")"
status=0
for FUZZ_AS in staff tenant; do
    export FUZZ_AS
    echo "==== as $FUZZ_AS, seed $seed"
    "$program" --config-file scripts/fuzz-api/schemathesis.toml run "http://$address/openapi.json" \
        --seed "$seed" --max-examples "${EXAMPLES:-12}" "$@" || status=1
    # Whoever asked must have been somebody to the end, and let in: else nothing but 401 and 429 was looked at.
    python3 scripts/fuzz-api/asked.py || status=1
    kill -0 "$server" 2>/dev/null || { echo "the node is gone"; status=1; break; }
done
if kill -0 "$server" 2>/dev/null; then
    # What asks for a token is not for who has none, whatever else is sent.
    export FUZZ_AS=nobody
    echo "==== as $FUZZ_AS, seed $seed"
    "$program" --config-file scripts/fuzz-api/schemathesis.toml run "http://$address/openapi.json" \
        --seed "$seed" --phases fuzzing --max-examples 2 "$@" || status=1
    python3 scripts/fuzz-api/asked.py || status=1
fi
[[ "$status" -eq 0 ]] || server_log
echo "fuzz-api: $([[ "$status" -eq 0 ]] && echo passed || echo FAILED), seed $seed"
exit "$status"
