"""A prediction as a table: what each system would take, and what leaves it so many requests."""

from osxfs_sim.model.formatting import format_count, format_duration, format_fixed, format_wall_time
from osxfs_sim.report.console import console
from osxfs_sim.report.tables import Table
from osxfs_sim.simulate.prediction import Prediction

_LEGEND = (
    "wall: of the system itself, whose server takes no processor from the workload. here: a live "
    "run on the machine that recorded; nine of ten are expected within ±. one line: native and "
    "each request's latency, one after the other. missing: LOOKUPs of names that do not exist. "
    "hits: answered by the guest's kernel. names: by complete directories. held: by write-back, "
    "which lets changes cross later: in the background."
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
            *("arm", "wall", "from", "to", "here", "one line", "requests", "missing", "hits"),
            *("names", "held", "background", "most of them"),
        ),
        numbers=frozenset(range(1, 12)),
        legend=_LEGEND,
    )
    if prediction.native_ns is not None:
        table.add_row("native, measured", _s(prediction.native_ns), *[""] * 11)
    for arm in prediction.arms:
        table.add_row(
            arm.name,
            _s(arm.wall_ns),
            _s(arm.lowest_ns) if drawn else "",
            _s(arm.highest_ns) if drawn else "",
            "" if arm.here_ns is None else _here(arm.here_ns, prediction),
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
    if prediction.processors is None:
        return lines
    if prediction.machine is None:
        lines.append(
            "the recording does not say what its server took, so nothing is said of a live run; "
            "osxfs-sim record keeps it"
        )
    else:
        lines.append(
            f"here: {prediction.processors} processors; what this machine adds to an answer, to "
            f"one that a name is missing, to a hit, and what a held change takes: "
            + ", ".join(
                format_duration(each)
                for each in (
                    prediction.machine.late_found_ns,
                    prediction.machine.late_missing_ns,
                    prediction.machine.hit_ns,
                    prediction.machine.holding_ns,
                )
            )
        )
    return lines


def _here(here_ns: int, prediction: Prediction) -> str:
    scatter_ns = None if prediction.machine is None else prediction.machine.scatter_ns
    if scatter_ns is None:
        return _s(here_ns)
    return f"{_s(here_ns)} ± {_s(scatter_ns)}"


def _most(requests: dict[str, int]) -> str:
    largest = sorted(requests.items(), key=lambda each: -each[1])[:3]
    return ", ".join(f"{format_count(count)} {name}" for name, count in largest)


def _s(value_ns: int) -> str:
    return format_wall_time(value_ns / 1e9)
