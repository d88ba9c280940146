#!/usr/bin/env bash
# Every test of every crate, with private PostgreSQL and Redis. Arguments go to the test runner: `make test ARGS="-p gate"`.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" != "--services-are-up" ]]; then
    scripts/setup.sh --services
    exec scripts/with-services.sh scripts/test.sh --services-are-up "$@"
fi
shift

[[ $# -gt 0 ]] || set -- --workspace
status=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --no-fail-fast "$@" || status=$?
else
    echo "test: cargo-nextest is not installed, using cargo test"
    cargo test --no-fail-fast --all-targets "$@" || status=$?
fi
# nextest runs neither the examples in the docs nor Go.
if [[ "$*" == "--workspace" ]]; then
    (cd clients/go && GOFLAGS=-mod=mod GOTOOLCHAIN=local && export GOFLAGS GOTOOLCHAIN && go vet ./... && go test ./...) || status=$?
    cargo test --doc --workspace || status=$?
fi
exit "$status"
