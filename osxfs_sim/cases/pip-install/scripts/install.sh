#!/usr/bin/env bash
# install.sh TREE whole|quick: the measured command. In an empty environment and without anybody's
# configuration, so that nothing but the wheels is asked for.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/pip.sh"
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
umask 022
packages=$(packages_of "$2")
# shellcheck disable=SC2086 (they are words)
exec env -i PATH="$PATH" LANG=C.UTF-8 HOME=/nonexistent PIP_CONFIG_FILE=/dev/null \
  python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index \
  --find-links "$1/wheels" --prefix "$1/env" --ignore-installed --no-warn-script-location \
  --root-user-action ignore $packages
