"""A share that was mounted for a while ends with whoever mounted it, also when that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually
from support.live import is_mounted

_LAB = """
import sys, osxfs_sim
with osxfs_sim.share(sys.argv[1], sys.argv[2], profile="none", calibrate=False) as share:
    if sys.argv[3] == "detach":
        share.detach()
    print(share.status().pid, flush=True)
    sys.stdin.read()
"""


def lab(source: Path, guest: Path, how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _LAB, str(source), str(guest), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("need_fuse")
def test_a_share_ends_with_a_lab_that_is_killed(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    with lab(source, guest, "hold") as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        assert is_mounted(guest)
        process.send_signal(signal.SIGKILL)
    eventually(lambda: not is_mounted(guest))
    eventually(lambda: not os.path.exists(f"/proc/{server}"))


@pytest.mark.usefixtures("need_fuse")
def test_a_share_that_was_detached_does_not(cli: Command, field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    with lab(source, guest, "detach") as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    try:
        (guest / "made").touch()
        assert (source / "made").exists()
        assert os.path.exists(f"/proc/{server}")
    finally:
        assert cli("umount", guest).returncode == 0
