# shellcheck shell=bash
# Sourced by the scripts beside it: what is installed.

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# packages_of FORM: with what they need, each with its version.
packages_of() {
  case $1 in
    whole) echo "Django==5.1.4 asgiref==3.8.1 sqlparse==0.5.3" ;;
    quick) echo "asgiref==3.8.1 sqlparse==0.5.3" ;;
    *) fail "the form is whole or quick, not '$1'" ;;
  esac
}
