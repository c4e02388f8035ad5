"""STUB until the comparison's own is merged."""

from dataclasses import dataclass

from osxfs_sim.lab.results import Comparison

NO_DIFFERENCE = "~"


@dataclass(frozen=True, slots=True)
class ArmSummary:
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
    warnings: tuple[str, ...] = ()


def summarize(comparison: Comparison) -> list[ArmSummary]:
    import statistics

    found = []
    for arm in comparison.arms:
        for kind in ("fresh", "again"):
            all_of = [s for s in comparison.samples if (s.arm, s.kind) == (arm, kind)]
            good = comparison.of(arm, kind)
            if not all_of:
                continue
            base = comparison.of(comparison.baseline, kind)
            median = statistics.median(s.wall_s for s in good) if good else None
            ratio = (
                median / statistics.median(s.wall_s for s in base)
                if median is not None and base and arm != comparison.baseline
                else None
            )
            shares = [s.share for s in good if s.share]
            meta = [x["receipt"]["metadata"] for x in shares if "metadata" in x["receipt"]]
            few = len(good) < 3
            found.append(
                ArmSummary(
                    arm,
                    kind,
                    len(good),
                    len(all_of) - len(good),
                    median,
                    None if few else (min(s.wall_s for s in good), max(s.wall_s for s in good)),
                    ratio,
                    None,
                    None,
                    "",
                    shares[0]["server_processor_s"] if shares else None,
                    meta[0]["asked_p50_ns"] if meta else None,
                    meta[0]["achieved_p50_ns"] if meta else None,
                    None,
                    meta[0]["within_tolerance"] if meta else None,
                    None,
                )
            )
    return found
