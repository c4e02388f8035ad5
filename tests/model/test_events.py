"""Host changes on their way to the guest: windows, losses, and what the guest sees.

Each property is a function of the class it is about, so that the same check can
be shown seeded bugs that it must notice.
"""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model.events import (
    KERNEL_DROPPED,
    NO_EVENTS,
    USER_DROPPED,
    Debounce,
    EventSpec,
    EventStream,
    FileEvent,
    MustScan,
    Notice,
    NotifySpec,
    Stale,
    StreamSpec,
    What,
    invalidated_by,
    notices,
)

CREATED, REMOVED, RENAMED, MODIFIED, ATTRIBUTES, CLOSED, DIRECTORY = What
MS = 1_000_000


class Node:
    """A directory of a tree that is nowhere but here."""

    def __init__(self, name: str, parent: "Node | None" = None) -> None:
        self.name = name
        self.parent = parent

    def __repr__(self) -> str:
        return self.name


@pytest.fixture
def root() -> Node:
    return Node("/")


def below(parent: Node, *names: str) -> list[Node]:
    return [Node(name, parent) for name in names]


# The window


def test_the_first_change_after_a_quiet_time_is_told_at_once(root):
    stream = EventStream(StreamSpec(10 * MS), root)
    assert stream.due_ns is None
    stream.happened(root, b"a", CREATED, 7)
    assert stream.due_ns == 7
    assert stream.take(7) == [FileEvent(root, b"a", CREATED, 7)]
    assert stream.due_ns is None


def test_changes_after_a_delivery_wait_until_its_window_ends(root):
    stream = EventStream(StreamSpec(10 * MS), root)
    stream.happened(root, b"a", CREATED, 0)
    stream.take(0)
    stream.happened(root, b"b", CREATED, 3 * MS)
    stream.happened(root, b"c", CREATED, 4 * MS)
    assert stream.due_ns == 10 * MS
    assert stream.take(10 * MS - 1) == []
    assert [event.name for event in stream.take(10 * MS)] == [b"b", b"c"]


def test_with_defer_even_the_first_change_waits_for_the_whole_window(root):
    stream = EventStream(StreamSpec(10 * MS, no_defer=False), root)
    stream.happened(root, b"a", CREATED, 100 * MS)
    stream.happened(root, b"b", CREATED, 105 * MS)
    assert stream.due_ns == 110 * MS
    assert len(stream.take(110 * MS)) == 2
    stream.happened(root, b"c", CREATED, 200 * MS)
    assert stream.due_ns == 210 * MS


def test_without_a_latency_every_change_is_told_when_it_happens(root):
    stream = EventStream(StreamSpec(0), root)
    for now_ns in (5, 5, 6):
        stream.happened(root, b"a", MODIFIED, now_ns)
        assert stream.due_ns == now_ns
        assert len(stream.take(now_ns)) == 1


def test_changes_of_one_name_become_one_event_that_keeps_its_place_and_its_time(root):
    (inner,) = below(root, "inner")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False), root)
    stream.happened(root, b"a", CREATED, 1)
    stream.happened(inner, b"a", CREATED | DIRECTORY, 2)
    stream.happened(root, b"a", MODIFIED, 3)
    assert stream.take(10 * MS + 1) == [
        FileEvent(root, b"a", CREATED | MODIFIED, 1),
        FileEvent(inner, b"a", CREATED | DIRECTORY, 2),
    ]
    assert (stream.seen, stream.delivered, stream.coalesced, stream.dropped) == (3, 2, 1, 0)


def test_the_root_itself_is_the_empty_name_in_the_root(root):
    stream = EventStream(StreamSpec(), root)
    stream.happened(root, b"", ATTRIBUTES | DIRECTORY, 1)
    assert stream.take(1) == [FileEvent(root, b"", ATTRIBUTES | DIRECTORY, 1)]


# Losses


def test_a_name_too_many_loses_all_that_wait_into_one_scan_of_what_they_share(root):
    (project,) = below(root, "project")
    one, two = below(project, "one", "two")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False, most_pending=2), root)
    stream.happened(one, b"a", CREATED, 1)
    stream.happened(one, b"b", CREATED, 2)
    stream.happened(one, b"a", MODIFIED, 3)  # no further name
    assert stream.waiting == 2
    stream.happened(two, b"c", CREATED, 4)
    assert stream.take(11 * MS) == [MustScan(project, 1, USER_DROPPED)]
    assert (stream.seen, stream.coalesced, stream.dropped, stream.must_scans) == (4, 1, 3, 1)


def test_names_of_one_directory_that_overflow_need_no_more_than_its_scan(root):
    (one,) = below(root, "one")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False, most_pending=1), root)
    stream.happened(one, b"a", CREATED, 1)
    stream.happened(one, b"b", CREATED, 2)
    assert stream.take(11 * MS) == [MustScan(one, 1, USER_DROPPED)]


def test_what_happens_below_a_scan_that_is_not_yet_told_is_part_of_it(root):
    one, two = below(root, "one", "two")
    (deep,) = below(one, "deep")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False, most_pending=1), root)
    stream.happened(one, b"a", CREATED, 1)
    stream.happened(one, b"b", CREATED, 2)
    stream.happened(deep, b"c", CREATED, 3)
    stream.happened(two, b"d", CREATED, 4)
    assert stream.take(11 * MS) == [
        MustScan(one, 1, USER_DROPPED),
        FileEvent(two, b"d", CREATED, 4),
    ]
    assert stream.dropped == 3
    stream.happened(deep, b"c", MODIFIED, 12 * MS)
    assert stream.take(22 * MS) == [FileEvent(deep, b"c", MODIFIED, 12 * MS)]


def test_a_queue_of_the_host_that_overflowed_asks_for_everything(root):
    (one,) = below(root, "one")
    stream = EventStream(StreamSpec(), root)
    stream.happened(one, b"a", CREATED, 5)
    stream.kernel_dropped(9, since_ns=6)
    assert stream.take(9) == [
        MustScan(root, 6, KERNEL_DROPPED),
        FileEvent(one, b"a", CREATED, 5),
    ]


def test_the_next_events_are_lost_on_demand_and_the_loss_is_told(root):
    one, two = below(root, "one", "two")
    stream = EventStream(StreamSpec(), root)
    stream.drop(count=1)
    stream.happened(one, b"a", CREATED, 5)
    stream.happened(two, b"b", CREATED, 6)
    assert stream.take(6) == [
        MustScan(one, 5, USER_DROPPED),
        FileEvent(two, b"b", CREATED, 6),
    ]


def test_several_directories_that_lost_something_are_told_one_by_one(root):
    one, two = below(root, "one", "two")
    (deep,) = below(one, "deep")
    stream = EventStream(StreamSpec(), root)
    stream.drop(rate=1)
    for now_ns, directory in enumerate((deep, two, one)):
        stream.happened(directory, b"a", CREATED, now_ns)
    # The scan of one takes in that of deep, and must look as far back.
    assert stream.take(2) == [MustScan(two, 1, USER_DROPPED), MustScan(one, 0, USER_DROPPED)]
    stream.drop()
    stream.happened(one, b"a", CREATED, 3)
    assert stream.take(3) == [FileEvent(one, b"a", CREATED, 3)]


def test_many_directories_that_lost_something_become_one_scan_of_what_they_share(root):
    (project,) = below(root, "project")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False), root)
    stream.drop(rate=1)
    for number, directory in enumerate(below(project, *map(str, range(65)))):
        stream.happened(directory, b"a", CREATED, number)
    assert stream.take(10 * MS) == [MustScan(project, 0, USER_DROPPED)]


def test_a_directory_renamed_out_of_a_scan_is_still_looked_at(root):
    one, two = below(root, "one", "two")
    (moved,) = below(one, "moved")
    stream = EventStream(StreamSpec(10 * MS, no_defer=False, most_pending=1), root)
    stream.happened(one, b"a", CREATED, 1)
    stream.happened(one, b"b", CREATED, 2)
    stream.happened(moved, b"c", CREATED, 3)
    moved.parent = two
    assert stream.take(11 * MS) == [
        MustScan(one, 1, USER_DROPPED),
        MustScan(moved, 1, USER_DROPPED),
    ]


def test_directories_in_a_circle_are_looked_for_everywhere(root):
    one, two = below(root, "one", "two")
    (other,) = below(root, "other")
    one.parent, two.parent = two, one
    stream = EventStream(StreamSpec(10 * MS, no_defer=False, most_pending=1), root)
    stream.happened(one, b"a", CREATED, 1)
    stream.happened(other, b"b", CREATED, 2)
    assert stream.take(11 * MS) == [MustScan(root, 1, USER_DROPPED)]


def test_a_loss_waits_for_the_window_as_an_event_does(root):
    stream = EventStream(StreamSpec(10 * MS), root)
    stream.happened(root, b"a", CREATED, 0)
    stream.take(0)
    stream.drop(count=1)
    stream.happened(root, b"b", CREATED, 1)
    assert stream.due_ns == 10 * MS


# Nothing is lost silently

# Mostly changes and the passing of time: a scan of everything hides what else is lost.
KINDS = ["happened"] * 10 + ["pass"] * 4 + ["rename", "rename", "drop", "kernel"]
NODES = st.integers(0, 7)
SCRIPTS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        NODES,
        NODES,
        st.sampled_from([b"a", b"b", b"c"]),
        st.sampled_from(What),
        st.integers(0, 30),
    ),
    min_size=15,
    max_size=40,
)
SPECS = st.builds(
    StreamSpec,
    latency_ns=st.sampled_from([0, 1, 10]),
    no_defer=st.booleans(),
    most_pending=st.sampled_from([1, 2, 5, 4096]),
)


def is_below(directory: Node, top: Node, root: Node) -> bool:
    seen = set()
    while directory is not None and directory not in seen:
        if directory is top:
            return True
        seen.add(directory)
        directory = directory.parent
    return top is root


def is_accounted_for(change, told, root) -> bool:
    directory, name, what, at_ns = change
    for each in told:
        if isinstance(each, MustScan):
            if each.since_ns <= at_ns and is_below(directory, each.directory, root):
                return True
        elif (each.directory, each.name) == (directory, name) and what in each.what:
            return each.at_ns <= at_ns
    return False


def play(stream, nodes, script, check):
    """Act a script out on *stream*; whatever is due is taken when it is due."""
    now_ns = 0

    def wait_until(later_ns):
        while stream.due_ns is not None and stream.due_ns <= later_ns:
            due_ns = stream.due_ns
            told = stream.take(due_ns)
            assert told, "due, and nothing is told"
            check(due_ns, told)

    for kind, number, other, name, what, amount in script:
        match kind:
            case "happened":
                stream.happened(nodes[number], name, what, now_ns)
                check(now_ns, (nodes[number], name, what, now_ns))
            case "rename" if number:
                nodes[number].parent = nodes[other]  # into itself, too
            case "pass":
                wait_until(now_ns + amount)
                now_ns += amount
            case "drop":
                stream.drop(count=amount % 3, rate=0.3 if amount > 20 else 0.0)
            case "kernel":
                stream.kernel_dropped(now_ns, now_ns - amount)
    wait_until(now_ns + 10**9)


def tree() -> list[Node]:
    """/ with 1 and 2; 1 with 3, 4; 2 with 5; 3 with 6; 6 with 7."""
    nodes = [Node("/")]
    for number, parent in enumerate((0, 0, 1, 1, 2, 3, 6), start=1):
        nodes.append(Node(str(number), nodes[parent]))
    return nodes


# 3 loses something below 1, and is below 2 when the loss is told.
MOVED_AWAY = [
    ("happened", 1, 0, b"a", CREATED, 0),
    ("happened", 1, 0, b"b", CREATED, 0),
    ("happened", 3, 0, b"c", CREATED, 0),
    ("rename", 3, 2, b"", CREATED, 0),
]


def nothing_is_lost_silently_nor_told_late(stream_class):
    @example(StreamSpec(10, no_defer=False, most_pending=1), MOVED_AWAY, 0)
    @given(spec=SPECS, script=SCRIPTS, seed=st.integers(0, 3))
    def check(spec, script, seed):
        nodes = tree()
        stream = stream_class(spec, nodes[0], seed)
        untold = []

        def account(now_ns, told):
            if isinstance(told, tuple):
                untold.append(told)
                assert stream.waiting <= spec.most_pending
                return
            for change in untold:
                assert is_accounted_for(change, told, nodes[0]), (change, told)
                assert now_ns - change[3] <= spec.latency_ns, "told too late"
            untold.clear()
            kinds = [isinstance(each, FileEvent) for each in told]
            assert kinds == sorted(kinds), "a scan after an event"

        play(stream, nodes, script, account)
        assert not untold
        assert stream.due_ns is None
        assert stream.waiting == 0
        assert stream.seen == stream.delivered + stream.coalesced + stream.dropped

    check()


@pytest.mark.takes_seconds
def test_nothing_is_lost_silently_nor_told_late():
    nothing_is_lost_silently_nor_told_late(EventStream)


class LosesOneInFive(EventStream):
    def happened(self, directory, name, what, now_ns):
        if self.seen % 5 == 4:
            self.seen += 1
            self.dropped += 1
        else:
            super().happened(directory, name, what, now_ns)


class ForgetsWhatWaitedWhenItOverflows(EventStream):
    def _overflow(self, directory, now_ns):
        self.dropped += len(self._pending) + 1
        self._pending.clear()
        self._lose((directory,), now_ns, USER_DROPPED)


class TakesTheLatestTime(EventStream):
    def _lose(self, directories, since_ns, why):
        super()._lose(directories, max(since_ns, self._latest_ns), why)

    def happened(self, directory, name, what, now_ns):
        self._latest_ns = now_ns
        super().happened(directory, name, what, now_ns)

    _latest_ns = 0


class TrustsThePlaceOfADirectory(EventStream):
    def _follow_renamed(self):
        pass


class CoalescesByTheLastFlag(EventStream):
    def happened(self, directory, name, what, now_ns):
        super().happened(directory, name, what, now_ns)
        change = self._pending.get((directory, name))
        if change is not None:
            change.what = what


class BeginsAWindowAnew(EventStream):
    def happened(self, directory, name, what, now_ns):
        super().happened(directory, name, what, now_ns)
        self._due_ns = now_ns + self.spec.latency_ns


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    "bug",
    [
        LosesOneInFive,
        ForgetsWhatWaitedWhenItOverflows,
        TakesTheLatestTime,
        TrustsThePlaceOfADirectory,
        CoalescesByTheLastFlag,
        BeginsAWindowAnew,
    ],
)
def test_the_check_of_losses_notices(bug):
    with noticed():
        nothing_is_lost_silently_nor_told_late(bug)


def every_name_is_told_by_itself_and_in_order(stream_class):
    @given(spec=SPECS, script=SCRIPTS)
    def check(spec, script):
        spec = dataclasses.replace(spec, most_pending=4096)
        script = [step for step in script if step[0] not in ("drop", "kernel")]
        nodes, first = tree(), {}

        def account(_now_ns, told):
            if isinstance(told, tuple):
                directory, name, what, at_ns = told
                merged = first.get((directory, name), (What(0), at_ns))
                first[directory, name] = (merged[0] | what, merged[1])
                return
            expected = [FileEvent(*key, what, at_ns) for key, (what, at_ns) in first.items()]
            assert told == expected
            first.clear()

        play(stream_class(spec, nodes[0]), nodes, script, account)
        assert not first

    check()


@pytest.mark.takes_seconds
def test_with_room_and_no_losses_every_name_is_told_by_itself_and_in_order():
    every_name_is_told_by_itself_and_in_order(EventStream)


class TellsTheLatestFirst(EventStream):
    def take(self, now_ns):
        return super().take(now_ns)[::-1]


class MovesWhatChangedAgainToTheEnd(EventStream):
    def happened(self, directory, name, what, now_ns):
        super().happened(directory, name, what, now_ns)
        key = (directory, name)
        self._pending[key] = self._pending.pop(key)


@pytest.mark.parametrize("bug", [TellsTheLatestFirst, MovesWhatChangedAgainToTheEnd])
def test_the_check_of_the_order_notices(bug):
    with noticed():
        every_name_is_told_by_itself_and_in_order(bug)


def the_same_seed_loses_the_same(stream_class):
    @given(spec=SPECS, script=SCRIPTS, seed=st.integers(0, 3))
    def check(spec, script, seed):
        script = [("drop", 0, 0, b"", What(0), 30), *script]

        def story():
            nodes, told = tree(), []
            play(
                stream_class(spec, nodes[0], seed),
                nodes,
                script,
                lambda now_ns, each: told.append((now_ns, str(each))),
            )
            return told

        assert story() == story()

    check()


@pytest.mark.takes_seconds
def test_the_same_seed_loses_the_same():
    the_same_seed_loses_the_same(EventStream)


class ForgetsItsSeed(EventStream):
    made = 0

    def __init__(self, spec, root, seed=0):
        type(self).made += 1
        super().__init__(spec, root, self.made)


def test_the_check_of_seeds_notices_one_that_is_forgotten():
    with noticed():
        the_same_seed_loses_the_same(ForgetsItsSeed)


def lost_of(seed: int, gap_ns: int) -> list[bool]:
    """Which of a hundred changes, each in a directory of its own, a rate of a half loses."""
    root = Node("/")
    directories = below(root, *map(str, range(100)))
    stream = EventStream(StreamSpec(0), root, seed)
    stream.drop(rate=0.5)
    lost = []
    for number, directory in enumerate(directories):
        stream.happened(directory, b"a", CREATED, number * gap_ns)
        (told,) = stream.take(number * gap_ns)
        lost.append(isinstance(told, MustScan))
    return lost


def test_a_rate_loses_about_that_part_by_the_seed_and_not_by_the_time():
    assert lost_of(1, 1) == lost_of(1, 1_000)
    assert lost_of(1, 1) != lost_of(2, 1)
    assert 30 < sum(lost_of(1, 1)) < 70


def what_is_remembered_is_bounded(stream_class):
    @given(count=st.integers(1, 300), most_pending=st.sampled_from([1, 4, 16]))
    def check(count, most_pending):
        root = Node("/")
        (one,) = below(root, "one")
        stream = stream_class(StreamSpec(10**9, no_defer=False, most_pending=most_pending), root)
        for directory in below(one, *map(str, range(count))):
            stream.happened(directory, b"a", CREATED, 0)
            remembered = sum(len(loss.inside) for loss in stream._losses.values())
            assert remembered <= 2 * most_pending
        # Where it was too much, everything is looked at, and so what was moved away.
        scans = [each.directory for each in stream.take(10**9) if isinstance(each, MustScan)]
        if count <= most_pending:
            assert scans == []
        else:
            assert scans == [one if count <= 2 * most_pending else root]

    check()


def test_what_is_remembered_of_a_loss_is_bounded():
    what_is_remembered_is_bounded(EventStream)


class RemembersEverything(EventStream):
    def _bound_losses(self):
        pass


def test_the_check_of_the_bound_notices_who_remembers_everything():
    with noticed():
        what_is_remembered_is_bounded(RemembersEverything)


# What a change ends


@pytest.mark.parametrize(
    ("what", "ends"),
    [
        (CREATED, Stale.ENTRY | Stale.DIRECTORY_ATTRIBUTES | Stale.ATTRIBUTES),
        (
            REMOVED | DIRECTORY,
            Stale.ENTRY | Stale.DIRECTORY_ATTRIBUTES | Stale.ATTRIBUTES,
        ),
        (RENAMED, Stale.ENTRY | Stale.DIRECTORY_ATTRIBUTES | Stale.ATTRIBUTES),
        (MODIFIED, Stale.ATTRIBUTES | Stale.PAGES),
        (ATTRIBUTES, Stale.ATTRIBUTES),
        (CLOSED, Stale(0)),
        (DIRECTORY, Stale(0)),
        (What(0), Stale(0)),
    ],
)
def test_a_change_ends_what_it_makes_untrue_and_nothing_else(what, ends):
    assert invalidated_by(what) == ends


@given(one=st.sampled_from(What), other=st.sampled_from(What))
def test_what_coalesced_changes_end_is_what_each_ends(one, other):
    assert invalidated_by(one | other) == invalidated_by(one) | invalidated_by(other)


# What the guest sees

DELETE, CREATE, MODIFY, ATTRIB = Notice
EVERYTHING = NotifySpec()


def seen(what, spec=EVERYTHING, *, exists=True, was_known=False, replaced=False):
    return notices(what, spec, exists=exists, was_known=was_known, replaced=replaced)


# The table of osxfs, row by row.


def test_a_created_file_is_seen_created_and_if_written_modified():
    assert seen(CREATED) == (CREATE,)
    assert seen(CREATED | MODIFIED) == (CREATE, MODIFY)


def test_a_modified_file_is_seen_modified_often_with_its_attributes():
    assert seen(MODIFIED, was_known=True) == (MODIFY,)
    assert seen(MODIFIED | ATTRIBUTES, was_known=True) == (MODIFY, ATTRIB)


def test_attributes_are_seen_as_attributes():
    assert seen(ATTRIBUTES, was_known=True) == (ATTRIB,)


@pytest.mark.parametrize("was_known", [True, False])
def test_a_removed_file_is_seen_deleted(was_known):
    assert seen(REMOVED, exists=False, was_known=was_known) == (DELETE,)


def test_a_made_and_a_removed_directory_are_seen_as_files_are():
    assert seen(CREATED | DIRECTORY) == (CREATE,)
    assert seen(REMOVED | DIRECTORY, exists=False) == (DELETE,)


def test_a_rename_is_seen_as_a_deletion_here_and_a_modification_there():
    assert seen(RENAMED, exists=False, was_known=True) == (DELETE,)
    assert seen(RENAMED) == (MODIFY,)
    assert seen(RENAMED | DIRECTORY) == (MODIFY,)


def test_opening_reading_and_closing_are_not_seen():
    assert seen(CLOSED, was_known=True) == ()
    assert seen(What(0)) == ()


# And what coalescing makes of it.


def test_what_came_and_went_is_seen_gone():
    assert seen(CREATED | REMOVED | MODIFIED, exists=False) == (DELETE,)


def test_a_known_name_that_is_not_there_is_gone_whatever_the_flags_say():
    assert seen(MODIFIED, exists=False, was_known=True) == (DELETE,)
    assert seen(MODIFIED, exists=False) == ()


def test_another_object_of_a_known_name_is_seen_deleted_and_created():
    assert seen(MODIFIED, was_known=True, replaced=True) == (DELETE, CREATE, MODIFY)
    assert seen(REMOVED | CREATED, was_known=True, replaced=True) == (DELETE, CREATE)


def test_a_rename_over_a_known_name_is_seen_deleted_and_modified():
    assert seen(RENAMED, was_known=True, replaced=True) == (DELETE, MODIFY)


def test_a_rename_that_was_written_is_modified_once():
    assert seen(RENAMED | MODIFIED | CREATED) == (CREATE, MODIFY)


def test_a_directory_is_not_seen_modified_when_what_is_in_it_is():
    assert seen(MODIFIED | ATTRIBUTES | DIRECTORY, was_known=True) == (ATTRIB,)


def test_a_system_may_see_a_modification_only_when_the_writer_closes():
    closed = NotifySpec(modifies="closed")
    assert seen(MODIFIED, closed) == ()
    assert seen(CLOSED, closed) == (MODIFY,)
    assert seen(CLOSED | DIRECTORY, closed) == ()
    assert seen(RENAMED, closed) == (MODIFY,)


ALL = RENAMED | CREATED | MODIFIED | ATTRIBUTES


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (NotifySpec(), (DELETE, CREATE, MODIFY, ATTRIB)),
        (NotifySpec(deletes=False), (CREATE, MODIFY, ATTRIB)),
        (NotifySpec(creates=False), (DELETE, MODIFY, ATTRIB)),
        (NotifySpec(modifies="never"), (DELETE, CREATE, ATTRIB)),
        (NotifySpec(attributes=False), (DELETE, CREATE, MODIFY)),
        (NotifySpec(touches=True), (DELETE, ATTRIB)),
        (NotifySpec(touches=True, deletes=False), (ATTRIB,)),
        (NotifySpec(touches=True, deletes=False, attributes=False), (ATTRIB,)),
    ],
)
def test_what_a_system_does_not_tell_is_left_out(spec, expected):
    assert seen(ALL, spec, was_known=True, replaced=True) == expected


@pytest.mark.parametrize("what", [CREATED, MODIFIED, ATTRIBUTES, RENAMED, CREATED | DIRECTORY])
def test_where_all_that_is_told_of_is_touched_it_is_heard_as_one(what):
    assert seen(what, NotifySpec(touches=True)) == (ATTRIB,)
    left_out = NotifySpec(False, "never", attributes=False, touches=True)
    assert seen(what, left_out) == ()


def test_a_system_without_deletes_says_nothing_of_what_is_gone():
    assert seen(REMOVED, NotifySpec(deletes=False), exists=False, was_known=True) == ()


@given(
    bits=st.integers(0, 2**7 - 1),
    exists=st.booleans(),
    was_known=st.booleans(),
    replaced=st.booleans(),
    modifies=st.sampled_from(["written", "closed", "never"]),
)
def test_nothing_is_seen_twice_and_nothing_gone_is_seen_changed(
    bits, exists, was_known, replaced, modifies
):
    told = seen(
        What(bits),
        NotifySpec(modifies=modifies),
        exists=exists,
        was_known=was_known,
        replaced=replaced,
    )
    assert len(set(told)) == len(told)
    if not exists:
        assert set(told) <= {DELETE}
    if DELETE in told:
        assert told[0] is DELETE


# Debouncing

QUIET = NotifySpec(debounce_files_ns=100, debounce_directories_ns=500)


def test_an_event_is_given_when_its_name_has_been_quiet(root):
    debounce = Debounce(QUIET)
    assert debounce.due_ns is None
    debounce.happened(FileEvent(root, b"a", CREATED, 1), 10)
    debounce.happened(FileEvent(root, b"a", MODIFIED, 2), 60)
    assert debounce.due_ns == 160
    assert debounce.take(159) == []
    assert debounce.take(160) == [FileEvent(root, b"a", CREATED | MODIFIED, 1)]
    assert debounce.due_ns is None


def test_directories_have_a_time_of_their_own(root):
    debounce = Debounce(QUIET)
    debounce.happened(FileEvent(root, b"d", CREATED | DIRECTORY, 0), 0)
    debounce.happened(FileEvent(root, b"f", CREATED, 0), 0)
    assert debounce.due_ns == 100
    assert [event.name for event in debounce.take(100)] == [b"f"]
    assert debounce.due_ns == 500


def test_a_name_that_turns_out_to_be_a_directory_waits_as_one(root):
    debounce = Debounce(NotifySpec(debounce_files_ns=500))
    debounce.happened(FileEvent(root, b"d", REMOVED, 0), 0)
    debounce.happened(FileEvent(root, b"d", CREATED | DIRECTORY, 0), 1)
    assert debounce.due_ns == 1
    assert debounce.take(1) == [FileEvent(root, b"d", REMOVED | CREATED | DIRECTORY, 0)]
    assert debounce.due_ns is None
    assert debounce.take(600) == []


def test_without_a_debounce_time_events_are_given_at_once_and_in_order(root):
    debounce = Debounce(EVERYTHING)
    events = [FileEvent(root, name, CREATED, 5) for name in (b"b", b"a")]
    for event in events:
        debounce.happened(event, 7)
    assert debounce.due_ns == 7
    assert debounce.take(7) == events


def test_one_name_too_many_and_the_oldest_is_given_early(root):
    debounce = Debounce(QUIET, most_pending=1)
    debounce.happened(FileEvent(root, b"a", CREATED, 0), 0)
    debounce.happened(FileEvent(root, b"b", CREATED, 5), 5)
    debounce.happened(FileEvent(root, b"a", MODIFIED, 6), 6)  # still one event
    assert debounce.due_ns == 5
    assert debounce.take(6) == [FileEvent(root, b"a", CREATED | MODIFIED, 0)]
    assert debounce.due_ns == 105


def a_name_is_given_once_it_is_quiet(debounce_class):
    @given(
        gaps_ns=st.lists(
            st.tuples(
                st.integers(0, 150), st.integers(0, 4), st.sampled_from([MODIFIED, DIRECTORY])
            ),
            max_size=40,
        ),
        files_ns=st.sampled_from([0, 100, 700]),
        most_pending=st.sampled_from([2, 100]),
    )
    def check(gaps_ns, files_ns, most_pending):
        root = Node("/")
        spec = NotifySpec(debounce_files_ns=files_ns, debounce_directories_ns=500)
        debounce = debounce_class(spec, most_pending)
        last: dict[bytes, tuple[int, What]] = {}
        now_ns = 0

        def take_until(later_ns):
            while debounce.due_ns is not None and debounce.due_ns <= later_ns:
                at_ns = debounce.due_ns
                given = debounce.take(at_ns)
                assert given, "due, and nothing is given"
                for event in given:
                    happened_ns, what = last.pop(event.name)
                    assert event.what == what
                    quiet_ns = 500 if DIRECTORY in what else files_ns
                    assert at_ns <= happened_ns + quiet_ns, "given late"
                    assert at_ns == happened_ns + quiet_ns or most_pending == 2, "given early"

        for gap_ns, number, what in gaps_ns:
            take_until(now_ns + gap_ns)
            now_ns += gap_ns
            name = b"%d" % number
            last[name] = (now_ns, what | last.get(name, (0, What(0)))[1])
            debounce.happened(FileEvent(root, name, what, now_ns), now_ns)
            take_until(now_ns)
            assert len(last) <= most_pending
            assert len(debounce._queue) <= 2 * len(gaps_ns)
        take_until(10**9)
        assert not last

    check()


def test_a_name_is_given_once_it_is_quiet():
    a_name_is_given_once_it_is_quiet(Debounce)


class GivesAtTheFirstTime(Debounce):
    """Looks at when a name began to wait, and not at when it was last changed."""

    def happened(self, event, now_ns):
        quiet = self._waiting.get((event.directory, event.name))
        before_ns = quiet and quiet.due_ns
        super().happened(event, now_ns)
        if quiet is not None:
            quiet.due_ns = before_ns


class GivesNothingEarly(Debounce):
    def __init__(self, spec, most_pending):
        super().__init__(spec, 10**6)


@pytest.mark.parametrize("bug", [GivesAtTheFirstTime, GivesNothingEarly])
def test_the_check_of_quiet_names_notices(bug):
    with noticed():
        a_name_is_given_once_it_is_quiet(bug)


# Specifications


@given(latency_ns=st.integers(0, 10**12), factor=st.integers(1, 1_000))
def test_dilation_multiplies_every_time_and_nothing_else(latency_ns, factor):
    spec = EventSpec(
        StreamSpec(latency_ns, no_defer=False, most_pending=7),
        NotifySpec(False, "closed", False, False, latency_ns, 2 * latency_ns),
    )
    slow_ns = latency_ns * factor
    assert spec.dilated(factor) == EventSpec(
        StreamSpec(slow_ns, no_defer=False, most_pending=7),
        NotifySpec(False, "closed", False, False, slow_ns, 2 * slow_ns),
    )


def test_no_events_stay_none_however_slow_time_is():
    assert NO_EVENTS.dilated(2.0) == NO_EVENTS == EventSpec(None, None)


def test_notices_without_a_stream_are_a_bug_and_not_a_users_mistake():
    with pytest.raises(AssertionError):
        EventSpec(None, NotifySpec())


@pytest.mark.parametrize(
    "values", [{"latency_ns": -1}, {"most_pending": 0}], ids=["latency", "pending"]
)
def test_a_stream_that_cannot_be_is_a_bug_and_not_a_users_mistake(values):
    with pytest.raises(AssertionError):
        StreamSpec(**values)
