#!/usr/bin/env bash
# check.sh TREE whole|quick: whether TREE/out has the bytes that were written.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/blocks.sh"

[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
count=$(blocks_of "$2")
wanted=$((count * block_bytes))
size=$(stat --format %s -- "$1/out")
[[ $size -eq $wanted ]] || fail "out has $size bytes, and should have $wanted"
