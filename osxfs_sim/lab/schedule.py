"""In which order the arms of a comparison are run, and when it is enough.

What is next follows from the samples that are there. So whatever was interrupted can go on
where it was.

*Interleaved*: each round runs every arm once, in a random order of its own, so that no drift of
the machine can favour an arm; each run is on a fresh mount of a freshly made tree, so that no
run inherits from another. *InTurn*: one arm after the other, each on one mount; its first run
finds the guest's caches empty, the following ones find them as the run before left them.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from osxfs_sim.lab.results import AGAIN, FRESH, Comparison
from osxfs_sim.lab.statistics import median_estimate


@dataclass(frozen=True, slots=True)
class MountTurn:
    """What is measured next: an arm on a fresh mount."""

    arm: str
    """The arm's label."""
    runs: tuple[tuple[int, str], ...]
    """Each run on that mount: its round, which counts from 0, and its kind."""

    @property
    def round(self) -> int:
        """The round, counted from 0, of the first run on this mount."""
        return self.runs[0][0]


class RunSchedule(Protocol):
    """Decides which arm is mounted next, how often it runs, and when it is enough."""

    work: ClassVar[str]
    """The kind of work directory (lab/work_directories.py)."""
    warms_up: ClassVar[bool]
    """Whether the case is run once natively before, and not measured.

    The interpreters and libraries of the workload come into the page cache then, and not in
    whichever arm happens to be first.
    """
    prepares_caches: ClassVar[bool]
    """Whether the host's caches are made alike before each mount (lab/caches.py)."""
    goes_on_after_failure: ClassVar[bool]
    """Whether a mount on which a run has failed is used for the ones that follow."""

    def next_turn(self, comparison: Comparison) -> MountTurn | None:
        """The arm to mount next, and its runs, after *comparison*'s. None if it is enough."""

    def turns_done(self, comparison: Comparison) -> int:
        """How many mounts of *comparison* have been measured, failed ones too."""

    def turns_left(self, comparison: Comparison) -> Counter[str]:
        """By arm how often it is still to be mounted: at most, where that is not known."""

    def name_of(self, round: int, kind: str) -> str:
        """What progress calls the run of that *round*, from 0, and *kind*: ``round 3 (fresh)``."""


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Rounds, in each of which every arm is mounted once."""

    runs: int
    """How many rounds there are, at the least."""
    until: float | None = None
    """Goes on until every arm's interval reaches no further than this share of its median to either
    side; None: *runs* are enough."""
    most_runs: int = 0
    """With *until*: rounds at the most."""
    again: bool = False
    """Whether each mount is measured twice."""

    work: ClassVar[str] = "compare"
    """The kind of work directory (lab/work_directories.py)."""
    warms_up: ClassVar[bool] = True
    """Whether an unmeasured run comes before the first."""
    prepares_caches: ClassVar[bool] = True
    """Whether the host's caches are made what they shall be before each mount."""
    goes_on_after_failure: ClassVar[bool] = False
    """Whether the runs that are left on a mount are made after one that failed."""

    def wants(self, comparison: Comparison, finished: int) -> bool:
        """Whether another round shall follow *finished* ones: too few, or intervals too wide."""
        if finished < self.runs:
            return True
        if self.until is None or finished >= self.most_runs:
            return False
        return widest(comparison) > self.until

    def next_turn(self, comparison: Comparison) -> MountTurn | None:
        """The first arm that the current round lacks, and its runs. None if no round is wanted."""
        taken = {(sample.round, sample.arm) for sample in comparison.samples}
        for number in itertools.count():
            order = order_of_round(comparison.arms, comparison.seed, number)
            left = [label for label in order if (number, label) not in taken]
            if len(left) == len(order) and not self.wants(comparison, number):
                return None
            if left:
                kinds = (FRESH, AGAIN) if self.again else (FRESH,)
                return MountTurn(left[0], tuple((number, kind) for kind in kinds))
        raise AssertionError("rounds are endless")

    def turns_done(self, comparison: Comparison) -> int:
        """How many mounts have been measured, failed ones too."""
        return len({(sample.round, sample.arm) for sample in comparison.samples})

    def turns_left(self, comparison: Comparison) -> Counter[str]:
        """By arm how many mounts are still to be measured: at most, where *until* decides."""
        rounds = self.runs if self.until is None else max(self.runs, self.most_runs)
        taken = Counter(arm for _, arm in {(one.round, one.arm) for one in comparison.samples})
        return Counter({label: max(0, rounds - taken[label]) for label in comparison.arms})

    def name_of(self, round: int, kind: str) -> str:
        """What progress calls the run of *round*, from 0, and *kind*: ``round 3 (fresh)``."""
        return f"round {round + 1} ({kind})"


@dataclass(frozen=True, slots=True)
class InTurn:
    """Each arm once, with so many *runs* on its mount."""

    runs: int
    """Of each arm, all on one mount: the first fresh, the others again."""

    work: ClassVar[str] = "run"
    """The kind of work directory (lab/work_directories.py)."""
    warms_up: ClassVar[bool] = False
    """Whether an unmeasured native run comes before the first."""
    prepares_caches: ClassVar[bool] = False
    """Whether the host's caches are made alike before each mount."""
    goes_on_after_failure: ClassVar[bool] = True
    """Whether a mount on which a run has failed is used for the rest."""

    def next_turn(self, comparison: Comparison) -> MountTurn | None:
        """The first arm that has no sample, and all of its runs. None where each arm has one."""
        taken = {sample.arm for sample in comparison.samples}
        for arm in comparison.arms:
            if arm not in taken:
                kinds = [FRESH, *[AGAIN] * (self.runs - 1)]
                return MountTurn(arm, tuple(enumerate(kinds)))
        return None

    def turns_done(self, comparison: Comparison) -> int:
        """How many mounts have been measured: one for each arm that has a sample."""
        return len({sample.arm for sample in comparison.samples})

    def turns_left(self, comparison: Comparison) -> Counter[str]:
        """By arm how many mounts are left: 1 for an arm without a sample, else 0."""
        taken = {sample.arm for sample in comparison.samples}
        return Counter({arm: int(arm not in taken) for arm in comparison.arms})

    def name_of(self, round: int, kind: str) -> str:
        """What progress calls the run of *round*, from 0, and *kind*: ``run 2 of 3 (again)``."""
        return f"run {round + 1} of {self.runs} ({kind})"


def order_of_round(labels: Sequence[str], seed: int, number: int) -> list[str]:
    """Shuffle *labels* by *seed* into the order in which round *number* runs the arms."""
    order = np.random.default_rng([seed, number]).permutation(len(labels))
    return [labels[index] for index in order]


def seed_of(seed: int, number: int) -> int:
    """The share's seed in round *number*, made from *seed*: the same for every arm of the round."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def widest(comparison: Comparison) -> float:
    """Half the widest interval of any arm, as a share of its median; inf where one has no interval.

    Infinite while an interval cannot be given. An arm of which no run counts has no time at
    all, and is not waited for.
    """
    reaches = [0.0]
    for arm in comparison.arms:
        for kind in {sample.kind for sample in comparison.samples}:
            walls_s = [sample.wall_s for sample in comparison.of(arm, kind)]
            estimate = median_estimate(walls_s, seed=comparison.seed)
            if estimate is not None:
                reach = estimate.relative_half_width
                reaches.append(float("inf") if reach is None else reach)
    return max(reaches)
