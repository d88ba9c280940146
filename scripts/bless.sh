#!/usr/bin/env bash
# Rewrites golden and generated files from what the code says now. Look at the diff before you commit it.
# Tests rewrite their file when BLESS=1; insta's snapshots follow INSTA_UPDATE.
set -euo pipefail
cd "$(dirname "$0")/.."

BLESS=1 INSTA_UPDATE=always scripts/test.sh
git status --short
