# shellcheck shell=bash
# Sourced by the scripts beside it: how a command is run inside a tree.

# Ends the script because the machine lacks something: one line, which names
# the command that mends it. Status 3 tells this apart from a real failure.
lacking() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 3
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_ruby() {
  local name
  for name in ruby bundle rake; do
    command -v -- "$name" >/dev/null 2>&1 ||
      lacking "'$name' is missing; run: apt-get install --no-install-recommends ruby rake bundler"
  done
}

# Gems that come with Ruby itself (matrix, for one) stay where Ruby has them:
# outside the tree, as in an image. Asked of Ruby with RubyGems off, which
# takes some milliseconds and touches nothing in the tree.
gems_of_ruby() {
  (cd / && env -i PATH="$PATH" ruby --disable-all -rrbconfig -e \
    'c = RbConfig::CONFIG; print c["rubylibprefix"], "/gems/", c["ruby_version"]')
}

# exec_in_tree TREE COMMAND [ARG...]: replaces this shell by COMMAND, with TREE
# as the working directory and every path that Ruby, RubyGems and Bundler take
# from the environment inside TREE. Nothing in the tree knows where the tree
# is: all absolute paths are made here, from the path given now.
#
# The environment starts empty, because a stray RUBYOPT, GEM_HOME or XDG_*
# would change which files are looked for, and so the counts.
exec_in_tree() {
  local tree
  tree=$(cd -- "$1" >/dev/null && pwd -P) || exit 1
  shift
  [[ -d $tree/vendor/gems && -f $tree/Gemfile ]] ||
    fail "$tree is not a tree made by setup.sh"
  local -a environment=(
    PATH="$PATH"
    LANG=C.UTF-8
    HOME="$tree/tmp/home"
    GEM_HOME="$tree/vendor/gems"
    GEM_PATH="$tree/vendor/gems:$(gems_of_ruby)"
    BUNDLE_APP_CONFIG="$tree/.bundle"
    BUNDLE_GEMFILE="$tree/Gemfile"
    BUNDLE_SILENCE_ROOT_WARNING=1
  )
  if [[ -n ${TMPDIR:-} ]]; then environment+=(TMPDIR="$TMPDIR"); fi
  # Our config/boot.rb loads bootsnap when this is set; bootsnap keeps its
  # cache in tmp/cache of the application.
  if [[ -n ${BOOTSNAP:-} ]]; then environment+=(BOOTSNAP="$BOOTSNAP"); fi
  cd -- "$tree" || exit 1
  exec env -i "${environment[@]}" "$@"
}
