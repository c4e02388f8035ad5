#!/usr/bin/env bash
# reset.sh TREE: takes away what an earlier run unpacked; out itself may be a mount point.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
find "$1/out" -mindepth 1 -delete
