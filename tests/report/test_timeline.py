"""The picture of a violation, and the same in words."""

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import History
from osxfs_sim.coherence.histories.timeline import in_words
from osxfs_sim.coherence.histories.verdicts import PartitionVerdict, Rules, check
from osxfs_sim.model.consistency import Mode
from osxfs_sim.report.plots import DARK, LIGHT, Style, render
from osxfs_sim.report.timeline import ranks, timeline

HISTORY = History.of(
    [
        OperationInterval(
            "host", ActorOperation("write", "a", data="new"), 0, 2_000_000, OperationResult()
        ),
        OperationInterval(
            "guest-1", ActorOperation("read", "a"), 1_000_000, 3_000_000, OperationResult("new")
        ),
        OperationInterval(
            "guest-1", ActorOperation("read", "a"), 4_000_000, 5_000_000, OperationResult("<old>")
        ),
    ],
    initial={"a": "<old>"},
)


def violation() -> PartitionVerdict:
    (partition,) = check(HISTORY, Rules(Mode.CONSISTENT)).violations
    return partition


def test_in_words_what_nothing_explains_is_marked_and_no_other() -> None:
    lines = in_words(violation()).splitlines()
    assert lines[0] == "a:"
    assert [line.endswith("<- not explained") for line in lines[1:]] == [False, False, True]
    assert "4.000 to 5.000 ms" in lines[3]
    assert "guest-1: read a -> '<old>'" in lines[3]


def test_boxes_keep_what_overlaps_what() -> None:
    assert ranks(HISTORY.operations) == [(0, 2), (1, 3), (4, 5)]


def test_the_picture_names_every_operation_and_marks_the_wrong_one() -> None:
    for theme in (LIGHT, DARK):
        style = Style(theme)
        picture = render(timeline(violation(), style), style, "svg").decode()
        assert picture == render(timeline(violation(), style), style, "svg").decode()
        assert "host: write a data='new' -&gt; done" in picture
        assert picture.count("not explained") == 1
        assert "&lt;old&gt;" in picture
