"""Requests about one file come in some order, and a few of them take long: each is answered as
if all before it had been done before, and the file ends as they say.

No interleaving may show anything else. What comes next is drawn: another request, the end of
something that a thread does, or an answer that becomes due.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.controlled import CALLER, SLOW_FROM_BYTES, Requests, attributes, fields, requests

from osxfs_sim.model.request_order import Order
from osxfs_sim.mount.requests.dispatch import Dispatcher

_MARK_NS = 1_000_000_000_000_000_000  # a time that nothing but a request sets
_LARGEST_BYTES = 40
WRITES_BACK: dict[str, object] = {
    "profile": "osxfs-delegated",
    "latency_ns": 0,
    "write_back_changes": 2,
    "write_back_age_ns": 3_600_000_000_000,  # when the list is full, or at the end
}
SIDES: dict[str, dict[str, object]] = {"at once": {}, "held": WRITES_BACK}


@dataclass
class Expected:
    """The file as it has to be after the requests that came so far."""

    content: bytearray = field(default_factory=lambda: bytearray(b"-" * 20))
    mtime_ns: int | None = None
    """Where a request has set it, and nothing has changed it since."""

    def write(self, offset: int, data: bytes) -> int:
        if offset > len(self.content):
            self.content += bytes(offset - len(self.content))
        self.content[offset : offset + len(data)] = data
        self.mtime_ns = None
        return len(data)

    def cut(self, size: int) -> None:
        self.content = self.content[:size] + bytes(max(0, size - len(self.content)))
        self.mtime_ns = None


@dataclass
class Run:
    """One file of a share, opened three times; what was asked, and what has to be answered."""

    share: Requests
    random: Random
    expected: Expected = field(default_factory=Expected)
    log: list[str] = field(default_factory=list)
    judges: list[tuple[int, str, Callable[[Any], bool]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        share = self.share
        path = self.source / "f"
        path.write_bytes(self.expected.content)
        self.number = share.answer("lookup", 1, b"f", CALLER).st_ino
        os.link(path, self.source / "g")
        self.handles = [
            share.answer("open", self.number, os.O_RDWR | flags, CALLER).fh
            for flags in (0, os.O_DSYNC, os.O_APPEND)
        ]
        # As if the host had to fetch what is read in odd numbers of bytes.
        handlers = share.components.handlers
        reader = getattr(handlers, "next", handlers)._reader
        own = reader._read_from_memory

        def read_from_memory(fd: int, offset: int, buffer: memoryview) -> int | None:
            return None if len(buffer) % 2 else own(fd, offset, buffer)

        reader._read_from_memory = read_from_memory

    @property
    def source(self) -> Path:
        return Path(os.readlink(f"/proc/self/fd/{self.share.components.inodes.root.path_fd}"))

    def ask(self) -> None:
        """One more request."""
        kinds = ("write", "write", "read", "read", "cut", "mark", "look", "find", "sync", "open")
        getattr(self, f"_{self.random.choice(kinds)}")()

    def _ask(self, is_right: Callable[[Any], bool], name: str, *arguments: Any) -> None:
        shown = ", ".join(f"{each!r}" for each in arguments if isinstance(each, int | bytes))
        self.log.append(f"{name}({shown})")
        number = self.share.ask(name, *arguments)
        self.judges.append((number, self.log[-1], is_right))

    def _write(self) -> None:
        handle = self.random.choice(self.handles)
        is_slow = self.random.random() < 0.5
        length = SLOW_FROM_BYTES + self.random.randrange(5) if is_slow else 3
        data = bytes([self.random.choice(b"abcdefgh")]) * length
        offset = self.random.randrange(_LARGEST_BYTES)
        at = len(self.expected.content) if handle == self.handles[2] else offset
        self.expected.write(at, data)
        self._ask(lambda answer: answer == length, "write", handle, offset, data)

    def _read(self) -> None:
        size = self.random.choice((40, 41, 64, 99))
        offset = self.random.randrange(10)
        wanted = bytes(self.expected.content[offset : offset + size])
        handle = self.random.choice(self.handles[:2])
        self._ask(lambda answer: answer == wanted, "read", handle, offset, size)

    def _cut(self) -> None:
        size = self.random.randrange(_LARGEST_BYTES)
        self.expected.cut(size)
        self._ask(
            lambda answer: answer.st_size == size,
            *("setattr", self.number, attributes(size=size), fields(size=True), None, CALLER),
        )

    def _mark(self) -> None:
        mark_ns = _MARK_NS + len(self.log) * 1_000
        self.expected.mtime_ns = mark_ns
        self._ask(
            lambda answer: answer.st_mtime_ns == mark_ns,
            *("setattr", self.number, attributes(mtime_ns=mark_ns), fields(mtime=True)),
            *(None, CALLER),
        )

    def _is_as_expected(self) -> Callable[[Any], bool]:
        size, mtime_ns = len(self.expected.content), self.expected.mtime_ns
        is_marked = mtime_ns is not None

        def is_right(answer: Any) -> bool:
            if answer.st_size != size:
                return False
            if is_marked:
                return bool(answer.st_mtime_ns == mtime_ns)
            return not _MARK_NS <= answer.st_mtime_ns < _MARK_NS + 1_000_000

        return is_right

    def _look(self) -> None:
        self._ask(self._is_as_expected(), "getattr", self.number, CALLER)

    def _find(self) -> None:
        # By another name, too, of which the guest did not know.
        name = self.random.choice((b"f", b"g"))
        self._ask(self._is_as_expected(), "lookup", 1, name, CALLER)

    def _sync(self) -> None:
        self._ask(lambda answer: answer is None, "fsync", self.handles[0], False)

    def _open(self) -> None:
        cuts = self.random.random() < 0.5
        if cuts:
            self.expected.cut(0)
        flags = os.O_RDWR | (os.O_TRUNC if cuts else 0)
        self._ask(lambda answer: not isinstance(answer, int), "open", self.number, flags, CALLER)

    def go_on(self) -> None:
        """Let a thread end, or somebody go on."""
        reactor = self.share.reactor
        reactor.resume_told()
        if reactor.jobs and self.random.random() < 0.6:
            number = self.random.randrange(len(reactor.jobs))
            self.log.append(f"  job {number} of {len(reactor.jobs)} ends")
            reactor.finish_job(number)
        elif reactor.waiting:
            self.log.append("  somebody goes on")
            reactor.resume_next()

    def wrong(self) -> list[str]:
        """What was answered otherwise than it had to be; and the file, in the end."""
        self.share.settle()
        found = []
        for number, what, is_right in self.judges:
            answer = self.share.answers.get(number, "nothing")
            if not (answer != "nothing" and is_right(answer)):
                found.append(f"{what} was answered {_shown(answer)}")
        if self.share.components.dispatcher.order.turns:
            found.append("somebody still has a turn")
        content = (self.source / "f").read_bytes()
        if content != self.expected.content:
            found.append(f"the file is {content!r}, not {bytes(self.expected.content)!r}")
        if self.share.reactor.internal_errors.count:
            found.append(self.share.reactor.internal_errors.latest)
        return found


def _shown(answer: Any) -> str:
    if hasattr(answer, "st_size"):
        return f"size {answer.st_size}, mtime {answer.st_mtime_ns}"
    return repr(answer)


def run(seed: int, settings: dict[str, object]) -> tuple[list[str], list[str]]:
    """What was wrong in one run, and what happened in it."""
    random = Random(seed)
    base = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        with requests(base, **settings) as share:
            one = Run(share, random)
            for _ in range(random.randrange(3, 12)):
                if random.random() < 0.6:
                    one.ask()
                else:
                    one.go_on()
            return one.wrong(), one.log
    finally:
        shutil.rmtree(base)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("side", SIDES)
def test_every_interleaving_gives_what_the_order_of_arrival_gives(side: str) -> None:
    for seed in range(300):
        wrong, log = run(seed, SIDES[side])
        assert not wrong, "\n".join((f"seed {seed}", *log, "---", *wrong))


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("part", range(10))
def test_every_interleaving_gives_what_the_order_of_arrival_gives_at_length(
    side: str, part: int
) -> None:
    for seed in range(1_000 + part * 2_000, 3_000 + part * 2_000):
        wrong, log = run(seed, SIDES[side])
        assert not wrong, "\n".join((f"seed {seed}", *log, "---", *wrong))


class _NoOrder(Order[Any]):
    """As it was: nobody waits."""

    def enter(self, of: Any, access: Any, *, has_begun: bool = False) -> Any:
        return super().enter(of, access, has_begun=True)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("side", SIDES)
def test_without_an_order_it_is_found_out(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Dispatcher.__init__

    def without(self: Dispatcher, handlers: Any, *arguments: Any, **more: Any) -> None:
        own(self, handlers, *arguments, **more)
        self.order = _NoOrder()
        self.set_handlers(handlers)

    monkeypatch.setattr(Dispatcher, "__init__", without)
    found = [wrong for seed in range(300) if (wrong := run(seed, SIDES[side])[0])]
    assert len(found) > 3, "too few of these runs can tell"
