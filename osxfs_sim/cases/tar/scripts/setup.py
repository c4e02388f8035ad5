#!/usr/bin/env python3
"""setup.py DEST VARIANT: an archive of small files, always the same, and a directory for them."""

import io
import os
import sys
import tarfile

# Directories, and files in each.
SHAPES = {"headers": (300, 30), "small": (20, 20)}
TIME = 1_493_640_000  # of all files; a whole second, because some file systems keep no more

if len(sys.argv) != 3 or sys.argv[2] not in SHAPES:
    sys.exit(f"usage: setup.py DEST {'|'.join(SHAPES)}")
destination, (directories, files) = sys.argv[1], SHAPES[sys.argv[2]]
work = f"{destination}.{os.getpid()}.partial"
os.makedirs(f"{work}/out")


def entry(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = mode, TIME
    return info


with tarfile.open(f"{work}/archive.tar", "x", format=tarfile.USTAR_FORMAT) as archive:
    for number in range(directories):
        directory = f"include/part{number % 20:02}/unit{number:03}"
        info = entry(directory, 0o755)
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        for index in range(files):
            # 5.6 KB on average, up to 11 KB.
            size = 1 + (number * files + index) * 7919 % 11_200
            line = f"#define UNIT_{number}_{index} {number * index}\n".encode()
            info = entry(f"{directory}/header{index:02}.h", 0o755 if index % 10 == 0 else 0o644)
            info.size = size
            archive.addfile(info, io.BytesIO((line * (size // len(line) + 1))[:size]))
        info = entry(f"{directory}/first.h", 0o777)
        info.type, info.linkname = tarfile.SYMTYPE, "header00.h"
        archive.addfile(info)
os.rename(work, destination)
