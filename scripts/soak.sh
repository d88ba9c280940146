#!/usr/bin/env bash
# Twenty minutes of good and bad traffic, with changes and failing upstreams in between; every answer is judged. Fails on a
# wrong decision, a request without an answer, a panic, or memory that grows. MINUTES makes it shorter, PROFILE=dev takes the
# unoptimised build, JSON names where the result goes. load-tests/README.md says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
profile="${PROFILE:-release}"
target="${CARGO_TARGET_DIR:-target}"
folder="$target/$profile"
[[ "$profile" == dev ]] && folder="$target/debug"

cargo build --profile "$profile" -p standalone -p load-tests --bins
echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), profile $profile, $(uname -srm), $(nproc) processors"
"$folder/soak" --minutes "${MINUTES:-20}" --json "${JSON:-$target/soak.json}" "$@"
