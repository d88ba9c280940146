#!/usr/bin/env bash
# Makes sure that what the build needs is here, with --services also what the tests need, with --load what loads it, and
# with --peers what it is compared with.
# Installs on Debian and Ubuntu (as root or with sudo); elsewhere names what is missing. Quick when nothing is.
set -euo pipefail

with_services=false with_load=false with_peers=false
for argument in "$@"; do
    case "$argument" in
        --services) with_services=true ;;
        --load) with_load=true ;;
        --peers) with_peers=true ;;
        *) echo "usage: $0 [--services] [--load] [--peers]" >&2; exit 2 ;;
    esac
done

packages=() # to be installed
names=()    # to be named where they cannot be

need() { # COMMAND PACKAGE NAME
    command -v "$1" >/dev/null 2>&1 && return
    packages+=("$2")
    names+=("$3")
}

need_server() { # COMMAND PACKAGE NAME; servers are not on everybody's path
    [[ -x "/usr/sbin/$1" ]] || need "$1" "$2" "$3"
}

find_missing() {
    packages=() names=()
    need cc gcc "a C compiler (cc)"
    need c++ g++ "a C++ compiler (c++)"
    need cmake cmake "cmake"
    need make make "make"
    if $with_load; then
        need wrk wrk "wrk"
        need h2load nghttp2-client "h2load (nghttp2)"
        need slowhttptest slowhttptest "slowhttptest"
        need curl curl "curl"
        need socat socat "socat"
        if [[ -z "$(find /usr/lib /usr/lib64 /lib -name 'libnss_wrapper.so*' -print -quit 2>/dev/null)" ]]; then
            packages+=(libnss-wrapper)
            names+=("libnss_wrapper.so (cwrap.org)")
        fi
    fi
    if $with_peers; then
        need nginx nginx-light "nginx"
        need haproxy haproxy "HAProxy 2.5 or newer"
    fi
    $with_services || return 0
    need valgrind valgrind "valgrind"
    need_server knotd knot "knot, the name server (knotd)"
    if ! /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null && ! python3 -c 'import aiosmtpd' 2>/dev/null; then
        packages+=(python3-aiosmtpd)
        names+=("Python 3 with aiosmtpd, a mail server")
    fi
    need node nodejs "Node.js 18 or newer (node)"
    need npm npm "npm"
    need go golang-go "Go 1.19 or newer (go)"
    if [[ -z "${CHROMIUM:-}" ]]; then
        need chromium chromium "Chromium (or set CHROMIUM)"
    fi
    if [[ -z "${REDIS_URL:-}" ]]; then
        need redis-server redis-server "redis-server (or set REDIS_URL)"
    fi
    if [[ -z "${DATABASE_URL:-}" ]] && ! "$(dirname "$0")/postgres-bin.sh" >/dev/null; then
        packages+=(postgresql)
        names+=("the server programs of PostgreSQL 15 or newer (or set DATABASE_URL)")
    fi
}

give_up() {
    echo "setup: missing:" >&2
    printf 'setup:   %s\n' "${names[@]}" >&2
    echo "setup: $1" >&2
    exit 1
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: Rust is missing. Get it from https://rustup.rs or with:" >&2
    echo "setup:   curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    exit 1
fi

# What the tests' scripts import, as their lock files say.
add_modules() {
    $with_services || return 0
    local folder
    for folder in "$(dirname "$0")"/../crates/{standalone/tests/browser,testkit/oidc-provider}; do
        [[ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]] && continue
        echo "setup: installing the modules of ${folder##*/../}"
        npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null ||
            give_up "\`npm ci --prefix $folder\` failed"
    done
}

find_missing
if [[ ${#packages[@]} -eq 0 ]]; then
    add_modules
    exit 0
fi

command -v apt-get >/dev/null 2>&1 || give_up "install these with your system's package manager, then try again"
as_root=()
if [[ "$(id -u)" -ne 0 ]]; then
    command -v sudo >/dev/null 2>&1 || give_up "run as root: apt-get install ${packages[*]}"
    as_root=(sudo)
fi

echo "setup: installing ${packages[*]}"
# Debian starts servers that it installs. That does no harm: the tests use their own, on free ports.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq || give_up "\`apt-get update\` failed"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" ||
    give_up "\`apt-get install ${packages[*]}\` failed"

find_missing
[[ ${#packages[@]} -eq 0 ]] || give_up "still missing after the installation; this system's packages may be too old"
add_modules
