"""What a share counts of its own time."""

from osxfs_sim.mount.server.status import Counting


def test_the_least_work_takes_processor_time() -> None:
    """A small share's whole run is shorter than a tick of times(2), and is not for nothing."""
    counting = Counting()
    for _ in range(50):
        counting.reset()
        sum(range(1000))
        assert counting.processor_s > 0
