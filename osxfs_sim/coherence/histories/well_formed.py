"""Refuses a history that is not well-formed, such that it cannot be judged.

A history may be written by hand. A checker that meets an act it knows nothing of, or a value of
another kind, would fail somewhere deep in its search. So all operations are checked before, and
what is wrong is one line for the user. (Herlihy and Wing call a history well-formed if each
process's part of it is sequential: verdicts.py checks that.)
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import in_order
from osxfs_sim.coherence.histories.model import MUTATORS, OBSERVERS

_JUDGED = OBSERVERS | MUTATORS
_NUMBERS = frozenset({"offset", "size", "mode", "pause_ns"})
_OF_HANDLES = frozenset({"mread", "unmap"})


def require_well_formed(operations: Sequence[OperationInterval]) -> None:
    """Check types, acts and mappings of *operations*. Raises ValueError for the first mistake.

    An unknown act, a field or a result of another type, a mapping that was never made.
    """
    mapped = set[tuple[str, str]]()
    for each in in_order(operations):
        operation = each.operation
        _require_fields(operation)
        if operation.act not in _JUDGED:
            raise ValueError(
                f"nothing is known of the act {operation.act!r}, only of "
                f"{', '.join(sorted(_JUDGED))}"
            )
        if reason := _wrong_value(each):
            raise ValueError(f"{each.actor}: {operation} has {reason}")
        key = each.actor, operation.handle
        if operation.act == "map":
            mapped.add(key)
        elif operation.act in _OF_HANDLES and key not in mapped:
            raise ValueError(f"{each.actor}: {operation} comes before any map of that handle")


def _require_fields(operation: ActorOperation) -> None:
    for field in fields(operation):
        value = getattr(operation, field.name)
        if field.name in _NUMBERS:
            is_right, words = type(value) is int and value >= 0, "a number from 0 on"
        else:
            is_right, words = isinstance(value, str), "text"
        if not is_right:
            raise ValueError(f"{field.name} of an operation must be {words}, and is {value!r}")


def _wrong_value(interval: OperationInterval) -> str:
    """What is wrong with its result; "" if nothing is."""
    value, error = interval.outcome.value, interval.outcome.error
    if error is not None:
        return "" if isinstance(error, str) else f"an error that is no name: {error!r}"
    match interval.operation.act:
        case "stat":
            return _wrong_status(value)
        case "read" | "mread":
            return "" if isinstance(value, str) else f"no text as its value: {value!r}"
        case "list":
            is_list = isinstance(value, list | tuple)
            if is_list and all(isinstance(name, str) for name in value):
                return ""
            return f"no list of names as its value: {value!r}"
        case "entry":
            return "" if isinstance(value, bool) else f"neither true nor false: {value!r}"
    return ""


def _wrong_status(value: Any) -> str:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return f"no attributes as its value: {value!r}"
    needed = ("mode",) if value["type"] == "directory" else ("mode", "links", "size")
    for key in needed:
        if type(value.get(key)) is not int:
            return f"no number for {key} in its value"
    return ""
