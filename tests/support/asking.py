"""A small case that asks for the same three files, and for one that is missing, all the time."""

from pathlib import Path

CASE = """
name = "ask"
title = "Ask for the same files again and again"
purpose = "Everything is asked for many times."
arms = ["native"]
[needs]
commands = ["python3"]
install = "apt-get install python3"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.py", "{tree}"]
deterministic = ["."]
"""
SETUP = """#!/bin/sh
mkdir -p "$1/src"
for number in 1 2 3; do echo "x = $number" > "$1/src/m$number.py"; done
"""
RUN = """#!/usr/bin/env -S python3 -I -S
import os, sys, time
src = sys.argv[1] + "/src"
end = time.monotonic() + 0.5
while time.monotonic() < end:
    for number in (1, 2, 3):
        path = f"{src}/m{number}.py"
        try:
            os.stat(path)
            with open(path) as file:
                file.read()
        except FileNotFoundError:
            pass
    os.path.exists(f"{src}/in-vain")
    names = os.listdir(src)
    time.sleep(0.002)
open(f"{sys.argv[1]}/made", "w").close()
print(sum(name.endswith(".py") for name in names))
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def asking_case(where: Path) -> Path:
    """The case's folder, made in *where*."""
    folder = where / "ask"
    folder.mkdir()
    write(folder, "case.toml", CASE)
    write(folder, "setup.sh", SETUP)
    write(folder, "run.py", RUN)
    return folder
