#!/usr/bin/env bash
# Twenty minutes of good and bad traffic, with changes and failing upstreams in between; every answer is judged. Fails on a
# wrong decision, a request without an answer, a panic, or memory that grows. MINUTES makes it shorter, PROFILE=dev takes the
# unoptimised build, JSON names where the result goes. load-tests/README.md says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh
cargo build --profile "$profile" -p standalone -p load-tests --bins
measured_on
"$folder/soak" --minutes "${MINUTES:-20}" --json "${JSON:-$target/soak.json}" "$@"
