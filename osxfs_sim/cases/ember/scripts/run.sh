#!/usr/bin/env bash
# run.sh TREE: the measured command, `ember build --environment development`, in
# a tree made by setup.sh, or in a copy or a mount of one.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"

[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
need_node
exec_in_tree "$1" node_modules/.bin/ember build --environment development
