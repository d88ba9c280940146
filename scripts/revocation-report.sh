#!/usr/bin/env bash
# How long a revoked credential is still accepted at three gateways, healthy and while things fail: prints a table, writes
# it as JSON. docs/revocation.md says what is measured. RUNS sets the revocations for each fault, ANSWERS those of which
# only the answer is timed, JSON where the numbers go; PROFILE=dev measures the unoptimised build, which is made much faster.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

if [[ "${1:-}" != "--services-are-up" ]]; then
    scripts/setup.sh --services
    exec scripts/with-services.sh scripts/revocation-report.sh --services-are-up "$@"
fi
shift

cargo build --profile "$profile" -p gateway -p control-api -p standalone --bins --example revocation_report
measured_on
"$folder/examples/revocation_report" --answers "${ANSWERS:-2000}" --runs "${RUNS:-20}" --json "${JSON:-$target/revocation-report.json}" "$@"
