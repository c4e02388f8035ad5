#!/usr/bin/env bash
# reset.sh TREE: back on main, with an index that knows each file's attributes. The files get
# an old time: git reads again what is as young as its index.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
git_in "$1" checkout --quiet --force main
find "$1/src" -type f -exec touch -d '2017-05-01T12:00:00Z' -- {} +
git_in "$1" update-index -q --refresh
