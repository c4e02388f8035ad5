"""Who wins, at one path and in whole trees: the table, named cases, and what holds for all."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.model.synchronization import SyncMode
from osxfs_sim.synchronize import reconcile as reconcile_module
from osxfs_sim.synchronize.reconcile import Plan, SyncChange, reconcile
from osxfs_sim.synchronize.snapshot import (
    EMPTY,
    IGNORED,
    Blocked,
    Child,
    Entry,
    File,
    Link,
    Subtree,
    at,
    directory,
    is_tracked,
    with_changes,
)

SAFE, RESOLVED = SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED
ONE_WAY, REPLICA = SyncMode.ONE_WAY_SAFE, SyncMode.ONE_WAY_REPLICA
BLOCKED = Blocked("a FIFO")


def tree(spec: Any) -> Any:
    """'1' a file, '1x' executable, '->t' a symlink, a dict a directory, None nothing."""
    if isinstance(spec, dict):
        return directory({name.encode(): tree(child) for name, child in spec.items()})
    if isinstance(spec, str):
        if spec.startswith("->"):
            return Link(spec[2:].encode())
        return File(spec.rstrip("x").encode(), spec.endswith("x"))
    return spec


def perform(side: Subtree, changes: list[SyncChange]) -> Subtree:
    """*side* after *changes*: what does not take part stays, and its directories with it."""
    for change in changes:
        old = at(side, change.path)
        assert old == change.old, "the change is about something else"
        side = _set(side, change.path, _merged(old, change.new))
    return side


def _merged(old: Child | None, new: Child | None) -> Child | None:
    if isinstance(old, Subtree) and (old.totals.ignored or old.totals.blocked):
        kept = {
            name: _merged(child, None) if isinstance(child, Subtree) else child
            for name, child in old.children.items()
            if not is_tracked(child)
            or (isinstance(child, Subtree) and (child.totals.ignored or child.totals.blocked))
        }
        return directory({name: child for name, child in kept.items() if child is not None})
    return _tracked(new)


def _tracked(entry: Child | None) -> Child | None:
    if isinstance(entry, Subtree):
        return directory(
            {name: _tracked(child) for name, child in entry.children.items() if is_tracked(child)}
        )
    return entry


def _set(here: Subtree, path: tuple[bytes, ...], entry: Child | None) -> Subtree:
    children = dict(here.children)
    if len(path) > 1:
        below = children[path[0]]
        assert isinstance(below, Subtree)
        children[path[0]] = _set(below, path[1:], entry)
    elif entry is None:
        children.pop(path[0], None)
    else:
        children[path[0]] = entry
    return directory(children)


def cycle(
    then: Subtree, host: Subtree, guest: Subtree, mode: SyncMode
) -> tuple[Subtree, Subtree, Subtree, Plan]:
    plan = reconcile(then, host, guest, mode)
    after = (
        with_changes(then, plan.agreed),
        perform(host, plan.host),
        perform(guest, plan.guest),
    )
    puts = [
        (change.path, now)
        for side, changes in ((after[1], plan.host), (after[2], plan.guest))
        for change in changes
        for now in (at(side, change.path),)
    ]
    agreed = after[0]
    for path, now in puts:
        # As the transition tells it: each object for itself.
        agreed = with_changes(agreed, [(path, None), *_puts(path, now)])
    assert isinstance(agreed, Subtree)
    return agreed, after[1], after[2], plan


def _puts(path: Any, entry: Child | None) -> list[Any]:
    if isinstance(entry, Subtree):
        return [(path, EMPTY)] + [
            put
            for name, child in entry.children.items()
            if is_tracked(child)
            for put in _puts((*path, name), child)
        ]
    return [(path, entry)]


# At one path: then, host, guest -> what is there afterwards on the host and the guest in
# each mode; "!" where it is a conflict and both stay.
TABLE = [
    ("equal changes agree", "1", "2", "2", "2 2", "2 2", "2 2", "2 2"),
    ("deletions on both sides agree", "1", None, None, "- -", "- -", "- -", "- -"),
    ("the host's edit travels", "1", "2", "1", "2 2", "2 2", "2 2", "2 2"),
    ("the guest's edit", "1", "1", "2", "2 2", "2 2", "!", "1 1"),
    ("the host's creation travels", None, "1", None, "1 1", "1 1", "1 1", "1 1"),
    ("the guest's creation", None, None, "1", "1 1", "1 1", "- 1", "- -"),
    ("the host's deletion travels", "1", None, "1", "- -", "- -", "- -", "- -"),
    ("the guest's deletion", "1", "1", None, "- -", "- -", "1 1", "1 1"),
    ("deletion against edit", "1", None, "2", "2 2", "2 2", "- 2", "- -"),
    ("edit against deletion", "1", "2", None, "2 2", "2 2", "2 2", "2 2"),
    ("edit against edit", "1", "2", "3", "!", "2 2", "!", "2 2"),
    ("creation against creation", None, "2", "3", "!", "2 2", "!", "2 2"),
    ("only executability travels", "1", "1x", "1", "1x 1x", "1x 1x", "1x 1x", "1x 1x"),
    ("executability against content", "1", "1x", "2", "!", "1x 1x", "!", "1x 1x"),
    ("a file became a symlink", "1", "->t", "1", "->t ->t", "->t ->t", "->t ->t", "->t ->t"),
    ("two symlinks", None, "->t", "->u", "!", "->t ->t", "!", "->t ->t"),
]


@pytest.mark.parametrize("case", TABLE, ids=[case[0] for case in TABLE])
@pytest.mark.parametrize("mode", SyncMode)
def test_at_one_path(case: tuple[Any, ...], mode: SyncMode) -> None:
    _, then, host, guest, *expected = case
    wanted = expected[list(SyncMode).index(mode)]
    before = [tree({"d": {"f": spec} if spec else {}}) for spec in (then, host, guest)]
    _, now_host, now_guest, plan = cycle(*before, mode)
    if wanted == "!":
        assert [found.path for found in plan.conflicts] == [(b"d", b"f")]
        assert (now_host, now_guest) == tuple(before[1:])
        return
    assert not plan.conflicts
    ends = [tree(None if word == "-" else word) for word in wanted.split()]
    assert [at(side, (b"d", b"f")) for side in (now_host, now_guest)] == ends


NAMED = [
    # name, then, host, guest, mode, host afterwards, guest afterwards, conflicts
    (
        "a directory is deleted, an edit deep in it wins and the rest goes",
        {"d": {"x": "1", "y": "1", "e": {"z": "1"}}}, {},
        {"d": {"x": "1", "y": "1", "e": {"z": "2"}}},
        SAFE, {"d": {"e": {"z": "2"}}}, {"d": {"e": {"z": "2"}}}, [],
    ),
    (
        "both delete different things in a directory that one deletes",
        {"d": {"x": "1", "y": "1"}}, {}, {"d": {"x": "1"}}, SAFE, {}, {}, [],
    ),
    (
        "a file takes the place of a directory that the other only took from",
        {"d": {"x": "1", "y": "1"}}, {"d": "2"}, {"d": {"x": "1"}}, SAFE,
        {"d": "2"}, {"d": "2"}, [],
    ),
    (
        "a file takes the place of a directory that the other has edited in",
        {"d": {"x": "1"}}, {"d": "2"}, {"d": {"x": "3"}}, SAFE,
        {"d": "2"}, {"d": {"x": "3"}}, ["d"],
    ),
    (
        "and the host's wins where it is resolved so",
        {"d": {"x": "1"}}, {"d": "2"}, {"d": {"x": "3"}}, RESOLVED, {"d": "2"}, {"d": "2"}, [],
    ),
    (
        "a directory takes the place of a file that the other has deleted",
        {"d": "1"}, {"d": {"x": "2"}}, {}, SAFE, {"d": {"x": "2"}}, {"d": {"x": "2"}}, [],
    ),
    (
        "a directory that both have made is joined",
        {}, {"d": {"x": "1"}}, {"d": {"y": "2"}}, SAFE,
        {"d": {"x": "1", "y": "2"}}, {"d": {"x": "1", "y": "2"}}, [],
    ),
    (
        "one way, the guest's own in a deleted directory stays, the rest goes",
        {"d": {"x": "1", "y": "1"}}, {}, {"d": {"x": "2", "y": "1", "own": "3"}}, ONE_WAY,
        {}, {"d": {"x": "2", "own": "3"}}, [],
    ),
    (
        "one way, the guest's own beside the host's stays",
        {"a": "1"}, {"a": "2"}, {"a": "1", "own": "3"}, ONE_WAY,
        {"a": "2"}, {"a": "2", "own": "3"}, [],
    ),
    (
        "a replica has nothing of its own",
        {"a": "1"}, {"a": "1"}, {"a": "2", "own": {"x": "3"}}, REPLICA, {"a": "1"}, {"a": "1"}, [],
    ),
    (
        "what is ignored stays, and its directory with it",
        {"d": {"x": "1"}}, {}, {"d": {"x": "1", "i": IGNORED}}, SAFE, {}, {"d": {"i": IGNORED}}, [],
    ),
    (
        "a directory does not come back for what is ignored in it",
        {"d": {"x": "1", "y": "1"}}, {}, {"d": {"x": "1", "i": IGNORED}}, SAFE,
        {}, {"d": {"i": IGNORED}}, [],
    ),
    (
        "what cannot travel freezes its counterpart",
        {"x": "1"}, {"x": BLOCKED}, {"x": "2"}, RESOLVED, {"x": BLOCKED}, {"x": "2"}, [],
    ),
    (
        "what is ignored here is not made by the other side",
        {}, {"x": IGNORED}, {"x": "2"}, SAFE, {"x": IGNORED}, {"x": "2"}, [],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", NAMED, ids=[case[0] for case in NAMED])
def test_whole_trees(case: tuple[Any, ...]) -> None:
    _, then, host, guest, mode, host_then, guest_then, conflicts = case
    _, now_host, now_guest, plan = cycle(tree(then), tree(host), tree(guest), mode)
    assert plain(now_host) == plain(tree(host_then))
    assert plain(now_guest) == plain(tree(guest_then))
    assert [b"/".join(found.path).decode() for found in plan.conflicts] == conflicts


def plain(entry: Child | None) -> object:
    """With what is ignored, which equality leaves out."""
    if isinstance(entry, Subtree):
        return {name: plain(child) for name, child in entry.children.items()}
    return entry


def test_what_is_in_the_way_is_told():
    plan = reconcile(EMPTY, tree({"x": IGNORED}), tree({"x": "2"}), SAFE)
    assert plan.in_the_way == [((b"x",), "host")]


FILES = st.builds(File, st.sampled_from((b"1", b"2", b"3")), st.booleans())
LINKS = st.builds(Link, st.sampled_from((b"s", b"t")))
NAMES = st.sampled_from((b"a", b"b", b"c"))


def trees(*others: st.SearchStrategy[Any]) -> st.SearchStrategy[Subtree]:
    leaves = st.one_of(FILES, LINKS, *others)
    return st.dictionaries(
        NAMES,
        st.recursive(
            leaves,
            lambda below: st.dictionaries(NAMES, below, max_size=3).map(directory),
            max_leaves=5,
        ),
        max_size=3,
    ).map(directory)


PLAIN = trees()
ANY = trees(st.just(IGNORED), st.just(BLOCKED))
FEW = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@FEW
@given(PLAIN, ANY, ANY, st.sampled_from(list(SyncMode)))
def test_a_second_cycle_finds_nothing_to_do(then, host, guest, mode):
    then, host, guest, first = cycle(then, host, guest, mode)
    again, host2, guest2, second = cycle(then, host, guest, mode)
    assert (plain(host2), plain(guest2)) == (plain(host), plain(guest))
    assert second.conflicts == first.conflicts
    assert again == then


@FEW
@given(PLAIN, PLAIN, PLAIN, st.sampled_from((RESOLVED, REPLICA)))
def test_both_sides_agree_where_it_is_promised(then, host, guest, mode):
    before = host
    then, host, guest, plan = cycle(then, host, guest, mode)
    assert host == guest == then
    assert not plan.conflicts
    if mode is REPLICA:
        assert host == before


@pytest.mark.takes_seconds
@FEW
@given(PLAIN, PLAIN, PLAIN)
def test_both_sides_agree_but_for_conflicts(then, host, guest):
    _, now_host, now_guest, plan = cycle(then, host, guest, SAFE)
    for conflict in plan.conflicts:
        assert at(now_host, conflict.path) == at(host, conflict.path) == conflict.host
        assert at(now_guest, conflict.path) == at(guest, conflict.path) == conflict.guest
        now_host = _set(now_host, conflict.path, None)
        now_guest = _set(now_guest, conflict.path, None)
    assert now_host == now_guest


@FEW
@given(PLAIN, PLAIN, PLAIN)
def test_it_does_not_matter_which_side_is_which_where_it_is_safe(then, host, guest):
    one, other = reconcile(then, host, guest, SAFE), reconcile(then, guest, host, SAFE)
    assert (one.host, one.guest, one.agreed) == (other.guest, other.host, other.agreed)


@FEW
@given(PLAIN, ANY, ANY, st.sampled_from((ONE_WAY, REPLICA)))
def test_one_way_nothing_travels_to_the_host(then, host, guest, mode):
    assert not reconcile(then, host, guest, mode).host


def files_of(side: Entry, path: tuple[bytes, ...] = ()) -> dict[tuple[bytes, ...], Child]:
    if not isinstance(side, Subtree):
        return {path: side}
    found: dict[tuple[bytes, ...], Child] = {}
    for name, child in side.children.items():
        found |= files_of(child, (*path, name))  # type: ignore[arg-type]
    return found


@FEW
@given(PLAIN, PLAIN, PLAIN)
def test_what_a_side_has_edited_or_made_is_kept(then, host, guest):
    """In safe mode, whatever differs from what was agreed upon is somewhere afterwards."""
    _, now_host, now_guest, _ = cycle(then, host, guest, SAFE)
    for side in (host, guest):
        for path, file in files_of(side).items():
            if at(then, path) != file:
                assert at(now_host, path) == file or at(now_guest, path) == file


@FEW
@given(PLAIN, PLAIN, PLAIN)
def test_one_way_what_the_guest_has_made_is_kept(then, host, guest):
    _, _, now_guest, _ = cycle(then, host, guest, ONE_WAY)
    for path, file in files_of(guest).items():
        if at(then, path) != file and at(host, path) != file:
            assert at(now_guest, path) == file


@FEW
@given(
    ANY,
    st.lists(st.tuples(st.lists(NAMES, max_size=3).map(tuple), FILES | st.none() | st.just(EMPTY))),
)
def test_what_stays_through_changes_keeps_its_fingerprint(side, puts):
    puts = [(path, entry) for path, entry in puts if path]
    side = _tracked(side)
    changed = with_changes(side, puts)
    rebuilt = _tracked(changed)
    assert changed == rebuilt
    for path, entry in puts[-1:]:
        assert type(at(changed, path)) is type(entry)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("seed", ["deletion wins", "guest wins", "edits are not seen"])
def test_a_wrong_rule_is_noticed(monkeypatch, seed):
    rules = reconcile_module._Reconciliation
    right = rules._both_ways

    def wrong(self, path, then, host, guest):
        if seed == "deletion wins" and host is not None:
            return right(self, path, then, host, guest)
        travel = self._to_host if seed == "guest wins" else self._to_guest
        return travel(path, host, guest)

    monkeypatch.setattr(rules, "_both_ways", wrong)
    with pytest.raises(AssertionError):
        test_what_a_side_has_edited_or_made_is_kept()
