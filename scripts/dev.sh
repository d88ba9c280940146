#!/usr/bin/env bash
# Builds and runs the standalone with demo data. Arguments go to `portcullis dev`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
exec cargo run -p standalone --bin portcullis -- dev "$@"
