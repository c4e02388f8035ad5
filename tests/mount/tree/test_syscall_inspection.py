"""What a thread is in the middle of: told of real processes, in real system calls."""

import ctypes
import itertools
import mmap
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from osxfs_sim.mount.tree import syscall_inspection
from osxfs_sim.mount.tree.syscall_inspection import Renaming, rename_in_progress

pytestmark = pytest.mark.starts_processes

_number = itertools.count()

# A process that says that it is about to do something, and does it.
_CHILD = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
directory, other = sys.argv[1:]
os.chdir(directory)
fd = os.open(other, os.O_RDONLY)
print(flush=True)
"""


def child(action: str, directory: Path, other: Path | None = None) -> "subprocess.Popen[bytes]":
    """A process in *directory* that is about to do *action*."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD + textwrap.dedent(action), directory, other or directory],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def tell(process: "subprocess.Popen[bytes]") -> set[Renaming | None]:
    """All that is told of a process until it has ended."""
    told = set()
    try:
        while process.poll() is None:
            told.add(rename_in_progress(process.pid))
    finally:
        end(process)
    assert process.returncode == 0
    return told - {None}


def parts(path: Path, *more: str) -> tuple[bytes, ...]:
    return tuple(os.fsencode(part) for part in (*path.parts[1:], *more))


@pytest.fixture(scope="module")
def slow_share(module_share: Callable) -> Path:
    """A share on which a rename takes long enough to be looked at."""
    return module_share(profile="osxfs", latency_ns=20_000_000).guest


@pytest.fixture
def slow(slow_share: Path) -> Path:
    place = slow_share / f"place-{next(_number)}"
    (place / "d").mkdir(parents=True)
    (place / "d" / "a").touch()
    return place


CALLS = {
    "rename": 'os.rename("d/a", "d/b")',
    "absolute": "os.rename(f'{directory}/d/a', f'{directory}//d/./b')",
    "mixed": "os.rename('d/a', f'{directory}/d/b')",
    "up": "os.chdir('d'); os.rename('a', '../d/b')",
    "descriptors": "os.rename('a', 'b', src_dir_fd=fd, dst_dir_fd=fd)",
    "renameat2": "assert libc.renameat2(-100, b'd/a', fd, b'b', 0) == 0",
    "not replacing": "assert libc.renameat2(fd, b'a', fd, b'b', 1) == 0",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_rename_is_told_as_its_caller_wrote_it(slow: Path, call: str) -> None:
    told = tell(child(call, slow, slow / "d"))
    assert told == {Renaming(parts(slow, "d", "a"), parts(slow, "d", "b"))}
    assert os.listdir(slow / "d") == ["b"]


def test_an_exchange_is_no_rename(slow: Path) -> None:
    (slow / "d" / "b").touch()
    assert tell(child("assert libc.renameat2(fd, b'a', fd, b'b', 2) == 0", slow, slow / "d")) == (
        set()
    )


def test_any_thread_is_told_of(slow: Path) -> None:
    """The number in a request is that of a thread."""
    told, number = set(), []

    def rename() -> None:
        number.append(threading.get_native_id())
        os.rename(slow / "d" / "a", slow / "d" / "b")

    thread = threading.Thread(target=rename)
    thread.start()
    while thread.is_alive():
        told |= {rename_in_progress(each) for each in number}
        assert rename_in_progress(os.getpid()) is None
    thread.join()
    assert told - {None} == {Renaming(parts(slow, "d", "a"), parts(slow, "d", "b"))}


def test_other_system_calls_are_no_renames(field: Path) -> None:
    process = child("sys.stdin.read(); time.sleep(1000)", field)
    try:
        assert rename_in_progress(process.pid) is None
    finally:
        end(process)


def test_who_is_gone_or_never_was_renames_nothing(field: Path) -> None:
    process = child("", field)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert rename_in_progress(process.pid) is None  # a zombie
    end(process)
    assert rename_in_progress(process.pid) is None
    assert rename_in_progress(0) is None  # a process that the share's namespace has no number for
    assert rename_in_progress(-1) is None


def test_who_goes_to_sleep_is_waited_for_but_not_for_ever(field: Path, monkeypatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(syscall_inspection, "time", SimpleNamespace(sleep=waits.append))
    process = child("while True: pass", field)
    try:
        assert rename_in_progress(process.pid) is None
    finally:
        end(process)
    assert 1 <= len(waits) <= syscall_inspection._ATTEMPTS


def test_a_machine_whose_numbers_are_unknown_tells_nothing(slow: Path, monkeypatch) -> None:
    monkeypatch.setattr(syscall_inspection, "_RENAMES", {})
    assert tell(child(CALLS["rename"], slow)) == set()


def test_a_path_may_end_with_the_memory_it_lies_in() -> None:
    pages = mmap.mmap(-1, 3 * 4096)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + 8192), 4096, 0) == 0
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        pages[4086:4106] = b"x" * 19 + b"\0"
        assert syscall_inspection._text(fd, start + 4086) == b"x" * 19
        pages[8182:8192] = b"y" * 9 + b"\0"
        assert syscall_inspection._text(fd, start + 8182) == b"y" * 9
    finally:
        os.close(fd)


def test_what_has_no_end_is_no_path() -> None:
    text = ctypes.create_string_buffer(b"x" * 20_000)
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="no path"):
            syscall_inspection._text(fd, ctypes.addressof(text))
    finally:
        os.close(fd)


def test_memory_that_is_gone_is_read_only_once(field: Path) -> None:
    process = child("time.sleep(1000)", field)
    fd = os.open(f"/proc/{process.pid}/mem", os.O_RDONLY)
    try:
        end(process)
        with pytest.raises(ValueError, match="no path"):
            syscall_inspection._text(fd, 4096)
    finally:
        os.close(fd)
