#!/usr/bin/env bash
# quick.sh TREE: the first look, `bundle exec rake --version`: the start of the
# measured command, up to where it would read the Rakefile. Bundler puts every
# gem of the Gemfile on the load path and Ruby loads rake through it: the same
# search for names that are missing from directory after directory, at about
# a fifteenth of the length (mid; a twentieth with full).
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"

[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
need_ruby
exec_in_tree "$1" bundle exec rake --version
