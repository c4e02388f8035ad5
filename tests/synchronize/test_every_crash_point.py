"""One change travels, and everything stops at each single step of it; then somebody goes on.

What random histories meet now and then is met here on purpose: each kind of change, each
step, the end of the process or of the machine, and one of both users who, before the next
start, makes again what was there or is coming, with the same content or with another, or
takes it away. What is right then is told by support/crash_rules.py, of each mode. Nobody grants
anything to others here: so nothing may ever be open to them.
"""

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from support.crash_rules import End, Story, violations
from support.sync_trees import read_tree

from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import archive, engine, reconcile, transition
from osxfs_sim.synchronize.archive import no_step
from osxfs_sim.synchronize.engine import Engine
from osxfs_sim.synchronize.reconcile import Side
from osxfs_sim.synchronize.snapshot import UNKNOWN, Subtree, with_changes

MEMORY = Path("/dev/shm")
SAFE, RESOLVED = SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED
ONE_WAY, REPLICA = SyncMode.ONE_WAY_SAFE, SyncMode.ONE_WAY_REPLICA
BOTH: tuple[Side, Side] = ("host", "guest")

Stop = Literal["process", "machine", "machine, journal lost"]
"""What ends: the process; or the machine, with a journal that was, or was not, on the disk."""
STOPS: tuple[Stop, ...] = ("process", "machine", "machine, journal lost")

UNRECORDED = ("exchanged", "done", "record")
"""What has come into place by these steps is in no record yet."""


class Crash(BaseException):
    """Here it ends."""


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def save(path: Path, content: str) -> None:
    """As an editor that writes beside and renames; whatever is in the way goes."""
    if path.parent.is_file():
        path.parent.unlink()
    path.parent.mkdir(exist_ok=True)
    remove(path)
    beside = path.with_name("beside")
    beside.write_text(content)
    beside.rename(path)


def as_a_directory(path: Path) -> None:
    remove(path)
    path.mkdir()


def as_a_symlink(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    remove(path)
    path.symlink_to("f")


def by_its_old_name(path: Path) -> None:
    """Who had given it another name gives it back: the very same object."""
    if path.with_name("elsewhere").exists():
        remove(path)
        path.with_name("elsewhere").rename(path)


Action = Callable[[Path], object]
AGAIN: dict[str, Action] = {
    "as it was": lambda path: save(path, "1"),
    "as it was, in place": lambda path: path.is_file() and path.write_text("1"),
    "as it has become": lambda path: save(path, "2"),
    "otherwise": lambda path: save(path, "3"),
    "otherwise, in place": lambda path: path.is_file() and path.write_text("3"),
    "a directory": as_a_directory,
    "a symlink": as_a_symlink,
    "by its old name": by_its_old_name,
    "nothing": remove,
}
FILE = (
    *("as it was", "as it was, in place", "as it has become"),
    *("otherwise", "otherwise, in place", "nothing"),
)

CHANGES: dict[str, tuple[str, Action, tuple[str, ...]]] = {
    "a file is deleted": ("f", remove, (*FILE, "a directory")),
    "a file is renamed": (
        "f",
        lambda path: path.rename(path.with_name("elsewhere")),
        ("as it was", "by its old name", "otherwise"),
    ),
    "a file is edited": ("f", lambda path: save(path, "2"), (*FILE, "a symlink")),
    "a file is edited in place": ("f", lambda path: path.write_text("2"), FILE),
    "a file is made": ("new", lambda path: save(path, "2"), (*FILE, "a directory")),
    "a file may be run": ("f", lambda path: path.chmod(0o700), FILE),
    "a symlink is deleted": ("l", remove, ("a symlink", "as it was")),
    "an empty directory is deleted": ("e", remove, ("a directory", "as it was")),
    "an empty directory is renamed": (
        "e",
        lambda path: path.rename(path.with_name("elsewhere")),
        ("a directory", "by its old name"),
    ),
    "a directory is renamed": (
        "d",
        lambda path: path.rename(path.with_name("elsewhere")),
        ("a directory", "as it was", "by its old name", "nothing"),
    ),
    "a file is deleted in a directory": ("d/x", remove, ("as it was", "otherwise")),
    "a directory is deleted": ("d/x", lambda path: remove(path.parent), ("as it was",)),
    "a directory is made": ("m/x", lambda path: save(path, "2"), (*FILE, "a symlink")),
    "a symlink is led elsewhere": (
        "l",
        lambda path: (path.unlink(), path.symlink_to("keep")),
        ("a symlink", "as it was", "nothing"),
    ),
    "a file takes a directory's place": (
        "d/x",
        lambda path: save(path.parent, "2"),
        ("as it was", "otherwise"),
    ),
}
"""Where, what somebody does there, and how it may be made again."""


class World:
    """Two sides, and what is between them."""

    def __init__(self, base: Path, mode: SyncMode) -> None:
        self.base, self.mode = base, mode
        self.at_step: Callable[[str], None] = no_step
        self.stopped_before = ""
        """The step that was not taken any more."""
        self.sides = {side: base / side for side in ("host", "guest")}
        for root in (*self.sides.values(), base / "state"):
            root.mkdir()
        for within in ("f", "d/x", "d/y", "keep"):
            save(self.sides["host"] / within, "1")
        (self.sides["host"] / "e").mkdir()
        (self.sides["host"] / "l").symlink_to("f")
        self.engine = self.start()
        self.engine.cycle()
        self.engine.cycle()
        self.engine.save()

    def start(self) -> Engine:
        paths = (os.fsencode(self.base / name) for name in ("host", "guest", "state"))
        return Engine(*paths, SyncSpec(mode=self.mode), step=lambda name: self.at_step(name))

    def stops_at(self, number: int, stop: Stop = "process") -> bool:
        """Whether there is a step of that number: then it stops there."""
        left = itertools.count(number, -1)

        def step(name: str) -> None:
            if next(left) == 0:
                self.stopped_before = name
                raise Crash

        self.at_step = step
        try:
            self.engine.cycle()
            self.engine.cycle()
            self.engine.save()
        except Crash:
            self.engine.archive.close()  # as if it had ended: there is no last word
            if stop == "machine, journal lost":
                (self.base / "state/journal").unlink()
            return True
        finally:
            self.at_step = no_step
            self.engine.close()
        return False

    def settle(self) -> frozenset[str]:
        """Cycles until nothing is left to do; what is in conflict then."""
        for _ in range(8):
            result = self.engine.cycle()
            if not result.made and not result.raced:
                return frozenset(os.fsdecode(b"/".join(each.path)) for each in result.conflicts)
        raise AssertionError("it does not come to rest")

    def kept(self) -> frozenset[object]:
        folders = (self.base / "state" / f"staging-{side}" / "kept" for side in self.sides)
        return frozenset(
            str((folder / name).readlink())
            if (folder / name).is_symlink()
            else (folder / name).read_bytes()
            for folder in folders
            for name in os.listdir(folder)
            if not (folder / name).is_dir() or (folder / name).is_symlink()
        )

    def open_to_others(self) -> list[str]:
        return [
            str(path)
            for root in self.sides.values()
            for path in root.rglob("*")
            if not path.is_symlink() and path.stat().st_mode & 0o077
        ]


def objects(root: Path) -> dict[str, tuple[int, ...]]:
    """Which they are: of those that are no directories, also when they were written."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        times = () if path.is_dir() else (status.st_mtime_ns, status.st_ctime_ns)
        found[str(path.relative_to(root))] = (status.st_ino, *times)
    return found


def touched_in(root: Path, action: Callable[[], object]) -> frozenset[str]:
    """Where *action* has put something else, or the same anew."""
    before, were = read_tree(root), objects(root)
    action()
    after, are = read_tree(root), objects(root)
    return frozenset(
        path
        for path in {*before, *after}
        if path not in before
        or path not in after
        or before[path] != after[path]
        or were[path] != are[path]
    )


def go_through(
    change: str,
    again: str | None,
    by: Side,
    mode: SyncMode = SAFE,
    *,
    from_: Side = "guest",
    stop: Stop = "process",
    twice: bool = False,
) -> None:
    """*from_* makes *change*; all stops at each step in turn; *by* makes it *again*.

    *twice*: and what follows stops as well, at each of its steps.
    """
    for number in itertools.count():
        for second in itertools.count() if twice else (None,):
            goes_on, goes_on_again = once(change, again, by, mode, from_, stop, number, second)
            if not goes_on_again:
                break
        if not goes_on:
            return


def once(
    change: str,
    again: str | None,
    by: Side,
    mode: SyncMode,
    from_: Side,
    stop: Stop,
    number: int,
    second: int | None,
) -> tuple[bool, bool]:
    """Whether there were steps of these numbers, to stop at."""
    within, edit, _ = CHANGES[change]
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    base = Path(tempfile.mkdtemp(prefix="osxfs-sim-sync-", dir=place))
    world = None
    umask = os.umask(0o077)
    with pytest.MonkeyPatch.context() as patch:
        try:
            world = World(base, mode)
            was = read_tree(world.sides["host"])
            changed = touched_in(world.sides[from_], lambda: edit(world.sides[from_] / within))
            wanted = read_tree(world.sides[from_])
            goes_on = goes_on_again = world.stops_at(number, stop)
            where = f"{change}, {stop}, step {number}, {second}, {again!r} by the {by}"
            assert not world.open_to_others(), f"{where}: open to others"
            if goes_on and stop != "process":
                patch.setattr(archive, "boot_id", lambda: "another")
            root = world.sides[by]
            found = read_tree(root)
            acted = touched_in(root, lambda: again and AGAIN[again](root / within))
            story = Story(
                *(mode, stop == "process" or not goes_on),
                world.stopped_before not in UNRECORDED,
                *(from_, by, was, wanted, changed),
                *(found, read_tree(root), acted),
                {side: read_tree(world.sides[side]) for side in BOTH},
            )
            world.engine = world.start()
            if second is not None:
                goes_on_again = world.stops_at(second)
                world.engine = world.start()
            conflicts = world.settle()
            sides = {side: read_tree(world.sides[side]) for side in BOTH}
            wrong = list(violations(story, End(sides, conflicts, world.kept())))
            assert not wrong, f"{where}: {'; '.join(wrong)}"
            assert not world.open_to_others(), f"{where}: open to others"
        finally:
            os.umask(umask)
            if world is not None:
                world.engine.close()
            shutil.rmtree(base)
    return goes_on, goes_on_again


IN_DOUBT = ("as it was", "otherwise", "a directory", "by its old name")
ALL = [(change, again) for change, (_, _, ways) in CHANGES.items() for again in (None, *ways)]


@pytest.mark.takes_seconds
@pytest.mark.parametrize("stop", ["process", "machine"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_made_again_after_a_crash_is_never_deleted(change: str, stop: Stop) -> None:
    ways = [each for each in CHANGES[change][2] if stop == "process" or each in IN_DOUBT]
    for again in (None, *ways):
        for by in BOTH:
            go_through(change, again, by, stop=stop)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("mode", [RESOLVED, ONE_WAY, REPLICA])
@pytest.mark.parametrize("from_", BOTH)
def test_nor_by_the_rules_of_another_mode(mode: SyncMode, from_: Side) -> None:
    for again in ("as it was", "otherwise", "nothing"):
        go_through("a file is edited", again, "guest", mode, from_=from_, stop="machine")
    for change in ("a file is deleted", "a file takes a directory's place"):
        go_through(change, "as it was", "guest", mode, from_=from_)
    go_through("a file is edited", "nothing", "host", mode, from_=from_)


@pytest.mark.parametrize("change", ["a file is deleted", "a file is edited"])
@pytest.mark.parametrize("from_", BOTH)
def test_nor_is_what_the_guest_may_have_made_where_only_the_host_travels(
    change: str, from_: Side
) -> None:
    go_through(change, "otherwise", "host", ONE_WAY, from_=from_, stop="machine")


@pytest.mark.takes_seconds
def test_nor_when_what_follows_crashes_as_well() -> None:
    again: tuple[str, str, Side] = ("a file is edited", "otherwise", "guest")
    go_through(*again, RESOLVED, from_="host", stop="machine", twice=True)


ASKS_FOR_ROOM = ("write", "mkdir", "symlink", "fsync", "link")


@pytest.mark.takes_seconds
@pytest.mark.parametrize("change", CHANGES)
def test_nor_when_the_disk_is_full_at_any_moment(
    change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whichever it is, the host's, the guest's or the state's: with room, it is done."""
    within, edit, _ = CHANGES[change]
    for mode, from_ in ((SAFE, "guest"), (RESOLVED, "host")):
        is_full = True
        for number in itertools.count():
            if not is_full:
                break
            base = tmp_path / f"{from_}-{number}"
            base.mkdir()
            world = World(base, mode)
            edit(world.sides[from_] / within)
            wanted = read_tree(world.sides[from_])
            with monkeypatch.context() as patch:
                is_full = full_at(number, patch, world)
            assert not world.settle()
            for side in BOTH:
                where = f"{change}, from the {from_}, full at {number}: the {side}"
                assert read_tree(world.sides[side]) == wanted, where
            world.engine.close()


def full_at(number: int, patch: pytest.MonkeyPatch, world: World) -> bool:
    """A cycle and a save in which there is no room from that request on; whether it came."""
    left = itertools.count(number, -1)
    came = []

    def refusing(right: Callable[..., object]) -> Callable[..., object]:
        def ask(*given: object, **named: object) -> object:
            if next(left) <= 0:
                came.append(right)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return right(*given, **named)

        return ask

    for name in ASKS_FOR_ROOM:
        patch.setattr(os, name, refusing(getattr(os, name)))
    with contextlib.suppress(OSError):
        world.engine.cycle()
        world.engine.save()
    return bool(came)


# What must be found, or the tests above prove nothing: as it was before, piece by piece.


def content_is_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the agreed content has done nothing."""
    monkeypatch.setattr(reconcile, "_is_the_same", lambda *_, **__: True)


def deletions_are_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """As content_is_identity, and what was deleted and not recorded is not known either."""
    content_is_identity(monkeypatch)
    right = transition.finished

    def puts(unfinished, *rest):  # type: ignore[no-untyped-def]
        return right([intent for intent in unfinished if intent.new], *rest)

    monkeypatch.setattr(engine, "finished", puts)


def loads_otherwise(monkeypatch: pytest.MonkeyPatch, **otherwise: object) -> None:
    right = archive.Archive.load
    monkeypatch.setattr(archive.Archive, "load", lambda self: replace(right(self), **otherwise))


def edits_are_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has arrived and was not recorded is not known: the next edit contradicts it."""
    loads_otherwise(monkeypatch, unfinished=[])


def nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has travelled is known from the last save alone, and nothing is in doubt."""
    monkeypatch.setattr(archive.Archive, "put", lambda self, *_: self._step("record"))
    loads_otherwise(monkeypatch, unfinished=[])


def nothing_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the machine is taken for one of the process."""
    loads_otherwise(monkeypatch, doubts=frozenset())


def what_is_agreed_upon_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gave way comes back after a crash, though the host's version is agreed upon."""
    loads_otherwise(monkeypatch, recorded=frozenset())


def everything_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the process is taken for one of the machine."""
    loads_otherwise(monkeypatch, doubts=archive.EVERYTHING)


def objects_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come into place is, but not which object it was."""
    right = archive.Archive.put

    def put(self, path, entry):  # type: ignore[no-untyped-def]
        right(self, path, entry and replace(entry, known=UNKNOWN))

    monkeypatch.setattr(archive.Archive, "put", put)


def a_conflict_moves_what_lies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One way, the guest's directory is listed, and emptied of what was agreed upon."""
    right = reconcile._Reconciliation._one_way

    def one_way(self, path, then, host, guest):  # type: ignore[no-untyped-def]
        before = len(self._plan.conflicts)
        stays = right(self, path, then, host, guest)
        if len(self._plan.conflicts) > before and isinstance(guest, Subtree):
            self._below(path, then, None, guest)
        return stays

    monkeypatch.setattr(reconcile._Reconciliation, "_one_way", one_way)


def the_guest_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One way, who has what was agreed upon once has done nothing, in doubt too."""
    monkeypatch.setattr(reconcile._Reconciliation, "_surely", lambda *given: given[2])


def what_gives_way_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host's version wins, though the other may be the newer one."""
    monkeypatch.setattr(
        transition.Transition,
        "_retire",
        lambda self, _, away: self._staging.drop(self._staging.old, away),
    )


def saved_before_it_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agreed state is on the disk before what it speaks of."""
    right = engine.Engine._carry_out

    def early(self, plan, adjustments, fds):  # type: ignore[no-untyped-def]
        changes = (*plan.host, *plan.guest)
        puts = [(each.path, entry) for each in changes for entry in (None, each.new)]
        agreed = with_changes(self.ancestor, puts)
        assert isinstance(agreed, Subtree)
        self.archive.checkpoint(agreed)
        return right(self, plan, adjustments, fds)

    monkeypatch.setattr(engine.Engine, "_carry_out", early)


def new_ones_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made has the usual mode, whatever the original has."""
    monkeypatch.setattr(transition, "created", lambda _, *, runs: 0o755 if runs else 0o644)


def replaced_ones_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced too."""
    monkeypatch.setattr(transition, "replacing", lambda *_, runs: 0o755 if runs else 0o644)


def is_open_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made gets its mode when it is in place."""
    right = transition.created
    monkeypatch.setattr(transition, "created", lambda _, *, runs: 0o755 if runs else 0o644)
    done = transition.Transition._done

    def late(self, path, entry, *known):  # type: ignore[no-untyped-def]
        done(self, path, entry, *known)
        if entry is not None:
            with transition.directory_at(self._root, path[:-1]) as parent:
                os.chmod(path[-1], right(0, runs=isinstance(entry, Subtree)), dir_fd=parent)

    monkeypatch.setattr(transition.Transition, "_done", late)


Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[tuple[Fault, str, str, Side, SyncMode, Stop]] = [
    (content_is_identity, "a file is deleted", "as it was", "guest", SAFE, "machine"),
    (content_is_identity, "a file is deleted", "as it was", "host", ONE_WAY, "process"),
    (content_is_identity, "an empty directory is deleted", "a directory", "guest", SAFE, "machine"),
    (content_is_identity, "a symlink is deleted", "a symlink", "guest", SAFE, "machine"),
    (deletions_are_not_repaired, "a file is deleted", "as it was", "guest", SAFE, "process"),
    (edits_are_not_repaired, "a file is edited", "otherwise", "host", RESOLVED, "process"),
    (edits_are_not_repaired, "a file is edited", "as it was", "host", SAFE, "process"),
    (nothing_is_recorded, "a file is edited", "as it was", "host", SAFE, "process"),
    (nothing_is_recorded, "a symlink is led elsewhere", "as it was", "host", SAFE, "process"),
    (nothing_is_in_doubt, "a file is edited", "as it was", "guest", SAFE, "machine"),
    (nothing_is_in_doubt, "a file is edited", "as it was", "host", ONE_WAY, "machine"),
    (nothing_is_in_doubt, "a directory is renamed", "by its old name", "guest", SAFE, "machine"),
    (the_guest_never_goes_back, "a file is edited", "as it was", "host", ONE_WAY, "machine"),
    (what_gives_way_is_dropped, "a file is edited", "otherwise", "guest", RESOLVED, "machine"),
    (saved_before_it_is_true, "a file is edited", "as it has become", "guest", SAFE, "process"),
    (new_ones_are_open, "a file is made", "nothing", "guest", SAFE, "process"),
    (replaced_ones_are_open, "a file is edited", "nothing", "guest", SAFE, "process"),
    (is_open_for_a_moment, "a directory is made", "nothing", "guest", SAFE, "process"),
]
"""What is wrong; what is done by whom, what the guest then does, and what shows it."""
OF_THE_HOST: list[tuple[Fault, str, str, Side, SyncMode, Stop]] = [
    (everything_is_in_doubt, "a file is deleted", "otherwise", "guest", ONE_WAY, "process"),
    (everything_is_in_doubt, "a file is edited", "otherwise", "host", ONE_WAY, "process"),
    (objects_are_not_recorded, "a file is edited", "nothing", "host", ONE_WAY, "process"),
    (objects_are_not_recorded, "a file is edited", "nothing", "guest", SAFE, "process"),
    (
        a_conflict_moves_what_lies_in_it,
        "a directory is renamed",
        "as it was",
        "guest",
        ONE_WAY,
        "process",
    ),
]
"""As FAULTS, where the host goes on."""


@pytest.mark.takes_seconds
@pytest.mark.parametrize(("fault", "change", "again", "from_", "mode", "stop"), FAULTS)
def test_a_rule_less_is_noticed(
    fault: Fault,
    change: str,
    again: str,
    from_: Side,
    mode: SyncMode,
    stop: Stop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=r"is gone|open to others|a conflict"):
        go_through(change, again, "guest", mode, from_=from_, stop=stop)


@pytest.mark.parametrize(("fault", "change", "again", "from_", "mode", "stop"), OF_THE_HOST)
def test_a_rule_less_is_noticed_when_the_host_goes_on(
    fault: Fault,
    change: str,
    again: str,
    from_: Side,
    mode: SyncMode,
    stop: Stop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=r"is gone|a conflict|is still there"):
        go_through(change, again, "host", mode, from_=from_, stop=stop)


def test_what_goes_back_over_what_is_agreed_upon_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    what_is_agreed_upon_goes_back(monkeypatch)
    with pytest.raises(AssertionError, match="is gone"):
        test_nor_when_what_follows_crashes_as_well()


def test_what_found_no_room_and_counts_as_done_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = transition.Transition.apply

    def apply(self, change, staged):  # type: ignore[no-untyped-def]
        right(self, change, staged)
        if change.path in [path for path, _ in self.outcome.problems]:
            self._put(change.path, change.new)

    monkeypatch.setattr(transition.Transition, "apply", apply)
    with pytest.raises(AssertionError, match="full at"):
        test_nor_when_the_disk_is_full_at_any_moment("a file is edited", monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("from_", BOTH)
@pytest.mark.parametrize("mode", SyncMode)
@pytest.mark.parametrize(("change", "again"), ALL)
def test_nor_in_any_mode_from_any_side(
    change: str, again: str | None, mode: SyncMode, from_: Side, stop: Stop
) -> None:
    for by in BOTH:
        go_through(change, again, by, mode, from_=from_, stop=stop)


TWICE = ("a file is deleted", "a file is edited", "a directory is renamed", "a directory is made")


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("from_", BOTH)
@pytest.mark.parametrize("mode", SyncMode)
@pytest.mark.parametrize(("change", "again"), [each for each in ALL if each[0] in TWICE])
def test_nor_when_it_crashes_twice(
    change: str, again: str | None, mode: SyncMode, from_: Side, stop: Stop
) -> None:
    for by in BOTH:
        go_through(change, again, by, mode, from_=from_, stop=stop, twice=True)
