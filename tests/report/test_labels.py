"""Labels keep clear of each other and of the points, wherever there is room for it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.report.labels import Box, place_labels

FRAME = Box(0, 0, 500, 400)
ANCHORS = st.lists(st.tuples(st.floats(60, 440), st.floats(60, 340)), max_size=6, unique=True)


def overlaps(boxes: list[Box]) -> bool:
    return any(
        one.overlap(other) > 0 for number, one in enumerate(boxes) for other in boxes[number + 1 :]
    )


@settings(max_examples=60, deadline=None)
@given(ANCHORS)
def test_where_there_is_room_no_two_labels_overlap(anchors: list[tuple[float, float]]) -> None:
    boxes = place_labels(anchors, [(50.0, 10.0)] * len(anchors), FRAME)
    assert not overlaps(boxes)
    assert all(box.is_within(FRAME) for box in boxes)


def test_two_at_one_place_are_parted_and_an_obstacle_is_gone_round() -> None:
    anchors = [(100.0, 100.0)] * 4
    obstacle = Box(100, 90, 300, 110)
    boxes = place_labels(anchors, [(40.0, 10.0)] * 4, FRAME, [obstacle])
    assert not overlaps([*boxes, obstacle])


def test_a_label_stands_to_the_right_where_nothing_is_in_its_way() -> None:
    (box,) = place_labels([(100.0, 100.0)], [(40.0, 10.0)], FRAME)
    assert (box.left, box.bottom) == (105, 95)


def test_where_there_is_no_room_it_is_placed_all_the_same() -> None:
    everywhere = Box(-1000, -1000, 1000, 1000)
    (box,) = place_labels([(5.0, 5.0)], [(40.0, 10.0)], Box(0, 0, 10, 10), [everywhere])
    assert round(box.right - box.left) == 40


def test_the_check_of_this_test_notices() -> None:
    assert overlaps([Box(0, 0, 2, 2), Box(1, 1, 3, 3)])
    assert not overlaps([Box(0, 0, 2, 2), Box(2, 0, 3, 3)])
