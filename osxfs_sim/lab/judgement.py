"""Whether a run's time is that of its share: what a receipt can, and cannot, say of it.

A receipt says how long the share's answers took. Two things make a run longer that no receipt
shows: the client waited for a processor, with its answer in hand; and there was something else
that it waited for. The first is seen in what other programs of the machine used meanwhile, the
second in a wall time beyond what the command needs by itself and waited for answers. Both are
judged here, from plain numbers.

A receipt is read for the classes that the run consists of: five metadata requests beside a
hundred thousand writes say nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from osxfs_sim.model.formatting import format_count, format_fixed, format_seconds

WORTH_JUDGING = 0.01
"""Classes with a smaller share of both answers and waiting cannot have moved a result."""

CROWDED = 0.10
"""Of one processor: if others use less, the run can have waited for them by that at most."""
_LEAST_OTHERS_S = 0.1
_FREE = 0.5
"""Of one processor: who finds so much idle on the average hardly waited for one."""

FAR_BEYOND = 1.25
"""Of what is explained: more than the scatter of a machine that does nothing else."""
_LEAST_BEYOND_S = 0.2
PER_ANSWER_S = 30e-6
"""What an answer costs its client beyond its latency: a system call, two context switches."""

Receipt = Mapping[str, Mapping[str, Any]]


def waited_ns(line: Mapping[str, Any]) -> int:
    """The ns that all answers of a receipt's *line* took; count times median in older results."""
    total = line.get("observed_total_ns")
    # Older results do not say so.
    return int(line["count"] * line["observed_p50_ns"] if total is None else total)


def dominant(receipt: Receipt) -> str | None:
    """The class of operations whose answers took longest together. None of an empty receipt."""
    if not receipt:
        return None
    return max(receipt, key=lambda label: (waited_ns(receipt[label]), receipt[label]["count"]))


def named(label: str | None, latency: str) -> str:
    """The text *latency* with its class *label* in front, left out where metadata or None."""
    return latency if label in (None, "metadata") else f"{label} {latency}"


def matters(receipt: Receipt, label: str) -> bool:
    """Whether class *label* has 1 % or more of answers or waiting. Raises KeyError if not there."""
    answers = sum(line["count"] for line in receipt.values())
    waited = sum(map(waited_ns, receipt.values()))
    line = receipt[label]
    return line["count"] >= WORTH_JUDGING * answers or waited_ns(line) >= WORTH_JUDGING * waited


def out_of_tolerance(receipt: Receipt) -> dict[str, Mapping[str, Any]]:
    """The receipt's lines, by class, that are out of tolerance, but for classes below 1 %."""
    return {
        label: line
        for label, line in receipt.items()
        if line["within_tolerance"] is False and matters(receipt, label)
    }


def late_share(receipts: Iterable[Receipt]) -> float | None:
    """The share, from 0 to 1, of all answers in *receipts* that came late. None without answers."""
    lines = [line for receipt in receipts for line in receipt.values()]
    answers = sum(line["count"] for line in lines)
    return sum(line["late"] for line in lines) / answers if answers else None


@dataclass(frozen=True, slots=True)
class Observed:
    """One run. Times in seconds."""

    wall_s: float
    """How long it took, in seconds."""
    own_s: float
    """Processor seconds of the command and of the share's server."""
    others_s: float | None
    """Processor seconds of all other programs of the machine meanwhile; None: not known."""
    cores: int
    """Processors of the machine."""
    native_s: float | None = None
    """Seconds that the command takes without a share; None where nobody measured it."""
    receipt: Receipt | None = None
    """The share's receipt over this run; None for native."""


def crowded_by(run: Observed) -> float | None:
    """How many processors other programs used, if the command waited for one then. Else None."""
    if run.others_s is None or run.wall_s <= 0:
        return None
    others, own = run.others_s / run.wall_s, run.own_s / run.wall_s
    if run.others_s < _LEAST_OTHERS_S or others < CROWDED or run.cores - own - others > _FREE:
        return None
    return others


def explained_s(run: Observed) -> float | None:
    """The seconds of *run* natively, plus its answers' one after the other. None if unknown.

    None where nobody knows how long it takes by itself, nothing was asked, or the answers' times
    have not been added up, as in older results.
    """
    if run.native_s is None or not run.receipt:
        return None
    if any("observed_total_ns" not in line for line in run.receipt.values()):
        return None
    answers = sum(int(line["count"]) for line in run.receipt.values())
    waited_s = sum(map(waited_ns, run.receipt.values())) / 1e9
    return run.native_s + waited_s + answers * PER_ANSWER_S


def beyond_s(run: Observed) -> float | None:
    """The seconds of wall time that neither command nor answers explain. None unless many."""
    explained = explained_s(run)
    if explained is None:
        return None
    beyond = run.wall_s - explained
    if beyond < _LEAST_BEYOND_S or run.wall_s < FAR_BEYOND * explained:
        return None
    return beyond


def warnings_of(run: Observed) -> list[str]:
    """Sentences that say why the time of *run* is not to be believed; empty if it is."""
    said = []
    others, beyond = crowded_by(run), beyond_s(run)
    if others is not None:
        said.append(
            f"other programs used {format_fixed(others, 1)} of {run.cores} processors meanwhile, "
            "and none was free: the command waited for one, which no receipt shows, and its time "
            "is too long"
        )
    if beyond is not None and run.native_s is not None and run.receipt is not None:
        answers = sum(line["count"] for line in run.receipt.values())
        waited_s = sum(map(waited_ns, run.receipt.values())) / 1e9
        said.append(
            f"{format_fixed(beyond, 1)} of {format_seconds(run.wall_s, 1)} are neither the "
            f"command's own ({format_seconds(run.native_s, 2)} natively) nor its "
            f"{format_count(answers)} answers' ({format_seconds(waited_s, 1)}): it waited for a "
            "processor, or for what no receipt shows"
        )
    return said


def observed(
    wall_s: float,
    workload_processor_s: float,
    others_s: float | None,
    share: Mapping[str, Any] | None,
    cores: int,
    native_s: float | None,
) -> Observed:
    """Make an Observed of one run's measured values; *share* is the share's status, None natively.

    *native_s* is None for a run that waits for something besides: for edits of the host, say.
    """
    if share is None:
        return Observed(wall_s, workload_processor_s, others_s, cores)
    # What is deferred is acknowledged without a crossing, and so without a line.
    is_held = share.get("write_back") is not None
    return Observed(
        wall_s=wall_s,
        own_s=workload_processor_s + share.get("server_processor_s", 0.0),
        others_s=others_s,
        cores=cores,
        native_s=None if is_held else native_s,
        receipt=share.get("receipt") or {},
    )
