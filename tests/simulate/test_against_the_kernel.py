"""The simulated caches of a guest's kernel beside the live ones, for every short sequence.

All sequences of up to two operations on two names are recorded once on a share that caches
nothing, and run once on each caching one. What was predicted of each must be what its kernel
asked, request by request. ``pytest -m slow`` does the same with three operations (minutes).
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import broken_kernels
from support.complaints import noticed
from support.live import LiveShare
from support.sequences import (
    Asked,
    Sequence_,
    asked_live,
    differing,
    predicted,
    run_traced,
    sequences,
    without_calls,
)

from osxfs_sim.lab.arms import Arm
from osxfs_sim.predicting import RECORDED, system_of
from osxfs_sim.simulate import reference
from osxfs_sim.simulate.guest_kernel import GuestKernel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="what a system call is for is root's")

LONG_NS = 3_600 * 10**9
FOR_LONG = {"cache_timeout_ns": LONG_NS, "negative_timeout_ns": LONG_NS}
ARMS = {
    "osxfs-negative, for long": Arm("a", "osxfs-negative", FOR_LONG),
    "osxfs-negative, not at all": Arm(
        "b", "osxfs-negative", {"cache_timeout_ns": 0, "negative_timeout_ns": 0}
    ),
    "osxfs-complete, for long": Arm("c", "osxfs-complete", FOR_LONG),
    "virtiofsd-auto, for long": Arm("d", "virtiofsd-auto", {"cache_timeout_ns": LONG_NS}),
    "host, not at all": Arm("e", "host"),
    "osxfs-delegated, for long": Arm(
        "f", "osxfs-delegated", {"cache_timeout_ns": LONG_NS, "write_back_age_ns": LONG_NS}
    ),
    "osxfs-delegated, not at all": Arm(
        "g",
        "osxfs-delegated",
        {"cache_timeout_ns": 0, "write_back_age_ns": LONG_NS},
    ),
}
USUAL = "osxfs-negative, for long"
_MOST_RECORDINGS = 5
_FEW = 0.1
"""Such a part of the sequences may have a system call that was not seen."""


class Compared:
    """Sequences recorded once, and live on each arm that is asked for."""

    def __init__(
        self, share: Callable[..., LiveShare], directory: Path, of: list[Sequence_]
    ) -> None:
        self._share = share
        self._directory = directory
        self._of = of
        self._live: dict[str, Asked] = {}
        for attempt in range(_MOST_RECORDINGS):
            self._trace = directory / f"recorded-{attempt}"
            run_traced(share(profile=RECORDED), self._trace, of)
            unseen = without_calls(self._trace, of)
            if len(unseen) <= _FEW * len(of):
                break
        else:
            pytest.fail(f"of {len(unseen)} of {len(of)} sequences not all calls were seen")
        self._seen = [each for each in of if each not in unseen]

    def difference(self, arm: str) -> dict[Sequence_, str]:
        """Of the sequences those that were predicted otherwise than they went."""
        if arm not in self._live:
            trace = self._directory / f"live-{len(self._live)}"
            options = {"latency_ns": 0} | ARMS[arm].options
            live = self._share(profile=ARMS[arm].profile, **options)
            self._live[arm] = asked_live(run_traced(live, trace, self._of), self._of)
        simulated = predicted(self._trace, self._of, system_of(ARMS[arm]))
        return differing(self._live[arm], simulated, self._seen)


@pytest.fixture(scope="module")
def compared(module_share: Callable[..., LiveShare], tmp_path_factory) -> Compared:
    return Compared(module_share, tmp_path_factory.mktemp("sequences"), sequences(2))


@pytest.mark.parametrize("arm", ARMS)
def test_what_a_kernel_asks_is_what_was_predicted_of_it(compared: Compared, arm: str) -> None:
    assert compared.difference(arm) == {}


@pytest.mark.parametrize(
    "broken",
    [
        broken_kernels.KeepsForNoTime,
        broken_kernels.KeepsEveryMissingName,
    ],
)
def test_a_kernel_that_keeps_what_it_may_not_is_noticed(
    compared: Compared, monkeypatch, broken: type[GuestKernel]
) -> None:
    monkeypatch.setattr(reference, "GuestKernel", broken)
    with noticed():
        assert compared.difference("osxfs-negative, not at all") == {}


@pytest.mark.parametrize(
    "broken",
    [
        broken_kernels.ForgetsAttributesOfEntries,
        broken_kernels.NeverAsksForAttributes,
        broken_kernels.IgnoresInvalidation,
        broken_kernels.DropsEntriesOfChangedDirectories,
        broken_kernels.KeepsAttributesOfChangedDirectories,
        broken_kernels.ReadsForgetAll,
        broken_kernels.LeavesTheOldName,
    ],
)
def test_a_kernel_that_breaks_a_rule_is_noticed(
    compared: Compared, monkeypatch, broken: type[GuestKernel]
) -> None:
    monkeypatch.setattr(reference, "GuestKernel", broken)
    with noticed():
        assert compared.difference(USUAL) == {}


@pytest.mark.slow
def test_sequences_of_three_are_predicted_too(
    share: Callable[..., LiveShare], tmp_path: Path
) -> None:
    """7,239 of them."""
    assert Compared(share, tmp_path, sequences(3)).difference(USUAL) == {}
