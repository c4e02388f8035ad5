#!/usr/bin/env bash
# reset.sh TREE whole|quick: takes away what an earlier build left, so that the
# next one is cold: dist, and in tmp the cache of Babel's, which the quick form
# keeps.
set -euo pipefail

[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
rm -rf -- "$1/dist"
# tmp itself stays: it may be a mount point.
[[ $2 == quick ]] || find "$1/tmp" -mindepth 1 -delete
