#!/usr/bin/env bash
# reset.sh TREE: takes back the edits of an earlier run, and what the server keeps for itself.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
rm -rf -- "$1/node_modules/.vite"
cp -- "$(dirname -- "${BASH_SOURCE[0]}")/../app/src/word.js" "$1/src/word.js"
