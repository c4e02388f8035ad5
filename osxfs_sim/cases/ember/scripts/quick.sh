#!/usr/bin/env bash
# quick.sh TREE: the first look. It is the same build: there is no half of one
# that makes a dist. What makes it short is what surrounds it: only TMPDIR is on
# the share (the variant of the quick form), and the runs after the first find
# Babel's cache (reset.sh keeps it).
exec "$(dirname -- "${BASH_SOURCE[0]}")/run.sh" "$@"
