# shellcheck shell=bash
# Sourced by the scripts beside it: git as it is without anybody's configuration.

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# git_in TREE ARGUMENT...: in an empty environment, because a stray GIT_DIR or a user's
# configuration would change which files are looked at. A share may show another owner of
# the tree, which git would refuse.
git_in() {
  local tree=$1
  shift
  env -i PATH="$PATH" LC_ALL=C HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
    git -C "$tree" "$@"
}
