#!/usr/bin/env bash
# check.sh TREE: whether TREE/out has all that is in the archive: contents, modes, links, times.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
# Owners are those of whoever unpacks.
differing=$(LC_ALL=C tar --compare --file "$1/archive.tar" --directory "$1/out" 2>&1 |
  grep -v -e ': Uid differs$' -e ': Gid differs$' || true)
[[ -z $differing ]] || { echo "${0##*/}: $(head -n 1 <<<"$differing")" >&2; exit 1; }
