#!/usr/bin/env bash
# check.sh TREE: whether main is checked out, and each file is what it is there.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
branch=$(git_in "$1" symbolic-ref --short HEAD)
[[ $branch == main ]] || fail "on branch $branch, not main"
# Without locks: a check shall not write.
changes=$(git_in "$1" --no-optional-locks status --porcelain)
[[ -z $changes ]] || fail "not what main has: $(head -n 1 <<<"$changes")"
