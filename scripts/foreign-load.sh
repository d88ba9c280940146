#!/usr/bin/env bash
# Load generators and attack tools that nobody here wrote, against the real binary: wrk over HTTP/1.1, h2load over HTTP/2,
# and slowhttptest's slow headers and slow bodies. Fails when an answer is wrong or the service is not
# available in between. PROFILE=dev takes the unoptimised build; SECONDS_EACH is how long each of them loads.
#
# The rates are those of this machine with the generator on it: they say that it works, not how fast it is.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh --load
each="${SECONDS_EACH:-10}"
cargo build --profile "$profile" -p standalone --bin portcullis

bridge=""
at_end() { [[ -z "$bridge" ]] || kill -TERM "$bridge" 2>/dev/null || true; }

fail() {
    echo "foreign-load: $*" >&2
    server_log
    exit 1
}

# All of the load comes from one address and is one tenant's: their limits would answer, not the edge.
export PORTCULLIS_GATEWAY__LIMITS__ADDRESS__RPS=1000000 PORTCULLIS_GATEWAY__LIMITS__ADDRESS__BURST=1000000
export PORTCULLIS_GATEWAY__LIMITS__TENANT__RPS=1000000 PORTCULLIS_GATEWAY__LIMITS__TENANT__BURST=1000000
start_node "$(mktemp -d "${TMPDIR:-/tmp}/portcullis-foreign.XXXXXX")" "$folder"

ready="$(cat "$work/ready.json")"
text() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" <<<"$ready"; }
ca="$(text ca)" port="$(text edge_https)"
port="${port##*:}"
host=acme.localhost
url="https://$host:$port"
# The first user called `member` is acme's.
password="$(grep -o '"username":"member","password":"[^"]*"' <<<"$ready" | head -1 | sed 's/.*:"//; s/"$//')"

# Names under .localhost are not in DNS; these tools ask the resolver.
echo "127.0.0.1 $host" >"$work/hosts"
wrapper="$(find /usr/lib /usr/lib64 /lib -name 'libnss_wrapper.so*' -print -quit 2>/dev/null)"
named() { LD_PRELOAD="$wrapper" NSS_WRAPPER_HOSTS="$work/hosts" "$@"; }
call() { curl -sS --cacert "$ca" --resolve "$host:$port:127.0.0.1" "$@"; }

token="$(call "$url/api/v1/tenant/auth/login" -H 'content-type: application/json' \
    -d "{\"username\": \"member\", \"password\": \"$password\"}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')"
[[ "$(call -o /dev/null -w '%{http_code}' "$url/demo/me" -H "authorization: Bearer $token")" == 200 ]] ||
    fail "the member's own call is not answered 200"

measured_on

echo; echo "== wrk: HTTP/1.1, 64 connections, a good token"
named wrk -t 1 -c 64 -d "${each}s" --latency -H "Authorization: Bearer $token" "$url/demo/me" | tee "$work/wrk"
! grep -q 'Non-2xx\|Socket errors' "$work/wrk" || fail "wrk got errors"

echo; echo "== h2load: HTTP/2, 8 connections of 32 streams, a good token"
named h2load -t 1 -c 8 -m 32 -D "$each" -H "authorization: Bearer $token" "$url/demo/me" | tee "$work/h2load"
counts="$(grep '^status codes:' "$work/h2load")"
[[ "$counts" =~ ([1-9][0-9]*)\ 2xx,\ 0\ 3xx,\ 0\ 4xx,\ 0\ 5xx ]] || fail "h2load: $counts"

echo; echo "== h2load: HTTP/2, no token: every answer is a refusal"
named h2load -t 1 -c 8 -m 32 -D "$each" "$url/demo/me" | tee "$work/h2load"
counts="$(grep '^status codes:' "$work/h2load")"
[[ "$counts" =~ \ 0\ 2xx,\ 0\ 3xx,\ ([1-9][0-9]*)\ 4xx,\ 0\ 5xx ]] || fail "h2load without a token: $counts"

# slowhttptest sends no SNI, without which there is no handshake here: socat speaks TLS for it, a process for each
# connection. What it drips arrives as it drips.
bridge_port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
socat "TCP-LISTEN:$bridge_port,bind=127.0.0.1,fork,reuseaddr,backlog=1024" \
    "OPENSSL:127.0.0.1:$port,cafile=$ca,snihost=$host,commonname=$host" 2>/dev/null &
bridge=$!
for _ in $(seq 100); do
    (: <"/dev/tcp/127.0.0.1/$bridge_port") 2>/dev/null && break
    sleep 0.1
done

slow() { # NAME ARGUMENTS...
    echo; echo "== slowhttptest: $1"
    shift
    named slowhttptest -g -o "$work/slow" -c 300 -r 30 -l 90 -p 5 -u "http://$host:$bridge_port/demo/public/x" "$@" \
        >"$work/slow.log" 2>&1 || true
    sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$work/slow.log" | grep -a '^Test ended\|^Exit status' || true
    # Seconds,Closed,Pending,Connected,Service Available
    awk -F, 'NR > 1 { seconds++; if ($4 > most) most = $4; if ($5 == 0) gone++ }
        END { printf "at most %d connections open at once; available in %d of %d seconds\n", most, seconds - gone, seconds
              exit !(most >= 200 && gone == 0) }' "$work/slow.csv" ||
        fail "there were too few connections, or the service was not available all the time: $(cat "$work/slow.csv")"
    grep -aq 'No open connections left' "$work/slow.log" || fail "slow connections were not ended by the edge"
}
slow "slow headers (slowloris)" -H -i 5 -t GET -x 24
slow "slow bodies (R-U-Dead-Yet)" -B -i 20 -s 8192 -t POST -x 10

kill -0 "$server" 2>/dev/null || fail "the server is gone"
! grep -q panicked "$work/server.log" || fail "the server panicked"
echo; echo "all as it should be"
