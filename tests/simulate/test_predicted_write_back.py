"""Arms with write-back: what is held, what crosses, and when it does."""

import pytest
from support.complaints import noticed
from support.recordings import (
    A_DIRECTORY,
    A_FILE,
    LONG_NS,
    asked,
    attributes,
    crossed,
    found,
    latency,
    missed,
    recording,
    simulate,
    system,
)

from osxfs_sim.model.caching import Cached
from osxfs_sim.model.operations import Operation
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.simulate import reference
from osxfs_sim.simulate.pending_changes import PendingTree
from osxfs_sim.simulate.recording import Question, Recording
from osxfs_sim.simulate.share import System

LATER = WriteBackSpec(age_ns=LONG_NS)
SOON_NS = 5_000


def held_for(spec: WriteBackSpec = LATER, base_ns: int = 100) -> System:
    return system(Cached(LONG_NS), latency=latency(base_ns), write_back=spec)


HELD = held_for()


def a_new_file(name: bytes = b"a", inode: int = 3, handle: int = 1) -> list[Question]:
    return [
        missed(name, call="openat O_CREAT"),
        asked("CREATE", 1, name, found=inode, status=A_FILE, handle=handle),
        asked("WRITE", inode, size_bytes=5, handle=handle),
        asked("FLUSH", inode, handle=handle),
        asked("RELEASE", inode, handle=handle),
    ]


SYNCED = asked("FSYNC", 3, handle=1)


def background(*questions: Question, on: System = HELD) -> dict[str, int]:
    """What crosses beside the requests."""
    counted = simulate(recording(*questions), on).background
    return {operation.name: count for operation, count in counted.items()}


def test_a_new_file_costs_its_lookup_alone_and_crosses_later() -> None:
    assert crossed(a_new_file(), HELD) == ["LOOKUP"]
    assert background(*a_new_file()) == {"CREATE": 1, "WRITE": 1}


def test_what_is_written_in_pieces_crosses_as_one() -> None:
    """As in a mounted share, whose objects are no numbers: large ones are told apart by value."""
    opened = [found(b"a", 70_000), asked("OPEN", 70_000, handle=1)]
    pieces = [
        asked("WRITE", int("70000"), offset_bytes=n * 1_000, size_bytes=1_000, handle=1)
        for n in range(5)
    ]
    assert background(*opened, *pieces) == {"WRITE": 1}


def test_fsync_has_what_is_pending_of_the_file_cross_before_it() -> None:
    others = a_new_file(b"b", 4, 2)
    run = simulate(recording(*a_new_file(), SYNCED, *others), HELD)
    assert run.crossings[Operation.FSYNC] == 1
    of_another = simulate(recording(*a_new_file(), SYNCED._replace(inode=9), *others), HELD)
    assert run.wall_ns - of_another.wall_ns == 100, "CREATE and WRITE, which are under way at once"


def test_without_anything_pending_fsync_does_not_wait() -> None:
    opened = [found(b"a", 3), asked("OPEN", 3, handle=1)]
    assert simulate(recording(*opened, SYNCED), HELD).wall_ns == 300 + 30


def test_what_was_made_and_removed_never_crosses() -> None:
    removed = [found(b"a", 3, status=A_FILE), asked("UNLINK", 1, b"a", found=3)]
    run = simulate(recording(*a_new_file(), *removed), HELD)
    assert not run.background
    assert run.held[Operation.UNLINK] == 1


def test_what_the_host_has_and_its_directories_are_asked_for_and_what_is_new_is_not() -> None:
    made = [
        missed(b"d", call="mkdir"),
        asked("MKDIR", 1, b"d", found=2, status=A_DIRECTORY, call="mkdir"),
        missed(b"x", 2),
        asked("OPENDIR", 2, handle=7),
        asked("READDIRPLUS", 2, handle=7),
    ]
    assert crossed(made, HELD) == ["LOOKUP"], "of the directory's own name"
    assert crossed([found(b"e", 8), asked("OPENDIR", 8, handle=7)], HELD) == ["LOOKUP", "OPENDIR"]


def test_only_the_host_knows_whether_a_directory_of_its_own_is_empty() -> None:
    there = [found(b"d", 2, status=A_DIRECTORY), asked("RMDIR", 1, b"d", found=2)]
    assert crossed(there, HELD) == ["LOOKUP", "READDIRPLUS"]
    run = simulate(recording(*there), HELD)
    assert run.questions == 2, "each is one thing: a crossing, or held"


def test_dirty_bytes_are_read_from_the_guests_side_and_the_others_from_the_host() -> None:
    opened = [found(b"a", 3), asked("OPEN", 3, handle=1)]
    written = asked("WRITE", 3, size_bytes=4_096, handle=1)
    again = asked("OPEN", 3, handle=2)  # drops the pages, as this policy has it
    reads = [asked("READ", 3, size_bytes=4_096, handle=2)]
    on = system(Cached(LONG_NS, keeps_pages=False), write_back=LATER)
    assert crossed([*opened, written, again, *reads], on) == ["LOOKUP", "OPEN", "OPEN"]
    more = asked("READ", 3, size_bytes=8_192, handle=2)
    assert crossed([*opened, written, again, more], on) == ["LOOKUP", "OPEN", "OPEN", "READ"]


def test_a_change_is_written_back_when_it_is_old_enough() -> None:
    spec = WriteBackSpec(age_ns=SOON_NS)
    late = attributes(9, arrival_ns=SOON_NS + 2_000)
    removed = [found(b"a", 3), asked("UNLINK", 1, b"a", found=3)]
    assert background(*a_new_file(), late, *removed, on=held_for(spec)) == {
        "CREATE": 1,
        "WRITE": 1,
        "UNLINK": 1,
    }
    assert background(*a_new_file(), late, *removed) == {}


def test_who_finds_no_room_waits_until_there_is_some() -> None:
    spec = WriteBackSpec(age_ns=LONG_NS, most_changes=2, in_flight=1)
    files = [each for n in range(4) for each in a_new_file(b"%d" % n, 3 + n, n)]
    roomy = simulate(recording(*files), HELD)
    narrow = simulate(recording(*files), held_for(spec))
    assert narrow.wall_ns > roomy.wall_ns
    assert narrow.background == roomy.background == {Operation.CREATE: 4, Operation.WRITE: 4}
    assert narrow.questions == roomy.questions == len(files)


def test_what_is_written_synchronously_is_synced_each_time() -> None:
    made = a_new_file()
    made[1] = made[1]._replace(flags=0o4010000)  # O_SYNC
    run = simulate(recording(*made), HELD)
    assert run.added[Operation.FSYNC] == 1
    assert run.questions == len(made)


def test_as_many_crossings_are_under_way_as_may_be() -> None:
    files = [each for n in range(8) for each in a_new_file(b"%d" % n, 3 + n, n)]
    synced = asked("FSYNC", 10, handle=7)
    one = simulate(recording(*files, synced), held_for(WriteBackSpec(age_ns=LONG_NS, in_flight=1)))
    eight = simulate(recording(*files, synced), HELD)
    assert one.wall_ns - eight.wall_ns == (16 - 2) * 100


def everything() -> Recording:
    removed = [found(b"a", 3), asked("UNLINK", 1, b"a", found=3)]
    return recording(*a_new_file(), SYNCED, *a_new_file(b"b", 4, 2), *removed)


def adds_up(recorded: Recording) -> None:
    run = simulate(recorded, HELD)
    assert run.questions == len(recorded)
    assert run.background == {
        Operation.CREATE: 2,
        Operation.WRITE: 2,
        Operation.UNLINK: 1,
    }


def test_every_question_is_one_thing_and_every_change_crosses_once() -> None:
    adds_up(everything())


class _ForgetsWhatItMade(PendingTree):
    """A seeded bug: what is local-only is asked of the host."""

    def is_local_only(self, inode: int) -> bool:
        return False


class _HasNothingToFlush(PendingTree):
    """A seeded bug: fsync(2) waits for nothing."""

    def needed(self, inode: int) -> int:
        return 0


@pytest.mark.parametrize(
    ("broken", "story"),
    [
        (
            _ForgetsWhatItMade,
            test_what_the_host_has_and_its_directories_are_asked_for_and_what_is_new_is_not,
        ),
        (_HasNothingToFlush, test_fsync_has_what_is_pending_of_the_file_cross_before_it),
    ],
)
def test_a_share_that_breaks_a_rule_is_noticed(monkeypatch, broken, story) -> None:
    monkeypatch.setattr(reference, "PendingTree", broken)
    with noticed():
        story()
