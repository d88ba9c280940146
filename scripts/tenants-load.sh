#!/usr/bin/env bash
# 100,000 tenants with a hostname each, through `portcullis apply`: how long that takes, and how quick the control API and the edge
# are with them. TENANTS makes it fewer, PROFILE=dev takes the unoptimised build. load-tests/README.md says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh
cargo build --profile "$profile" -p standalone -p load-tests --bins
measured_on
"$folder/tenants" --tenants "${TENANTS:-100000}" "$@"
