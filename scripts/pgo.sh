#!/usr/bin/env bash
# A gateway that is optimised by what it does under load: built with counters in it, loaded as the ladder loads it, and built again
# by what they counted (the rustc book, "Profile-guided Optimization"). It is left in the target folder as pgo/gateway. Takes two
# builds of a release. EACH (seconds) makes the load longer; it needs two cores, and nothing else that keeps them busy.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

scripts/setup.sh --load --peers

# What merges the counts is of LLVM, of the compiler's version or a later one: an earlier one does not read them.
host="$(rustc -vV | sed -n 's/^host: //p')"
major="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
profdata="$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata"
for candidate in "$profdata" "llvm-profdata-$major" llvm-profdata; do
    profdata="$(command -v "$candidate" || true)"
    # Early versions do not say which they are.
    found="$({ "$profdata" --version || true; } 2>/dev/null | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p')"
    [[ "${found:-0}" -lt "$major" ]] || break
    profdata=""
done
if [[ -z "$profdata" ]]; then
    echo "pgo: needs llvm-profdata $major (rustup component add llvm-tools, or Debian's llvm-$major)" >&2
    exit 1
fi

mkdir -p "$target/pgo"
pgo="$(realpath "$target/pgo")"
built="$pgo/$host/$(basename "$folder")/gateway"
# With a target named, what runs while it is built is not counted.
build() { # FLAGS
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --profile "$profile" --target "$host" --target-dir "$pgo" -p gateway --bins
}

rm -rf "$pgo/counts"
build "-Cprofile-generate=$pgo/counts"
cp "$built" "$pgo/gateway-counting"
cargo build --profile "$profile" -p load-tests --bins
loads=kept_es256,kept_rs256,http2,fresh_es256,fresh_rs256,connections,no_token,expired,bad_signature
"$folder/ladder" --gateway "$pgo/gateway-counting" --parts peers --peers portcullis,portcullis_few --loads "$loads" \
    --runs 1 --seconds "${EACH:-5}"
"$profdata" merge -o "$pgo/counts.profdata" "$pgo/counts"
build "-Cprofile-use=$pgo/counts.profdata"
cp "$built" "$pgo/gateway"
echo "pgo: $pgo/gateway; compare it by: make ladder ARGS='--gateway $pgo/gateway'"
