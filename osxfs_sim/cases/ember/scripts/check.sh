#!/usr/bin/env bash
# check.sh TREE PLACE: whether TREE/dist, built when the tree was seen at PLACE, is
# what set-up's own build made of this tree.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"

[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE PLACE" >&2; exit 2; }
wanted=$1/.osxfs-sim/dist.txt
[[ -s $wanted ]] || fail "$1 is not a tree made by setup.sh"
# diff says by its exit code that they differ, which the lines say better.
differing=$(fingerprint_of "$1" "$2" | { diff -- "$wanted" - || true; } |
  sed -n 's/^[<>] [0-9a-f]* *//p' | sort -u)
[[ -z $differing ]] ||
  fail "dist is not what set-up's build made: $(wc -l <<<"$differing") files differ, the first is $(head -n 1 <<<"$differing")"
