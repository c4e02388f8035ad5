"""Which system call a thread waits in: told of real threads that wait in real calls."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from support.guests import eventually

from osxfs_sim.mount.tree import system_calls
from osxfs_sim.mount.tree.system_calls import NAMES, OTHER, system_call_of

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="/proc/PID/syscall is root's"),
    pytest.mark.skipif(not NAMES, reason="a machine whose numbers are not known here"),
]


@pytest.fixture
def waiting() -> Iterator[Callable[[Callable[[int], object]], int]]:
    """A function that has a thread wait in a call on a pipe, and gives the thread's number."""
    ends: list[int] = []
    threads = []

    def waiting(call: Callable[[int], object]) -> int:
        reading, writing = os.pipe()
        ends.append(writing)
        thread = threading.Thread(target=lambda: (call(reading), os.close(reading)))
        thread.start()
        threads.append(thread)
        assert thread.native_id is not None
        return thread.native_id

    yield waiting
    for end in ends:
        os.write(end, b"x")
        os.close(end)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda fd: os.read(fd, 1), "read"),
        (lambda fd: os.readv(fd, [bytearray(1)]), "readv"),
    ],
)
def test_a_thread_that_waits_is_in_a_call(waiting, call, name: str) -> None:
    thread = waiting(call)
    eventually(lambda: system_call_of(thread) == name)


def test_who_waits_in_a_call_without_a_name_is_elsewhere(waiting, monkeypatch) -> None:
    monkeypatch.setattr(system_calls, "NAMES", {})
    thread = waiting(lambda fd: os.read(fd, 1))
    eventually(lambda: system_call_of(thread) == OTHER)


def test_of_who_is_not_there_nothing_is_said() -> None:
    assert system_call_of(2**22 + 1) is None


def words(name: str, *arguments: int) -> list[bytes]:
    """As /proc/PID/syscall has them: a number, arguments, stack and instruction pointers."""
    number = next(number for number, each in NAMES.items() if each == name)
    return [str(number).encode(), *(hex(each).encode() for each in (*arguments, 0, 0, 0))]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (os.O_RDONLY, "openat"),
        (os.O_WRONLY | os.O_CREAT, "openat O_CREAT"),
        (os.O_WRONLY | os.O_EXCL, "openat"),  # without O_CREAT it means nothing
        (os.O_WRONLY | os.O_CREAT | os.O_EXCL, "openat O_EXCL"),
    ],
)
def test_an_open_of_what_must_not_exist_is_told_apart(flags: int, said: str) -> None:
    assert system_calls._named(words("openat", 2**64 - 100, 0x7F00, flags, 0o644)) == said


def test_other_calls_have_their_names() -> None:
    assert system_calls._named(words("linkat", 1, 2, os.O_CREAT | os.O_EXCL)) == "linkat"
    assert system_calls._named([b"-1", b"0x7f", b"0x7f"]) == OTHER, "a page fault"
