"""The list of changes that the host does not have: what crosses, in which order, and when."""

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.model.write_back import (
    LARGEST_WRITE_BYTES,
    Change,
    Kind,
    PendingChanges,
    WriteBackSpec,
)


def pending(**spec) -> PendingChanges[str]:
    return PendingChanges(WriteBackSpec(**spec))


def make(name: str, parent: str = "root", at_ns: int = 0) -> Change[str]:
    return Change(Kind.MAKE, name, at_ns, parent, name.encode())


def kinds(changes: PendingChanges[str]) -> list[tuple[str, str]]:
    return [(change.kind.value, change.target) for change in changes.all()]


def test_changes_are_taken_in_the_order_of_the_guest():
    changes = pending()
    for name in "abc":
        changes.add(make(name))
    taken = []
    while change := changes.take():
        taken.append(change.target)
        changes.done(0)
    assert taken == ["a", "b", "c"]
    assert (changes.made, changes.crossed, len(changes)) == (3, 3, 0)


def test_what_is_made_and_taken_away_again_never_crosses():
    changes = pending()
    changes.add(make("kept"))
    changes.add(make("a"))
    changes.add(Change(Kind.WRITE, "a", 0, length=10))
    changes.add(Change(Kind.SET, "a", 0))
    changes.add(Change(Kind.RENAME, "a", 0, "root", b"b", "root", b"a"))
    changes.add(Change(Kind.UNLINK, "a", 0, "root", b"b"))
    changes.gone("a")
    assert kinds(changes) == [("make", "kept")]
    assert (changes.made, changes.cancelled, changes.bytes) == (6, 5, 0)


def test_a_whole_temporary_directory_cancels_out():
    changes = pending()
    changes.add(make("tmp"))
    changes.add(make("x", "tmp"))
    changes.add(Change(Kind.UNLINK, "x", 0, "tmp", b"x"))
    changes.gone("x")
    changes.add(Change(Kind.RMDIR, "tmp", 0, "root", b"tmp"))
    changes.gone("tmp")
    assert len(changes) == 0


def test_a_directory_through_which_a_host_file_went_does_cross():
    changes = pending()
    changes.add(make("tmp"))
    changes.add(Change(Kind.RENAME, "host file", 0, "tmp", b"f", "root", b"f"))
    changes.add(Change(Kind.RENAME, "host file", 0, "root", b"g", "tmp", b"f"))
    changes.add(Change(Kind.RMDIR, "tmp", 0, "root", b"tmp"))
    assert not changes.gone("tmp").dropped
    assert len(changes) == 4


def test_what_a_cancelled_file_had_replaced_is_taken_away_in_its_stead():
    changes = pending()
    changes.add(make("new"))
    changes.add(Change(Kind.RENAME, "new", 0, "root", b"old", "root", b"new", replaced="old"))
    changes.add(Change(Kind.UNLINK, "new", 0, "root", b"old"))
    cancelled = changes.gone("new")
    assert kinds(changes) == [("unlink", "old")]
    assert [(was.kind, now.kind) for was, now in cancelled.compacted] == [
        (Kind.RENAME, Kind.UNLINK)
    ]


def test_what_was_written_to_a_host_file_that_goes_does_not_cross_but_its_going_does():
    changes = pending()
    changes.add(Change(Kind.WRITE, "host file", 0, length=5))
    changes.add(Change(Kind.RENAME, "host file", 0, "root", b"b", "root", b"a"))
    changes.add(Change(Kind.UNLINK, "host file", 0, "root", b"b"))
    changes.gone("host file")
    assert kinds(changes) == [("rename", "host file"), ("unlink", "host file")]


def test_what_is_under_way_is_not_cancelled():
    changes = pending()
    changes.add(make("a"))
    changes.take()
    changes.add(Change(Kind.UNLINK, "a", 0, "root", b"a"))
    changes.gone("a")
    assert kinds(changes) == [("make", "a"), ("unlink", "a")]


def test_small_writes_that_continue_each_other_cross_together():
    changes = pending()
    for block in range(200):
        changes.add(
            Change(Kind.WRITE, "f", block, offset=block * 1024, length=1024, position=block * 1024)
        )
    lengths = [change.length for change in changes.all()]
    assert lengths == [LARGEST_WRITE_BYTES, 200 * 1024 - LARGEST_WRITE_BYTES]
    assert changes.oldest_ns == 0, "the first byte's age counts"
    assert changes.merged == 198


@pytest.mark.parametrize("between", ["another change", "a gap in the file", "a gap in the store"])
def test_writes_do_not_cross_together_where_that_would_change_the_order(between):
    changes = pending()
    changes.add(Change(Kind.WRITE, "f", 0, offset=0, length=10, position=0))
    if between == "another change":
        changes.add(make("g"))
    offset = 11 if between == "a gap in the file" else 10
    position = 11 if between == "a gap in the store" else 10
    changes.add(Change(Kind.WRITE, "f", 0, offset=offset, length=10, position=position))
    assert changes.merged == 0


def test_limits_are_told_before_they_are_exceeded():
    changes = pending(most_changes=2, most_bytes=100)
    assert changes.has_room_for(10**9), "a single change may always wait"
    changes.add(Change(Kind.WRITE, "f", 0, length=60))
    assert changes.has_room_for(40)
    assert not changes.has_room_for(41)
    changes.add(make("g"))
    assert not changes.has_room_for(0)


def test_age_is_that_of_the_oldest_change():
    changes = pending(age_ns=1_000)
    assert changes.due_ns is None
    changes.add(make("a", at_ns=50))
    changes.add(make("b", at_ns=90))
    assert changes.due_ns == 1_050
    changes.take()
    assert changes.due_ns == 1_050, "what is under way has not arrived"
    changes.done(now_ns=2_000)
    assert changes.due_ns == 1_090
    assert changes.longest_lag_ns == 1_950


# The rule of order, on a small file system: names to objects, objects to what was written.


class Tree:
    """A file system small enough to be compared whole."""

    def __init__(self):
        self.names = {("root", "h"): "h", ("root", "i"): "i", ("root", "e"): "e"}
        self.content = {"h": "host", "i": "host", "e": None}

    def apply(self, change: Change[str]) -> None:
        place = (change.parent, change.name.decode())
        match change.kind:
            case Kind.MAKE:
                assert place not in self.names, change
                assert self.exists(change.parent), change
                self.names[place] = change.target
                self.content[change.target] = change.detail
            case Kind.WRITE | Kind.SET:
                assert self.exists(change.target), change
                self.content[change.target] = change.detail
            case Kind.LINK:
                assert place not in self.names, change
                assert self.exists(change.target), change
                self.names[place] = change.target
            case Kind.UNLINK | Kind.RMDIR:
                assert self.names.get(place) == change.target, change
                assert change.target not in {parent for parent, _ in self.names}, change
                del self.names[place]
            case Kind.RENAME:
                old = (change.old_parent, change.old_name.decode())
                assert self.names.get(old) == change.target, change
                assert self.exists(change.parent), change
                del self.names[old]
                self.names[place] = change.target

    def exists(self, obj) -> bool:
        return obj == "root" or obj in self.names.values()

    def copy(self) -> "Tree":
        tree = Tree()
        tree.names, tree.content = dict(self.names), dict(self.content)
        return tree

    def restricted(self, alive: set[str]) -> tuple:
        names = {place: obj for place, obj in self.names.items() if obj in alive}
        return names, {obj: self.content[obj] for obj in names.values()}


def point_of(host: Tree, history: list[Tree], since: int) -> int | None:
    """From which of the guest's states on, not before *since*, the host shows what is alive now."""
    alive = set(history[-1].names.values())
    shown = host.restricted(alive)
    for point in range(since, len(history)):
        if history[point].restricted(alive) == shown:
            return point
    return None


class Guest:
    """Makes random changes that are possible, and writes them back now and then."""

    def __init__(self, changes_class=PendingChanges):
        self.changes = changes_class(WriteBackSpec())
        self.tree, self.host = Tree(), Tree()
        self.history = [self.tree.copy()]
        self.point = 0
        self.numbers = itertools.count()

    def _add(self, change: Change[str], *gone: str) -> None:
        self.tree.apply(change)
        for each in gone:
            lives = each in self.tree.names.values()
            if change.replaced == each and self.changes.cancels(each) and not lives:
                change.replaced = None  # it never gets to the host
            if change.target != each:
                self._gone(each)
        self.changes.add(change)
        if change.target in gone:
            self._gone(change.target)
        self.history.append(self.tree.copy())

    def _gone(self, obj: str) -> None:
        if obj not in self.tree.names.values():
            self.changes.gone(obj)

    def directories(self) -> list[str]:
        found = {obj for obj in self.tree.names.values() if self.tree.content[obj] is None}
        return ["root", *sorted(found)]

    def step(self, what: int, a: int, b: int) -> None:
        places = sorted(self.tree.names)
        directories = self.directories()
        parent, name = directories[a % len(directories)], "hixy"[b % 4]
        place = places[a % len(places)] if places else None
        obj = self.tree.names.get(place) if place else None
        is_directory = obj is not None and self.tree.content[obj] is None
        if what == 0 and (parent, name) not in self.tree.names:
            new = f"{'d' if b & 4 else 'f'}{next(self.numbers)}"
            detail = None if b & 4 else "new"
            self._add(Change(Kind.MAKE, new, 0, parent, name.encode(), detail=detail))
        elif what == 1 and obj is not None and not is_directory:
            kind = Kind.WRITE if b & 1 else Kind.SET
            number = next(self.numbers)
            self._add(Change(kind, obj, 0, offset=2 * number, length=1, detail=f"data {number}"))
        elif what == 2 and obj is not None and obj not in {p for p, _ in self.tree.names}:
            kind = Kind.RMDIR if is_directory else Kind.UNLINK
            self._add(Change(kind, obj, 0, place[0], place[1].encode()), obj)
        elif what == 3 and obj is not None and not is_directory:
            target = directories[b % len(directories)]
            new_name = "hixyz"[(a + b) % 5]
            if (target, new_name) not in self.tree.names:
                self._add(Change(Kind.LINK, obj, 0, target, new_name.encode()))
        elif what == 4 and obj is not None:
            self._rename(place, obj, is_directory, directories[b % len(directories)], a + b)
        elif what == 5:
            self.write_back()

    def _rename(self, place, obj, is_directory, parent, number) -> None:
        name = "hixyz"[number % 5]
        replaced = self.tree.names.get((parent, name))
        above = parent
        while above != "root":  # not into itself
            if above == obj:
                return
            above = next(p for (p, _), o in self.tree.names.items() if o == above)
        if replaced == obj:
            return
        if replaced is not None:
            if is_directory != (self.tree.content[replaced] is None):
                return
            if replaced in {p for p, _ in self.tree.names}:
                return
        self._add(
            Change(
                Kind.RENAME,
                obj,
                0,
                parent,
                name.encode(),
                place[0],
                place[1].encode(),
                replaced=replaced,
                replaced_is_directory=is_directory and replaced is not None,
            ),
            *([replaced] if replaced else []),
        )

    def write_back(self) -> bool:
        change = self.changes.take()
        if change is None:
            return False
        self.host.apply(change)
        self.changes.done(0)
        return True

    def check(self) -> None:
        point = point_of(self.host, self.history, self.point)
        assert point is not None, "the host shows what the guest never had"
        self.point = point


STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 50)), max_size=60)


@pytest.mark.takes_seconds
@settings(max_examples=400)
@given(steps=STEPS)
def test_the_host_only_ever_shows_what_the_guest_once_had(steps):
    guest = Guest()
    for step in steps:
        guest.step(*step)
        guest.check()
    while guest.write_back():
        guest.check()
    assert guest.host.names == guest.tree.names
    assert guest.host.restricted(set(guest.tree.names.values())) == guest.tree.restricted(
        set(guest.tree.names.values())
    )
    assert guest.changes.made == guest.changes.crossed + guest.changes.cancelled


class NewestFirst(PendingChanges[str]):
    """A seeded bug: independent changes overtake each other."""

    def take(self):
        if self.under_way is None and self._changes:
            *_, last = [c for c in self._changes.values() if c.kind in (Kind.WRITE, Kind.SET)] or [
                next(iter(self._changes.values()))
            ]
            del self._changes[last.sequence]
            self._forget(last)
            self.under_way = last
        return self.under_way


class ForgetsWhatWasReplaced(PendingChanges[str]):
    """A seeded bug: a cancelled rename leaves the old object in its place."""

    def _turn(self, change):
        self._drop(change)


@pytest.mark.parametrize("broken", [NewestFirst, ForgetsWhatWasReplaced])
def test_the_property_rejects_a_list_that_breaks_the_rule(broken):
    for seed in range(500):
        random = Random(seed)
        guest = Guest(broken)
        try:
            for _ in range(40):
                guest.step(random.randrange(6), random.randrange(50), random.randrange(50))
                guest.check()
            while guest.write_back():
                guest.check()
        except AssertionError:
            return
    pytest.fail("nothing was found wrong")
