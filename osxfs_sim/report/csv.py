"""Every sample as a row of CSV: for a spreadsheet, or R. Plain numbers, units in the names."""

from collections.abc import Mapping, Sequence
from typing import Any

from osxfs_sim.lab.judgement import dominant
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.report.tables import Table

COLUMNS = (
    *("case", "variant", "quick", "caches", "seed", "started", "baseline"),
    *("arm", "kind", "round", "wall_s", "began_s", "workload_processor_s"),
    *("server_processor_s", "drain_s", "load_average", "requests", "missing_lookups"),
    *(
        "judged_class",
        "target_p50_ns",
        "observed_p50_ns",
        "late",
        "within_tolerance",
        "last_line",
        "trace",
        "failure",
    ),
    "others_processor_s",
)


def csv_of(comparisons: Sequence[Comparison]) -> str:
    """All samples of *comparisons* as CSV text with a header; unknown values are empty cells.

    Target, observed and within_tolerance are of the judged class, whose answers were waited for
    longest; late counts all answers.
    """
    made = Table("", COLUMNS)
    for comparison in comparisons:
        for sample in comparison.samples:
            row = _row(comparison, sample)
            made.add_row(*("" if row[name] is None else str(row[name]) for name in COLUMNS))
    return made.csv()


def _row(comparison: Comparison, sample: Sample) -> dict[str, Any]:
    return {
        "case": comparison.case,
        "variant": comparison.variant,
        "quick": comparison.quick,
        "caches": comparison.caches,
        "seed": comparison.seed,
        "started": comparison.started,
        "baseline": comparison.baseline,
        "arm": sample.arm,
        "kind": sample.kind,
        "round": sample.round,
        "wall_s": sample.wall_s,
        "began_s": sample.began_s,
        "workload_processor_s": sample.workload_processor_s,
        "drain_s": sample.drain_s,
        "load_average": sample.load_average,
        "last_line": sample.last_line,
        "trace": sample.trace,
        "failure": sample.failure,
        "others_processor_s": sample.others_processor_s,
        **_of_the_share(sample.share or {}),
    }


def _of_the_share(share: Mapping[str, Any]) -> dict[str, Any]:
    receipt = share.get("receipt") or {}
    judged = dominant(receipt)
    line = {} if judged is None else receipt[judged]
    requests = share.get("requests")
    return {
        "server_processor_s": share.get("server_processor_s"),
        "requests": None if requests is None else sum(requests.values()),
        "missing_lookups": share.get("missing_lookups"),
        "judged_class": judged,
        "target_p50_ns": line.get("target_p50_ns"),
        "observed_p50_ns": line.get("observed_p50_ns"),
        "late": sum(one["late"] for one in receipt.values()) if receipt else None,
        "within_tolerance": line.get("within_tolerance"),
    }
