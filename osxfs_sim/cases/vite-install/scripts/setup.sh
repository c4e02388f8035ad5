#!/usr/bin/env bash
# setup.sh DEST: a project with nothing installed (DEST/app), and beside it npm's cache
# with all that it needs (DEST/cache). Status: 0 done, 1 failed, 2 wrong usage, 3 the machine lacks
# something. Needs npm's registry.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd -P)
. "$here/npm.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
need_npm
umask 022

work=$(mktemp -d -- "$1.partial.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -- "$work/tree" "$work/tree/app"
cp -- "$here/../app/package.json" "$here/../app/package-lock.json" "$work/tree/app/"
echo "vite-install set-up: filling npm's cache" >&2
# The lock file fixes each package's version and hash; npm refuses other content.
(npm_in "$work/tree/app" "$work/tree/cache" install >"$work/npm.log" 2>&1) ||
  { tail -n 20 -- "$work/npm.log" >&2; fail "npm install failed"; }
rm -rf -- "$work/tree/app/node_modules" "$work/tree/cache/_logs"
echo "vite-install set-up: trying it offline" >&2
("$here/install.sh" "$work/tree" whole >"$work/npm.log" 2>&1) ||
  { tail -n 20 -- "$work/npm.log" >&2; fail "npm install --offline failed"; }
"$here/check.sh" "$work/tree" whole
"$here/reset.sh" "$work/tree"
mv -T -- "$work/tree" "$1"
