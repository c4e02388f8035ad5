#!/usr/bin/env bash
# setup.sh DEST: an empty directory; all that this workload has is what it writes.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
mkdir -- "$1"
