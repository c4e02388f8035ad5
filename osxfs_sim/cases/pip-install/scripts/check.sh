#!/usr/bin/env bash
# check.sh TREE whole|quick: whether each package can be imported from TREE/env, in its version.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/pip.sh"
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
packages=$(packages_of "$2")
# shellcheck disable=SC2086 (they are words)
exec python3 -I -B - "$1/env" $packages <<'PYTHON'
import glob, importlib, importlib.metadata, sys

# site-packages or dist-packages, as this Python has it.
place = glob.glob(f"{glob.escape(sys.argv[1])}/**/*-packages", recursive=True)
sys.path[:0] = place
for package in sys.argv[2:]:
    name, _, version = package.partition("==")
    try:
        module = importlib.import_module(name.lower())
        found = importlib.metadata.version(name)
    except ImportError as error:
        sys.exit(f"check.sh: {package} is not installed: {error}")
    if found != version or not module.__file__.startswith(sys.argv[1]):
        sys.exit(f"check.sh: {package} is not what can be imported: {found} of {module.__file__}")
PYTHON
