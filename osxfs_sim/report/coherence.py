"""The scorecard of events and the staleness of views, on a terminal."""

from collections import Counter
from collections.abc import Sequence

from osxfs_sim.coherence.scorecard.measure import KindResult
from osxfs_sim.coherence.scorecard.signals import NameEvent
from osxfs_sim.coherence.staleness.curves import CONFIDENCE, Curve, ThresholdCrossing
from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predicted import departure_ns
from osxfs_sim.coherence.staleness.predictions import Direction, StalenessSample
from osxfs_sim.model.formatting import format_duration, format_percent, rounded, three_digits
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import Cell, red, table

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 10


def scorecard_report(results: Sequence[KindResult], title: str, machine: str) -> None:
    """Print per kind of host change how many events came, lacked or were wrong, and how late."""
    out = console()
    rows = table(
        "change",
        ">delivered",
        ">missing",
        ">duplicate",
        ">unexpected",
        ">early",
        ">p50",
        ">p90",
        ">max",
        "expected",
        title=title,
    )
    for result in results:
        score = result.score
        wanted = len(result.expectation.required) * score.changes
        rows.add_row(
            result.kind.value,
            f"{score.delivered} of {wanted}" if wanted else "",
            _wrong(score.missing),
            _count(score.duplicates),
            _wrong(score.unexpected),
            _wrong(score.early),
            *(_quantile(score.delays_ns, each) for each in (0.5, 0.9, 1.0)),
            _expected(result),
        )
    out.print(rows)
    for result in results:
        for what, counted in (
            ("missing", result.score.missing),
            ("unexpected", result.score.unexpected),
            ("early", result.score.early),
        ):
            for words, number in counted.most_common():
                out.print(f"[red]{result.kind}: {what}: {escape(words)}, {number} times[/red]")
    out.print(
        "  a, b: the name that is changed, and the one it leads to; a/: with IN_ISDIR. duplicate: "
        "allowed. early: the guest still saw an older state when the event came. delay: from just "
        "before the host's system call until the listener has the event."
    )
    out.print(f"  {escape(machine)}", style="dim")


def _expected(result: KindResult) -> str:
    required = result.expectation.required
    return ", ".join(_briefly(each) for each in required) or "nothing"


def _briefly(signal: NameEvent) -> str:
    """A signal in few characters: ``CREATE a/`` for ``IN_CREATE|IN_ISDIR a``."""
    event = signal.event.removeprefix("IN_")
    return f"{event} {signal.role}{'/' if signal.directory else ''}"


def _count(counted: Counter[str]) -> str:
    return f"{counted.total()}" if counted else ""


def _wrong(counted: Counter[str]) -> str | Cell:
    return red(f"{counted.total()}") if counted else ""


def _quantile(sorted_ns: Sequence[int], share: float) -> str:
    if not sorted_ns:
        return ""
    return _short(sorted_ns[min(len(sorted_ns) - 1, int(share * len(sorted_ns)))])


def staleness_report(results: Sequence[ViewResult], title: str, machine: str) -> None:
    """Print per view the predicted and the measured staleness, and whether both agree."""
    out = console()
    rows = table(
        "view",
        "predicted",
        ">not seen",
        ">p50",
        ">p90",
        ">max",
        ">within",
        ">0 to max",
        ">samples",
        "verdict",
        title=title,
    )
    for result in results:
        seen = [sample for sample in result.samples if sample.seen_ns is not None]
        seen_ns = sorted(sample.seen_ns for sample in seen if sample.seen_ns is not None)
        unseen = len(result.samples) - len(seen)
        rows.add_row(
            result.view.value,
            _predicted(result),
            f"{unseen} in {_short(result.outlook.patience_ns)}" if unseen else "",
            *(_quantile(seen_ns, each) for each in (0.5, 0.9, 1.0)),
            _quantile(_widths_ns(seen), 0.5),
            histogram(seen_ns),
            _agreement(result),
            _verdict(result),
        )
    out.print(rows)
    out.print(
        "  Staleness: from the system call that changed it until the first read that sees the "
        "change begins; within: median width of the interval in which the answer changed. "
        "Changes that were not seen are in no quantile. D: Kolmogorov-Smirnov distance, and what "
        "one honest measurement in a hundred exceeds. Verdict: differs where that number, or the "
        "whole curve below, is not as predicted; the exit code is 1 then."
    )
    out.print(f"  {escape(machine)}", style="dim")


STALE_SHARES = {"t50": 0.5, "t99": 0.01}
"""When half of the reads return the new state, and when 99 of 100 do: P(stale) falls below that."""


def curves_report(results: Sequence[ViewResult], machine: str) -> None:
    """Print per view and direction when reads are stale no more, with confidence intervals."""
    out = console()
    rows = table(
        "view",
        "seen by",
        *(f">{each}" for name in STALE_SHARES for each in (name, f"{name} is between")),
        "whole curve",
        ">samples",
        title="when a read returns the new state: half of them (t50), and 99 of 100 (t99)",
    )
    for result in results:
        curve = Curve.of(result.samples)
        found = [curve.falls_below(share) for share in STALE_SHARES.values()]
        rows.add_row(
            result.view.value,
            "the guest" if result.direction is Direction.TO_GUEST else "the host",
            *(text for each in found for text in _crossing(each)),
            _departure(result),
            f"{curve.number}",
        )
    out.print(rows)
    confidence = format_percent(CONFIDENCE, 0)
    out.print(
        f"  A read begins so long after the change. Between: with {confidence} confidence; "
        "where it ends with ..., so few samples cannot tell. Whole curve: whether the "
        f"{confidence} band of all moments at once meets the predicted curve everywhere, or "
        "where it has left it; no loss was silent: it does not meet the one of silent losses."
    )
    out.print(f"  {escape(machine)}", style="dim")


def _crossing(found: ThresholdCrossing) -> tuple[str, str]:
    seen = "" if found.seen_ns is None else _three_digits(found.seen_ns)
    low = _three_digits(found.low_ns) if found.low_ns else "0"
    high = "..." if found.high_ns is None else _three_digits(found.high_ns)
    return seen, f"{low} to {high}"


def _three_digits(duration_ns: float) -> str:
    """One more than a measurement has, so that an interval shows that it has two ends."""
    return format_duration(three_digits(duration_ns))


def _departure(result: ViewResult) -> str | Cell:
    outlook = result.outlook
    if outlook.prediction is None:
        return ""
    departs_ns = result.departs_ns
    if departs_ns is not None:
        return red(f"left at {_short(departs_ns)}")
    silent = outlook.if_silent
    if silent is None or departure_ns(silent, outlook.phase_ns, result.samples) is None:
        return "met"
    return "met, no loss was silent"


def _predicted(result: ViewResult) -> str:
    prediction = result.outlook.prediction
    return "" if prediction is None else str(prediction)


def _agreement(result: ViewResult) -> str:
    if result.comparison is None:
        return f"{len(result.samples)}"
    return result.comparison.text


def _verdict(result: ViewResult) -> str | Cell:
    if result.agrees is None:
        return ""
    return "agrees" if result.agrees else red("differs")


def _short(duration_ns: float) -> str:
    """Two significant digits: more than that no two measurements share."""
    return format_duration(rounded(duration_ns, 2))


def _widths_ns(seen: Sequence[StalenessSample]) -> list[int]:
    return sorted(sample.upper_ns - sample.lower_ns for sample in seen if sample.upper_ns)


def histogram(sorted_ns: Sequence[int], bins: int = _BINS) -> str:
    """A bar chart of *sorted_ns* from 0 to the largest, one character per bin; empty for none."""
    if not sorted_ns or sorted_ns[-1] <= 0:
        return ""
    counts = [0] * bins
    for value_ns in sorted_ns:
        counts[min(bins - 1, value_ns * bins // sorted_ns[-1])] += 1
    highest = max(counts)
    # What is there at all is never shown as nothing.
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // highest)] for count in counts)
