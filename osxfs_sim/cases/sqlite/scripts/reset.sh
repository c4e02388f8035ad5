#!/usr/bin/env bash
# reset.sh TREE: takes away the database of an earlier run.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
rm -f -- "$1"/data.db "$1"/data.db-*
