"""Both sides edited at random, the synchronizer crashed between any two steps, for all modes.

The oracle knows every version ever written, each of its own content. One may
disappear only when a user of either side has overwritten or deleted it, or by a
rule of the mode: where it is resolved so, the host's wins at a path that it has
changed too; a replica's guest has nothing of its own. Of versions that are equal,
which are written again and again, it knows where somebody has made one since both
sides last agreed: there one stays, unless the other side's user has put something
in its place. Crashes are those of the process, and of the machine, whose journal
does not count or is gone; users go on before the next start. A machine that has never
found anything proves nothing: it is shown engines with a fault each.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.machines import run_machine
from support.sync_trees import Tree, read_tree

from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import archive, reconcile, transition
from osxfs_sim.synchronize.archive import no_step
from osxfs_sim.synchronize.engine import CycleResult, Engine
from osxfs_sim.synchronize.reconcile import Side
from osxfs_sim.synchronize.snapshot import Path as Names
from osxfs_sim.synchronize.snapshot import Subtree, with_changes

# Few, so that edits, and what they meet, are often of the same object.
PATHS = ["a", "b", "b/a", "b/b", "b/c/a"]
SIDES = st.sampled_from(("host", "guest"))
SOME_PATH = st.sampled_from(PATHS)
EDITS = st.sampled_from(
    (
        *("write", "write", "write", "append", "mkdir", "again", "again"),
        *("delete", "delete", "rename", "chmod", "symlink"),
    )
)
EDIT = st.tuples(SIDES, SOME_PATH, SOME_PATH, EDITS)
RACES = ("stage", "place", "exchange", "exchanged", "move away", "moved away", "drop", "set mode")
MEMORY = Path("/dev/shm")


Edit = tuple[Side, str, str, str]


class Crash(BaseException):
    """The synchronizer ends here, as if it had been killed."""


def machine_for(mode: SyncMode) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
            self.base = Path(tempfile.mkdtemp(prefix="osxfs-sim-sync-", dir=place))
            self.roots = {side: self.base / side for side in ("host", "guest")}
            for root in (*self.roots.values(), self.base / "state"):
                root.mkdir()
            self.counter = itertools.count()
            self.living: dict[bytes, tuple[str, str]] = {}
            """Versions that nobody has given up: which side wrote it, and where."""
            self.made: dict[tuple[str, str], bytes] = {}
            """Versions that others are equal to, which somebody has made since both agreed."""
            self.touched: dict[str, set[str]] = {"host": set(), "guest": set()}
            self.boot = 0
            self.patch = pytest.MonkeyPatch()
            self.patch.setattr(archive, "boot_id", lambda: str(self.boot))
            self.heard: dict[Side, set[Names]] = {"host": set(), "guest": set()}
            self.at_step: Callable[[str], None] = no_step
            self.engine = self.new_engine()
            self.is_sound = True

        def new_engine(self) -> Engine:
            return Engine(
                *(os.fsencode(self.base / name) for name in ("host", "guest", "state")),
                SyncSpec(mode=mode),
                step=lambda name: self.at_step(name),
            )

        def teardown(self) -> None:
            try:
                if self.is_sound:  # else what was found first is to be told
                    self.settle()
                self.engine.close()
            finally:
                self.patch.undo()
                shutil.rmtree(self.base)

        # What users do

        @rule(side=SIDES, path=SOME_PATH, other=SOME_PATH, edit=EDITS)
        def edit(self, side: Side, path: str, other: str, edit: str) -> None:
            root = self.roots[side]
            target = root / path
            for touched in (path, other):
                names = tuple(os.fsencode(touched).split(b"/"))
                self.heard[side].update(names[:length] for length in range(len(names) + 1))
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, FileExistsError):
                if side == "host" or edit != "delete":
                    self.touched[side].update((path, other) if edit == "rename" else (path,))
                if edit in ("write", "symlink", "again"):
                    # Whatever is in the way goes, as a user would who means it.
                    for ancestor in reversed(target.relative_to(root).parents[:-1]):
                        if (root / ancestor).is_symlink() or (root / ancestor).is_file():
                            self.give_up(side, ancestor)
                            (root / ancestor).unlink()
                        (root / ancestor).mkdir(exist_ok=True)
                    self.give_up(side, Path(path))
                    if target.is_dir() and not target.is_symlink():
                        shutil.rmtree(target)
                    elif target.is_symlink() or edit == "symlink":
                        target.unlink(missing_ok=True)
                    if edit == "again":
                        target.unlink(missing_ok=True)
                        target.write_bytes(b"again")
                        self.made[side, path] = b"again"
                    elif edit == "symlink":
                        target.symlink_to(f"t{next(self.counter)}")
                    else:
                        self.write(side, path)
                elif edit == "append" and target.is_file() and not target.is_symlink():
                    self.give_up(side, Path(path))
                    self.write(side, path)
                elif edit == "mkdir":
                    target.mkdir()
                elif edit == "delete" and (target.exists() or target.is_symlink()):
                    self.give_up(side, Path(path))
                    if target.is_dir() and not target.is_symlink():
                        shutil.rmtree(target)
                    else:
                        target.unlink()
                elif edit == "rename" and not f"{other}/".startswith(f"{path}/"):
                    self.rename(side, path, other)
                elif edit == "chmod" and target.is_file() and not target.is_symlink():
                    target.chmod(target.stat().st_mode ^ 0o111)

        def rename(self, side: str, path: str, other: str) -> None:
            source, target = self.roots[side] / path, self.roots[side] / other
            is_directory = source.is_dir() and not source.is_symlink()
            if not (source.exists() or source.is_symlink()) or not target.parent.is_dir():
                return
            if target.exists() or target.is_symlink():
                if is_directory or target.is_dir() or other in path:
                    return
                self.give_up(side, Path(other))
            for key in [key for key in self.made if key[0] == side]:
                if f"{key[1]}/".startswith(f"{path}/"):
                    self.made[side, other + key[1][len(path) :]] = self.made.pop(key)
            source.rename(target)
            for content, (_, at) in self.living.items():
                if f"{at}/".startswith(f"{path}/") and self.holds(target, content):
                    self.living[content] = side, other + at[len(path) :]

        def holds(self, target: Path, content: bytes) -> bool:
            tree = read_tree(target.parent)
            return any(
                isinstance(entry, tuple) and entry[0] == content
                for within, entry in tree.items()
                if f"{within}/".startswith(f"{target.name}/")
            )

        def write(self, side: str, path: str) -> None:
            content = b"%s %d" % (side.encode(), next(self.counter))
            (self.roots[side] / path).write_bytes(content)
            self.living[content] = side, path

        def give_up(self, side: str, path: Path) -> None:
            """What lies there is about to go, by its own side's will."""
            prefix = f"{path}/"
            for key in [key for key in self.made if key[0] == side]:
                if f"{key[1]}/".startswith(prefix):
                    del self.made[key]
            for within, entry in read_tree(self.roots[side]).items():
                if f"{within}/".startswith(prefix) and isinstance(entry, tuple):
                    self.living.pop(entry[0], None)

        # What the synchronizer does

        @rule(is_told=st.booleans())
        def cycle(self, is_told: bool) -> None:
            self.run_cycle(is_told)
            self.nothing_is_lost()

        def run_cycle(self, is_told: bool) -> None:
            """Of everything, or of what a watch would have heard of the users alone."""
            heard, self.heard = self.heard, {"host": set(), "guest": set()}
            self.engine.cycle(heard if is_told else None)
            self.forget_agreed()

        def forget_agreed(self) -> None:
            host, guest = (read_tree(root) for root in self.roots.values())
            for side, path in list(self.made):
                if path in host and host[path] == guest.get(path):
                    del self.made[side, path]

        @rule()
        def settle(self) -> None:
            result = self.cycles_until_still()
            trees = {side: read_tree(root) for side, root in self.roots.items()}
            self.agree(trees, result)
            for touched in self.touched.values():
                touched.clear()
            self.made.clear()

        @rule(
            edits=st.lists(EDIT, max_size=4),
            steps=st.integers(0, 30),
            meanwhile=st.lists(EDIT, max_size=2),
            journal=st.sampled_from(("counts", "counts", "another boot's", "gone")),
        )
        def crash(self, edits: list[Edit], steps: int, meanwhile: list[Edit], journal: str) -> None:
            for edit in edits:
                self.edit(*edit)
            self.at_step = after(steps, self.die)
            with contextlib.suppress(Crash):
                self.engine.cycle()
                self.engine.checkpoint()
            self.at_step = no_step
            for edit in meanwhile:
                self.edit(*edit)
            if journal != "counts":
                self.boot += 1
                self.engine.archive.close()  # as if it had ended: there was no last word
            if journal == "gone":
                (self.base / "state/journal").unlink()
            self.start_anew()

        @rule(
            side=SIDES,
            path=SOME_PATH,
            steps=st.integers(0, 20),
            journal=st.sampled_from(("counts", "another boot's", "gone")),
        )
        def delete_and_make_again(self, side: Side, path: str, steps: int, journal: str) -> None:
            """What both agree upon goes on one side, all stops, and it is there again."""
            self.edit(side, path, path, "again")
            self.run_cycle(False)
            self.run_cycle(False)
            self.engine.checkpoint()
            self.edit(side, path, path, "delete")
            self.crash([], steps, [(side, path, path, "again")], journal)

        @rule(steps=st.integers(0, 8))
        def crash_at_the_start(self, steps: int) -> None:
            self.is_sound = False
            self.engine.close()
            self.at_step = after(steps, self.die)
            with contextlib.suppress(Crash):
                self.new_engine().close()
            self.at_step = no_step
            self.engine = self.new_engine()
            self.nothing_is_lost()

        @rule(
            edits=st.lists(EDIT, min_size=1, max_size=3),
            steps=st.integers(0, 16),
            side=SIDES,
            kind=EDITS,
            other=SOME_PATH,
            crash=st.sampled_from((None, None, 0, 1, 2)),
            is_told=st.booleans(),
        )
        def edit_meanwhile(
            self,
            edits: list[Edit],
            steps: int,
            side: Side,
            kind: str,
            other: str,
            crash: int | None,
            is_told: bool,
        ) -> None:
            """One of the objects in flight is changed by its own side, at any step."""

            def act() -> None:
                self.edit(side, edits[0][1], other, kind)
                self.at_step = no_step if crash is None else after(crash, self.die)

            for edit in edits:
                self.edit(*edit)
            self.at_step = after(steps, act)
            with contextlib.suppress(Crash):
                self.run_cycle(is_told)
            self.at_step = no_step
            if crash is not None:
                self.start_anew()
            self.nothing_is_lost()

        @rule(
            side=SIDES,
            path=SOME_PATH,
            first=EDITS,
            at=st.sampled_from(RACES),
            acts_on=SIDES,
            second=EDITS,
            crash=st.sampled_from((None, 0, 1, 2)),
            before=st.sampled_from(("write", "write", "delete")),
        )
        def race(
            self,
            side: Side,
            path: str,
            first: str,
            at: str,
            acts_on: Side,
            second: str,
            crash: int | None,
            before: str,
        ) -> None:
            """An object that both sides agree upon is edited on one, and meanwhile on either."""
            self.edit(side, path, path, before)
            self.engine.cycle()
            self.edit(side, path, path, first)

            def act(name: str) -> None:
                if name == at:
                    self.at_step = no_step
                    self.edit(acts_on, path, path, second)
                    if crash is not None:
                        self.at_step = after(crash, self.die)

            self.at_step = act
            with contextlib.suppress(Crash):
                self.engine.cycle()
            self.at_step = no_step
            if crash is not None:
                self.start_anew()
            self.nothing_is_lost()

        def start_anew(self) -> None:
            self.is_sound = False
            self.at_step = no_step
            self.engine.close()
            self.engine = self.new_engine()
            self.nothing_is_lost()

        def die(self) -> None:
            raise Crash

        # What must hold

        def cycles_until_still(self) -> CycleResult:
            for _ in range(8):
                result = self.engine.cycle()
                self.nothing_is_lost()
                if not result.made and not result.raced:
                    assert not [problem for problem in result.problems if "kept" not in problem.why]
                    return result
            raise AssertionError("it does not come to rest")

        def nothing_is_lost(self) -> None:
            self.is_sound = False
            present = {
                entry[0]
                for root in (*self.roots.values(), self.base / "state")
                for entry in read_tree(root).values()
                if isinstance(entry, tuple)
            }
            for content, (side, path) in list(self.living.items()):
                if content not in present:
                    assert self.may_go(side, path), f"{content!r} of {path} is lost"
                    del self.living[content]
            for (side, path), content in list(self.made.items()):
                entry = read_tree(self.roots[side]).get(path)
                if isinstance(entry, tuple) and entry[0] == content:
                    continue
                other = "guest" if side == "host" else "host"
                assert (
                    content in present_apart(self.base)
                    or self.may_go(side, path)
                    or any(
                        f"{path}/".startswith(f"{touched}/") or f"{touched}/".startswith(f"{path}/")
                        for touched in self.touched[other]
                    )
                ), f"{path}, made again by the {side}, is deleted"
                del self.made[side, path]
            self.is_sound = True

        def may_go(self, side: str, path: str) -> bool:
            if side == "host":
                return False
            if mode is SyncMode.ONE_WAY_REPLICA:
                return True
            return mode is SyncMode.TWO_WAY_RESOLVED and any(
                f"{path}/".startswith(f"{touched}/") or f"{touched}/".startswith(f"{path}/")
                for touched in self.touched["host"]
            )

        def agree(self, trees: dict[str, Tree], result: CycleResult) -> None:
            conflicts = {os.fsdecode(b"/".join(found.path)) for found in result.conflicts}
            host, guest = (
                {
                    path: entry
                    for path, entry in trees[side].items()
                    if not any(f"{path}/".startswith(f"{conflict}/") for conflict in conflicts)
                }
                for side in ("host", "guest")
            )
            if mode in (SyncMode.TWO_WAY_RESOLVED, SyncMode.ONE_WAY_REPLICA):
                assert not conflicts
            if mode is SyncMode.ONE_WAY_SAFE:
                assert {path: guest.get(path) for path in host} == host
            else:
                assert host == guest
            # A conflict stays as it is, and is told of again.
            again = self.engine.cycle()
            assert again.conflicts == result.conflicts
            assert {side: read_tree(root) for side, root in self.roots.items()} == trees

    return Machine


def present_apart(base: Path) -> set[bytes]:
    """What was set aside."""
    return {
        entry[0]
        for within, entry in read_tree(base / "state").items()
        if isinstance(entry, tuple) and "/kept/" in within
    }


def after(steps: int, action: Callable[[], None]) -> Callable[[str], None]:
    left = itertools.count(steps, -1)

    def step(_: str) -> None:
        if next(left) == 0:
            action()

    return step


@pytest.mark.takes_seconds
@pytest.mark.parametrize("mode", SyncMode)
def test_no_version_is_lost_and_both_sides_agree(mode: SyncMode) -> None:
    run_machine(machine_for(mode), examples=40, steps=25)


@pytest.mark.slow
@pytest.mark.parametrize("mode", SyncMode)
def test_no_version_is_lost_in_a_long_search(mode: SyncMode) -> None:
    run_machine(machine_for(mode), examples=1500, steps=50)


# Engines with a fault each, which the machine must find.


def looks_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the disk is looked at again before it is replaced or deleted."""
    monkeypatch.setattr(transition, "is_as_seen", lambda *_, **__: True)


def records_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agreed state is saved before it is true."""
    right = Engine._carry_out

    def early(self, plan, adjustments, fds):  # type: ignore[no-untyped-def]
        puts = [(change.path, None) for change in (*plan.host, *plan.guest)]
        puts += [(change.path, change.new) for change in (*plan.host, *plan.guest)]
        agreed = with_changes(self.ancestor, [*self._puts, *puts])
        assert isinstance(agreed, Subtree)
        self.archive.checkpoint(agreed)
        return right(self, plan, adjustments, fds)

    monkeypatch.setattr(Engine, "_carry_out", early)


def forgets_its_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash, what was done since the last save is not known."""
    monkeypatch.setattr(archive.Archive, "put", lambda *_: None)
    right = archive.Archive.load

    def load(self):  # type: ignore[no-untyped-def]
        return replace(right(self), unfinished=[], doubts=frozenset())

    monkeypatch.setattr(archive.Archive, "load", load)


def takes_content_for_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the agreed content has done nothing since."""
    monkeypatch.setattr(reconcile, "_is_the_same", lambda *_, **__: True)
    monkeypatch.setattr(transition, "is_the_same", transition.is_as_seen)


def lets_deletions_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the rule."""
    right = reconcile._Reconciliation._both_ways

    def wrong(self, path, then, host, guest):  # type: ignore[no-untyped-def]
        if host is None:
            return self._to_guest(path, host, guest)
        return right(self, path, then, host, guest)

    monkeypatch.setattr(reconcile._Reconciliation, "_both_ways", wrong)


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    ("fault", "mode"),
    [
        (looks_away, SyncMode.TWO_WAY_SAFE),
        (records_too_early, SyncMode.TWO_WAY_SAFE),
        (records_too_early, SyncMode.TWO_WAY_RESOLVED),
        (forgets_its_journal, SyncMode.TWO_WAY_RESOLVED),
        (lets_deletions_win, SyncMode.TWO_WAY_SAFE),
        (takes_content_for_identity, SyncMode.TWO_WAY_SAFE),
    ],
)
def test_the_machine_finds(
    fault: Callable[[pytest.MonkeyPatch], None],
    mode: SyncMode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with pytest.raises((AssertionError, OSError)):
        run_machine(machine_for(mode), examples=300, steps=25, shrink=False)
