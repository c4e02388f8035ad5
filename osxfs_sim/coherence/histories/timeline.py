"""A judged object in words: what was done to it when, and what of it nothing explains."""

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.verdicts import PartitionVerdict

_MS = 1_000_000


def in_words(part: PartitionVerdict) -> str:
    """A line per operation in the order of their calls, and those that explain nothing marked."""
    lines = [f"{', '.join(part.names)}:"]
    begin_ns = min((each.call_ns for each in part.operations), default=0)
    for each in part.operations:
        when = (
            f"{(each.call_ns - begin_ns) / _MS:10.3f} to {(each.return_ns - begin_ns) / _MS:.3f} ms"
        )
        lines.append(f"  {when:28} {said(each)}{mark(part, each)}")
    lines += [f"  {lost}" for lost in part.lost]
    return "\n".join(lines)


def said(performed: OperationInterval) -> str:
    """Who did what, and was told what, shortly."""
    operation, outcome = performed.operation, performed.outcome
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
    return f"{performed.actor}: {operation_words} -> {told or outcome}"


def mark(part: PartitionVerdict, performed: OperationInterval) -> str:
    """How the search left it: nothing where it is explained."""
    if performed in part.stuck:
        return "   <- not explained"
    if part.explained and performed not in part.explained:
        return "   (not reached)"
    return ""
