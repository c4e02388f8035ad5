#!/bin/sh
# Records the edits that ship with osxfs-sim (osxfs_sim/coherence/edits/patterns) from the tools
# themselves, into the directory OUT. Needs vim, nano, git, ruff and script (bsdutils).
#
#     scripts/record-edits.sh OUT
#
# An editor is driven by keys that come as a person's would; a recording shortens the pauses.
set -eu

out=$(realpath "$1")
work=$(mktemp -d -p /var/tmp)  # of files in /tmp vim makes no backup
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" TERM=xterm
mkdir -p "$HOME"

# A project of one file, or of many; none of them is formatted well.
project() {
    rm -rf "$work/project"
    mkdir "$work/project"
    for number in $(seq "$1"); do
        for line in $(seq 40); do echo "x_$line = {  'a':$number,'b':  $line }"; done \
            > "$work/project/module_$number.py"
    done
}

# Sends each argument after the first as keys, half a second apart, to the program of the first.
typed() {
    program=$1
    shift
    for keys in "$@"; do
        sleep 0.5
        printf '%b' "$keys"
    done | script -qec "$program" /dev/null > /dev/null
}

record() {
    name=$1 rate=$2 about=$3
    shift 3
    osxfs-sim edits record --force --rate "$rate" --about "$about" "$work/project" "$out/$name.toml" -- "$@"
}

file="$work/project/module_1.py"

case "${2:-}" in
--typed)
    program=$3
    shift 3
    typed "$program" "$@"
    exit
    ;;
esac

self=$(realpath "$0")

vim=$(vim --version | head -1 | cut -d '(' -f 1 | sed 's/ *$//')

project 1
record vim 1/s "vim as it comes: swap file, probe, backup by renaming, a new file, no backup left ($vim)." \
    "$self" . --typed "vim -N -u NONE -i NONE $file" 'Go# a comment\033' ':w\r' ':q\r'

project 1
record vim-in-place 1/s "vim with backupcopy=yes: backup by copying, the file cut short and written ($vim)." \
    "$self" . --typed "vim -N -u NONE -i NONE --cmd 'set backupcopy=yes' $file" \
    'Go# a comment\033' ':w\r' ':q\r'

project 1
record nano 1/s "nano as it comes: the file is cut short and written in place ($(nano --version | head -1 | xargs))." \
    "$self" . --typed "nano --ignorercfiles $file" '# a comment\r' '\017\r' '\030'

project 1
record sed 1/s "sed -i: a temporary file beside, which takes the name." \
    sed -i '$ a # a comment' "$file"

project 100
record formatter 12/min "ruff format of 100 files: each is cut short and written in place, in a burst." \
    ruff format --quiet --no-cache "$work/project"

project 100
git -C "$work/project" init --quiet
git -C "$work/project" add .
git -C "$work/project" -c user.name=nobody -c user.email=nobody@localhost commit --quiet -m one
git -C "$work/project" checkout --quiet -b other
sed -i '$ a # a comment' "$work"/project/*.py
git -C "$work/project" -c user.name=nobody -c user.email=nobody@localhost commit --quiet -am two
record git-checkout 12/min "git checkout of a branch in which 100 files differ: taken away, made anew." \
    git -C "$work/project" checkout --quiet -
