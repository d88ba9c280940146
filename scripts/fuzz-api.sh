#!/usr/bin/env bash
# Every operation of the control API's description, asked with inputs made from it and against it (schemathesis), by the
# platform's staff and by a tenant's administrator, of the real binary: of the standalone, over SQLite, where the tenant's
# administrator asks through the edge, too; or with DATABASE=postgres of the control API over a private PostgreSQL. Fails on a 5xx, on an answer that is not as the
# description says, and on a connection that dies. Of each operation every bound, form and omission that the description has
# is asked, and EXAMPLES random inputs (default 12): all of it ends within about ten minutes. Says its SEED, by which it is the
# same again. AS names who asks instead ("tenant edge"). Needs python3 with venv, and its package index for the first run.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh
PROFILE="${PROFILE:-dev}"
profile="$PROFILE" folder="$target/$PROFILE"
[[ "$profile" == dev ]] && folder="$target/debug"

database="${DATABASE:-sqlite}" package=standalone
if [[ "$database" == postgres ]]; then
    # Once more, with both there.
    [[ -n "${FUZZ_SERVICES:-}" ]] || FUZZ_SERVICES=1 exec scripts/with-services.sh "$0" "$@"
    package=control-api
fi
scripts/setup.sh
[[ -n "${PORTCULLIS:-}" ]] || cargo build --profile "$profile" -p "$package" --bins
from_pypi schemathesis 'schemathesis==4.32.5'
seed="${SEED:-$((RANDOM * 32768 + RANDOM))}"
section=PORTCULLIS_
[[ "$database" == postgres ]] || section=PORTCULLIS_CONTROL_API__
# One address asks all of it, and guesses at passwords.
for rate in $(grep -o '`identity\.rates\.[a-z_]*`' docs/config-control-api.md | tr -d '`' | cut -d. -f3); do
    export "${section}IDENTITY__RATES__${rate^^}=0"
done
export "${section}SESSIONS__LOCK_AFTER=1000000"

# start_control_api FOLDER BINARIES: the same as `start_node` leaves behind, of the control API over DATABASE_URL and REDIS_URL.
start_control_api() {
    work="$1"
    trap take_down EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    python3 scripts/fuzz-api/control_api.py configure "$work"
    "$2/control-api" --config "$work/control-api.yaml" >"$work/server.log" 2>&1 &
    server=$!
    python3 scripts/fuzz-api/control_api.py populate "$work" && return 0
    server_log
    echo "the control API did not get ready" >&2
    return 1
}
if [[ "$database" == postgres ]]; then
    start_control_api "$(mktemp -d)" "${PORTCULLIS:-$folder}"
else
    start_node "$(mktemp -d)" "${PORTCULLIS:-$folder}"
fi

export PYTHONPATH=scripts/fuzz-api SCHEMATHESIS_HOOKS=hooks FUZZ_NODE="$work/ready.json" FUZZ_NOTES="$work/notes.json"
said() { python3 -c "import json, sys; node = json.load(open(sys.argv[1])); print($1)" "$FUZZ_NODE"; }
address="$(said "node['control_api']")"
status=0
passes=(staff tenant)
[[ "$database" == postgres ]] || passes+=(edge)
[[ -z "${AS:-}" ]] || read -ra passes <<<"$AS"
for FUZZ_AS in "${passes[@]}"; do
    export FUZZ_AS
    where=()
    if [[ "$FUZZ_AS" == edge ]]; then
        where=(--url "$(said "'https://%s:%s' % (node['tenants'][0]['hostname'], node['edge_https'].rsplit(':', 1)[1])")"
            --tls-verify "$(said "node['ca']")")
    fi
    echo "==== as $FUZZ_AS over $database, seed $seed"
    "$program" --config-file scripts/fuzz-api/schemathesis.toml run "http://$address/openapi.json" \
        --seed "$seed" --max-examples "${EXAMPLES:-12}" "${where[@]}" "$@" || status=1
    # Whoever asked must have been somebody to the end, and let in: else nothing but 401 and 429 was looked at.
    python3 scripts/fuzz-api/asked.py || status=1
    kill -0 "$server" 2>/dev/null || { echo "the node is gone"; status=1; break; }
done
if kill -0 "$server" 2>/dev/null; then
    # What asks for a token is not for who has none, whatever else is sent.
    export FUZZ_AS=nobody
    echo "==== as $FUZZ_AS over $database, seed $seed"
    "$program" --config-file scripts/fuzz-api/schemathesis.toml run "http://$address/openapi.json" \
        --seed "$seed" --phases fuzzing --max-examples 2 "$@" || status=1
    python3 scripts/fuzz-api/asked.py || status=1
fi
[[ "$status" -eq 0 ]] || server_log
echo "fuzz-api over $database: $([[ "$status" -eq 0 ]] && echo passed || echo FAILED), seed $seed"
exit "$status"
