"""The picture of a violation: who did what, what overlapped what, and what nothing explains.

A row for each process, a box for each operation from its call to its return. Operations take
microseconds and lie milliseconds apart, so the axis is the order of calls and returns, not the
time: what overlaps is what matters, and that it keeps. The same with times, in words:
coherence/histories/timeline.py.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.timeline import describe_interval
from osxfs_sim.coherence.histories.verdicts import PartitionVerdict
from osxfs_sim.report.plots import Style, drawable, drawing

_ROW_INCHES = 0.55
_LINE_INCHES = 0.24
_HIGH = 0.34


def timeline(partition: PartitionVerdict, style: Style) -> Figure:
    """A figure of the operations on one object as numbered bars over time, in words below."""
    with drawing(style):
        operations = partition.operations
        actors = sorted({each.actor for each in operations})
        spans = ranks(operations)
        words = [
            f"{number}  {describe_interval(each)}" for number, each in enumerate(operations, 1)
        ]
        below_inches = _LINE_INCHES * (len(words) + 2)
        height_inches = 0.9 + _ROW_INCHES * len(actors) + below_inches
        figure = Figure(figsize=(style.width_inches, height_inches))
        bottom = (below_inches + 0.3) / height_inches
        panel = figure.add_axes((0.13, bottom, 0.84, 1 - bottom - 0.35 / height_inches))
        panel.set_title(drawable(", ".join(partition.names)))
        for number, (each, (begin, end)) in enumerate(zip(operations, spans, strict=True), 1):
            row = actors.index(each.actor)
            wrong = each in partition.counterexample
            colour = style.colour(3 if wrong else 0)
            panel.add_patch(
                FancyBboxPatch(
                    *((begin, row - _HIGH), end - begin, 2 * _HIGH),
                    boxstyle="round,pad=0,rounding_size=0.1",
                    facecolor=colour if wrong else style.theme.paper,
                    edgecolor=colour,
                    linewidth=1.6,
                    linestyle="-" if each in partition.linearized or wrong else (0, (3, 2)),
                )
            )
            panel.text(
                *((begin + end) / 2, row, str(number)),
                ha="center",
                va="center",
                color=style.theme.paper if wrong else style.theme.ink,
                fontweight="bold" if wrong else "normal",
            )
        last = max((end for _, end in spans), default=1)
        panel.set_xlim(-0.3, last + 0.3)
        panel.set_ylim(len(actors) - 0.5, -0.5)
        panel.set_yticks(range(len(actors)), [drawable(actor) for actor in actors])
        panel.set_xticks([])
        panel.set_xlabel("order of calls and returns (not to scale)")
        panel.grid(visible=False)
        for number, (each, line) in enumerate(zip(operations, words, strict=True), 1):
            wrong = each in partition.counterexample
            text = f"{drawable(line)}{'   not explained' if wrong else ''}"
            figure.text(
                *(0.02, (below_inches - _LINE_INCHES * number) / height_inches, text),
                color=style.colour(3) if wrong else style.theme.ink,
                fontsize=8.5,
            )
        return figure


def ranks(operations: Sequence[OperationInterval]) -> list[tuple[int, int]]:
    """Each operation's call and return as places (from 0) in the order of all moments."""
    moments = sorted(
        {(each.call_ns, 0) for each in operations} | {(each.return_ns, 1) for each in operations}
    )
    place = {moment: number for number, moment in enumerate(moments)}
    return [(place[(each.call_ns, 0)], place[(each.return_ns, 1)]) for each in operations]
