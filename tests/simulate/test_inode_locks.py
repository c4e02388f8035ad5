"""Who waits for an inode's lock in the guest's kernel, and who does not."""

import pytest
from support.complaints import noticed
from support.recordings import (
    A_FILE,
    asked,
    attributes,
    found,
    latency,
    missed,
    recording,
    simulate,
    system,
)

from osxfs_sim.simulate import inode_locks
from osxfs_sim.simulate.recording import Question

LATENCY_NS = 1_000
SYSTEM = system(latency=latency(LATENCY_NS))

MADE = asked("CREATE", 1, b"new", found=9, status=A_FILE)
LISTED = asked("READDIRPLUS", 1, size_bytes=10, handle=3)
WRITTEN = asked("WRITE", 2, size_bytes=5, status=A_FILE)
READ = asked("READ", 2, size_bytes=5)
MOVED = asked("RENAME", 1, b"a", found=5, new_name=b"b")


def wall_ns(*questions: Question) -> int:
    """Of questions that are asked at once, each by a thread of its own."""
    at_once = [
        each._replace(thread=number, arrival_ns=0, took_ns=10)
        for number, each in enumerate(questions, 1)
    ]
    recorded = recording(*at_once, header={"command_start_ns": 0, "command_end_ns": 10})
    return simulate(recorded, SYSTEM).wall_ns


WAIT = [
    (MADE, missed(b"other")),
    (missed(b"other"), MADE),
    (MADE, asked("UNLINK", 1, b"gone", found=4)),
    (LISTED, MADE),
    (MOVED, asked("MKDIR", 5, b"d", found=8)),
    (WRITTEN, asked("SETATTR", 2, status=A_FILE)),
]
DO_NOT = [
    (missed(b"a"), missed(b"b")),
    (missed(b"a"), LISTED),
    (MADE, asked("CREATE", 5, b"new", found=9, status=A_FILE)),
    (WRITTEN, attributes(2)),
    (READ, READ),
]


def check_locks() -> None:
    for first, second in WAIT:
        assert wall_ns(first, second) == 2 * LATENCY_NS, (first, second)
    for first, second in DO_NOT:
        assert wall_ns(first, second) == LATENCY_NS, (first, second)


def test_whoever_changes_a_directory_or_a_file_has_it_alone() -> None:
    check_locks()


def test_an_expired_dentry_is_revalidated_without_the_lock() -> None:
    """Whoever looked the name up before need not wait for who makes another there."""
    known = found(b"a", 7)._replace(thread=1, arrival_ns=0, took_ns=10)
    again = found(b"a", 7)._replace(thread=1, arrival_ns=20, took_ns=10)
    made = MADE._replace(thread=2, arrival_ns=20, took_ns=10)
    recorded = recording(known, again, made, header={"command_start_ns": 0, "command_end_ns": 30})
    assert simulate(recorded, SYSTEM).wall_ns == 2 * LATENCY_NS + 10


@pytest.mark.parametrize("broken", ["ALONE", "SHARED"])
def test_locks_that_nobody_takes_are_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inode_locks, broken, frozenset())
    with noticed():
        check_locks()
