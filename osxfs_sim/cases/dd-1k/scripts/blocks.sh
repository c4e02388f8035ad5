# shellcheck shell=bash
# Sourced by the scripts beside it: how much is written.

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# The published size of a block, in bytes.
block_bytes=1024

# blocks_of FORM: how many of them. The whole form is the published one, 100 MiB;
# the quick one is about a twentieth, a second where the whole takes 23.
blocks_of() {
  case $1 in
    whole) echo 102400 ;;
    quick) echo 5000 ;;
    *) fail "the form is whole or quick, not '$1'" ;;
  esac
}
