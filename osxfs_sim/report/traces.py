"""Which traces a comparison has, and what they say."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.summary import ArmSummary
from osxfs_sim.report.contents import TraceContents, trace_contents
from osxfs_sim.trace.analysis import Analysis
from osxfs_sim.trace.files import is_there

Analyze = Callable[[Path], Analysis]


def chosen_traces(
    comparison: Comparison, summaries: Sequence[ArmSummary], beside: Path
) -> Iterator[tuple[str, Path]]:
    """Yield label and file of each arm and kind's trace nearest the median; need not exist.

    A trace's name is relative to the result's directory, *beside*.
    """
    for summary in summaries:
        samples = [each for each in comparison.of(summary.label, summary.kind) if each.trace]
        if not samples or summary.median_s is None:
            continue
        median_s = summary.median_s
        sample = min(samples, key=lambda each: (abs(each.wall_s - median_s), each.round))
        yield f"{summary.label} ({summary.kind})", beside / str(sample.trace)


def analyzed(
    chosen: Iterator[tuple[str, Path]], analyze: Analyze
) -> tuple[list[TraceContents], list[str]]:
    """What the traces say, and a sentence for each missing file. Raises what *analyze* does."""
    found, troubles = [], []
    for label, path in chosen:
        if is_there(path):
            found.append(trace_contents(label, analyze(path)))
        else:
            troubles.append(
                f"{label}: its trace {path.name} is not beside the result any more: put it back, "
                "or measure again with --trace DIR"
            )
    return found, troubles
