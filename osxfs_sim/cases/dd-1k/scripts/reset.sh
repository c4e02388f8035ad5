#!/usr/bin/env bash
# reset.sh TREE: takes away what an earlier run wrote.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
rm -f -- "$1/out"
