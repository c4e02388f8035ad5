#!/usr/bin/env python3
"""setup.py DEST VARIANT: a tree of many small files in nested directories, always the same."""

import os
import sys

# Directories, directories in each, files in each of those.
SHAPES = {"seed": (30, 10, 100), "small": (5, 4, 50)}

if len(sys.argv) != 3 or sys.argv[2] not in SHAPES:
    sys.exit(f"usage: setup.py DEST {'|'.join(SHAPES)}")
destination, (outer, inner, files) = sys.argv[1], SHAPES[sys.argv[2]]

# Renamed into place as the last step, so that an interrupted set-up leaves no half tree.
work = f"{destination}.{os.getpid()}.partial"
total_bytes = 0
for first in range(outer):
    for second in range(inner):
        directory = f"{work}/files/d{first:02}/e{second:02}"
        os.makedirs(directory)
        for third in range(files):
            text = f"{first} {second} {third}\n"
            total_bytes += len(text)
            with open(f"{directory}/f{third:03}", "x", encoding="ascii") as file:
                file.write(text)
os.mkdir(f"{work}/.osxfs-sim")
with open(f"{work}/.osxfs-sim/walks.txt", "x", encoding="ascii") as expected:
    expected.write(f"{outer * inner * files} files, {total_bytes} bytes\n" * 2)
os.rename(work, destination)
