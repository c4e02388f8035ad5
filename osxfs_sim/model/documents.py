"""Frozen dataclasses as JSON documents, and back: the status of a share travels as JSON.

A field is a key of its own name, in the order of the class, but for what its metadata say:

    KEY              the key has another name (such as a word that Python keeps for itself)
    ABSENT_IF_NONE   there is no key where the value is None

Types are read from the class: other dataclasses, str, int, float, bool, ``X | None``,
``Sequence[X]`` (a list) and ``Mapping[str, X]`` (an object).
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

KEY = "key"
ABSENT_IF_NONE = {"absent_if_none": True}

T = TypeVar("T")

_SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}


def key_of(each: "dataclasses.Field[Any]") -> str:
    """The key that dataclass field *each* has in a document: its metadata's KEY, else its name."""
    return str(each.metadata.get(KEY, each.name))


def document_of(value: Any) -> Any:
    """*value*, dataclasses (also in sequences, mappings), as dicts and lists for json.dumps."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            key_of(each): document_of(held)
            for each in dataclasses.fields(value)
            if (held := getattr(value, each.name)) is not None
            or "absent_if_none" not in each.metadata
        }
    if isinstance(value, Mapping):
        return {key: document_of(held) for key, held in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [document_of(held) for held in value]
    return value


def parsed(kind: type[T], document: Any) -> T:
    """An instance of the dataclass *kind* from JSON values. Raises LookupError or TypeError.

    Keys that the class has not are passed over; a key that is missing has its field's default.
    Raises LookupError for one that has none, and TypeError for a value of another type.
    """
    hint: Any = kind
    reader: Callable[[Any], T] = _reader(hint)
    return reader(document)


@functools.cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (each for each in arguments if each is not types.NoneType)
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if origin is Sequence:
        read = _reader(arguments[0])
        return lambda value: [read(each) for each in _checked(value, list)]
    if origin is Mapping:
        read = _reader(arguments[1])
        return lambda value: {key: read(each) for key, each in _checked(value, dict).items()}
    allowed = _SCALARS[hint]

    def scalar(value: Any) -> Any:
        # True is an int for Python, and not in JSON.
        if isinstance(value, bool) and hint is not bool:
            raise TypeError(f"{value!r} is no {hint.__name__}")
        return _checked(value, *allowed)

    return scalar


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    reads = [
        (
            key_of(each),
            each.name,
            _reader(hints[each.name]),
            each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING,
        )
        for each in dataclasses.fields(kind)
    ]

    def read_all(value: Any) -> Any:
        document = _checked(value, dict)
        return kind(
            **{
                name: read(document[key])
                for key, name, read, is_needed in reads
                if is_needed or key in document
            }
        )

    return read_all


def _checked(value: Any, *allowed: type) -> Any:
    if not isinstance(value, allowed):
        raise TypeError(f"{type(value).__name__} where {allowed[0].__name__} is expected")
    return value
