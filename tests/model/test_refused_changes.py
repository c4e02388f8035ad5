"""What the host will never take: what becomes of it, what falls with it, and what goes on."""

import errno
import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pending_changes import Guest, Tree

from osxfs_sim.model import write_back
from osxfs_sim.model.refusals import PATIENCE_NS, PERHAPS_LATER, Verdict, judge
from osxfs_sim.model.write_back import Change, Kind, PendingChanges, WriteBackSpec, depending

ALL_CODES = sorted(errno.errorcode)


# When


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: errno.errorcode[code])
def test_no_refusal_is_waited_for_for_ever_unless_the_host_itself_says_why(code: int) -> None:
    verdicts = []
    waited_ns = 0
    for refused in itertools.count(1):
        verdicts.append(judge(code, refused, waited_ns, has_room=True))
        if verdicts[-1] is Verdict.ASIDE:
            break
        waited_ns += 1_000_000_000 if verdicts[-1] is Verdict.WAIT else 0
        assert refused < 10
    assert verdicts[0] is Verdict.AGAIN, "it may have got half way"
    assert (Verdict.WAIT in verdicts) == (code in PERHAPS_LATER)


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: errno.errorcode[code])
def test_at_the_end_nobody_waits(code: int) -> None:
    assert judge(code, 2, 0, has_room=True, ends=True) is Verdict.ASIDE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_host_is_waited_for_but_not_by_what_would_make_room(code: int) -> None:
    for refused in (1, 2, 1_000):
        assert judge(code, refused, PATIENCE_NS * refused, has_room=False) is Verdict.WAIT
        assert judge(code, refused, 0, has_room=False, ends=True) is Verdict.WAIT
    makes_room = {"has_room": False, "makes_room": True}
    assert judge(code, 2, PATIENCE_NS - 1, **makes_room) is Verdict.WAIT
    assert judge(code, 2, PATIENCE_NS, **makes_room) is Verdict.ASIDE
    assert judge(code, 2, 0, **makes_room, ends=True) is Verdict.ASIDE


# What falls with it, case by case


def make(name: str, parent: str = "root") -> Change[str]:
    return Change(Kind.MAKE, name, 0, parent, name.encode())


def rename(obj: str, old: str, new: str, replaced: str | None = None) -> Change[str]:
    (old_parent, old_name), (parent, name) = old.split("/"), new.split("/")
    return Change(
        *(Kind.RENAME, obj, 0, parent, name.encode(), old_parent, old_name.encode()),
        replaced=replaced,
    )


def unlink(obj: str, place: str) -> Change[str]:
    parent, name = place.split("/")
    return Change(Kind.UNLINK, obj, 0, parent, name.encode())


def rmdir(obj: str, place: str) -> Change[str]:
    parent, name = place.split("/")
    return Change(Kind.RMDIR, obj, 0, parent, name.encode())


def link(obj: str, place: str) -> Change[str]:
    parent, name = place.split("/")
    return Change(Kind.LINK, obj, 0, parent, name.encode())


def write(obj: str) -> Change[str]:
    return Change(Kind.WRITE, obj, 0, length=1)


def chmod(obj: str) -> Change[str]:
    return Change(Kind.SET, obj, 0)


CASES = {
    "everything in a directory that is not made, and nothing beside it": (
        make("d"),
        [make("f", "d"), write("f"), make("d2", "d"), make("g", "d2")],
        [make("e"), write("h"), make("x", "e")],
    ),
    "what was moved into a directory that is not made stays, and may be written to": (
        make("d"),
        [rename("h", "root/h", "d/h"), unlink("h", "d/h")],
        [write("h"), make("i")],
    ),
    "a name that was not freed is not given to something else": (
        unlink("h", "root/h"),
        [make("h")],
        [write("i"), make("j")],
    ),
    "the temporary file of a replacement that is refused is not replaced by the next": (
        rename("t1", "root/t", "root/f", replaced="f"),
        [make("t"), write("t"), rename("t", "root/t", "root/f", replaced="t1")],
        [write("t1"), write("f"), make("other")],
    ),
    "no name is given to half of a file": (
        write("t"),
        [
            write("t"),
            chmod("t"),
            rename("t", "root/t", "root/f", replaced="f"),
            link("t", "root/l"),
        ],
        [write("f"), make("other")],
    ),
    "what is taken away anyway is taken away": (
        write("h"),
        [],
        [unlink("h", "root/h")],
    ),
    "a file keeps its name on the host where the other was refused": (
        link("h", "root/l"),
        [unlink("h", "root/h")],
        [write("h"), make("m")],
    ),
    "a directory that something could not leave is not removed": (
        rename("h", "d/h", "root/h"),
        [rmdir("d", "root/d"), make("d")],
        [make("x")],
    ),
    "a replacement of what is never made replaces nothing, and goes on": (
        make("f"),
        [write("f")],
        [make("t"), write("t"), rename("t", "root/t", "root/f", replaced="f")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_falls_with_a_refused_change(name: str) -> None:
    refused, falling, going_on = CASES[name]
    # In both orders, as far as they do not concern each other.
    for later in (falling + going_on, going_on + falling):
        for number, change in enumerate([refused, *later]):
            change.sequence = number + 1
        closure = depending(refused, later)
        assert [change.sequence for change in closure.changes[1:]] == sorted(
            change.sequence for change in falling
        ), name


def test_what_is_replaced_and_never_made_is_not_looked_for() -> None:
    last = rename("t", "root/t", "root/f", replaced="f")
    closure = depending(make("f"), [write("f"), make("t"), last])
    assert [(was.replaced, now.replaced) for was, now in closure.compacted] == [("f", None)]


def test_what_the_guest_has_taken_away_itself_needs_not_be_kept() -> None:
    gone = {"f"}.__contains__
    assert depending(make("f"), [unlink("f", "root/f")], gone).is_moot(gone)
    assert depending(write("f"), [unlink("f", "root/f")], gone).is_moot(gone)
    replacing = [rename("f", "root/f", "root/h", replaced="h"), unlink("f", "root/h")]
    assert not depending(make("f"), replacing, gone).is_moot(gone), "h was to go"


# Random guests, random refusals


class Host(Tree):
    """A host that takes nothing's place with anything that the guest has not replaced itself."""

    def apply(self, change: Change[str]) -> None:
        never_made = change.target not in self.content
        if never_made and change.kind in (Kind.UNLINK, Kind.RMDIR):
            return  # as host_writer.py: what was to be taken away never came
        if change.kind is Kind.RENAME:
            there = self.names.get((change.parent, change.name.decode()))
            assert there in (None, change.replaced), (change, there)
            assert there not in {parent for parent, _ in self.names}, change
            above = change.parent
            while above != "root":
                assert above != change.target, change
                above = next(p for (p, _), obj in self.names.items() if obj == above)
        super().apply(change)

    def parent_of(self, obj: str) -> str | None:
        return next((parent for (parent, _), each in self.names.items() if each == obj), None)

    def copy(self) -> "Host":
        tree = Host()
        tree.names, tree.content = dict(self.names), dict(self.content)
        return tree


class RefusedGuest(Guest):
    """A guest some of whose changes the host refuses, for good, while it goes on."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.tree, self.host = Host(), Host()
        self.history = [self.tree.copy()]
        self.set_aside: list[Change[str]] = []

    def step(self, what: int, a: int, b: int) -> None:
        if what == 5 and self.changes.under_way is None and a % 3 == 0:
            self.changes.take()  # the guest goes on meanwhile
            return
        super().step(what, a, b)

    def is_gone(self, obj: str) -> bool:
        return obj not in self.tree.names.values()

    def write_back(self) -> bool:
        change = self.changes.take()
        if change is None:
            return False
        if self.random.random() < 0.15:
            self.refuse()
        else:
            self.host.apply(change)
            self.changes.done(0)
        return True

    def refuse(self) -> None:
        before = self.tree.copy()
        closure = self.changes.closure(self.is_gone, self.host.parent_of)
        is_moot = closure.is_moot(self.is_gone)
        check_connected(closure.changes)
        touched = {place for change in closure.changes for place in places(change)}
        self.changes.leave(closure, is_moot=is_moot)
        # What the guest is shown from now on: the host's truth, with what is held laid over it.
        self.tree = self.host.copy()
        self.history = [self.tree.copy()]
        self.point = 0
        for change in self.changes.all():
            self.tree.apply(change)
            self.history.append(self.tree.copy())
        if is_moot:
            assert self.tree.names == before.names
            return
        self.set_aside += closure.changes
        rewritten = {c.target for c in closure.changes if c.kind in (Kind.WRITE, Kind.SET)}
        for place, obj in before.names.items():
            if obj in closure.lost:
                continue  # kept, all of it: everything that was ever done to it is in there
            assert obj in self.tree.names.values(), f"{obj} is lost"
            if place not in touched:
                assert self.tree.names.get(place) == obj
            if obj not in rewritten:
                assert self.tree.content[obj] == before.content[obj]
        for place, obj in self.tree.names.items():
            if place not in touched:
                assert before.names.get(place) == obj, "it has come from nowhere"


def places(change: Change[str]) -> set[tuple[str | None, str]]:
    found = set()
    if change.parent is not None:
        found.add((change.parent, change.name.decode()))
    if change.old_parent is not None:
        found.add((change.old_parent, change.old_name.decode()))
    return found


def check_connected(changes: list[Change[str]]) -> None:
    """Each shares an object or a name with one before it: nothing is taken along for company."""
    objects: set[str | None] = set()
    names: set[tuple[str | None, str]] = set()
    for number, change in enumerate(changes):
        mine = {change.target, change.replaced} - {None}
        inside = {change.parent, change.old_parent}
        full = {parent for parent, _ in names}
        assert (
            not number
            or (change.kind is Kind.RENAME and change.target[0] in "de")  # see rule 4
            or (mine | inside) & objects
            or places(change) & names
            or mine & full
        ), (change, changes[:number])
        objects |= mine
        names |= places(change)


STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 50)), max_size=60)


def live(guest: RefusedGuest, steps: list[tuple[int, int, int]]) -> None:
    """It lives through *steps*, and settles: in the end both sides show the same."""
    for step in steps:
        guest.step(*step)
        guest.check()
    for _ in range(200):
        if not guest.write_back():
            break
        guest.check()
    changes = guest.changes
    assert not len(changes), "it does not end"
    assert guest.host.names == guest.tree.names
    for obj in guest.host.names.values():
        assert guest.host.content[obj] == guest.tree.content[obj]
    assert changes.made == changes.crossed + changes.cancelled + changes.set_aside
    assert changes.set_aside == len(guest.set_aside)
    assert changes.bytes == 0


@pytest.mark.takes_seconds
@settings(max_examples=500)
@given(steps=STEPS, seed=st.integers(0, 1_000))
def test_what_is_refused_falls_with_what_depends_on_it_and_all_else_goes_on(
    steps: list[tuple[int, int, int]], seed: int
) -> None:
    live(RefusedGuest(Random(seed)), steps)


def alone(refused: Change[str], _later: list[Change[str]]):
    """A seeded bug: nothing else falls."""
    return depending(refused, [])


def with_all(refused: Change[str], later: list[Change[str]]):
    """A seeded bug: all that follow fall too."""
    closure = depending(refused, [])
    return write_back.Closure([refused, *later], [], closure.lost)


class ForgetsNames(write_back._Fallen):
    """A seeded bug: what still has its name on the host is overwritten by what gets it next."""

    def _not_freed(self, place):
        self._missing.discard(place)


class ForgetsContent(write_back._Fallen):
    """A seeded bug: half of a file gets the name of the whole."""

    def includes(self, change):
        kept, self._unwritten = self._unwritten, set()
        try:
            return super().includes(change)
        finally:
            self._unwritten = kept


class ForgetsLinks(write_back._Fallen):
    """A seeded bug: the last name of a file goes, where its new one was refused."""

    def _misname(self, target):
        pass


SEEDED: dict[str, tuple[str, Callable | type]] = {
    "alone": ("depending", alone),
    "with all": ("depending", with_all),
    "names": ("_Fallen", ForgetsNames),
    "links": ("_Fallen", ForgetsLinks),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_the_property_rejects_a_closure_that_is_too_small_or_too_large(
    bug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, broken = SEEDED[bug]
    real = write_back.depending
    if name == "depending":
        monkeypatch.setattr(write_back, "depending", lambda r, later, *_: broken(r, list(later)))
        assert real is not write_back.depending
    else:
        monkeypatch.setattr(write_back, name, broken)
    for seed in range(1_000):
        random = Random(seed)
        guest = RefusedGuest(random)
        steps = [
            (random.randrange(6), random.randrange(50), random.randrange(50)) for _ in range(40)
        ]
        try:
            live(guest, steps)
        except (AssertionError, KeyError, StopIteration):
            return
    pytest.fail("nothing was found wrong")


def test_the_cases_reject_a_closure_that_gives_a_name_to_half_of_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_back, "_Fallen", ForgetsContent)
    with pytest.raises(AssertionError):
        test_what_falls_with_a_refused_change("no name is given to half of a file")


def test_what_makes_room_is_told_from_what_waits_itself() -> None:
    changes = PendingChanges[str](WriteBackSpec())
    changes.add(write("h"))
    changes.take()
    changes.add(make("x"))
    assert not changes.makes_room
    changes.add(unlink("i", "root/i"))
    assert changes.makes_room
