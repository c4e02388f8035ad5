# shellcheck shell=bash
# Sourced by the scripts beside it: how a command is run inside a tree, and how
# what a build made is compared with what another build made.

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

need_node() {
  command -v node >/dev/null 2>&1 ||
    lacking "'node' is missing; run: apt-get install --no-install-recommends nodejs"
}

# exec_in_tree TREE COMMAND [ARG...]: replaces this shell by COMMAND, with TREE
# as the working directory and its temporary files in TREE/tmp. Nothing in the
# tree knows where the tree is.
#
# The environment starts empty, because a stray NODE_OPTIONS or CI would change
# what is done: with CI set, Babel keeps no cache.
exec_in_tree() {
  local tree
  tree=$(cd -- "$1" >/dev/null && pwd -P) || exit 1
  shift
  [[ -d $tree/node_modules && -d $tree/tmp && -f $tree/ember-cli-build.js ]] ||
    fail "$tree is not a tree made by setup.sh"
  cd -- "$tree" || exit 1
  exec env -i PATH="$PATH" LANG=C.UTF-8 HOME="$tree/.osxfs-sim/home" TMPDIR="$tree/tmp" "$@"
}

# fingerprint_of TREE PLACE: of each file below TREE/dist a line, its hash and its
# name. PLACE is the path at which the build saw the tree.
#
# The build is deterministic, but writes down where it worked: the tree's path,
# the names of temporary directories (broccoli-NUMBER), which are made up anew
# each time, frames of asterisks as long as those names, and hashes of them: in
# the names of chunks, and as the ids of templates. These are taken out; the rest
# repeats byte for byte.
fingerprint_of() {
  local file rules
  [[ -d $1/dist ]] || return 0
  rules="s|$(realpath -m -- "$2" | sed 's/[][\.*^$|+?(){}]/\\&/g')|TREE|g
    s/broccoli-[0-9A-Za-z]+/broccoli/g
    s/\*{3,}/***/g
    s/(chunk\.[^ \"']*)\.[0-9a-f]{20}\.js/\1.js/g
    s#(\"id\\\\?\": \\\\?\")[A-Za-z0-9+/]{8}#\1#g"
  (
    cd -- "$1/dist"
    find . -type f | LC_ALL=C sort | while IFS= read -r file; do
      printf '%s %s\n' \
        "$(LC_ALL=C sed -E -e "$rules" -- "$file" | sha256sum | cut -d' ' -f1)" \
        "$(sed -E -e "$rules" <<<"${file#./}")"
    done
  )
}
