#!/usr/bin/env bash
# reset.sh TREE: takes away what an earlier run installed.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
modules=$1/app/node_modules
# A volume can only be emptied.
if mountpoint -q -- "$modules"; then
  find "$modules" -mindepth 1 -delete
else
  rm -rf -- "$modules"
fi
