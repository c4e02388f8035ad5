#!/usr/bin/env bash
# install.sh TREE whole|quick: the measured command. The quick form leaves out what is only for
# development; that is nearly everything.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/npm.sh"
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
need_npm
umask 022
case $2 in
  whole) npm_in "$1/app" "$1/cache" install --offline ;;
  quick) npm_in "$1/app" "$1/cache" install --offline --omit dev ;;
  *) fail "the form is whole or quick, not '$2'" ;;
esac
