#!/usr/bin/env bash
# walk.sh TREE VARIANT: the measured command. Prints how many files it found.
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE VARIANT" >&2; exit 2; }
cd -- "$1"
if [[ $2 == tree ]]; then
  found=$(find files -type f | wc -l)
else
  # As it was measured in public. With a format, stat asks for less.
  found=$(find files -type f | xargs stat | grep -c '^  File: ')
fi
echo "$found"
[[ $found == "$(<.osxfs-sim/count.txt)" ]] || { echo "${0##*/}: found other files than were made" >&2; exit 1; }
