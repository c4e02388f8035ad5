#!/usr/bin/env bash
# setup.sh DEST: an empty directory; the database is made by the measured command.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
python3 -c 'import sqlite3' || { echo "${0##*/}: this python3 has no sqlite3 module: use another" >&2; exit 3; }
mkdir -- "$1"
