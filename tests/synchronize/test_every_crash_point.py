"""One change travels, and everything stops at each single step of it; then somebody goes on.

What random histories meet now and then is met here on purpose: each kind of change, each
step, the end of the process or of the machine, and one of both users who, before the next
start, makes again what was there or is coming, with the same content or with another.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sync_trees import Tree, read_tree

from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import archive, engine, reconcile, transition
from osxfs_sim.synchronize.archive import Loaded, no_step
from osxfs_sim.synchronize.engine import Engine

MEMORY = Path("/dev/shm")
SAFE, RESOLVED = SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED


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
}
FILE = ("as it was", "as it was, in place", "as it has become", "otherwise", "otherwise, in place")

CHANGES: dict[str, tuple[str, Action, tuple[str, ...]]] = {
    "a file is deleted": ("f", remove, (*FILE, "a directory")),
    "a file is renamed": (
        "f",
        lambda path: path.rename(path.with_name("elsewhere")),
        ("as it was", "by its old name"),
    ),
    "a file is edited": ("f", lambda path: save(path, "2"), (*FILE, "a symlink")),
    "a file is edited in place": ("f", lambda path: path.write_text("2"), FILE),
    "a file is made": ("new", lambda path: save(path, "2"), (*FILE, "a directory")),
    "a file may be run": ("f", lambda path: path.chmod(0o755), FILE),
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
        ("a directory", "as it was", "by its old name"),
    ),
    "a file is deleted in a directory": ("d/x", remove, ("as it was", "otherwise")),
    "a directory is deleted": ("d/x", lambda path: remove(path.parent), ("as it was",)),
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

    def stops_at(self, number: int) -> bool:
        """Whether there is a step of that number: then it stops there."""
        left = itertools.count(number, -1)

        def step(_: str) -> None:
            if next(left) == 0:
                raise Crash

        self.at_step = step
        try:
            self.engine.cycle()
            self.engine.cycle()
            self.engine.save()
        except Crash:
            return True
        finally:
            self.at_step = no_step
            self.engine.close()
        return False

    def settle(self) -> set[str]:
        """Cycles until nothing is left to do; what is in conflict then."""
        for _ in range(8):
            result = self.engine.cycle()
            if not result.made and not result.raced:
                return {os.fsdecode(b"/".join(found.path)) for found in result.conflicts}
        raise AssertionError("it does not come to rest")

    def kept(self) -> set[bytes]:
        folders = (self.base / "state" / f"staging-{side}" / "kept" for side in self.sides)
        return {
            (folder / name).read_bytes()
            for folder in folders
            for name in os.listdir(folder)
            if (folder / name).is_file()
        }


def go_through(
    change: str,
    again: str | None,
    by: str,
    mode: SyncMode = SAFE,
    *,
    from_: str = "guest",
    machine: bool = False,
) -> None:
    """*from_* makes *change*; all stops at each step in turn; *by* makes it *again*."""
    within, edit, _ = CHANGES[change]
    goes_on = True
    for number in itertools.count():
        if not goes_on:
            return
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        base = Path(tempfile.mkdtemp(prefix="osxfs-sim-sync-", dir=place))
        world = None
        with pytest.MonkeyPatch.context() as patch:
            try:
                world = World(base, mode)
                edit(world.sides[from_] / within)
                goes_on = world.stops_at(number)
                if machine:
                    patch.setattr(archive, "boot_id", lambda: "another")
                has = made_again(world.sides[by], within, again)
                world.engine = world.start()
                where = f"{change}, step {number}, {again!r} by the {by}"
                # By the rule of the mode, of two that were edited apart the host's wins.
                wins = mode is RESOLVED and (from_, by) == ("host", "guest")
                judge(world, has, where, wins or is_edit(change, again, by, from_))
            finally:
                if world is not None:
                    world.engine.close()
                shutil.rmtree(base)


def made_again(root: Path, within: str, again: str | None) -> Tree:
    """What somebody has there now, as read_tree tells; empty: nothing was made."""
    path = root / within
    if again is None:
        return {}
    before = path.lstat() if os.path.lexists(path) else None
    AGAIN[again](path)
    if not os.path.lexists(path) or (before is not None and path.lstat() == before):
        return {}
    return {
        name: entry
        for name, entry in read_tree(root).items()
        if f"{name}/".startswith(f"{within}/")
    }


def is_edit(change: str, again: str | None, by: str, from_: str) -> bool:
    """Whether one user has edited what the other wrote again as it was: that is no edit."""
    is_as_it_was = again is not None and again.startswith("as it was")
    return by != from_ and is_as_it_was and ("edited" in change or "run" in change)


def judge(world: World, has: Tree, where: str, may_be_replaced: bool) -> None:
    """Nothing that somebody has made again is gone, and both sides are the same."""
    conflicts = world.settle()

    def settled(tree: Tree) -> Tree:
        return {
            path: entry
            for path, entry in tree.items()
            if not any(f"{path}/".startswith(f"{conflict}/") for conflict in conflicts)
        }

    trees = [read_tree(root) for root in world.sides.values()]
    assert settled(trees[0]) == settled(trees[1]), where
    assert trees[0]["keep"] == (b"1", False), where
    if world.mode is RESOLVED:
        assert not conflicts, where
    for path, entry in has.items():
        is_there = any(path in tree and tree[path] == entry for tree in trees)
        # An empty directory that gives way is no loss.
        is_kept = entry[0] in world.kept() if isinstance(entry, tuple) else world.mode is RESOLVED
        is_replaced = may_be_replaced and any(path in tree for tree in trees)
        assert is_there or is_kept or is_replaced, f"{where}: {path} is gone"


ALL = [(change, again) for change, (_, _, ways) in CHANGES.items() for again in (None, *ways)]


@pytest.mark.parametrize("machine", [False, True], ids=["process", "machine"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_made_again_after_a_crash_is_never_deleted(change: str, machine: bool) -> None:
    for again in (None, *CHANGES[change][2]):
        for by in ("host", "guest"):
            go_through(change, again, by, machine=machine)


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


def nothing_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the machine is taken for one of the process."""
    right = archive.Archive.load

    def load(self):  # type: ignore[no-untyped-def]
        loaded = right(self)
        return Loaded(loaded.agreed, loaded.intents, loaded.unfinished, frozenset())

    monkeypatch.setattr(archive.Archive, "load", load)


def what_gives_way_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host's version wins, though the other may be the newer one."""
    monkeypatch.setattr(
        transition.Transition,
        "_retire",
        lambda self, _, away: self._staging.drop(self._staging.old, away),
    )


@pytest.mark.parametrize(
    ("fault", "change", "again", "mode", "machine"),
    [
        (content_is_identity, "a file is deleted", "as it was", SAFE, True),
        (content_is_identity, "an empty directory is deleted", "a directory", SAFE, True),
        (content_is_identity, "a symlink is deleted", "a symlink", SAFE, True),
        (deletions_are_not_repaired, "a file is deleted", "as it was", SAFE, False),
        (nothing_is_in_doubt, "a file is edited", "as it was", SAFE, True),
        (nothing_is_in_doubt, "a directory is renamed", "by its old name", SAFE, True),
        (what_gives_way_is_dropped, "a file is edited", "otherwise", RESOLVED, True),
    ],
)
def test_a_rule_less_is_noticed(
    fault: Callable[[pytest.MonkeyPatch], None],
    change: str,
    again: str,
    mode: SyncMode,
    machine: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match="is gone"):
        go_through(change, again, "guest", mode, machine=machine)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [False, True], ids=["process", "machine"])
@pytest.mark.parametrize("from_", ["host", "guest"])
@pytest.mark.parametrize("mode", [SAFE, RESOLVED])
@pytest.mark.parametrize(("change", "again"), ALL)
def test_nor_in_any_mode_from_any_side(
    change: str, again: str | None, mode: SyncMode, from_: str, machine: bool
) -> None:
    for by in ("host", "guest"):
        go_through(change, again, by, mode, from_=from_, machine=machine)
