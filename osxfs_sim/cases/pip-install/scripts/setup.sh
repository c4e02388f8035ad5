#!/usr/bin/env bash
# setup.sh DEST: the wheels (DEST/wheels) and an empty directory to install into (DEST/env).
# Needs a package index, the one that pip is configured with.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/pip.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
python3 -m pip --version >/dev/null 2>&1 ||
  { echo "${0##*/}: python3 has no pip; run: apt-get install --no-install-recommends python3-pip" >&2; exit 3; }
work=$(mktemp -d -- "$1.partial.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -- "$work/tree" "$work/tree/env"
echo "pip-install set-up: downloading the wheels" >&2
packages=$(packages_of whole)
# shellcheck disable=SC2086 (they are words)
python3 -m pip download --quiet --disable-pip-version-check --only-binary :all: --no-deps \
  --dest "$work/tree/wheels" $packages >"$work/pip.log" 2>&1 ||
  { tail -n 5 -- "$work/pip.log" >&2; fail "pip download failed"; }
mv -T -- "$work/tree" "$1"
