#!/usr/bin/env bash
# A gRPC client and server and a WebSocket client and server that nobody here wrote (grpcio, websockets), through the
# `gateway` binary: scripts/foreign/clients.py says what is asked, and prints a line for each thing that holds.
# Needs python 3.10 or newer with venv, and its package index for the first run. The packages go to VENV, outside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/portcullis/foreign-clients}
wanted="grpcio==1.85.1 websockets==17.4 pyjwt==2.15.1 cryptography==50.0.2"
if [[ "$(cat "$venv/wanted" 2>/dev/null)" != "$wanted" ]]; then
    python3 -m venv "$venv"
    # shellcheck disable=SC2086 # a list
    "$venv/bin/pip" install --quiet --disable-pip-version-check $wanted
    echo "$wanted" >"$venv/wanted"
fi
if [[ -z "${GATEWAY:-}" ]]; then
    cargo build -p gateway
    GATEWAY=${CARGO_TARGET_DIR:-target}/debug/gateway
fi
exec "$venv/bin/python" scripts/foreign/clients.py "$GATEWAY"
