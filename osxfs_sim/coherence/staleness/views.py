"""The ways in which a guest sees a file: how to read it, and the change that each shows.

Each view has names of its own. Its first read is what the guest's kernel caches from
then on; each read is a real one, by the system calls that a program would make.
Contents change without changing size: a view that goes by size alone stays stale.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from osxfs_sim.coherence.staleness.predictions import View

_BEFORE = b"before, and as long\n"
_AFTER = b"AFTER., and as long\n"

ReadOnce = Callable[[], bool]
"""Reads once; returns whether that was the new state. Raises OSError."""


@dataclass(frozen=True, slots=True)
class CallInterval:
    """The system call that changed a file: when it began and when it had returned."""

    call_ns: int
    """Just before the system call, by CLOCK_MONOTONIC."""
    return_ns: int
    """Just after it had returned."""


@dataclass(frozen=True, slots=True)
class ViewProbe:
    """How one view is measured: each callable is given the path of one file, on its own side."""

    prepare: Callable[[str], None]
    """Makes the file at a path of the host."""
    reader: Callable[[str], AbstractContextManager[ReadOnce]]
    """Opens what is needed to read at a path, for a ``with`` block; yields what reads once."""
    change: Callable[[str], CallInterval]
    """Changes the file at a path of the other side."""


def _timed(call: Callable[[], object]) -> CallInterval:
    call_ns = time.monotonic_ns()
    call()
    return CallInterval(call_ns, time.monotonic_ns())


def _nothing(path: str) -> None:
    del path


def _make(path: str) -> None:
    with open(path, "xb") as file:
        file.write(_BEFORE)


def _create(path: str) -> CallInterval:
    return _timed(lambda: os.mknod(path, 0o644))


def _delete(path: str) -> CallInterval:
    return _timed(lambda: os.unlink(path))


def _append(path: str) -> CallInterval:
    with open(path, "ab", buffering=0) as file:
        return _timed(lambda: file.write(b"more\n"))


def _overwrite(path: str) -> CallInterval:
    with open(path, "r+b", buffering=0) as file:
        return _timed(lambda: file.write(_AFTER))


@contextlib.contextmanager
def _exists(path: str) -> Iterator[ReadOnce]:
    yield lambda: _has_name(path)


@contextlib.contextmanager
def _is_absent(path: str) -> Iterator[ReadOnce]:
    yield lambda: not _has_name(path)


def _has_name(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _has_attributes(path: str) -> Iterator[ReadOnce]:
    old = os.stat(path)

    def read_once() -> bool:
        status = os.stat(path)
        return status.st_size != old.st_size and status.st_mtime_ns != old.st_mtime_ns

    yield read_once


# Not by open(), which calls fstat(2) too: after a read the kernel's cached attributes are
# invalid (atime has changed), and it would so get the new ones at once.


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _has_content(path: str) -> Iterator[ReadOnce]:
    def read_once() -> bool:
        with _opened(path) as fd:
            return os.read(fd, len(_AFTER)) == _AFTER

    yield read_once


@contextlib.contextmanager
def _is_listed(path: str) -> Iterator[ReadOnce]:
    directory, name = os.path.split(path)
    yield lambda: name in os.listdir(directory)


@contextlib.contextmanager
def _handle_has_content(path: str) -> Iterator[ReadOnce]:
    with _opened(path) as fd:
        yield lambda: os.pread(fd, len(_AFTER), 0) == _AFTER


@contextlib.contextmanager
def _mapping_has_content(path: str) -> Iterator[ReadOnce]:
    with (
        _opened(path) as fd,
        mmap.mmap(fd, len(_BEFORE), access=mmap.ACCESS_READ) as mapping,
    ):
        yield lambda: mapping[:] == _AFTER


VIEWS: Mapping[View, ViewProbe] = {
    View.EXISTENCE: ViewProbe(_nothing, _exists, _create),
    View.ABSENCE: ViewProbe(_make, _is_absent, _delete),
    View.ATTRIBUTES: ViewProbe(_make, _has_attributes, _append),
    View.CONTENT: ViewProbe(_make, _has_content, _overwrite),
    View.LISTING: ViewProbe(_nothing, _is_listed, _create),
    View.HANDLE: ViewProbe(_make, _handle_has_content, _overwrite),
    View.MAPPING: ViewProbe(_make, _mapping_has_content, _overwrite),
}
