#!/usr/bin/env bash
# unpack.sh TREE: the measured command.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
umask 022
exec tar --extract --no-same-owner --file "$1/archive.tar" --directory "$1/out"
