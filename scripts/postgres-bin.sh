#!/usr/bin/env bash
# Prints the folder with the newest PostgreSQL server programs, 15 or newer. Debian does not put them into PATH.
set -euo pipefail

candidates() {
    command -v pg_config >/dev/null 2>&1 && pg_config --bindir
    command -v initdb >/dev/null 2>&1 && dirname "$(command -v initdb)"
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin
}

best="" best_version=0
while read -r folder; do
    [[ -x "$folder/initdb" && -x "$folder/pg_ctl" && -x "$folder/postgres" ]] || continue
    version="$("$folder/postgres" --version | grep -oE '[0-9]+' | head -n 1)"
    if ((version > best_version)); then
        best="$folder" best_version="$version"
    fi
done < <(candidates || true)

if ((best_version < 15)); then
    echo "postgres: no server programs of version 15 or newer found" >&2
    exit 1
fi
echo "$best"
