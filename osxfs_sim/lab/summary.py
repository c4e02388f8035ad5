"""What a comparison's samples say, arm by arm: derived, and never stored.

A result document holds samples only (lab/results.py). The table on the
terminal, its JSON form and the report page all show what is computed here, so
that they cannot disagree.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.lab.judgement import (
    Observed,
    beyond_s,
    crowded_by,
    dominant,
    late_share,
    observed,
    out_of_tolerance,
    warnings_of,
)
from osxfs_sim.lab.results import FRESH, Comparison, Sample
from osxfs_sim.lab.statistics import (
    RESAMPLES,
    SIGNIFICANCE,
    Difference,
    Estimate,
    difference,
    drift,
    holm,
    median_estimate,
    outliers,
    ratio_estimate,
)
from osxfs_sim.model.formatting import (
    format_duration,
    format_percent,
    format_signed,
    format_significant,
)

BASELINE_VERDICT = "baseline"
FASTER = "faster"
SLOWER = "slower"
NO_DIFFERENCE = "~"
"""No difference was detected. That is not: there is none."""
UNKNOWN = ""
"""Too few samples that count, of this arm or of the baseline, for any statement."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm and kind of run (``fresh`` or ``again``). Times in seconds unless named _ns."""

    label: str
    """The arm's label."""
    kind: str
    """The kind of runs: ``fresh`` or ``again``."""
    runs: int
    """How many samples count."""
    failed: int
    """How many samples failed, and do not."""
    median_s: float | None
    """The median wall time, in seconds; None where no sample counts."""
    interval_s: tuple[float, float] | None
    """95 % interval of the median, in seconds; None where too few runs give none."""
    ratio: float | None
    """Its median over the baseline's: above 1 is slower; None for the baseline itself."""
    ratio_interval: tuple[float, float] | None
    """95 % interval of the ratio; None where too few runs give none."""
    p: float | None
    """p-value of the Mann-Whitney test, after Holm's correction over the arms of this kind."""
    verdict: str
    """BASELINE_VERDICT, FASTER, SLOWER, NO_DIFFERENCE, or UNKNOWN where too few runs were made."""
    server_processor_s: float | None
    """Processor seconds of the share's server, the median over the runs."""
    judged_class: str | None
    """The class of operations whose answers were waited for longest."""
    target_p50_ns: int | None
    """Latency asked for in that class, in ns: the median over the runs."""
    observed_p50_ns: int | None
    """Latency that the guest had in that class, in ns: the median over the runs."""
    late_share: float | None
    """The share of all answers in all runs that came late, from 0 to 1."""
    within_tolerance: bool | None
    """False if a run was out of it; None where nothing can be judged (native; no latency asked
    for)."""
    drain_s: float | None
    """Seconds that the host was behind after the command, the median over the runs."""
    warnings: tuple[str, ...]
    """What to know before relying on it: sentences, without the arm's name."""


def summarize(
    comparison: Comparison, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[ArmSummary]:
    """Median, ratio, test and warnings per kind of run and arm, fresh first; None is unknown.

    *seed* is of the bootstrap's resampling: the same samples give the same summary.
    """
    return [
        summary
        for kind in kinds_of(comparison)
        for summary in _summaries_of(comparison, kind, resamples, seed)
    ]


def kinds_of(comparison: Comparison) -> list[str]:
    """The kinds of runs that *comparison* has samples of, ``fresh`` first."""
    return sorted({sample.kind for sample in comparison.samples}, key=lambda kind: kind != FRESH)


def _summaries_of(comparison: Comparison, kind: str, resamples: int, seed: int) -> list[ArmSummary]:
    baseline_s = _walls_s(comparison.of(comparison.baseline, kind))
    differences = {
        arm: found
        for arm in comparison.arms
        if arm != comparison.baseline
        and (found := difference(_walls_s(comparison.of(arm, kind)), baseline_s)) is not None
    }
    corrected = dict(
        zip(differences, holm([found.p for found in differences.values()]), strict=True)
    )
    return [
        _summary(
            comparison,
            kind,
            arm,
            (differences[arm], corrected[arm], len(differences)) if arm in differences else None,
            resamples,
            seed,
        )
        for arm in comparison.arms
    ]


def _summary(
    comparison: Comparison,
    kind: str,
    arm: str,
    test: tuple[Difference, float, int] | None,
    resamples: int,
    seed: int,
) -> ArmSummary:
    samples = comparison.all_of(arm, kind)
    counted = comparison.of(arm, kind)
    walls_s = _walls_s(counted)
    median = median_estimate(walls_s, seed=seed, resamples=resamples)
    ratio = None
    if arm != comparison.baseline:
        baseline_s = _walls_s(comparison.of(comparison.baseline, kind))
        ratio = ratio_estimate(walls_s, baseline_s, seed=seed, resamples=resamples)
    shares = [sample.share for sample in counted if sample.share is not None]
    warnings = [
        *_warnings(samples, walls_s, median),
        *_warnings_of_shares(shares),
        *_warnings_of_load(comparison, counted, kind),
    ]
    verdict = BASELINE_VERDICT if arm == comparison.baseline else UNKNOWN
    if test is not None:
        verdict = _verdict(*test)
        if verdict == UNKNOWN:
            least_p = min(1.0, test[0].smallest_p * test[2])
            warnings.append(
                "too few runs to tell it from the baseline: "
                f"however far apart they are, p is at least {format_significant(least_p, 2)}"
            )
    mounted = comparison.mounted.get(arm, {})
    warnings += [f"the share warns: {said}" for said in mounted.get("warnings", ())]
    judged_class = _dominant(shares)
    lines = [line for share in shares if (line := share["receipt"].get(judged_class))]
    drain_s = [one.drain_s for one in counted if one.drain_s is not None]
    return ArmSummary(
        label=arm,
        kind=kind,
        runs=len(counted),
        failed=len(samples) - len(counted),
        median_s=median.value if median else None,
        interval_s=median.interval if median else None,
        ratio=ratio.value if ratio else None,
        ratio_interval=ratio.interval if ratio else None,
        p=test[1] if test else None,
        verdict=verdict,
        server_processor_s=_median([share["server_processor_s"] for share in shares]),
        judged_class=judged_class,
        target_p50_ns=_whole_median([line["target_p50_ns"] for line in lines]),
        observed_p50_ns=_whole_median([line["observed_p50_ns"] for line in lines]),
        late_share=late_share([share["receipt"] for share in shares]),
        within_tolerance=_within_tolerance(shares),
        drain_s=_median(drain_s),
        warnings=tuple(warnings),
    )


def _walls_s(samples: Sequence[Sample]) -> list[float]:
    return [sample.wall_s for sample in samples]


def _verdict(found: Difference, corrected_p: float, comparisons: int) -> str:
    # Not to have found what could not have been found says nothing; nor does it the other way.
    if found.smallest_p * comparisons >= SIGNIFICANCE:
        return UNKNOWN
    if corrected_p < SIGNIFICANCE:
        return SLOWER if found.superiority > 0.5 else FASTER
    return NO_DIFFERENCE


def _warnings(
    samples: Sequence[Sample], walls_s: Sequence[float], median: Estimate | None
) -> list[str]:
    """What there is to say of the wall times themselves."""
    warnings = []
    failures = Counter(sample.failure for sample in samples if sample.failure)
    for failure, count in failures.most_common():
        warnings.append(f"{count} of {_runs(len(samples))} failed, not counted: {failure}")
    if median is not None and median.reason:
        warnings.append(median.reason)
    counted = [sample for sample in samples if not sample.failure]
    found = [counted[index] for index in outliers(walls_s)]
    if found:
        which = ", ".join(
            f"{format_significant(one.wall_s, 4)} s in round {one.round + 1}" for one in found
        )
        what = "an outlier" if len(found) == 1 else f"{len(found)} outliers"
        warnings.append(f"{what}, counted all the same: {which}")
    trend = drift(walls_s)
    if trend is not None:
        way = "slower" if trend.tau > 0 else "faster"
        warnings.append(
            f"it became {way} from run to run (Kendall's tau {format_signed(trend.tau, 2)}, "
            f"p = {format_significant(trend.p, 2)}): something other than the arm changed"
        )
    return warnings


def _dominant(shares: Sequence[dict[str, Any]]) -> str | None:
    """The class that most runs have waited for longest."""
    found = Counter(label for share in shares if (label := dominant(share["receipt"])))
    return found.most_common(1)[0][0] if found else None


def _warnings_of_load(comparison: Comparison, samples: Sequence[Sample], kind: str) -> list[str]:
    """Of how many runs the time is not the share's alone, and what is said of the worst."""
    native_s = native_median_s(comparison, kind)
    runs = [observed_in(comparison, one, native_s) for one in samples]
    warnings = []
    for measure in (crowded_by, beyond_s):
        found = [(value, run) for run in runs if (value := measure(run)) is not None]
        if found:
            _, worst = max(found, key=lambda pair: pair[0])
            said = warnings_of(worst)[0 if measure is crowded_by else -1]
            warnings.append(f"in {len(found)} of {_runs(len(runs))}, at the worst: {said}")
    return warnings


def native_median_s(comparison: Comparison, kind: str) -> float | None:
    """The median seconds of *kind*'s runs without a share. None where there is no such run."""
    walls_s = [
        sample.wall_s
        for arm in comparison.arms
        for sample in comparison.of(arm, kind)
        if sample.share is None
    ]
    return _median(walls_s)


def observed_in(comparison: Comparison, sample: Sample, native_s: float | None) -> Observed:
    """The Observed run that *sample* is judged by; *native_s* is the native median, None without.

    Under edits of the host a run waits for more than its share: *native_s* says nothing then.
    """
    cores = comparison.machine.get("cores")
    return observed(
        *(sample.wall_s, sample.workload_processor_s, sample.others_processor_s, sample.share),
        cores if isinstance(cores, int) else 1,
        native_s if sample.risk is None else None,
    )


def representative(comparison: Comparison, arm: str, kind: str) -> Sample | None:
    """The run of *arm* and *kind* of median wall time, no failed one. None where none counts."""
    samples = sorted(comparison.of(arm, kind), key=lambda each: each.wall_s)
    return samples[(len(samples) - 1) // 2] if samples else None


def representatives(comparison: Comparison, arm: str) -> list[Sample]:
    """All failed runs of *arm*, and for each kind that of median wall time, fresh ones first."""
    chosen = []
    for kind in kinds_of(comparison):
        middle = representative(comparison, arm, kind)
        chosen += [one for one in comparison.all_of(arm, kind) if one.failure or one is middle]
    return chosen


def most_frequent_requests(samples: Iterable[Sample], most: int) -> list[str]:
    """The names of the *most* most frequent kinds of requests in *samples*, in that order."""
    total: Counter[str] = Counter()
    for sample in samples:
        total.update((sample.share or {}).get("requests") or {})
    return [name for name, _ in total.most_common(most)]


def _warnings_of_shares(shares: Sequence[dict[str, Any]]) -> list[str]:
    """The operation classes that were out of tolerance, and in how many runs."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for share in shares:
        for label, line in out_of_tolerance(share["receipt"]).items():
            found.setdefault(label, []).append(line)
    return [
        f"out of tolerance in {len(lines)} of {_runs(len(shares))}: {label}, asked for "
        f"{_typical(lines, 'target_p50_ns')}, achieved {_typical(lines, 'observed_p50_ns')}, "
        f"{format_percent(_sum(lines, 'late'), 1, of=_sum(lines, 'count'))} late"
        for label, lines in found.items()
    ]


def _sum(lines: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(line[key] for line in lines)


def _typical(lines: Sequence[Mapping[str, Any]], key: str) -> str:
    return format_duration(statistics.median(line[key] for line in lines))


def _within_tolerance(shares: Sequence[dict[str, Any]]) -> bool | None:
    judged = [
        line["within_tolerance"]
        for share in shares
        for line in share["receipt"].values()
        if line["within_tolerance"] is not None
    ]
    if not judged:
        return None
    return not any(out_of_tolerance(share["receipt"]) for share in shares)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _whole_median(values: Sequence[int]) -> int | None:
    return round(statistics.median(values)) if values else None


def _runs(count: int) -> str:
    return f"{count} run{'s' if count != 1 else ''}"
