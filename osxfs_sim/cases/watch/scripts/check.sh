#!/usr/bin/env bash
# check.sh TREE whole|quick: whether the last edit is what the file holds.
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
case $2 in whole) last=20 ;; quick) last=5 ;; *) exit 2 ;; esac
grep -q "\"edit $last\"" "$1/src/word.js" || { echo "${0##*/}: src/word.js has not edit $last" >&2; exit 1; }
