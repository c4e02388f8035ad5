#!/usr/bin/env python3
"""setup.py DEST VARIANT: many empty files, in one directory or in a tree, always the same."""

import os
import sys

# Directories, directories in each, files in each of those; none: all in one.
SHAPES = {"flat": (0, 0, 30_000), "tree": (30, 10, 100), "small": (0, 0, 1_000)}

if len(sys.argv) != 3 or sys.argv[2] not in SHAPES:
    sys.exit(f"usage: setup.py DEST {'|'.join(SHAPES)}")
destination, (outer, inner, files) = sys.argv[1], SHAPES[sys.argv[2]]

# Renamed into place as the last step, so that an interrupted set-up leaves no half tree.
work = f"{destination}.{os.getpid()}.partial"
directories = [f"{work}/files/d{a:02}/e{b:02}" for a in range(outer) for b in range(inner)]
for directory in directories or [f"{work}/files"]:
    os.makedirs(directory)
    for number in range(1, files + 1):
        open(f"{directory}/file{number}", "x").close()
os.mkdir(f"{work}/.osxfs-sim")
with open(f"{work}/.osxfs-sim/count.txt", "x", encoding="ascii") as expected:
    expected.write(f"{files * max(1, outer * inner)}\n")
os.rename(work, destination)
