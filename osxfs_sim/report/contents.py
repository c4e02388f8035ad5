"""What a report says of a comparison, in words and tables, before it is HTML or Markdown.

Both show the same Contents, so that they cannot disagree. Every number here has
its unit and as many digits as mean something.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.judgement import dominant, named
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.summary import (
    NO_DIFFERENCE,
    UNKNOWN,
    ArmSummary,
    most_frequent_requests,
    representative,
)
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_percent,
    format_plain,
    format_rate,
    format_ratio,
    format_seconds,
    format_size,
    format_wall_time,
    three_digits,
)
from osxfs_sim.report.latencies import Latencies, latencies_of
from osxfs_sim.report.risk import LEGEND as RISK_LEGEND
from osxfs_sim.report.risk import RISK_COLUMNS, risk_cells, risks_of
from osxfs_sim.report.tables import Table, table
from osxfs_sim.report.trade_off import WRITE_BACK_COLUMNS, WRITE_BACK_LEGEND, write_back_cells
from osxfs_sim.trace.analysis import Analysis, Part


@dataclass(frozen=True, slots=True)
class TraceContents:
    """What is said of one analyzed trace."""

    label: str
    """The arm, round and kind of the run that it is of."""
    analysis: Analysis
    """Where the run's time went."""
    reconciliation: str
    """How its requests compare with the result's own count, a sentence."""
    sentences: tuple[str, ...]
    """What was found, each a sentence."""
    tables: tuple[Table, ...]
    """The parts of its time, by cause, operation, directory and program."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that is said of one comparison."""

    title: str
    """The title of the case."""
    subtitle: str
    """The case's name, its variant, options and form."""
    facts: tuple[tuple[str, str], ...]
    """What was measured and on what: pairs of name and text."""
    caveats: tuple[str, ...]
    """What a reader must know first, each a sentence."""
    arms: Table
    """A line for each arm and kind of run, with its interval and verdict."""
    claims: tuple[tuple[str, str], ...]
    """What has been published about the case: pairs of text and source."""
    obtained: tuple[str, ...]
    """What came out here, a sentence for each arm."""
    tables: tuple[Table, ...]
    """Further tables that have rows: requests, receipts, write-back, stale answers."""
    profiles: Table
    """The values that each arm acted by."""
    samples: Table
    """A line for each run."""
    latencies: Mapping[str, Sequence[Latencies]]
    """Curves of each arm's latency, by the arm's label."""
    comparison: Comparison
    """What all of it is derived from."""
    summaries: tuple[ArmSummary, ...]
    """The statistics of each arm and kind of run."""
    traces: tuple[TraceContents, ...] = ()
    """What is said of its traces."""


NO_TRACE = (
    "There is no trace of these runs, so this page cannot say which requests their time went to. "
    "Measure again with --trace DIR, and report on that result."
)
TILDE = (
    "~ means: with these runs no difference to the baseline was detected. "
    "That is not the same as none: more runs may find a smaller one."
)
_KEPT_ROWS = 10
_KEPT_WARNINGS = 3
_SHOWN_REQUESTS = 6


def contents_of(
    comparison: Comparison,
    summaries: Sequence[ArmSummary],
    traces: Sequence[TraceContents] = (),
    trace_troubles: Sequence[str] = (),
) -> Contents:
    """All that a report says of *comparison*, in words and tables. Raises ResultError.

    Raises ResultError where its receipts cannot be read.
    """
    form = "the quick, shortened command" if comparison.quick else "the whole command"
    options = "".join(f", with {name}" for name in comparison.options)
    tables = [_requests(comparison, summaries), _receipts(comparison, summaries)]
    tables += [_write_back(comparison, summaries), _risks(comparison)]
    return Contents(
        title=comparison.title,
        subtitle=f"Case {comparison.case}, variant {comparison.variant}{options}; {form}",
        facts=tuple(_facts(comparison)),
        caveats=(*_caveats(comparison, summaries), *trace_troubles),
        arms=_arms(comparison, summaries),
        claims=tuple((each["text"], each.get("source", "")) for each in comparison.claims),
        obtained=tuple(_obtained(comparison, summaries)),
        tables=tuple(each for each in tables if each.rows),
        profiles=_profiles(comparison),
        samples=_samples(comparison),
        latencies=latencies_of(comparison),
        comparison=comparison,
        summaries=tuple(summaries),
        traces=tuple(traces),
    )


# What was measured, and on what


def _facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    machine = comparison.machine
    if machine:
        kind = "virtual, " if machine.get("virtual") else ""
        memory = machine.get("memory_bytes")
        size = f", {format_size(memory)} of memory" if memory else ""
        yield (
            "Machine",
            f"{machine.get('processor', 'unknown processor')}, "
            f"{kind}{machine.get('cores', '?')} cores{size}",
        )
        packages = machine.get("packages") or {}
        versions = [f"Linux {machine.get('kernel', '?')}", f"Python {machine.get('python', '?')}"]
        versions += [f"{name} {version}" for name, version in packages.items() if version]
        yield "Versions", ", ".join(versions)
        if "load_average" in machine:
            awake = "kept awake" if machine.get("pm_qos") else "not kept from sleeping"
            yield (
                "State",
                f"load {format_fixed(machine['load_average'], 2)} at the start, processors {awake}",
            )
    yield "Started", comparison.started
    yield "Seed", str(comparison.seed)
    yield "Caches", f"{comparison.caches} at the start of a run, in every arm"
    if comparison.dilate != 1:
        yield "Dilation", f"time dilated {format_plain(comparison.dilate)} times"
    yield "Baseline", comparison.baseline
    asked = list(_asked_for(comparison.plan))
    if asked:
        yield "Asked for", "; ".join(asked)


def _asked_for(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan.get("aa"):
        yield "the same arm under two names, so that a difference is a false alarm"
    if plan.get("runs"):
        yield f"{plan['runs']} runs of each arm"
    if plan.get("until"):
        most = f", {plan['most_runs']} runs at most" if plan.get("most_runs") else ""
        until = format_plain(100 * plan["until"])
        yield f"until each interval reaches no further than {until}%{most}"
    if plan.get("again"):
        yield "each mount measured twice, fresh and again"
    if plan.get("directory"):
        yield f"trees in {plan['directory']}"


def _profiles(comparison: Comparison) -> Table:
    arms = comparison.arms
    shares = {arm: comparison.mounted.get(arm) or {} for arm in arms}
    rows = [("profile", *(_spec(comparison.specs.get(arm) or {}) for arm in arms))]
    for label, value in _PROFILE_VALUES:
        texts = tuple(value(shares[arm]) if shares[arm] else "" for arm in arms)
        if any(texts):
            rows.append((label, *texts))
    classes = dict.fromkeys(
        label for share in shares.values() for label in _at(share, "latency", "base_ns") or {}
    )
    for label in classes:
        bases = [(_at(shares[arm], "latency", "base_ns") or {}).get(label) for arm in arms]
        texts = tuple("" if base is None else format_duration(base) for base in bases)
        rows.append((f"latency, {label}", *texts))
    return Table("Profile values per arm", ("value", *arms), list(rows))


def _spec(spec: Mapping[str, Any]) -> str:
    options = spec.get("options") or ()
    if spec.get("profile") in (None, NATIVE) and not options:
        return "none: the tree itself, no share"
    changed = (
        [f"{key}={value}" for key, value in options.items()]
        if isinstance(options, Mapping)
        else [str(each) for each in options]
    )
    return str(spec["profile"]) + (f", changed: {', '.join(changed)}" if changed else "")


def _events(share: Mapping[str, Any]) -> str:
    events = share.get("events")
    return "none" if events is None else f"{events['watcher']}, {_duration(events['latency_ns'])}"


def _held(share: Mapping[str, Any]) -> str:
    write_back = share.get("write_back")
    if write_back is None:
        return "none"
    return f"at most {format_size(write_back['limit_bytes'])}, {_duration(write_back['age_ns'])}"


_PROFILE_VALUES: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("what it is", lambda share: str(share.get("title", ""))),
    ("caching", lambda share: str(share.get("policy", ""))),
    ("distribution", lambda share: str(_at(share, "latency", "distribution") or "")),
    (
        "bandwidth",
        lambda share: (
            format_rate(_at(share, "latency", "bandwidth_bytes_per_s"))
            if "latency" in share
            else ""
        ),
    ),
    ("events", _events),
    ("changes held back", _held),
    ("owners", lambda share: str(_at(share, "ownership", "policy") or "")),
    ("names", lambda share: str(_at(share, "names", "rules") or "")),
    ("extended attributes", lambda share: str(share.get("extended_attributes", ""))),
    ("replaced files", lambda share: str(share.get("replaced", ""))),
    ("seed", lambda share: str(share.get("seed", ""))),
    ("this machine's floor", lambda share: _duration(_at(share, "calibration", "floor_ns"))),
)


# What to know before believing it


def _caveats(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Iterator[str]:
    if comparison.quick:
        yield "The quick, shortened command was run: that says nothing about the whole one."
    if comparison.dilate != 1:
        dilated = format_plain(comparison.dilate)
        yield f"Time was dilated {dilated} times: the times are not those of a system."
    # What is true of several arms is said once.
    about: dict[str, list[str]] = {}
    for each in summaries:
        for warning in each.warnings:
            about.setdefault(warning, []).append(f"{each.label} ({each.kind})")
    for warning, arms in about.items():
        yield f"{', '.join(arms) if len(arms) < len(summaries) else 'every arm'}: {warning}"
    for arm in comparison.arms:
        shares = [each.share for each in comparison.samples if each.arm == arm and each.share]
        said = Counter(one for share in shares for one in share.get("warnings") or ())
        # Out of tolerance is in the summaries' own warnings already, where it matters.
        others = [one for one in said if "out of tolerance" not in one]
        yield from (f"{arm}: {one}" for one in others[:_KEPT_WARNINGS])
        if len(others) > _KEPT_WARNINGS:
            yield f"{arm}: and {len(others) - _KEPT_WARNINGS} more warnings, in the result's file"


def _finding(summary: ArmSummary, comparison: Comparison) -> str:
    name = f"{summary.label} ({summary.kind})"
    said = f"{name}: median {_seconds(summary.median_s)}{_interval(summary.interval_s)}"
    if summary.label == comparison.baseline:
        return f"{said}, the baseline"
    if summary.verdict == NO_DIFFERENCE:
        return f"{said}, no difference to {comparison.baseline} detected (~)"
    if summary.ratio is None:
        return said
    between = summary.ratio_interval
    within = f" [{format_ratio(between[0])} to {format_ratio(between[1])}]" if between else ""
    return f"{said}, {format_ratio(summary.ratio)} times the baseline {comparison.baseline}{within}"


def _interval(interval_s: tuple[float, float] | None) -> str:
    return f" [{_seconds(interval_s[0])} to {_seconds(interval_s[1])}]" if interval_s else ""


def _obtained(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Iterator[str]:
    """Beside the published claims: what they may be held against."""
    for summary in summaries:
        sample = representative(comparison, summary.label, summary.kind)
        if sample is None:
            continue
        said = _finding(summary, comparison)
        if sample.share is not None:
            requests = sum((sample.share.get("requests") or {}).values())
            missing = sample.share.get("missing_lookups", 0)
            said += (
                f"; {format_count(requests)} requests, {format_count(missing)} of them lookups of "
                "missing names"
            )
            said += _most_of(sample.share.get("receipt") or {})
        yield said


def _most_of(receipt: Mapping[str, Any]) -> str:
    """Of the class whose answers were waited for longest: target and observed latency."""
    label = dominant(receipt)
    if label is None:
        return ""
    line = receipt[label]
    return (
        f"; of {format_count(line['count'])} answers of the class {label} the median took "
        f"{_duration(line['observed_p50_ns'])}, {_duration(line['target_p50_ns'])} was asked for"
    )


# The tables


def _arms(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    ratio = f"/ {comparison.baseline}"
    columns = (
        *("arm", "run", "count", "median", "interval", ratio, "its interval", "p"),
        *("server", "target", "observed", "late", "behind"),
    )
    rows = [
        (
            each.label,
            each.kind,
            f"{each.runs} of {each.runs + each.failed}" if each.failed else f"{each.runs}",
            _seconds(each.median_s) if each.median_s is not None else "failed",
            f"{_seconds(each.interval_s[0])} – {_seconds(each.interval_s[1])}"
            if each.interval_s
            else "",
            _verdict(each),
            f"{format_ratio(each.ratio_interval[0])} – {format_ratio(each.ratio_interval[1])}"
            if each.ratio_interval
            else "",
            _p(each),
            _seconds(each.server_processor_s),
            named(each.judged_class, _duration(each.target_p50_ns)),
            _duration(each.observed_p50_ns) + (" !" if each.within_tolerance is False else ""),
            "" if each.late_share is None else format_percent(each.late_share, 1),
            _seconds(each.drain_s),
        )
        for each in summaries
    ]
    legend = (
        "Median and interval (95 %, bootstrap): of the wall time. "
        f"{ratio}: the ratio of medians to the baseline's, above 1 is slower. "
        f"{TILDE} p: Mann-Whitney test, corrected for the number of arms. Server: the emulator's "
        "own processor time. Target, observed: median latency of metadata requests, or of "
        "the class named, where that was waited for longer; ! is out of tolerance. "
        "Late: answers that came later than the target by more than 5 % and 20us. Behind: "
        "from the command's end until the host had everything."
    )
    made = table(
        *_numbers(columns, columns[2:]), title="Wall times per arm", rows=rows, legend=legend
    )
    return made.without_empty(2)


def _verdict(summary: ArmSummary) -> str:
    if summary.verdict == NO_DIFFERENCE:
        return "~"
    return "" if summary.ratio is None else format_ratio(summary.ratio)


def _p(summary: ArmSummary) -> str:
    # Of too few runs it is large whatever they gave, and would be taken for "no difference".
    if summary.p is None or summary.verdict == UNKNOWN:
        return ""
    return "< 0.001" if summary.p < 0.001 else format_fixed(summary.p, 3)


def _representatives(
    comparison: Comparison, summaries: Sequence[ArmSummary]
) -> Iterator[tuple[ArmSummary, Sample, Mapping[str, Any]]]:
    for summary in summaries:
        sample = representative(comparison, summary.label, summary.kind)
        if sample is not None and sample.share is not None:
            yield summary, sample, sample.share


def _requests(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    chosen = list(_representatives(comparison, summaries))
    shown = most_frequent_requests((sample for _, sample, _ in chosen), _SHOWN_REQUESTS)
    rows = []
    for summary, sample, share in chosen:
        requests = share.get("requests") or {}
        named = [requests.get(name, 0) for name in shown]
        counts = [sum(requests.values()), share.get("missing_lookups", 0), *named]
        counts.append(sum(requests.values()) - sum(named))
        each = (format_count(count) for count in counts)
        rows.append((summary.label, summary.kind, _seconds(sample.wall_s), *each))
    columns = ("arm", "run", "wall", "all", "missing names", *shown, "others")
    return table(
        *_numbers(columns, columns[2:]),
        title="Requests in the median run of each arm",
        rows=rows,
        legend="Missing names: the lookups that found nothing.",
    )


def _receipts(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    rows = []
    for summary, _, share in _representatives(comparison, summaries):
        for label, line in (share.get("receipt") or {}).items():
            within = line["within_tolerance"]
            rows.append(
                (
                    summary.label,
                    summary.kind,
                    label,
                    "" if within is None else "ok" if within else "out of tolerance",
                    format_count(line["count"]),
                    _duration(line["target_p50_ns"]),
                    *(_duration(line[f"observed_p{number}_ns"]) for number in (50, 90, 99)),
                    format_count(line["late"]),
                )
            )
    columns = ("arm", "run", "class", "receipt")
    numbers = ("answers", "target p50", "observed p50", "p90", "p99", "late")
    return table(
        *_numbers((*columns, *numbers), numbers),
        title="Receipts of the median run of each arm: target and observed latency",
        rows=rows,
        legend="A class of fewer than 50 answers, or without a target, is not judged.",
    )


def _write_back(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    rows = []
    for summary, sample, share in _representatives(comparison, summaries):
        write_back = share.get("write_back")
        if write_back is not None:
            rows.append(
                (
                    summary.label,
                    summary.kind,
                    *write_back_cells(write_back),
                    "never" if sample.drain_s is None else _seconds(sample.drain_s),
                )
            )
    return table(
        *_numbers(("arm", "run", *WRITE_BACK_COLUMNS), WRITE_BACK_COLUMNS),
        title="What was held back in the median run of each arm",
        rows=rows,
        legend=WRITE_BACK_LEGEND[0].upper() + WRITE_BACK_LEGEND[1:],
    )


def _risks(comparison: Comparison) -> Table:
    """What each arm was told while the host edited files; no rows, if it did not."""
    rows = [(arm, kind, *risk_cells(risks)) for arm, kind, risks in risks_of(comparison)]
    return table(
        *_numbers(("arm", "run", *RISK_COLUMNS), {*RISK_COLUMNS} - {"of them", "result"}),
        title="What was told while the host edited files",
        rows=rows,
        legend=RISK_LEGEND[0].upper() + RISK_LEGEND[1:],
    )


def _samples(comparison: Comparison) -> Table:
    columns = (
        *("arm", "round", "run", "wall", "began", "workload", "server", "requests"),
        *("target", "observed", "behind", "load", "said", "trace", "failure"),
    )
    rows = []
    for each in comparison.samples:
        share = each.share or {}
        requests = share.get("requests")
        receipt = share.get("receipt") or {}
        judged = dominant(receipt)
        line = {} if judged is None else receipt[judged]
        rows.append(
            (
                each.arm,
                f"{each.round}",
                each.kind,
                format_seconds(each.wall_s, 3),
                format_seconds(each.began_s, 1) if each.began_s else "",
                format_seconds(each.workload_processor_s, 3),
                format_seconds(share["server_processor_s"], 3)
                if "server_processor_s" in share
                else "",
                "" if requests is None else format_count(sum(requests.values())),
                named(judged, _duration(line.get("target_p50_ns"))),
                _duration(line.get("observed_p50_ns")),
                "" if each.drain_s is None else format_seconds(each.drain_s, 3),
                format_fixed(each.load_average, 2) if each.load_average else "",
                each.last_line,
                each.trace or "",
                each.failure,
            )
        )
    words = {"arm", "run", "said", "trace", "failure"}
    made = table(
        *_numbers(columns, {*columns} - words),
        title="Every run, in the order it was made",
        rows=rows,
        legend="Workload, server: processor time. Target, observed: median of metadata "
        "requests, or of the class named, where that was waited for longer. "
        "Said: what the command itself said, where that is a result.",
    )
    return made.without_empty(1)


def _numbers(columns: Sequence[str], numbers: Collection[str]) -> Iterator[str]:
    """The names of *columns*, those of *numbers* marked as such."""
    return (f">{name}" if name in numbers else name for name in columns)


# Traces


def trace_contents(label: str, analysis: Analysis) -> TraceContents:
    """What a report says of one analyzed trace *label*: sentences, and tables that have rows."""
    tables = [
        table(
            *("cause", "remedy", ">requests", ">time"),
            title="What its requests could have been spared by",
            rows=(
                *(
                    (each.label, each.remedy, format_count(each.requests), _part(each.time_ns))
                    for each in analysis.causes
                ),
                (
                    "necessary: nothing could have spared them",
                    "",
                    format_count(analysis.necessary.requests),
                    _part(analysis.necessary.time_ns),
                ),
            ),
            legend="Time: part of the wall time. A request belongs to the first cause that fits.",
        ),
        _parts("Operations", "operation", analysis.operations),
        _parts("The hottest directories", "directory", analysis.directories),
        _parts("Directories with all below them", "directory", analysis.subtrees),
        _parts("Programs", "program", analysis.programs),
        table(
            *("question", ">asked", ">of them before"),
            title="Asked again",
            rows=(
                (kind, *(format_count(each) for each in counts.values()))[:3]
                for kind, counts in analysis.reuse.items()
            ),
        ),
    ]
    lost = (
        f"; {format_count(analysis.lost)} more found no room in the trace" if analysis.lost else ""
    )
    return TraceContents(
        label,
        analysis,
        f"{_part(analysis.wall_ns)} of wall time: in {_part(analysis.waiting_ns)} at least "
        f"one of {format_count(analysis.requests)} requests was on its way, in the other "
        f"{_part(analysis.rest_ns)} the guest computed or was served by its own caches{lost}.",
        (*analysis.summary, *(each.sentence for each in analysis.causes), *analysis.warnings),
        tuple(each for each in tables if each.rows),
    )


def _parts(caption: str, column: str, parts: Sequence[Part]) -> Table:
    more = f", {_KEPT_ROWS} of {len(parts)}" if len(parts) > _KEPT_ROWS else ""
    return table(
        *(column, ">requests", ">time"),
        title=caption + more,
        rows=(
            (each.label, format_count(each.requests), _part(each.time_ns))
            for each in parts[:_KEPT_ROWS]
        ),
    )


# Numbers as text


def _at(values: Mapping[str, Any] | None, *path: str) -> Any:
    """What lies at *path* in nested tables; None where any of them is not there."""
    found: Any = values
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _seconds(value_s: float | None) -> str:
    return "" if value_s is None else "0 s" if value_s == 0 else format_wall_time(value_s)


def _duration(value_ns: float | None) -> str:
    return "" if value_ns is None else format_duration(value_ns)


def _part(value_ns: float) -> str:
    return format_duration(three_digits(value_ns))
