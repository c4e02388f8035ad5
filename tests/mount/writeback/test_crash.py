"""A share with write-back is killed at any moment: nothing that was synced is lost, the host is
what the guest once was, and what is missing can be recovered or given up.

A seeded guest makes random changes (support/scribbler.py), the server is killed from outside after
some of them or kills itself before a step of its own (support/dying_server.py), and what is on the
host is judged (support/prefixes.py). A failure says the seed, what the guest did last, and how to
have it again.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from support.live import LiveShare, is_mounted
from support.prefixes import Tree, difference, snapshot
from support.scribbler import Scribbler, furnish

from osxfs_sim.mount import launch
from osxfs_sim.mount.mounts.mountpoints import MountError, unmount
from osxfs_sim.mount.writeback.journal_reader import unfinished_journals

_MS = 1_000_000
_AGES_NS = (1 * _MS, 3 * _MS, 10 * _MS, 30 * _MS, 100 * _MS, 5_000 * _MS, 5_000 * _MS)
_LATENCIES_NS = (0, 0, 20_000, 300_000)
_MOST_STEPS = 1_500
_MOST_SEEDS = 260
_LATEST_SHOWN = 25


@contextlib.contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, where: str, step: int) -> Iterator[None]:
    """The servers that are started in this block kill themselves before that step of theirs."""
    with monkeypatch.context() as patch:
        patch.setattr(launch, "_SERVER", "support.dying_server")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("DIES_IN", where)
        patch.setenv("DIES_BEFORE_STEP", str(step))
        yield


def bury(live: LiveShare) -> None:
    """Kill the server, if it lives, and take its mount away."""
    live.kill()
    if is_mounted(live.guest):
        unmount(str(live.guest), lazily=True)


@dataclass
class Crash:
    """One guest, one share, one crash, and what is left of it."""

    seed: int
    field: Path
    share: Callable[..., LiveShare]
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.source, self.guest = self.field / "source", self.field / "guest"
        self.state = self.field / "state"
        for path in (self.source, self.guest, self.state):
            path.mkdir()
        furnish(self.source)
        self.scribbler = Scribbler(
            self.guest, snapshot(self.source), self.random, sync_rate=self.random.choice((0, 0.03))
        )

    def mount(self, unwritten: str | None = None) -> LiveShare:
        age_ns, latency_ns = self.random.choice(_AGES_NS), self.random.choice(_LATENCIES_NS)
        return self.share(
            self.source,
            self.guest,
            profile="osxfs-delegated",
            latency_ns=latency_ns,
            write_back_age_ns=age_ns,
            write_back_changes=self.random.choice((None, None, None, 5)),
            state_directory=str(self.state),
            unwritten=unwritten,
        )

    def dying(self, where: str, step: int) -> contextlib.AbstractContextManager[None]:
        return dying(self.monkeypatch, where, step)

    # The crash

    def kill_from_outside(self) -> None:
        live = self.mount()
        after, delay_s = self.random.randrange(2, 500), self.random.random() * 0.004
        killer = threading.Thread(target=lambda: (time.sleep(delay_s), live.server.kill()))

        def before(done: int) -> None:
            if done >= after and killer.ident is None:
                killer.start()

        try:
            survived = self.scribbler.run(_MOST_STEPS, before)
        finally:
            if killer.ident is None:
                killer.start()
            killer.join()
            bury(live)
        assert not survived, "the server was to be killed before the guest was done"

    def kill_itself(self) -> None:
        with self.dying("serving", int(2 ** (self.random.random() * 12))):
            live = self.mount()
        try:
            self.scribbler.run(self.random.randrange(20, 500))  # too little for it, perhaps
        finally:
            bury(live)

    def recover_and_die(self, step: int) -> bool:
        """Begin to recover, and be killed in that; False if it was done before."""
        live = None
        with self.dying("recovery", step):
            try:
                live = self.mount("recover")
            except MountError as error:
                self.demand("before the share was ready" in str(error), str(error))
        if live is not None:
            live.unmount()
            return False
        if is_mounted(self.guest):
            unmount(str(self.guest), lazily=True)
        return True

    # What must hold then

    def check_host(self) -> None:
        host = snapshot(self.source)
        verdicts = [h.judge(host) for h in self.scribbler.outcomes()]
        self.demand(any(v.point is not None for v in verdicts), verdicts[-1].why)

    def left(self) -> int:
        return sum(len(each.pending) for each in unfinished_journals(self.state, str(self.source)))

    def check_complete(self, found: Tree) -> None:
        """*found* is exactly the guest's last state, perhaps without what was not answered."""
        differences = [difference(h.last, found) for h in self.scribbler.outcomes()]
        self.demand("" in differences, " / ".join(differences))

    def demand(self, holds: bool, why: str) -> None:
        if holds:
            return
        log, under_way = self.scribbler.log, self.scribbler.under_way
        pytest.fail(
            f"seed {self.seed}: {why}\n"
            f"the guest's latest of {len(log)}: {'; '.join(log[-_LATEST_SHOWN:])}\n"
            f"not answered: {under_way.text if under_way else 'nothing'}\n"
            f"again: {self.replay}",
            pytrace=False,
        )

    @property
    def replay(self) -> str:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        return f".venv/bin/python -m pytest -m 'slow or not slow' '{test}'"

    def check_refusal(self) -> None:
        """A mount that is not told what to do says what there is to do, in one line."""
        left = self.left()
        try:
            live = self.mount()
        except MountError as error:
            message = str(error)
            self.demand(left > 0, f"nothing was left, but: {message}")
            self.demand("\n" not in message, message)
            count = re.search(r"(\d+) changes? ", message)
            self.demand(count is not None and int(count[1]) == left, message)
            self.demand(str(self.source) in message, message)
            self.demand("--unwritten recover" in message, message)
            self.demand("--unwritten discard" in message, message)
            self.demand(not is_mounted(self.guest), "mounted all the same")
        else:
            live.unmount()
            self.demand(not left, f"mounted, though {left} changes were left")
            self.check_complete(snapshot(self.source))

    def check_nothing_left(self) -> None:
        live = self.mount()
        host = snapshot(self.source)
        seen = difference(host, snapshot(self.guest))
        self.demand(not seen, f"the guest sees something else: {seen}")
        live.unmount()
        self.demand(self.left() == 0, "something was left after all")
        self.demand(not difference(host, snapshot(self.source)), "it has changed the host")
        self.demand(not list((self.state / "write-back").iterdir()), "a journal was left")


@pytest.fixture
def crash(
    field: Path, share: Callable[..., LiveShare], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Crash]:
    def crash(seed: int) -> Crash:
        made = Crash(seed, field, share, monkeypatch)
        if seed % 2:
            made.kill_itself()
        else:
            made.kill_from_outside()
        return made

    return crash


def seeds(ordinary: int) -> pytest.MarkDecorator:
    """So many in the ordinary tests, and the others in the slow ones."""
    many = range(ordinary, _MOST_SEEDS)
    return pytest.mark.parametrize(
        "seed", [*range(ordinary), *(pytest.param(seed, marks=pytest.mark.slow) for seed in many)]
    )


@seeds(10)
def test_a_killed_share_can_be_recovered_or_given_up(
    crash: Callable[[int], Crash], seed: int
) -> None:
    made = crash(seed)
    made.check_host()
    made.check_refusal()
    made.check_host()
    as_it_was = snapshot(made.source)
    if seed % 5 == 0:
        live = made.mount("discard")
        live.unmount()
        made.demand(not difference(as_it_was, snapshot(made.source)), "the host has changed")
    else:
        left = made.left()
        live = made.mount("recover")
        made.demand(live.status().write_back.recovered == left, f"not {left} recovered")
        made.check_complete(snapshot(made.source))
        made.check_complete(snapshot(made.guest))
        live.unmount()
        made.check_complete(snapshot(made.source))
    made.check_nothing_left()


@seeds(4)
def test_a_recovery_that_is_killed_can_be_recovered(
    crash: Callable[[int], Crash], seed: int
) -> None:
    made = crash(seed)
    left = made.left()
    for _ in range(made.random.randrange(1, 4)):
        if not left or not made.recover_and_die(made.random.randrange(2, 20 + left * 8)):
            break
        made.check_host()
        made.demand(made.left() <= left, "there is more to be recovered than before")
    live = made.mount("recover")
    live.unmount()
    made.check_complete(snapshot(made.source))
    made.check_nothing_left()


# Found by the above


HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 3_600 * 10**9}


@pytest.fixture
def sides(field: Path) -> tuple[Path, Path]:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    return source, guest


def test_a_file_is_recovered_by_the_name_that_it_has_left(
    sides: tuple[Path, Path], share: Callable[..., LiveShare]
) -> None:
    source, guest = sides
    (source / "d").mkdir()
    (source / "d" / "one").write_text("host")
    os.link(source / "d" / "one", source / "d" / "two")
    live = share(*sides, **HELD)
    assert (guest / "d" / "two").read_text() == "host"
    os.unlink(guest / "d" / "one")
    (guest / "d" / "two").write_text("guest")
    fd = os.open(guest / "d", os.O_RDONLY)
    os.fsync(fd)  # the unlink, and nothing after it
    os.close(fd)
    bury(live)
    assert os.listdir(source / "d") == ["two"]
    assert (source / "d" / "two").read_text() == "host"
    share(*sides, **HELD, unwritten="recover")
    assert (source / "d" / "two").read_text() == "guest"


@pytest.mark.parametrize("step", range(2, 6))
def test_a_directory_replaced_by_another_leaves_nothing_aside(
    sides: tuple[Path, Path],
    share: Callable[..., LiveShare],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """Killed between the frame of the rename and that of what it made needless."""
    source, guest = sides
    with dying(monkeypatch, "serving", step):
        live = share(*sides, **HELD)
    with contextlib.suppress(OSError):
        (guest / "old").mkdir()
        (guest / "new").mkdir()
        os.rename(guest / "new", guest / "old")
    bury(live)
    live = share(*sides, **HELD, unwritten="recover")
    assert set(os.listdir(source)) <= {"old", "new"}
    assert live.status().write_back.lost_host_changes == 0


def test_a_rename_that_was_carried_out_and_not_noted_is_gone_on_from(
    sides: tuple[Path, Path], share: Callable[..., LiveShare]
) -> None:
    source, guest = sides
    for name in ("file", "directory"):
        (source / name).mkdir()
    (source / "file" / "old").write_text("host")
    (source / "directory" / "old").mkdir()
    live = share(*sides, **HELD)
    for name in ("file", "directory"):
        os.rename(guest / name / "old", guest / name / "new")
    (guest / "file" / "new").write_text("guest")
    (guest / "directory" / "new" / "made").touch()
    bury(live)
    for name in ("file", "directory"):
        os.rename(source / name / "old", source / name / "new")
    share(*sides, **HELD, unwritten="recover")
    assert (source / "file" / "new").read_text() == "guest"
    assert os.listdir(source / "file") == ["new"]
    assert os.listdir(source / "directory") == ["new"]
    assert os.listdir(source / "directory" / "new") == ["made"]


def test_a_file_is_recovered_by_where_it_was_moved_though_another_is_where_it_was(
    sides: tuple[Path, Path], share: Callable[..., LiveShare]
) -> None:
    source, guest = sides
    for name in ("first", "second", "third"):
        (source / name).mkdir()
    (source / "first" / "file").write_text("host")
    live = share(*sides, **HELD)
    os.rename(guest / "first" / "file", guest / "second" / "file")
    os.rename(guest / "second" / "file", guest / "third" / "file")
    _sync(guest / "first")  # the first rename, and not the second
    (guest / "second" / "file").mkdir()
    os.truncate(guest / "third" / "file", 2)  # the journal says where the host has it now
    _sync(guest / "second")  # all but that
    bury(live)
    assert (source / "third" / "file").read_text() == "host"
    share(*sides, **HELD, unwritten="recover")
    assert (source / "third" / "file").read_text() == "ho"
    assert os.listdir(source / "second") == ["file"]


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
