#!/usr/bin/env bash
# setup.sh DEST: makes at DEST a new, empty ember-cli application with all its
# packages, as `ember new` makes it, and builds it once.
#
# DEST must not exist or be empty. The tree is made beside it and renamed into
# place as the last step, so an interrupted set-up leaves no half tree.
# Needs no root. Progress goes to stderr, one line per step. Status: 0 done,
# 1 failed, 2 wrong usage, 3 the machine lacks something (the line says what).
#
# Besides the application, DEST/.osxfs-sim holds dist.txt (what the build made:
# names and hashes) and home (the HOME of the build); DEST/tmp is its TMPDIR.
set -euo pipefail
export LC_ALL=C

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd -P)
. "$here/env.sh"

say() { printf 'ember set-up: %s\n' "$*" >&2; }

# quietly LOG COMMAND...: keeps what COMMAND says for the case that it fails.
quietly() {
  local log=$1
  shift
  # In a subshell, because COMMAND may exec.
  ("$@") >"$log" 2>&1 || {
    tail -n 20 -- "$log" >&2
    return 1
  }
}

# ---- arguments and machine ------------------------------------------------

[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
dest=${1%/}
[[ -n $dest ]] || { echo "${0##*/}: DEST is empty" >&2; exit 2; }
if [[ -e $dest || -L $dest ]]; then
  [[ -d $dest && ! -L $dest && -z $(ls -A -- "$dest") ]] || fail "$dest exists and is not an empty directory"
fi
need_node
command -v npm >/dev/null 2>&1 ||
  lacking "'npm' is missing; run: apt-get install --no-install-recommends npm"
node -e 'process.exit(Number(parseInt(process.versions.node) < 18))' ||
  lacking "$(command -v node) is older than 18: put a newer node first in PATH"

# ---- build ----------------------------------------------------------------

dest=$(realpath -m -- "$dest")
mkdir -p -- "$(dirname -- "$dest")"
work=$(mktemp -d -- "$dest.partial.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The lock file fixes every package's version and hash, and names no registry:
# npm takes the one that it is configured with, and refuses other content.
# No package's own script is run; none is needed (core-js only advertises).
say "installing the packages"
mkdir -- "$work/packages" "$work/home"
cp -- "$here/../app/package.json" "$here/../app/package-lock.json" "$work/packages/"
quietly "$work/npm.log" npm ci --prefix "$work/packages" --ignore-scripts \
  --no-audit --no-fund --no-update-notifier --no-progress --loglevel error ||
  fail "npm ci failed"

say "generating the application"
# By the ember-cli that was just installed, so that its version is the locked one.
(
  cd -- "$work"
  quietly "$work/ember-new.log" env -i PATH="$PATH" LANG=C.UTF-8 HOME="$work/home" \
    packages/node_modules/.bin/ember new emptyapp --skip-git --skip-npm --lang en --no-welcome
) || fail "ember new failed"

# The tree is built where the application was not generated, so that a path of
# that place left in it cannot go unnoticed.
tree=$work/tree
mv -- "$work/emptyapp" "$tree"
mv -- "$work"/packages/{node_modules,package.json,package-lock.json} "$tree/"
mkdir -p -- "$tree/tmp" "$tree/.osxfs-sim/home"

# ---- try, then put in place -----------------------------------------------

say "trying ember build"
quietly "$work/build.log" "$here/run.sh" "$tree" || fail "ember build failed"
fingerprint_of "$tree" "$tree" >"$tree/.osxfs-sim/dist.txt"
grep -q ' assets/vendor\.js$' "$tree/.osxfs-sim/dist.txt" || fail "the build made no assets/vendor.js"
grep -q ' assets/emptyapp\.js$' "$tree/.osxfs-sim/dist.txt" || fail "the build made no assets/emptyapp.js"
"$here/reset.sh" "$tree" whole

# mv -T renames onto an empty directory, and refuses any other.
mv -T -- "$tree" "$dest"
say "done: $(wc -l <"$dest/.osxfs-sim/dist.txt") files in dist, $(find "$dest" -type f | wc -l) files in the tree, $(du -sm -- "$dest" | cut -f1) MB"
