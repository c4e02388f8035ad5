"""What is no share of ours, and says it is: another user mounts it, and answers for it.

Anybody may mount a file system of our type, and listen where its server would. What root's
commands do then is bounded: in time, in memory, in what they trust, and in whom they signal.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.guests import ended, eventually
from support.nobody import interpreter_for_everybody
from support.statuses import a_status, filled
from support.users import OWNER

from osxfs_sim.cli import main
from osxfs_sim.model.documents import document_of
from osxfs_sim.model.status import SynchronizationStatus, TraceStatus, WriteBackStatus
from osxfs_sim.mount import launch
from osxfs_sim.mount.force import end_by_force
from osxfs_sim.mount.launch import unmount_and_wait
from osxfs_sim.mount.mounts import control, mountpoints, runtime_records
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.mount.mounts.mountpoints import MountEntry, MountError, SilentError
from osxfs_sim.mount.mounts.runtime_records import Record, is_server_of, start_of, user_of

pytestmark = pytest.mark.starts_processes

_TITLE = "\x1b]0;PWNED\x07"

# As OWNER: listens at a path, and answers each question as it was told to, until standard input
# ends.
_ANSWERS = r"""
import json, os, socket, sys, threading, time
path, manner, said = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen(8)
def answer(client):
    try:
        client.recv(4096)
        if manner == "flood":
            while True:
                client.sendall(b" " * (1 << 20))
        elif manner == "drip":
            while True:
                client.sendall(b" ")
                time.sleep(0.2)
        elif manner == "silence":
            time.sleep(3600)
        else:
            with open(said, "rb") as file:
                client.sendall(file.read() + b"\n")
            client.close()
    except OSError:
        pass
def serve():
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
print("listens", os.getpid(), flush=True)
sys.stdin.read()
os._exit(0)
"""


class Spoof:
    """A mount in the table that is another user's, and a process of that user's that answers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.mountpoint = str(directory / "share")
        self.entry = MountEntry(
            self.mountpoint, mountpoints.FILE_SYSTEM_TYPE, OWNER.uid, "0:999", mount_id=999_999
        )
        self.pid = 0
        self._said = directory / "said"
        self._ending = contextlib.ExitStack()
        self.unmounted = False
        os.mkdir(self.mountpoint)
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o755)
        os.chown(runtime, OWNER.uid, OWNER.gid)
        self.runtime = runtime

        def mounts(*_: object) -> list[MountEntry]:
            return [] if self.unmounted else [self.entry]

        def unmount(*_: object, **__: object) -> None:
            self.unmounted = True

        for module in (mountpoints, control, launch, runtime_records):
            for name, stand_in in (
                ("mounts", mounts),
                ("runtime_directory", lambda _: runtime),
                ("unmount", unmount),
            ):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, stand_in)
        monkeypatch.setattr("osxfs_sim.cli.share.mounts", mounts)
        monkeypatch.setattr("osxfs_sim.mount.force.unmount", unmount)
        monkeypatch.setattr("osxfs_sim.mount.force.runtime_directory", lambda _: runtime)

    @property
    def socket_path(self) -> Path:
        return mountpoints.control_path(self.runtime, self.mountpoint)

    def say(self, said: str) -> None:
        """Answer this from now on."""
        self._said.write_bytes(os.fsencode(said))
        self._said.chmod(0o644)
        if not self.pid:
            self.answer("say")

    def answer(self, manner: str) -> None:
        """From now on, in this manner."""
        process = subprocess.Popen(
            [interpreter_for_everybody(), "-ISc", _ANSWERS, self.socket_path, manner, self._said],
            user=OWNER.uid,
            group=OWNER.gid,
            extra_groups=[],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ending.enter_context(ended(process))
        assert process.stdout is not None
        self.pid = int(process.stdout.readline().split()[1])

    def status(self, **others: object) -> str:
        """What a share says of itself, as far as it is asked by these commands."""
        if not self.pid:
            self.answer("say")
        told = {"pid": self.pid, "source": _TITLE, "profile": _TITLE, **others}
        return json.dumps(a_status(**told).as_dict())

    def close(self) -> None:
        self._ending.close()


@pytest.fixture
def spoof(field: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spoof]:
    if os.geteuid():
        pytest.skip("only root is the victim here")
    field.chmod(0o755)
    spoof = Spoof(field, monkeypatch)
    yield spoof
    spoof.close()


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(list(words))
    code = ending.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("manner", ["flood", "drip", "silence"])
def test_an_answer_without_an_end_is_given_up(spoof, manner, capfd, monkeypatch):
    monkeypatch.setattr("osxfs_sim.cli.share._LIST_OTHERS_WITHIN_S", 0.5)
    monkeypatch.setattr(control, "_LONGEST_ANSWER_BYTES", 1 << 22)
    spoof.answer(manner)
    assert command("status") == 0
    said = capfd.readouterr().out
    assert f"{spoof.mountpoint}  (of user {OWNER.uid})" in said
    assert "does not" in said


def test_many_of_them_have_little_time_all_together(spoof, capfd, monkeypatch):
    monkeypatch.setattr("osxfs_sim.cli.share._LIST_OTHERS_WITHIN_S", 0.3)
    asked = []
    clock = SimpleNamespace(monotonic_s=0.0, monotonic=lambda: clock.monotonic_s)
    monkeypatch.setattr("osxfs_sim.cli.share.time", clock)

    def silent(*_: object, timeout_s: float) -> dict[str, object]:
        asked.append(timeout_s)
        clock.monotonic_s += timeout_s
        raise SilentError("it does not answer")

    monkeypatch.setattr("osxfs_sim.cli.share.ask_status", silent)
    monkeypatch.setattr("osxfs_sim.cli.share.mounts", lambda: [spoof.entry] * 200)
    assert command("status") == 0
    said = capfd.readouterr().out
    assert len(asked) == 1
    assert said.count("not asked: others have taken their time") == 199


def test_what_it_says_is_shown_as_text_and_as_that_users(spoof, capfd):
    spoof.say(spoof.status(source=f"/srv\nosxfs-sim: all is well{_TITLE}"))
    assert command("status") == 0
    (line,) = capfd.readouterr().out.splitlines()
    assert line.isprintable()
    assert line.endswith(f"(of user {OWNER.uid})")


_NONSENSE = [
    "",
    "[]",
    "[" * 100_000,
    "5",
    "null",
    "{}",
    '{"error": "\\u001b]0;PWNED\\u0007\\nmore"}',
    '{"exports": 5}',
    '{"exports": {"a": 1}}',
    '{"exports": [[]], "pid": "x"}',
    '{"exports": [], "mountpoint": "[/red]", "latency": []}',
    '{"exports": [], "synchronization": "x", "pid": 1e999}',
    '{"exports": [], "synchronization": {"halted": 5}}',
    "\udcff\udcfe",
]


@pytest.mark.parametrize(
    "words",
    [
        ("status", "SHARE"),
        ("status",),
        ("top", "SHARE", "--count", "1", "--interval", "100ms"),
        ("sync", "status", "SHARE"),
        ("sync", "resume", "SHARE"),
        ("flush", "SHARE"),
        ("drop-events", "SHARE", "--number", "1"),
        ("umount", "SHARE"),
    ],
    ids=" ".join,
)
def test_nonsense_is_one_line_and_no_traceback(spoof, capfd, words):
    for said in _NONSENSE:
        spoof.say(said)
        spoof.unmounted = False
        command(*(spoof.mountpoint if word == "SHARE" else word for word in words))
        out, err = capfd.readouterr()
        assert "Traceback" not in err, said
        for line in (out + err).splitlines():
            assert line.isprintable(), (said, line)
        assert len(err.splitlines()) <= 1, said


def whole(kind: type) -> dict[str, object]:
    """A part of a status that lacks nothing, so that it is not refused for that."""
    part: dict[str, object] = document_of(filled(kind, itertools.count(), sparse=False))
    return part


def test_root_unmounts_it_whatever_it_says_and_reads_no_file_for_it(spoof, capfd):
    secret = spoof.directory / "secret"
    secret.write_text("TOP SECRET")
    secret.chmod(0o600)
    left = spoof.directory / "left"
    left.mkdir()
    (left / "unsynchronized").symlink_to(secret)
    spoof.say(
        spoof.status(
            write_back={**whole(WriteBackStatus), "journal": str(secret)},
            synchronization={**whole(SynchronizationStatus), "state": str(left)},
            trace={**whole(TraceStatus), "path": str(secret)},
        )
    )
    command("umount", spoof.mountpoint)
    assert spoof.unmounted
    out, err = capfd.readouterr()
    assert "TOP SECRET" not in out + err


@contextlib.contextmanager
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of root's that has nothing to do with it."""
    process = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(3600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.mounts
def test_whom_it_names_as_its_server_is_not_signalled(spoof):
    with bystander() as other:
        spoof.say(spoof.status(pid=other.pid))
        with contextlib.suppress(MountError):
            unmount_and_wait(spoof.mountpoint)
        assert spoof.unmounted
        record = Record(
            *(spoof.mountpoint, spoof.entry.mount_id, spoof.entry.device, "/", 1, OWNER.uid),
            *(other.pid, start_of(other.pid), "/nowhere"),
        )
        spoof.unmounted = False
        (spoof.runtime / runtime_records.record_path(OWNER.uid, spoof.mountpoint).name).write_text(
            json.dumps({name: getattr(record, name) for name in record.__slots__})
        )
        with contextlib.suppress(MountError):
            end_by_force(spoof.entry)
        assert other.poll() is None
        assert not is_server_of(spoof.entry, other.pid)
        assert not is_server_of(spoof.entry, os.getpid())


@pytest.mark.mounts
def test_the_server_that_is_there_is_told_to_end(spoof):
    spoof.say("{}")
    assert user_of(spoof.pid) == OWNER.uid
    assert is_server_of(spoof.entry, spoof.pid)
    with contextlib.suppress(MountError):
        end_by_force(spoof.entry)
    eventually(lambda: not start_of(spoof.pid) or runtime_records.has_ended(spoof.pid))


def test_a_socket_at_which_a_third_user_listens_is_not_asked(spoof, monkeypatch):
    spoof.say(spoof.status())
    other = MountEntry(spoof.mountpoint, spoof.entry.file_system_type, OWNER.uid - 9, "0:999")
    monkeypatch.setattr(spoof, "entry", other)
    with pytest.raises(MountError, match=f"a process of user {OWNER.uid} listens"):
        ask(spoof.mountpoint, "status")


def records_that_lie() -> Iterator[dict[str, object]]:
    good = {
        "mountpoint": "/m",
        "mount_id": 1,
        "device": "0:1",
        "source": "/s",
        "source_mount_id": 1,
        "uid": OWNER.uid,
        "pid": 1,
        "started": "1",
        "state": "/t",
    }
    yield good | {"pid": "../../tmp/x"}
    yield good | {"pid": True}
    yield good | {"mountpoint": 5}
    yield good | {"uid": 0}
    yield good | {"journal": ["/etc"]}


@pytest.mark.parametrize("words", list(records_that_lie()), ids=range(5))
def test_a_record_that_is_not_what_it_must_be_is_none(tmp_path, words):
    (tmp_path / "x.share").write_text(json.dumps(words))
    os.chown(tmp_path, OWNER.uid, OWNER.gid)
    assert [*runtime_records._records_in(tmp_path)] == []
