#!/usr/bin/env bash
# How much slower one tenant is served while the tenant beside it asks for a hundred times its share, in each way there is:
# prints the ratio of the two p99s. The node and the rest get cores of their own, half each. ROUNDS and EACH (seconds) make
# it shorter or longer, KINDS picks attacks, PROFILE=dev takes the unoptimised build. load-tests/README.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh
cargo build --profile "$profile" -p standalone -p load-tests --bins
cores="$(nproc)"
pinned=()
if ((cores > 1)); then
    pinned=(--cores "0-$((cores / 2 - 1))" "$((cores / 2))-$((cores - 1))")
fi
measured_on
"$folder/noisy_neighbour" "${pinned[@]}" --rounds "${ROUNDS:-5}" --seconds "${EACH:-8}" ${KINDS:+--kinds "$KINDS"} \
    --json "${JSON:-$target/noisy-neighbour.json}" "$@"
