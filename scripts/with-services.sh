#!/usr/bin/env bash
# Runs a command with a private PostgreSQL and a private Redis: on free loopback ports, in a temporary folder, gone
# afterwards whatever happens. DATABASE_URL and REDIS_URL name them; where one is set already, that one is used.
#
#   scripts/with-services.sh cargo nextest run -p store
set -euo pipefail

[[ $# -gt 0 ]] || { echo "usage: $0 COMMAND..." >&2; exit 2; }

here="$(cd "$(dirname "$0")" && pwd)"
folder="$(mktemp -d "${TMPDIR:-/tmp}/portcullis-services.XXXXXX")"
chmod 755 "$folder"
command_pid="" redis_pid="" postgres_bin=""
as_owner=() # PostgreSQL refuses to run as root

fail() {
    echo "services: $*" >&2
    exit 1
}

take_down() {
    trap - EXIT INT TERM
    if [[ -n "$command_pid" ]] && kill -0 "$command_pid" 2>/dev/null; then
        kill -TERM "$command_pid" 2>/dev/null || true
        wait "$command_pid" 2>/dev/null || true
    fi
    if [[ -n "$postgres_bin" && -f "$folder/postgres/postmaster.pid" ]]; then
        "${as_owner[@]}" "$postgres_bin/pg_ctl" -D "$folder/postgres" -m immediate -w -t 20 stop >/dev/null 2>&1 ||
            echo "services: PostgreSQL in $folder did not stop" >&2
    fi
    if [[ -n "$redis_pid" ]] && kill -0 "$redis_pid" 2>/dev/null; then
        kill -TERM "$redis_pid" 2>/dev/null || true
        wait "$redis_pid" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap take_down EXIT
trap 'take_down; exit 130' INT
trap 'take_down; exit 143' TERM

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && listening "$port"; do :; done
    echo "$port"
}

start_postgres() {
    postgres_bin="$("$here/postgres-bin.sh")" || fail "run scripts/setup.sh --services, or set DATABASE_URL"
    mkdir "$folder/postgres"
    if [[ "$(id -u)" -eq 0 ]]; then
        local owner=nobody
        id postgres >/dev/null 2>&1 && owner=postgres
        chown "$owner" "$folder/postgres"
        as_owner=(setpriv "--reuid=$owner" "--regid=$(id -g "$owner")" --clear-groups env "HOME=$folder")
    fi
    # The folder it is started in may be closed to its owner.
    cd "$folder"
    "${as_owner[@]}" "$postgres_bin/initdb" -D "$folder/postgres" -U postgres --auth=trust --encoding=UTF8 \
        --locale=C --no-sync >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; fail "initdb failed"; }
    local port attempt
    # Somebody may take the port between our look and the start.
    for attempt in 1 2 3 4 5; do
        port="$(free_port)"
        if "${as_owner[@]}" "$postgres_bin/pg_ctl" -D "$folder/postgres" -l "$folder/postgres/server.log" -w -t 60 \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=400 \
                -c fsync=off -c full_page_writes=off -c synchronous_commit=off" start >/dev/null; then
            cd "$OLDPWD"
            export DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres"
            # For its pg_dump and pg_restore, of the same version.
            export PATH="$postgres_bin:$PATH"
            return
        fi
    done
    cat "$folder/postgres/server.log" >&2
    fail "PostgreSQL did not start ($attempt attempts)"
}

start_redis() {
    command -v redis-server >/dev/null 2>&1 || fail "redis-server is missing: run scripts/setup.sh --services, or set REDIS_URL"
    local port _
    for _ in 1 2 3 4 5; do
        port="$(free_port)"
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --maxmemory-policy noeviction \
            --dir "$folder" >"$folder/redis.log" 2>&1 &
        redis_pid=$!
        while kill -0 "$redis_pid" 2>/dev/null; do
            if listening "$port"; then
                export REDIS_URL="redis://127.0.0.1:$port"
                return
            fi
            sleep 0.05
        done
    done
    cat "$folder/redis.log" >&2
    fail "Redis did not start"
}

[[ -n "${DATABASE_URL:-}" ]] || start_postgres
[[ -n "${REDIS_URL:-}" ]] || start_redis

# In the background, because a trap waits for a command in the foreground; with our input, because jobs have none.
"$@" <&0 &
command_pid=$!
status=0
wait "$command_pid" || status=$?
command_pid=""
exit "$status"
