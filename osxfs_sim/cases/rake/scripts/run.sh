#!/usr/bin/env bash
# run.sh TREE: the measured command, `bundle exec rake -T`, in a tree made by
# setup.sh, or in a copy or a mount of one.
#
# BOOTSNAP=1 in the environment loads bootsnap, with its cache in TREE/tmp.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"

[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
need_ruby
exec_in_tree "$1" bundle exec rake -T
