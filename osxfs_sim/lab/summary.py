"""What a comparison's samples say, arm by arm: derived, and never stored.

A result document holds samples only (lab/results.py). The table on the
terminal, its JSON form and the report page all show what is computed here, so
that they cannot disagree.
"""

from dataclasses import dataclass

from osxfs_sim.lab.results import Comparison

BASELINE_VERDICT = "baseline"
FASTER = "faster"
SLOWER = "slower"
NO_DIFFERENCE = "~"
"""No difference was detected. That is not: there is none."""
UNKNOWN = ""
"""Too few samples that count, of this arm or of the baseline, for any statement."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm and kind of run (``fresh`` or ``again``). Times in seconds unless named _ns.

    *runs* counts the samples that count, *failed* the others. *median_s* and
    *interval_s* are of wall times; *ratio* is to the baseline's median (above 1 is
    slower; None for the baseline itself). *p* is of the Mann-Whitney test, after
    Holm's correction over the arms of this kind; *verdict* is one of the constants
    above. An interval is None where there are too few runs to give one. Of the share:
    medians over the runs of *server_processor_s*, of the metadata class's
    *asked_p50_ns* and *achieved_p50_ns*, and of *caught_up_s*; *late_share* is
    of all answers in all runs, from 0 to 1; *within_tolerance* is False if a run was
    out of it, None where nothing can be judged (native; no latency asked for).
    *warnings* are sentences, without the arm's name.
    """

    label: str
    kind: str
    runs: int
    failed: int
    median_s: float | None
    interval_s: tuple[float, float] | None
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    p: float | None
    verdict: str
    server_processor_s: float | None
    asked_p50_ns: int | None
    achieved_p50_ns: int | None
    late_share: float | None
    within_tolerance: bool | None
    caught_up_s: float | None
    warnings: tuple[str, ...]


def summarize(
    comparison: Comparison, *, resamples: int = 10_000, seed: int = 0
) -> list[ArmSummary]:
    """A summary per kind of run and arm: all fresh ones first, arms as they were asked for.

    *seed* is of the bootstrap's resampling: the same samples give the same summary.
    """
    raise NotImplementedError
