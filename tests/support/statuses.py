"""A status as a share's server would tell it, for tests that have no share."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from osxfs_sim.model.status import ShareStatus

_OF_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("mountpoint", "source", "profile", "title", "policy", "log"), ""),
    **dict.fromkeys(("pid", "seed", "up_s", "counting_s", "server_processor_s"), 0),
    **dict.fromkeys(("missing_lookups", "in_flight", "inodes", "open_handles", "descriptors"), 0),
    **{key: [] for key in ("exports", "changed", "warnings", "host_services")},
    **{key: {} for key in ("requests", "wakes", "receipt")},
    "ownership": {"policy": "osxfs"},
    "names": {"rules": "case-sensitive"},
    "extended_attributes": "refused",
    "dilate": 1.0,
    "latency": {
        "base_ns": {},
        "bandwidth_bytes_per_s": None,
        "distribution": "constant",
        "served_at_once": None,
    },
    "calibration": {"calibrated": False, "floor_ns": 0, "client_overhead_ns": {}, "wake_ns": {}},
    "pm_qos_held": False,
    "events": None,
}


def a_status(**told: Any) -> ShareStatus:
    """One that tells *told*, as keys of its document have it, and of the rest nothing."""
    return ShareStatus.from_dict({**_OF_NOTHING, **told})


def filled(hint: Any, numbers: Iterator[int], *, sparse: bool) -> Any:
    """A value of the type *hint*, no two alike; *sparse*: without anything that can be left out."""
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{name: filled(each, numbers, sparse=sparse) for name, each in hints.items()})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if sparse else filled(arguments[0], numbers, sparse=sparse)
    if origin is Sequence:
        return [] if sparse else [filled(arguments[0], numbers, sparse=sparse) for _ in range(2)]
    if origin is Mapping:
        return {} if sparse else {"key": filled(arguments[1], numbers, sparse=sparse)}
    number = next(numbers)
    made: dict[Any, Callable[[], Any]] = {
        str: lambda: f"text {number}",
        int: lambda: number,
        float: lambda: number + 0.5,
        bool: lambda: True,
    }
    return made[hint]()
