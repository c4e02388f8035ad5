"""What an earlier share has left is written to the host by a process without a mount."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.unmounted import Unmounted, left, tree_of

from osxfs_sim.model.ownership import Ownership
from osxfs_sim.mount.mounts.identity import server_user
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.server import recovery_process, without_fuse
from osxfs_sim.mount.server.recovery_process import recover_apart

pytestmark = pytest.mark.starts_processes


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def state(tmp_path: Path, source: Path) -> Path:
    """What a share has left that was killed before the host had ``d/file`` of it."""
    guest = Unmounted(source, tmp_path / "state")
    guest.mkdir("d")
    guest.make("d/file")
    guest.write("d/file", b"precious")
    guest.crash()
    return tmp_path / "state"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that is started in place of the recovery: its text is for the test to write."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(recovery_process, "MODULE", "stand_in")
    return tmp_path / "stand_in.py"


def recovered(source: Path, state: Path) -> int:
    return recover_apart(state, str(source), Ownership.OSXFS, server_user(None))


def test_the_host_gets_it_from_a_process_without_fuse(source: Path, state: Path) -> None:
    assert recovered(source, state) == 3
    assert tree_of(source) == {"d": None, "d/file": "precious"}
    assert left(source, state) == []
    assert recovered(source, state) == 0


def test_what_it_raises_is_told_in_its_words(source: Path, state: Path) -> None:
    (found,) = left(source, state)
    os.chown(found.directory, 12_345, -1)  # somebody else may have written what is in there
    with pytest.raises(MountError, match="recover it with --user"):
        recovered(source, state)
    assert len(left(source, state)[0].pending) == 3


@pytest.mark.parametrize(
    ("death", "told"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("raise SystemExit(7)", "exit code 7"),
        ("def main():\n    print('half an ans')", "exit code 0"),
    ],
)
def test_whatever_ends_it_is_told_and_nothing_is_lost(
    source: Path, state: Path, stand_in: Path, death: str, told: str
) -> None:
    stand_in.write_text(death)
    with pytest.raises(MountError, match=rf"\({told}\): the rest is still kept; mount again"):
        recovered(source, state)
    assert len(left(source, state)[0].pending) == 3


def test_it_cannot_import_what_it_must_not(source: Path, state: Path, stand_in: Path) -> None:
    stand_in.write_text(
        "def main():\n"
        "    failed = []\n"
        "    for name in ('pyfuse3', 'trio', 'osxfs_sim.mount.requests.handlers'):\n"
        "        try:\n"
        "            __import__(name)\n"
        "        except ImportError:\n"
        "            failed.append(name)\n"
        "    print({3: '{\"recovered\": 77}'}.get(len(failed)))\n"
    )
    assert recovered(source, state) == 77


def test_it_ends_with_whoever_has_started_it(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import os, sys, time\n"
        "from osxfs_sim.mount.server.without_fuse import end_with\n"
        "def main():\n"
        "    end_with(int(sys.argv[1]))\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(3600)\n"
    )
    starter = (
        "import os, subprocess, sys\n"
        "subprocess.Popen(sys.argv[1:] + [str(os.getpid())])\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, *without_fuse.command("waiting")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 1
        process.kill()
        # It ends when its own end of the pipe is closed, too: nobody has it any more.
        assert process.stdout.read() == ""


def test_who_was_orphaned_before_it_could_say_so_ends_at_once() -> None:
    code = (
        "import os, sys\n"
        "from osxfs_sim.mount.server.without_fuse import end_with\n"
        "end_with(os.getppid())\n"
        "print('lives')\n"
        "end_with(1 << 22)\n"
        "print('lives on')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "lives\n")
