"""Polling ends where others want the processor, and begins again when they do not."""

from osxfs_sim.mount.loop.cpu_contention import Contention, involuntary_switches

MS = 1_000_000


def test_many_switches_mean_contention_for_a_while_and_few_do_not() -> None:
    counts = iter([100, 101, 103, 103, 103])
    contention = Contention(lambda: next(counts))
    # The first look knows of no time that the count could be of.
    assert contention.sample(0) is False
    assert contention.sample(10 * MS) is False
    assert contention.sample(20 * MS) is True
    assert contention.sample(119 * MS) is True
    assert contention.sample(120 * MS) is False


def test_the_kernel_counts_for_this_thread() -> None:
    assert involuntary_switches() >= 0
