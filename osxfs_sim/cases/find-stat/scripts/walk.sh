#!/usr/bin/env bash
# walk.sh TREE: the measured command: walks TREE/files twice, asks for each file's size, and
# prints per walk how many files and bytes it found.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
cd -- "$1"
walk() {
  # %s makes find ask for each file's attributes; the directory alone would tell only names.
  find files -type f -printf '%s\n' |
    { count=0 sum=0
      while read -r size; do count=$((count + 1)) sum=$((sum + size)); done
      echo "$count files, $sum bytes"; }
}
found=$(walk; walk)
echo "$found"
[[ $found == "$(<.osxfs-sim/walks.txt)" ]] || { echo "${0##*/}: found other files than were made" >&2; exit 1; }
