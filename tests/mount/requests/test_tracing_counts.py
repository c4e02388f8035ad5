"""Of every operation, a trace has as many rows by the host as the share counted crossings.

Under random work of several threads and of the host, in every profile, and with so little
room for write-back that requests wait for it.
"""

import contextlib
import heapq
import os
import random
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.statuses import a_status

from osxfs_sim.catalogue import load_profile, profile_names
from osxfs_sim.model.latency import NO_LATENCY, LatencyModel
from osxfs_sim.model.operations import CLASS_OF, UNAWAITED, Operation
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.latency.crossings import ClientOverhead, Crossings
from osxfs_sim.mount.loop.reactor import Reactor, Signal, wait
from osxfs_sim.mount.loop.request import Crossing, Request, new_request
from osxfs_sim.mount.requests.tracing import Tracing
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.trace.format import read_trace

LITTLE_ROOM = {
    "write_back_changes": 4,
    "write_back_bytes": "256KB",
    "write_back_age_ns": 30_000_000,
}
SETTINGS = {
    name: LITTLE_ROOM if load_profile(name).write_back else {}
    for name in profile_names()
    if name not in ("native", "volume", "docker-vz-sync")  # no requests are made of these
}
NAMES = [f"{kind}{number}" for kind in "adl" for number in range(3)]
WORKERS, STEPS = 3, 70


def step(root: Path, chance: random.Random) -> None:
    """One thing that a program might do, anywhere below *root*."""
    place = root.joinpath(*chance.choices(["", *NAMES], k=chance.randint(0, 2)))
    path, other = place / chance.choice(NAMES), root / chance.choice(NAMES)
    doings: list[Callable[[], object]] = [
        lambda: os.stat(path),
        lambda: path.mkdir(),
        lambda: path.rmdir(),
        lambda: path.unlink(),
        lambda: os.listdir(place),
        lambda: os.rename(path, other),
        lambda: os.replace(other, path),
        lambda: os.link(path, other),
        lambda: path.symlink_to("a0"),
        lambda: os.readlink(path),
        lambda: os.truncate(path, chance.randrange(9_000)),
        lambda: os.chmod(path, chance.choice((0o600, 0o644, 0o755))),
        lambda: os.statvfs(root),
        lambda: os.access(path, os.W_OK),
        lambda: os.setxattr(path, "user.a", b"1"),
        lambda: os.getxattr(path, "user.a"),
        lambda: os.listxattr(path),
        lambda: path.read_bytes(),
        lambda: sync(place, os.O_RDONLY | os.O_DIRECTORY),
        lambda: write(path, chance),
        lambda: write(path, chance),
        lambda: write(path, chance),
    ]
    # The host takes names away, and guests of names that are gone are told so.
    with contextlib.suppress(OSError):
        chance.choice(doings)()


def sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, chance: random.Random) -> None:
    flags = os.O_RDWR | os.O_CREAT
    for flag in (os.O_TRUNC, os.O_SYNC, os.O_APPEND, os.O_DSYNC):
        flags |= flag if chance.random() < 0.25 else 0
    fd = os.open(path, flags, 0o644)
    try:
        for _ in range(chance.randint(1, 3)):
            os.pwrite(fd, bytes(chance.choice((1, 5_000, 70_000, 300_000))), 0)
            if chance.random() < 0.4:
                (os.fsync if chance.random() < 0.5 else os.fdatasync)(fd)
            os.pread(fd, 8_192, chance.randrange(8_192))
    finally:
        os.close(fd)


def work(live: Any, seed: int) -> None:
    """So many steps in the guest by several threads, while the host does some, too."""
    threads = [
        threading.Thread(target=steps, args=(root, random.Random(seed * 10 + number), count))
        for number, (root, count) in enumerate([(live.guest, STEPS)] * WORKERS + [(live.source, 9)])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def steps(root: Path, chance: random.Random, count: int) -> None:
    for _ in range(count):
        step(root, chance)


def crossings(status: ShareStatus) -> Counter[str]:
    """What crossed: all that was asked but what nobody waits for."""
    unawaited = {operation.name for operation in UNAWAITED}
    return Counter({op: n for op, n in status.requests.items() if op not in unawaited})


def quiet(live: Any) -> ShareStatus:
    """The status, once nothing is asked any more: the kernel writes some things out later."""
    before = live.status()
    for _ in range(600):
        time.sleep(0.05)
        status = live.status()
        held = status.write_back is not None and status.write_back.pending_changes
        if status.requests == before.requests and not (status.in_flight or held):
            return status
        before = status
    raise AssertionError(f"requests go on: {before.requests}")


def disagreements(rows: list[dict], before: ShareStatus, after: ShareStatus) -> list[str]:
    """Where the rows of a trace and what the share counted meanwhile differ."""
    counted = crossings(after)
    counted.subtract(crossings(before))
    by_host = Counter(row["operation"] for row in rows if row["answered_by"] == "host")
    wrong = [
        f"{name}: {by_host[name]} rows by the host, {counted[name]} crossings"
        for name in sorted({*by_host, *counted})
        if by_host[name] != counted[name]
    ]
    of_class = Counter(CLASS_OF[Operation[name]].label for name in by_host.elements())
    for label, line in after.receipt.items():
        count = line.count - (before.receipt[label].count if label in before.receipt else 0)
        if of_class[label] != count:
            wrong.append(f"{label}: {of_class[label]} rows by the host, {count} in the receipt")
    return wrong


def traced(live: Any, path: Path, seed: int) -> tuple[list[dict], ShareStatus, ShareStatus]:
    before = quiet(live)
    live.share.start_trace(str(path))
    work(live, seed)
    after = quiet(live)
    live.share.stop_trace()
    assert crossings(live.status()) == crossings(after)
    return read_trace(path)[1].to_pylist(), before, after


@pytest.mark.parametrize("profile", SETTINGS)
def test_rows_by_the_host_are_the_crossings_that_were_counted(
    profile: str, share, tmp_path: Path
) -> None:
    live = share(profile=profile, latency_ns=50_000, **SETTINGS[profile])
    rows, before, after = traced(live, tmp_path / "trace.parquet", seed=len(profile))
    assert not disagreements(rows, before, after)
    assert {row["target_ns"] for row in rows if row["answered_by"] != "host"} <= {0}
    assert all(row["took_ns"] >= 0 for row in rows)
    assert len({row["operation"] for row in rows if row["answered_by"] == "host"}) > 5


# The same, of single requests whose turns are played by hand.


class Scene:
    """Handlers, of which each request does what it is told to, and a reactor that turns by hand."""

    complete_directories = None
    injector_thread = 0

    def __init__(self, tracing: type[Tracing] = Tracing) -> None:
        async def nothing() -> None: ...

        self.reactor = Reactor(nothing)
        self.crossings = Crossings(LatencyModel(NO_LATENCY, 0), ClientOverhead({0: 0}))
        self.inode = Inode.__new__(Inode)
        self.inode.number, self.inode.kind = 7, stat.S_IFDIR
        self.latest: list[Any] = []
        self.layer: Any = None
        self.tracing = tracing(self, self, {}, self.crossings, self.reactor.call_soon)  # type: ignore[arg-type]
        self.rows: list[tuple[str, str]] = []
        self.tracing._recorder = self  # type: ignore[assignment]
        self.tracing._start_recording()

    def set_handlers(self, layer: Any) -> None:
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        async def handler(request: Request, _: int, deed: Callable[[Request], Any]) -> Any:
            await deed(request)
            return b""

        return handler

    def inode_of(self, handle: int, *, is_directory: bool) -> Inode:
        return self.inode

    def add(self, *row: Any) -> None:
        self.rows.append((Operation(row[3]).name, ("host", "names", "held", "guest")[row[12]]))

    def ask(self, operation: str, deed: Callable[[Request], Any], arrival_ns: int = 0) -> None:
        """A request comes, and is served until it waits."""

        async def worker() -> None:
            request = new_request(Operation[operation.upper()], arrival_ns or time.monotonic_ns())
            await getattr(self.layer, operation)(request, 3, deed)

        self.reactor.spawn(worker())

    def go_on(self) -> None:
        while self.reactor._delayed:
            self.reactor._resume(heapq.heappop(self.reactor._delayed)[2], time.monotonic_ns())

    async def cross(self, request: Request, operation: Operation) -> None:
        self.latest = [Crossing(operation, 0, request.arrival_ns, 0, 0)]
        await self.crossings.cross(request, operation, 0)

    def disagreements(self) -> list[str]:
        rows = [{"operation": name, "answered_by": by} for name, by in self.rows]
        counts = {op.name: self.crossings.counts[op] for op in Operation}
        self.reactor.close()
        return disagreements(rows, a_status(), a_status(requests=counts))


def one_that_waits_and_then_crosses(scene: Scene) -> None:
    """As FSYNC does: what it waits for others pay, and then it is dated anew."""
    room = Signal()

    async def settle_and_sync(request: Request) -> None:
        await wait(room)
        await scene.cross(request.restarted(), Operation.FSYNC)

    scene.ask("fsync", settle_and_sync)
    scene.ask("read", lambda request: scene.cross(request, Operation.READ))
    scene.reactor.notify_all(room)
    scene.go_on()
    assert scene.rows[1:] == [("FSYNC", "host")]


def one_that_waits_and_another_that_crosses_with_the_same_arrival(scene: Scene) -> None:
    room = Signal()
    scene.ask("flush", lambda _: wait(room), arrival_ns=5)
    scene.ask("read", lambda request: scene.cross(request, Operation.READ), arrival_ns=5)
    scene.reactor.notify_all(room)
    scene.go_on()
    assert scene.rows == [("READ", "host"), ("FLUSH", "held")]


def one_in_whose_turn_others_begin(scene: Scene) -> None:
    """A handler has write-back begin, and pyfuse3 another worker, before it goes on and after."""

    async def background() -> None:
        await scene.cross(new_request(Operation.WRITE, time.monotonic_ns()), Operation.WRITE)
        scene.crossings.counts[Operation.WRITE] -= 1  # the share's status has it elsewhere

    async def deed(request: Request) -> None:
        scene.reactor.spawn(background())
        scene.ask("read", lambda request: scene.cross(request, Operation.READ))
        await scene.cross(request, Operation.FLUSH)
        scene.reactor.spawn(background())

    scene.ask("flush", deed)
    assert scene.rows == [("READ", "host"), ("FLUSH", "host")]


def one_that_crosses_as_something_else_besides(scene: Scene) -> None:
    """A synchronous WRITE crosses as FSYNC; an OPEN that is refused, and asked for again, twice."""
    scene.ask("write", lambda request: scene.cross(request, Operation.FSYNC))

    async def twice(request: Request) -> None:
        await scene.cross(request, Operation.READ)
        await scene.cross(request, Operation.READ)

    scene.ask("read", twice)
    assert scene.rows == [
        *(("FSYNC", "host"), ("WRITE", "held")),
        *(("READ", "host"), ("READ", "host")),
    ]


def judge(play: Callable[[Scene], None], scene: Scene) -> None:
    play(scene)
    assert not scene.disagreements()


SCENES = [
    one_that_waits_and_then_crosses,
    one_that_waits_and_another_that_crosses_with_the_same_arrival,
    one_in_whose_turn_others_begin,
    one_that_crosses_as_something_else_besides,
]


@pytest.mark.parametrize("play", SCENES)
def test_a_crossing_belongs_to_the_request_that_has_paid_it(
    play: Callable[[Scene], None],
) -> None:
    judge(play, Scene())


class ByArrival(Tracing):
    """As it was: the last crossing is a request's, if it has the request's arrival."""

    def _record(self, operation: int, request: Request, *more: Any) -> None:
        request = new_request(request.operation, request.arrival_ns)
        latest = self._dispatcher.latest  # type: ignore[attr-defined]
        request.paid = [each for each in latest if each.arrival_ns == request.arrival_ns]
        super()._record(operation, request, *more)


@pytest.mark.parametrize("play", SCENES)
def test_a_trace_that_goes_by_arrivals_is_rejected(play: Callable[[Scene], None]) -> None:
    with pytest.raises(AssertionError):
        judge(play, Scene(ByArrival))
