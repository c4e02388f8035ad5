#!/usr/bin/env bash
# install.sh TREE: the measured command.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/npm.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
need_npm
umask 022
npm_in "$1/app" "$1/cache" ci --offline
