#!/usr/bin/env bash
# setup.sh DEST: a small project with its development server installed. Needs npm's registry.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd -P)
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
for name in node npm; do
  command -v -- "$name" >/dev/null 2>&1 ||
    { echo "${0##*/}: '$name' is missing; run: apt-get install --no-install-recommends nodejs npm" >&2; exit 3; }
done
work=$(mktemp -d -- "$1.partial.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cp -R -- "$here/../app" "$work/tree"
echo "watch set-up: installing the server" >&2
# The lock file fixes each package's version and hash, and no package's own script is run.
npm ci --prefix "$work/tree" --ignore-scripts --no-audit --no-fund --no-update-notifier \
  --no-progress --loglevel error >"$work/npm.log" 2>&1 ||
  { tail -n 20 -- "$work/npm.log" >&2; echo "${0##*/}: npm ci failed" >&2; exit 1; }
mv -T -- "$work/tree" "$1"
