"""What a saved document must look like, checked before anybody works with it.

A result is a file: it is edited by hand, cut by a full disk, or of another program. What is wrong
with it is found here, at once and by name, and not by whoever stumbles over it. A shape says what
a value is; what it says nothing of is let through, for a later version may add fields.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Shape = Callable[[object], str]
"""Says what is wrong with a value, beginning with where in it; nothing, if all is well."""

_LARGEST = 2**63
_LARGEST_TIME_S = 1e12
_MOST_SHOWN = 40


def shown(value: object) -> str:
    """The repr of *value* in one line, cut after 40 characters, for a message."""
    said = " ".join(repr(value).split())
    return said if len(said) <= _MOST_SHOWN else f"{said[:_MOST_SHOWN]}..."


def _is(kind: type, what: str) -> Shape:
    def check(value: object) -> str:
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return "" if right else f" is {shown(value)}, and no {what}"

    return check


TEXT = _is(str, "text")
TRUTH = _is(bool, "truth value")
TABLE = _is(dict, "table")


def WHOLE(value: object) -> str:  # noqa: N802 (a shape as the others are)
    """Say what is wrong if *value* is no whole number of 64 bits; empty if it is. Never raises."""
    if type(value) is not int:
        return f" is {shown(value)}, and no whole number"
    return "" if -_LARGEST < value < _LARGEST else f" is {shown(value)}, which is too large"


def COUNT(value: object) -> str:  # noqa: N802
    """Say what is wrong if *value* is no whole number from 0 on; empty if it is. Never raises."""
    return WHOLE(value) or ("" if int(value) >= 0 else f" is {value}, and no count")  # type: ignore[call-overload]


def NUMBER(value: object) -> str:  # noqa: N802
    """Say what is wrong if *value* is no finite number; empty if it is one. Never raises."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f" is {shown(value)}, and no number"
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    return "" if finite else f" is {shown(value)}, and no finite number"


def TIME(value: object) -> str:  # noqa: N802
    """Say what is wrong if *value* is no seconds from 0 on; empty if it is. Never raises."""
    wrong = NUMBER(value)
    if wrong:
        return wrong.replace("no number", "no time")
    assert isinstance(value, int | float)
    return "" if 0 <= value <= _LARGEST_TIME_S else f" is {shown(value)}, and no time"


def maybe(shape: Shape) -> Shape:
    """A Shape, a check of a value, that accepts None and what *shape* accepts."""
    return lambda value: "" if value is None else shape(value)


def list_of(shape: Shape) -> Shape:
    """A Shape, a check of a value, that accepts a list whose elements *shape* accepts."""

    def check(value: object) -> str:
        if not isinstance(value, list | tuple):
            return f" is {shown(value)}, and no list"
        for number, each in enumerate(value):
            wrong = shape(each)
            if wrong:
                return f"[{number}]{wrong}"
        return ""

    return check


def table_of(shape: Shape) -> Shape:
    """A Shape, a check of a value, that accepts any mapping whose values *shape* accepts."""

    def check(value: object) -> str:
        if not isinstance(value, Mapping):
            return f" is {shown(value)}, and no table"
        for name, each in value.items():
            wrong = shape(each)
            if wrong:
                return f".{shown_name(name)}{wrong}"
        return ""

    return check


def shown_name(name: object) -> str:
    """The key *name* as a message has it: an identifier as it is, else its repr, cut short."""
    text = name if isinstance(name, str) and name.isidentifier() else shown(name)
    return text[: _MOST_SHOWN + 2]


@dataclass(frozen=True, slots=True)
class RecordShape:
    """A table that must have *required*, and may have *optional*, each in its shape."""

    required: Mapping[str, Shape]
    """The shape of each key that must be there."""
    optional: Mapping[str, Shape]
    """The shape of each key that may be there."""

    def __call__(self, value: object) -> str:
        if not isinstance(value, Mapping):
            return f" is {shown(value)}, and no table"
        for name, shape in {**self.required, **self.optional}.items():
            if name not in value:
                if name in self.required:
                    return f" has no {name}"
                continue
            wrong = shape(value[name])
            if wrong:
                return f".{name}{wrong}"
        return ""


def mismatch(value: object, shape: Shape) -> str:
    """Where *value* first departs from *shape*, in words; empty where nowhere. Never raises.

    Such as ``samples[3].wall_s is 'x', and no time``.
    """
    wrong = shape(value)
    if not wrong:
        return ""
    return f"it{wrong}" if wrong.startswith(" ") else wrong.lstrip(".")
