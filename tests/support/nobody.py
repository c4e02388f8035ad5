"""An ordinary user, and what it can do."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import osxfs_sim
from support.guests import PATIENCE_S, without_shares

NOBODY = 65_534
BECOME_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def interpreter_for_everybody() -> str:
    """An interpreter of our version that an ordinary user may run: ours may lie in /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        with contextlib.suppress(OSError):
            if subprocess.run([candidate, "-ISc", ""], **BECOME_NOBODY, cwd="/").returncode == 0:
                return candidate
    pytest.skip(f"no {version} that an ordinary user may run")


# On many machines /dev/fuse is open to everybody (mode 0666), on some it is not.
# A mount namespace of its own has a /dev/fuse of the mode that a test is about,
# and leaves the machine's alone.
_WITH_A_FUSE_DEVICE = """
set -e
mount -t tmpfs none "$1"
mknod "$1/fuse" c 10 229
chmod "$2" "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
shift 2
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def run_as_nobody(code: str, *arguments: object, fuse_mode: str = "0666") -> str:
    """What Python *code* with *arguments* as its sys.argv[1:] says as an ordinary user."""
    path = [str(Path(osxfs_sim.__file__).parent.parent), *filter(None, sys.path)]
    program = (interpreter_for_everybody(), "-c", code, *map(str, arguments))
    with tempfile.TemporaryDirectory() as device:
        within = (*without_shares(), "sh", "-c", _WITH_A_FUSE_DEVICE, "-", device, fuse_mode)
        done = subprocess.run(
            [*within, *program],
            cwd="/",
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PYTHONPATH": os.pathsep.join(path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def need_fusermount() -> None:
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed: an ordinary user cannot mount here")
