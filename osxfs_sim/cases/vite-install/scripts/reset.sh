#!/usr/bin/env bash
# reset.sh TREE: takes away what an earlier run installed.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
rm -rf -- "$1/app/node_modules"
