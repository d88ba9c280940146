#!/usr/bin/env bash
# What sign-in, refresh, permission look-up and the checks of tokens and API keys cost the control API over a private
# PostgreSQL and Redis: its processor time for each, and how many a second it did beside its clients and its database on the
# same machine. EACH (seconds, 5) and CLIENTS (8) make it longer and wider, ONLY names one of them; PROFILE names the build
# (release).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

# Once more, with both there.
[[ -n "${COSTS_SERVICES:-}" ]] || COSTS_SERVICES=1 exec scripts/with-services.sh "$0" "$@"
cargo build --profile "$profile" -p control-api --bins

# One address asks for all of it.
for rate in $(grep -o '`identity\.rates\.[a-z_]*`' docs/config-control-api.md | tr -d '`' | cut -d. -f3); do
    export "PORTCULLIS_IDENTITY__RATES__${rate^^}=0"
done
work="$(mktemp -d)"
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
python3 scripts/fuzz-api/control_api.py configure "$work"
openssl rand -hex 32 | tr -d '\n' >"$work/service.key"
cat >>"$work/control-api.yaml" <<END
internal:
  service_keys:
    - name: costs
      key: "file:$work/service.key"
      methods: [verify_token, get_user_permissions, refresh_token, verify_api_key]
END
"$folder/control-api" --config "$work/control-api.yaml" >"$work/server.log" 2>&1 &
server=$!
python3 scripts/fuzz-api/control_api.py populate "$work" || { server_log; exit 1; }
measured_on
PYTHONPATH=scripts/fuzz-api python3 scripts/control-api-costs/measure.py "$work" "$server" || { server_log; exit 1; }
