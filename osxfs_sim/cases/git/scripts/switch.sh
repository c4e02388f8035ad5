#!/usr/bin/env bash
# switch.sh TREE: the measured command: status, to the other branch, status, and back.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
umask 022
for branch in other main; do
  changes=$(git_in "$1" status --porcelain)
  [[ -z $changes ]] || fail "git sees changes where there are none: $(head -n 1 <<<"$changes")"
  git_in "$1" checkout --quiet "$branch"
done
