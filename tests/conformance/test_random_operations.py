"""Random operations on a share and on a plain directory: every answer must be the same.

Answers are values or errnos; at the end both trees must be equal, and the
share's source must hold what the guest saw. A run that fails prints the
shortest sequence of operations that shows the difference.
"""

import contextlib
import errno
import itertools
import os
import shutil
import stat as modes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from support.live import LiveShare
from support.machines import run_machine

GUEST, HOST = "guest", "host"
_actors = st.sampled_from([GUEST, HOST])
# Few, so that operations meet; those that exist in the beginning come first.
_paths = st.sampled_from(["a", "b", "b/a", "c", "d", "b/c", "b/c/a", "d/a"])
_sizes = st.sampled_from([0, 1, 5, 4_095, 4_096, 4_097, 9_000])
_which = st.integers(0, 3)
_OPEN_FLAGS = st.sampled_from(
    [
        os.O_RDONLY,
        os.O_RDWR,
        os.O_WRONLY | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_CREAT | os.O_TRUNC,
        os.O_RDWR | os.O_CREAT | os.O_APPEND,
        os.O_RDONLY | os.O_TRUNC,
        os.O_WRONLY | os.O_APPEND | os.O_TRUNC,
        os.O_RDONLY | os.O_DIRECTORY,
        os.O_RDWR | os.O_NOFOLLOW,
    ]
)
_MOST_OPEN = 4
_number = itertools.count()


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returned, or the name of its errno."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def shown(path: str, *, follow: bool = False) -> tuple[int, ...]:
    """Mode, link count and size, as far as file systems agree on them."""
    status = os.stat(path, follow_symlinks=follow)
    directory = modes.S_ISDIR(status.st_mode)
    return status.st_mode, 0 if directory else status.st_nlink, 0 if directory else status.st_size


def owners(path: str) -> tuple[int, int]:
    """Whom it belongs to, as the guest is told; on the host it may be somebody else."""
    status = os.lstat(path)
    return status.st_uid, status.st_gid


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def tree(root: Path) -> dict[str, tuple]:
    """A whole tree as a value, hard links told by the first path of the file."""
    found: dict[str, tuple] = {}
    first: dict[int, str] = {}
    for above, below, files in os.walk(root):
        for name in sorted(below + files):
            path = os.path.join(above, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            content: object = None
            if modes.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif modes.S_ISREG(status.st_mode):
                content = read(path)
                found[relative + " is"] = (first.setdefault(status.st_ino, relative),)
            found[relative] = (shown(path), content)
    return dict(sorted(found.items()))


class Differential(RuleBasedStateMachine):
    """The same operation on both sides. A test's subclass names the share, and who acts on it."""

    share: LiveShare
    host_acts_too = False

    def __init__(self) -> None:
        super().__init__()
        name = f"example-{next(_number)}"
        self.plain = self.share.source.parent / "plain" / name
        self.plain.mkdir(parents=True)
        self.guest = self.share.guest / name
        self.guest.mkdir()
        self.host = self.share.source / name
        self.open: list[tuple[int, int]] = []
        self.fill = itertools.count(1)
        for root in (self.plain, self.guest):
            (root / "b").mkdir(0o750)
            (root / "a").write_bytes(b"a" * 5_000)
            (root / "b" / "a").write_bytes(b"b")
            os.link(root / "a", root / "b" / "c")
            os.symlink("b", root / "d")

    def both(self, actor: str, call: Callable[[Path], Any]) -> None:
        """*call* with the plain root, and with the share's as seen by *actor*."""
        share = self.host if actor == HOST and self.host_acts_too else self.guest
        expected = outcome(lambda: call(self.plain))
        found = outcome(lambda: call(share))
        assert found == expected

    def data(self, size: int) -> bytes:
        return bytes([next(self.fill) % 255 + 1]) * size

    @rule(actor=_actors, path=_paths)
    def mkdir(self, actor: str, path: str) -> None:
        self.both(actor, lambda root: os.mkdir(root / path, 0o750))

    @rule(actor=_actors, path=_paths)
    def rmdir(self, actor: str, path: str) -> None:
        self.both(actor, lambda root: os.rmdir(root / path))

    @rule(actor=_actors, path=_paths)
    def unlink(self, actor: str, path: str) -> None:
        self.both(actor, lambda root: os.unlink(root / path))

    @rule(actor=_actors, path=_paths, to=_paths)
    def symlink(self, actor: str, path: str, to: str) -> None:
        self.both(actor, lambda root: os.symlink(to, root / path))

    @rule(actor=_actors, path=_paths, size=_sizes)
    def write_whole(self, actor: str, path: str, size: int) -> None:
        data = self.data(size)

        def write(root: Path) -> int:
            with open(root / path, "wb") as file:
                return file.write(data)

        self.both(actor, write)

    @rule(actor=_actors, path=_paths, size=_sizes)
    def append(self, actor: str, path: str, size: int) -> None:
        data = self.data(size)

        def append(root: Path) -> int:
            with open(os.open(root / path, os.O_WRONLY | os.O_APPEND), "wb") as file:
                return file.write(data)

        self.both(actor, append)

    @rule(actor=_actors, path=_paths, size=_sizes)
    def truncate(self, actor: str, path: str, size: int) -> None:
        self.both(actor, lambda root: os.truncate(root / path, size))

    @rule(actor=_actors, path=_paths, mode=st.sampled_from([0o600, 0o755, 0o1777]))
    def chmod(self, actor: str, path: str, mode: int) -> None:
        self.both(actor, lambda root: os.chmod(root / path, mode))

    @rule(path=_paths, uid=st.sampled_from([-1, 0, 5]), gid=st.sampled_from([-1, 0, 7]))
    def chown(self, path: str, uid: int, gid: int) -> None:
        def chown(root: Path) -> tuple[int, int]:
            os.chown(root / path, uid, gid, follow_symlinks=False)
            status = os.lstat(root / path)
            return status.st_uid, status.st_gid

        self.both(GUEST, chown)

    @rule(actor=_actors, old=_paths, new=_paths)
    def rename(self, actor: str, old: str, new: str) -> None:
        self.both(actor, lambda root: os.rename(root / old, root / new))

    @rule(actor=_actors, old=_paths, new=_paths)
    def link(self, actor: str, old: str, new: str) -> None:
        self.both(actor, lambda root: os.link(root / old, root / new, follow_symlinks=False))

    @rule(path=_paths)
    def look(self, path: str) -> None:
        self.both(GUEST, lambda root: shown(f"{root}/{path}"))
        self.both(GUEST, lambda root: owners(f"{root}/{path}"))
        self.both(GUEST, lambda root: shown(f"{root}/{path}", follow=True))
        self.both(GUEST, lambda root: read(f"{root}/{path}"))
        self.both(GUEST, lambda root: sorted(os.listdir(root / path)))
        self.both(GUEST, lambda root: os.readlink(root / path))

    @rule(path=_paths, time_ns=st.integers(1, 2**62))
    def set_times(self, path: str, time_ns: int) -> None:
        def set_times(root: Path) -> int:
            os.utime(root / path, ns=(time_ns, time_ns + 1))
            return os.stat(root / path).st_mtime_ns

        self.both(GUEST, set_times)

    # Open files: at most a few, each opened on both sides; rules pick one by a number.

    @rule(path=_paths, flags=_OPEN_FLAGS)
    def open_file(self, path: str, flags: int) -> None:
        fds: list[int] = []

        def open_one(root: Path) -> bool:
            fds.append(os.open(root / path, flags, 0o640))
            return True

        try:
            self.both(GUEST, open_one)
        except AssertionError:
            for fd in fds:
                os.close(fd)
            raise
        if fds:
            self.open.append((fds[0], fds[1]))
        if len(self.open) > _MOST_OPEN:
            self.close_file(0)

    @precondition(lambda self: self.open)
    @rule(which=_which)
    def close_file(self, which: int) -> None:
        for fd in self.open.pop(which % len(self.open)):
            os.close(fd)

    def both_open(self, which: int, call: Callable[[int], Any]) -> None:
        plain, guest = self.open[which % len(self.open)]
        expected, found = outcome(lambda: call(plain)), outcome(lambda: call(guest))
        assert found == expected

    @precondition(lambda self: self.open)
    @rule(which=_which, size=_sizes, offset=_sizes)
    def write_at(self, which: int, size: int, offset: int) -> None:
        data = self.data(size)
        self.both_open(which, lambda fd: os.pwrite(fd, data, offset))

    @precondition(lambda self: self.open)
    @rule(which=_which, size=_sizes)
    def write_on(self, which: int, size: int) -> None:
        data = self.data(size)
        self.both_open(which, lambda fd: os.write(fd, data))

    @precondition(lambda self: self.open)
    @rule(which=_which, size=_sizes)
    def truncate_open(self, which: int, size: int) -> None:
        self.both_open(which, lambda fd: os.ftruncate(fd, size))

    @precondition(lambda self: self.open)
    @rule(which=_which)
    def look_at_open(self, which: int) -> None:
        def look(fd: int) -> tuple:
            status = os.fstat(fd)
            if modes.S_ISDIR(status.st_mode):
                return status.st_mode, status.st_nlink == 0, sorted(os.listdir(fd))
            content = outcome(lambda: os.pread(fd, 1 << 20, 0))
            return status.st_mode, status.st_nlink, status.st_size, content

        self.both_open(which, look)

    @invariant()
    def the_server_is_well(self) -> None:
        assert not self.share.trouble()

    def teardown(self) -> None:
        while self.open:
            self.close_file(0)
        try:
            expected = tree(self.plain)
            assert tree(self.guest) == expected
            assert tree(self.host) == expected
        finally:
            for directory in (self.plain, self.guest):
                with contextlib.suppress(OSError):
                    shutil.rmtree(directory)


def _run(machine: type[Differential], *, examples: int, shrink: bool = True) -> None:
    run_machine(machine, examples=examples, steps=40, shrink=shrink)


@pytest.mark.parametrize(
    "profile", ["none", "osxfs-cached", "osxfs-negative", "osxfs-apfs", "host"]
)
def test_the_guest_sees_what_it_would_on_a_plain_directory(share, profile: str) -> None:
    latency = {"latency_ns": 0} if profile.startswith("osxfs") else {}

    class GuestOnly(Differential):
        pass

    GuestOnly.share = share(profile=profile, **latency)
    _run(GuestOnly, examples=100)


def test_guest_and_host_are_one_when_nothing_is_believed(share) -> None:
    class GuestAndHost(Differential):
        host_acts_too = True

    GuestAndHost.share = share()
    _run(GuestAndHost, examples=150)


def test_a_share_that_forgets_to_truncate_would_be_caught(share) -> None:
    class Forgetful(Differential):
        def both(self, actor: str, call: Callable[[Path], Any]) -> None:
            if "truncate" in call.__qualname__:
                outcome(lambda: call(self.plain))
            else:
                super().both(actor, call)

    Forgetful.share = share()
    with pytest.raises(AssertionError):
        _run(Forgetful, examples=100, shrink=False)
