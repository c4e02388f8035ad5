#!/usr/bin/env python3
"""setup.py DEST VARIANT: a repository with the branches main and other, always the same.

Between them a quarter of the files has another content, and some are only in one of them.
"""

import os
import subprocess
import sys

FILES = {"project": 2500, "small": 150}

if len(sys.argv) != 3 or sys.argv[2] not in FILES:
    sys.exit(f"usage: setup.py DEST {'|'.join(FILES)}")
destination, count = sys.argv[1], FILES[sys.argv[2]]
work = f"{destination}.{os.getpid()}.partial"
os.umask(0o022)
os.mkdir(work)

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_NAME": "osxfs-sim" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "lab@example.org" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_DATE": "2017-05-01T12:00:00+0000" for who in ("AUTHOR", "COMMITTER")},
}


def git(*words: str) -> None:
    subprocess.run(["git", "-C", work, *words], env=ENVIRONMENT, check=True)


def path_of(number: int) -> str:
    return f"src/part{number // 10 % 25:02}/module{number // 250 % 10}/file{number:04}.txt"


def write(number: int, branch: str) -> None:
    path = f"{work}/{path_of(number)}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Of 1 to 8 KiB, as source files are.
    lines = 20 + number * 7919 % 140
    with open(path, "w", encoding="ascii") as file:
        file.writelines(
            f"{branch} {number} line {line}: {number * line}\n" for line in range(lines)
        )


git("init", "--quiet", "--initial-branch=main", "--template=")
# Every run works on a copy, whose inodes and times of change are others than those in the
# index; without these two, git would read every file again. No log, so that runs leave the same.
for key, value in (
    ("core.checkStat", "minimal"),
    ("core.trustctime", "false"),
    ("core.logAllRefUpdates", "false"),
    ("gc.auto", "0"),
):
    git("config", key, value)
for number in range(count):
    write(number, "main")
git("add", "--all")
git("commit", "--quiet", "--message=main")
git("checkout", "--quiet", "-b", "other")
for number in range(0, count, 4):
    write(number, "other")
for number in range(1, count, 25):
    os.remove(f"{work}/{path_of(number)}")
for number in range(count, count + count // 25):
    write(number, "other")
git("add", "--all")
git("commit", "--quiet", "--message=other")
git("checkout", "--quiet", "main")
git("gc", "--quiet", "--prune=now")
os.rename(work, destination)
