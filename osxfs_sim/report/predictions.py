"""A prediction as a table: what each system would take, and what leaves it so many requests."""

from collections.abc import Sequence

from osxfs_sim.model.formatting import format_count, format_fixed, format_signed, format_wall_time
from osxfs_sim.report.console import console
from osxfs_sim.report.tables import Table
from osxfs_sim.simulate.prediction import Prediction
from osxfs_sim.simulate.verification import OF_MEMORY, Verified

_LEGEND = (
    "wall: of the system itself, whose server takes no processor from the workload. one line: "
    "native and each request's latency, one after the other. missing: LOOKUPs of names that do "
    "not exist. hits: answered by the guest's kernel. names: by complete directories. held: by "
    "write-back, which lets changes cross later: in the background."
)
_LEGEND_VERIFIED = (
    "error: by how much the predicted time is longer than the measured one, whose server took "
    "processors from the workload. one line, threads alone: the errors of the one-line model, and "
    "of a prediction in which threads wait for nothing of each other. requests: without FORGETs; "
    "equal: of each operation as many."
)


def prediction_report(prediction: Prediction) -> None:
    """Print what *prediction* says, and what it was made from."""
    out = console()
    out.print(prediction_table(prediction))
    for line in notes(prediction):
        out.print(line, markup=False, highlight=False)


def prediction_table(prediction: Prediction) -> Table:
    """A line for each arm."""
    drawn = any(arm.lowest_ns != arm.highest_ns for arm in prediction.arms)
    table = Table(
        "predicted",
        (
            *("arm", "wall", "from", "to", "one line", "requests", "missing", "hits", "names"),
            *("held", "background", "most of them"),
        ),
        numbers=frozenset(range(1, 11)),
        legend=_LEGEND,
    )
    if prediction.native_ns is not None:
        table.add_row("native, measured", _s(prediction.native_ns), *[""] * 10)
    for arm in prediction.arms:
        table.add_row(
            arm.name,
            _s(arm.wall_ns),
            _s(arm.lowest_ns) if drawn else "",
            _s(arm.highest_ns) if drawn else "",
            _s(arm.one_line_ns),
            format_count(arm.crossings),
            format_count(arm.missing_lookups),
            format_count(arm.hits),
            format_count(arm.names) if arm.names else "",
            format_count(arm.held) if arm.held else "",
            format_count(sum(arm.background.values())) if arm.background else "",
            _most(arm.requests),
        )
    return table.without_empty(1)


def verification_report(verified: Sequence[Verified]) -> None:
    """Print what was predicted of arms beside what was measured of them."""
    out = console()
    out.print(verification_table(verified))
    for each in verified:
        for name, (predicted, measured) in each.differing.items():
            out.print(
                f"{each.predicted.name}: {name} predicted {format_count(predicted)}, "
                f"measured {format_count(measured)}",
                markup=False,
                highlight=False,
            )


def verification_table(verified: Sequence[Verified]) -> Table:
    """A line for each arm: times with their errors, and how many requests."""
    ranged = any(each.lowest_ns != each.highest_ns for each in verified)
    table = Table(
        "predicted beside measured",
        (
            *("arm", "predicted", "measured", "from", "to", "error", "one line", "threads alone"),
            *("requests", "measured", "equal"),
        ),
        numbers=frozenset(range(1, 10)),
        legend=_LEGEND_VERIFIED,
    )
    for each in verified:
        table.add_row(
            each.predicted.name,
            _s(each.predicted.wall_ns),
            _s(each.measured_ns),
            _s(each.lowest_ns) if ranged else "",
            _s(each.highest_ns) if ranged else "",
            _percent(each.error),
            _percent(each.one_line_error),
            _percent(each.threads_error),
            format_count(_but_for_forgets(each.predicted.requests)),
            format_count(sum(each.requests.values())),
            "no" if each.differing else "yes",
        )
    return table.without_empty(1)


def _but_for_forgets(requests: dict[str, int]) -> int:
    return sum(count for name, count in requests.items() if name != OF_MEMORY)


def _percent(share: float) -> str:
    return f"{format_signed(share * 100, 1)} %"


def notes(prediction: Prediction) -> list[str]:
    """What is to be known of how it was made, a line each."""
    lines = [
        f"from {format_count(prediction.questions)} requests of a run of "
        f"{_s(prediction.recorded_ns)}; what waits for what: by {prediction.dependencies}"
    ]
    if prediction.native_ns is None:
        lines.append(
            "no native runs are in the recording: what its server took from the workload counts "
            "as the workload's own time, and times are too long; osxfs-sim record keeps some"
        )
    else:
        lines.append(
            f"think times of the recording count {format_fixed(prediction.think_scale, 2)} times, "
            "so that a share without cost takes the native time"
        )
    return lines


def _most(requests: dict[str, int]) -> str:
    largest = sorted(requests.items(), key=lambda each: -each[1])[:3]
    return ", ".join(f"{format_count(count)} {name}" for name, count in largest)


def _s(value_ns: int) -> str:
    return format_wall_time(value_ns / 1e9)
