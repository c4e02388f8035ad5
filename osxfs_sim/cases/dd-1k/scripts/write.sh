#!/usr/bin/env bash
# write.sh TREE whole|quick: the measured command, dd of zeros into TREE/out.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/blocks.sh"

[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
count=$(blocks_of "$2")
exec dd if=/dev/zero "of=$1/out" bs="$block_bytes" count="$count" status=none
