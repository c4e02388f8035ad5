"""The scorecard at work: on a plain directory, where events are native, and on shares."""

import os
import signal
from pathlib import Path
from random import Random

import pytest

from osxfs_sim.coherence.scorecard.changes import CHANGES, ChangeNames, parse_name
from osxfs_sim.coherence.scorecard.expectations import ChangeKind, Expectation, expected_of, native
from osxfs_sim.coherence.scorecard.listener import observe
from osxfs_sim.coherence.scorecard.listener_process import ListenerProcess
from osxfs_sim.coherence.scorecard.measure import KindResult, Pace, run_scorecard
from osxfs_sim.coherence.scorecard.signals import ObservedState, Role
from osxfs_sim.model.events import EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.user_error import UserError

pytestmark = pytest.mark.starts_processes

TIMES = 3
# As long as events may take on a busy machine; what is missing costs as much.
PACE = Pace(patience_ns=500_000_000)
MS = 1_000_000


def say_nothing(text: str) -> None:
    del text


def osxfs(kind: ChangeKind) -> Expectation:
    return expected_of(kind, NotifySpec())


def scores(host: Path, guest: Path, expected, *kinds: ChangeKind) -> dict[ChangeKind, KindResult]:
    results = run_scorecard(
        host, guest, expected, TIMES, PACE, Random(1), say_nothing, kinds or tuple(ChangeKind)
    )
    return {result.kind: result for result in results}


def test_a_plain_directory_raises_exactly_the_native_events(field: Path) -> None:
    for kind, result in scores(field, field, native).items():
        assert result.score.is_right, (kind, result.score)
        assert result.score.changes == TIMES
        assert result.score.delivered == TIMES * len(result.expectation.required)
        assert len(result.score.delays_ns) == result.score.delivered
        assert all(delay_ns > 0 for delay_ns in result.score.delays_ns)


def test_native_events_are_not_those_of_osxfs(field: Path) -> None:
    results = scores(
        field,
        field,
        osxfs,
        ChangeKind.CREATE,
        ChangeKind.APPEND,
        ChangeKind.RENAME,
        ChangeKind.MODIFY_OPEN,
    )
    assert dict(results[ChangeKind.APPEND].score.unexpected) == {"IN_CLOSE_WRITE a": TIMES}
    rename = results[ChangeKind.RENAME].score
    assert dict(rename.unexpected) == {"IN_MOVED_FROM a": TIMES, "IN_MOVED_TO b": TIMES}
    assert dict(rename.missing) == {"IN_DELETE a": TIMES, "IN_MODIFY b": TIMES}
    # Where the two agree, and where what is closed later is no part of the change.
    assert results[ChangeKind.CREATE].score.is_right
    assert results[ChangeKind.MODIFY_OPEN].score.is_right


def test_a_guest_that_sees_nothing_hears_nothing(field: Path) -> None:
    (field / "host").mkdir()
    (field / "guest").mkdir()
    for name in ("create", "mkdir"):
        (field / "guest" / name).mkdir()
    results = scores(field / "host", field / "guest", osxfs, ChangeKind.CREATE, ChangeKind.MKDIR)
    for result in results.values():
        assert result.score.missing.total() == TIMES
        assert result.score.delivered == 0


def test_names_that_nobody_here_makes_are_unexpected(field: Path) -> None:
    def meddle(kind: ChangeKind) -> Expectation:
        # Asked for when the directory is there, before it is watched.
        return native(kind)

    class Meddling(Random):
        """Draws a number between two changes, and then does something of its own."""

        def random(self) -> float:
            (field / "create" / f".temporary-{super().random()}").touch()
            return 0.0

    (result,) = run_scorecard(
        field, field, meddle, TIMES, PACE, Meddling(1), say_nothing, (ChangeKind.CREATE,)
    )
    assert not result.score.is_right
    assert all(".temporary-" in words for words in result.score.unexpected)


def test_what_is_heard_of_a_name_before_its_own_change_is_unexpected(field: Path) -> None:
    """Somebody touches the names that are still to be removed, while the first one is."""

    class Meddling(Random):
        def random(self) -> float:
            for path in sorted((field / "delete").iterdir()):
                path.chmod(0o600)
            return 0.0

    (result,) = run_scorecard(
        field, field, native, TIMES, PACE, Meddling(1), say_nothing, (ChangeKind.DELETE,)
    )
    # Two names are left after the first removal, and one after the second.
    assert dict(result.score.unexpected) == {"IN_ATTRIB a": 3}
    assert not result.score.is_right


def test_nothing_is_changed_before_the_events_of_what_was_made_have_come(field: Path) -> None:
    asked = []

    def settle() -> None:
        asked.append(len(list((field / "delete").iterdir())))

    (result,) = run_scorecard(
        *(field, field, native, TIMES, PACE, Random(1), say_nothing, (ChangeKind.DELETE,)),
        settle,
    )
    assert asked == [TIMES]
    assert result.score.is_right


def test_a_share_without_host_events_is_told_of_none(share) -> None:
    live = share(profile="none")
    results = scores(
        live.source, live.guest, osxfs, ChangeKind.WRITE, ChangeKind.DELETE, ChangeKind.READ
    )
    assert results[ChangeKind.WRITE].score.missing.total() == 2 * TIMES
    assert results[ChangeKind.DELETE].score.missing.total() == 2 * TIMES
    assert results[ChangeKind.READ].score.is_right


@pytest.mark.parametrize("profile", ["osxfs", "osxfs-cached", "osxfs-complete"])
def test_a_share_with_host_events_raises_those_of_its_table(share, profile: str) -> None:
    live = share(profile=profile, latency_ns=0)
    pace = Pace.of(EventSpec(StreamSpec(10 * MS), NotifySpec()))
    results = run_scorecard(live.source, live.guest, osxfs, TIMES, pace, Random(1), say_nothing)
    for result in results:
        assert result.score.is_right, (result.kind, result.score)


def test_a_pace_leaves_room_for_every_window() -> None:
    slow = EventSpec(
        StreamSpec(30 * MS),
        NotifySpec(debounce_files_ns=100 * MS, debounce_directories_ns=500 * MS),
    )
    pace = Pace.of(slow)
    assert pace.window_ns == 530 * MS
    assert pace.quiet_ns > 2 * pace.window_ns
    assert pace.patience_ns > pace.window_ns
    assert Pace.of(EventSpec()) == Pace()


@pytest.mark.parametrize(("most_pending", "batch"), [(1, 1), (40, 10), (4_096, 100)])
def test_a_preparation_is_small_against_what_the_stream_can_hold(most_pending, batch) -> None:
    assert Pace.of(EventSpec(StreamSpec(most_pending=most_pending))).batch == batch


def test_lots_make_no_difference(field: Path) -> None:
    pace = Pace(patience_ns=PACE.patience_ns, batch=2)
    (result,) = run_scorecard(
        field, field, native, 5, pace, Random(1), say_nothing, (ChangeKind.MODIFY_OPEN,)
    )
    assert result.score.is_right
    assert (result.score.changes, result.score.delivered) == (5, 5)


def test_every_kind_of_change_can_be_performed_and_judged(field: Path) -> None:
    assert set(CHANGES) == set(ChangeKind)
    for kind, change in CHANGES.items():
        (field / kind.name).mkdir()
        names = ChangeNames(field / kind.name, 7)
        change.prepare(names)
        performed = change.perform(names)
        if performed.open_fd is not None:
            os.close(performed.open_fd)
        told_of = {signal.role for signal in osxfs(kind).known | native(kind).known}
        for step in performed.steps:
            assert told_of <= set(step.expected) <= set(change.roles)
        # What the last step shows is what is there.
        for role, expected in performed.steps[-1].expected.items():
            assert expected.agrees(
                ObservedState(**observe(str(names.directory), names.name(role)))
            ), kind


def test_names_are_told_apart() -> None:
    names = ChangeNames(Path("/host"), 1_234_567)
    for role in Role:
        assert parse_name(names.name(role)) == (1_234_567, role)
    for other in ("", "1.a", "000001.c", "000001.a~", ".000001.a", "x"):
        assert parse_name(other) is None


# The listener


def test_what_cannot_be_watched_is_said_in_one_line(field: Path) -> None:
    with (
        ListenerProcess() as listener,
        pytest.raises(UserError, match=r"^cannot watch .*missing: No such file or directory$"),
    ):
        listener.watch(str(field / "missing"))


def test_a_listener_that_is_gone_is_noticed(field: Path) -> None:
    with ListenerProcess() as listener:
        os.kill(listener._process.pid, signal.SIGKILL)
        listener._process.wait()
        with pytest.raises(UserError, match=r"^the listener in the guest has ended$"):
            listener.watch(str(field))


def test_a_listener_ends_with_its_owner(field: Path) -> None:
    with ListenerProcess() as listener:
        listener.watch(str(field))
        # More than a pipe holds, and nobody reads it.
        for number in range(2_000):
            (field / f"{number}").touch()
    assert listener._process.returncode is not None


def test_a_listener_looks_without_being_heard(field: Path) -> None:
    with ListenerProcess() as listener:
        listener.watch(str(field))
        (field / "file").write_text("content")
        reports = []
        while not any(report.event == "IN_CLOSE_WRITE" for report in reports):
            reports += listener.take(PACE.patience_ns)
        assert [report.observed.content for report in reports][-1] == "content"
        assert {str(report.event) for report in reports} == {
            "IN_CREATE",
            "IN_MODIFY",
            "IN_CLOSE_WRITE",
        }
        assert listener.take(0) == []
