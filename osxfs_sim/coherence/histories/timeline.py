"""A judged partition in words: its operations by call and return, and those nothing explains."""

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.verdicts import PartitionVerdict

_MS = 1_000_000


def in_words(partition: PartitionVerdict) -> str:
    """A judged *partition* as text: a line per operation, unexplained ones marked, lost writes.

    In the order of calls; times are milliseconds since the first one.
    """
    lines = [f"{', '.join(partition.names)}:"]
    begin_ns = min((each.call_ns for each in partition.operations), default=0)
    for each in partition.operations:
        when = (
            f"{(each.call_ns - begin_ns) / _MS:10.3f} to {(each.return_ns - begin_ns) / _MS:.3f} ms"
        )
        lines.append(f"  {when:28} {describe_interval(each)}{explanation_mark(partition, each)}")
    lines += [f"  {lost}" for lost in partition.lost]
    return "\n".join(lines)


def describe_interval(interval: OperationInterval) -> str:
    """The *interval* of an operation in a few words: process, operation, result."""
    operation, outcome = interval.operation, interval.outcome
    told = "done" if outcome.error is None and outcome.value is None else None
    value = outcome.value
    if operation.act == "entry":
        operation_words, told = f"list sees {operation.path}", "yes" if value else "no"
    elif operation.act == "opendir":
        operation_words, told = f"list {operation.path}", outcome.error or "a directory"
    else:
        operation_words = str(operation)
    if operation.act == "stat" and isinstance(value, dict):
        told = f"{value['type']}, mode {value['mode']:03o}, links {value['links']}, "
        told += f"size {value['size']}"
        if value["type"] == "directory":
            told = f"{value['type']}, mode {value['mode']:03o}"
    return f"{interval.actor}: {operation_words} -> {told or outcome}"


def explanation_mark(partition: PartitionVerdict, interval: OperationInterval) -> str:
    """A remark on whether the search explained *interval*; "" where it did."""
    if interval in partition.counterexample:
        return "   <- not explained"
    if partition.linearized and interval not in partition.linearized:
        return "   (not reached)"
    return ""
