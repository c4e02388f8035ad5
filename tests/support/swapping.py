"""Another user of the host who is quicker than anybody: at work between any two system calls.

What luck decides in a real race is decided here by counting: a call is made while names of the
tree are links to the like-named in a secret place, and both before and after it they are what
they were. Whatever goes by a name, after it was looked at, then goes to the secret.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.fs import at
from osxfs_sim.mount import syscalls

_CALLS = [
    *("open", "mkdir", "rmdir", "unlink", "rename", "link", "symlink", "mknod", "mkfifo"),
    *("chmod", "fchmod", "chown", "fchown", "truncate", "ftruncate", "utime"),
    *("setxattr", "removexattr", "listdir", "stat", "fstat"),
]
_OURS = [
    *((at, name) for name in ("set_owner", "set_times", "open_beneath")),
    *((syscalls, name) for name in ("set_owner", "set_times", "open_beneath", "rename")),
]


class Swapper:
    """Swaps *names* of *tree* for links to *secret* during one call of those that follow."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tree: Path,
        secret: Path,
        names: list[str],
        others: tuple[tuple[Any, str], ...] = (),
    ) -> None:
        """*others*: more functions that make a system call."""
        self._tree, self._secret = tree, secret
        # The deepest first: above it, a link leads to the secret already.
        self._names = sorted(names, key=lambda name: -name.count("/"))
        self._rename, self._symlink, self._unlink = os.rename, os.symlink, os.unlink
        self._lexists = os.path.lexists
        self._is_on = False
        self._swaps = False
        self._at = -1
        self.calls = 0
        for module, name in [*((os, name) for name in _CALLS), *_OURS, *others]:
            monkeypatch.setattr(module, name, self._hooked(getattr(module, name)))

    @contextlib.contextmanager
    def during(self, number: int) -> Iterator[None]:
        """Do it during the call *number* of the block."""
        self.calls, self._at, self._is_on = 0, number, True
        try:
            yield
        finally:
            self._is_on = False

    def _hooked(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if not self._is_on or self._swaps:
                return real(*args, **more)
            self.calls += 1
            if self.calls - 1 != self._at:
                return real(*args, **more)
            with self._swapped():
                return real(*args, **more)

        return call

    @contextlib.contextmanager
    def _swapped(self) -> Iterator[None]:
        self._swaps = True
        swapped = []
        try:
            for name in self._names:
                path = str(self._tree / name)
                with contextlib.suppress(OSError):
                    self._rename(path, path + ".moved")
                    self._symlink(self._secret / name, path)
                    swapped.append(path)
            yield
        finally:
            for path in reversed(swapped):
                with contextlib.suppress(OSError):
                    self._unlink(path)
                    self._rename(path + ".moved", path)
            self._swaps = False


def state_of(top: Path) -> dict[str, tuple[Any, ...]]:
    """What nobody may have changed, times of the changes too."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns, content),
        )
    return found


def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: the name that an object has now, instead of its descriptor."""

    def set_mode(fd: int, mode: int) -> None:
        os.chmod(os.readlink(at.magic_link(fd)), mode)

    monkeypatch.setattr(at, "set_mode", set_mode)
