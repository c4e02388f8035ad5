"""The files that people write, all of them TOML: read by a class that says what they may hold.

    @dataclass(frozen=True, slots=True)
    class Group:
        name: str
        arms: tuple[str, ...] = field(metadata=example('["osxfs", "osxfs-cached"]'))

    SWEEP = FileKind("sweep", Sweep)
    SWEEP.read("mine.toml")           # a Sweep, or a UserError in one line

A file holds what the fields of its class are, by their names; those without a default it must
have. A field that is a dataclass is a table, one that is a Mapping a table of anything's names,
one that is a tuple of dataclasses an array of tables. Values are checked by msgspec: strictly,
so that 1 is no text and true no number, and within the bounds of its field. A class of
model/units.py is a quantity with its unit. What else a value must be is checked by its class's
``__post_init__``, with a ValueError or a UserError.

Each mistake is one line: the file, the key, what is wrong with it, and the remedy.
"""

import dataclasses
import functools
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from enum import Enum
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from osxfs_sim.fs.reading import parse_toml, read_text
from osxfs_sim.model.units import Quantity
from osxfs_sim.model.user_error import UserError, nearest

T = TypeVar("T")
_EXAMPLE = "example"
_KEY = "key"
_BOUNDS = "bounds"


def example(text: str) -> Mapping[str, Any]:
    """Metadata for a field: *text*, which a message shows as an example of what to write."""
    return {_EXAMPLE: text}


def within(least: float, most: float) -> Mapping[str, Any]:
    """Metadata for a field: its number must be from *least* to *most*, both included."""
    return {_BOUNDS: (least, most)}


def written(key: str) -> Mapping[str, Any]:
    """Metadata for a field: its *key* in a file, where that is no name in Python."""
    return {_KEY: key}


class _MistakeError(UserError):
    """A mistake in what a file says; which file it is, is said by who reads it."""


class _NoUnitError(_MistakeError):
    """A quantity that is no text."""


@dataclasses.dataclass(frozen=True)
class FileKind(Generic[T]):
    """A kind of file: the class of what it holds, and how its mistakes are told."""

    word: str
    """What it is called where it cannot be found or understood, such as ``sweep``."""
    schema: type[T]
    """The dataclass of what it holds."""
    error: type[UserError] = UserError
    """What is raised: UserError, or what is derived from it."""
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Keys of earlier versions and what they are called now, with the tables that they are in,
    such as ``write_back.held``; ``NAME`` stands for one that the author has chosen."""
    begins: str = "the {word} {name}"
    """How a mistake begins, where the name is the file's."""
    elsewhere: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Keys, as in *renamed*, that belong to another place, and what is said of them."""
    shipped: Traversable | None = None
    """Where those lie that come with the program, if there are such."""
    hint: str = ""
    """What is said, after the nearest, to who names one that there is not."""

    def names(self) -> list[str]:
        """The names of the files of this kind that come with the program, sorted."""
        assert self.shipped is not None
        files = (entry.name for entry in self.shipped.iterdir())
        return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))

    def load(self, name: str) -> T:
        """Read the shipped file *name*, or the path *name* if .toml. Raises ``error``, a UserError.

        Raises ``error``.
        """
        return self.parse(self.text_named(name), name)

    def text_named(self, name: str) -> str:
        """The text of the file that load() reads. Raises ``error``, a UserError."""
        if name.endswith(".toml"):
            return self.text_of(name)
        known = self.names()
        if name not in known:
            raise self.error(f"unknown {self.word} {name!r}{nearest(name, known)}{self.hint}")
        assert self.shipped is not None
        return (self.shipped / f"{name}.toml").read_text(encoding="utf-8")

    def read(self, path: str | Path) -> T:
        """Read the file *path* into a ``schema``. Raises ``error``, a UserError."""
        return self.parse(self.text_of(path), str(path))

    def text_of(self, path: str | Path) -> str:
        """The text of the file *path*. Raises ``error``, a UserError, where it cannot be read."""
        try:
            return read_text(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise self.error(f"cannot read the {self.word} {path}: {reason}") from error

    def parse(self, text: str, name: str) -> T:
        """Make a ``schema`` of TOML *text* of the file *name*. Raises ``error``, a UserError."""
        return self.of(self.document(text, name), name)

    def document(self, text: str, name: str) -> dict[str, Any]:
        """Parse TOML *text* into a dict, unchecked. Raises ``error``, a UserError."""
        try:
            return parse_toml(text)
        except tomllib.TOMLDecodeError as error:
            raise self.error(f"{self._of(name)}: not valid TOML: {error}") from error

    def of(self, document: Mapping[str, Any], name: str) -> T:
        """Make a ``schema`` of a *document*, the file *name*'s. Raises ``error``, a UserError."""
        try:
            return self._built(document)
        except _MistakeError as error:
            raise self.error(f"{self._of(name)}: {error}") from error

    def build(self, document: Mapping[str, Any]) -> T:
        """Make a ``schema`` of a *document* without a file name. Raises ``error``, a UserError."""
        try:
            return self._built(document)
        except _MistakeError as error:
            raise self.error(str(error)) from error

    def _built(self, document: Mapping[str, Any]) -> T:
        built: T = _table(self.schema, document, "", "", self)
        return built

    def _of(self, name: str) -> str:
        return self.begins.format(word=self.word, name=name)


def keys_of(schema: Any) -> tuple[str, ...]:
    """The keys that a TOML table of the dataclass *schema* may have, in the fields' order."""
    return tuple(key_of(each) for each in dataclasses.fields(schema))


def key_of(each: "dataclasses.Field[Any]") -> str:
    """The key of a dataclass field in a file: what written() says, else the field's name."""
    return str(each.metadata.get(_KEY, each.name))


def shape_of(schema: Any) -> dict[str, tuple[str, ...]]:
    """The keys of each table of a TOML file, by table name (``NAME``: its author's choice)."""
    found = {"": keys_of(schema)}
    hints = _hints(schema)
    for each in dataclasses.fields(schema):
        inner, below = _tables_in(hints[each.name])
        if inner is not None:
            for name, keys in shape_of(inner).items():
                found[".".join(filter(None, (f"{key_of(each)}{below}", name)))] = keys
    return found


def _tables_in(hint: Any) -> tuple[Any, str]:
    """The dataclass that a field's tables are, if they are, and what their names go on with."""
    hint = _bare(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return hint, ""
    if origin is Mapping and dataclasses.is_dataclass(arguments[1]):
        return arguments[1], ".NAME"
    if origin is tuple and dataclasses.is_dataclass(arguments[0]):
        return arguments[0], ""
    return None, ""


@functools.cache
def _hints(schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(schema, include_extras=True)


def _bare(hint: Any) -> Any:
    """*hint* without the None of a value that may be left out: TOML has no word for it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        others = [each for each in typing.get_args(hint) if each is not types.NoneType]
        if len(others) == 1:
            return others[0]
    return hint


def _table(
    schema: Any, table: Mapping[str, Any], where: str, general: str, kind: FileKind[Any]
) -> Any:
    """The *schema* that *table* is; it is at *where*, which is *general* for any name in it."""
    known = {key_of(each): each for each in dataclasses.fields(schema)}
    for key in table:
        if new := kind.renamed.get(f"{general}{key}"):
            raise _MistakeError(f"{where}{key} is called {new} now")
        if why := kind.elsewhere.get(f"{general}{key}"):
            raise _MistakeError(f"{where}{key} {why}")
        if key not in known:
            raise _MistakeError(f"unknown key {where + key!r}{nearest(key, known)}")
    hints = _hints(schema)
    needed = [
        each
        for each in known.values()
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]
    if missing := [each for each in needed if key_of(each) not in table]:
        lacks = ", ".join(repr(key_of(each)) for each in missing)
        remedy = _remedy(missing[0], hints, "; ") if len(missing) == 1 else ""
        raise _MistakeError(f"{_place(where)} lacks {lacks}{remedy}")
    values = {}
    for key, each in known.items():
        if key in table:
            values[each.name] = _value(
                hints[each.name], table[key], where + key, general + key, kind, each
            )
    try:
        return schema(**values)
    except _MistakeError:
        raise
    except (UserError, ValueError) as error:
        raise _MistakeError(f"{where[:-1]}: {error}" if where else str(error)) from error


def _written(name: str) -> str:
    """A name that the author has chosen, in the quotes that it needs in TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else repr(name)


def _place(where: str) -> str:
    return where.removesuffix(".") or "it"


def _remedy(each: "dataclasses.Field[Any]", hints: Mapping[str, Any], before: str) -> str:
    """What to write for a field, where an example of it is known."""
    if _EXAMPLE in each.metadata:
        return f"{before}write such as {key_of(each)} = {each.metadata[_EXAMPLE]}"
    inner, _ = _tables_in(hints[each.name])
    if inner is not None:
        return f"{before}write a table [{key_of(each)}]"
    return ""


@dataclasses.dataclass
class _Plain:
    value: Any


(_PLAIN,) = dataclasses.fields(_Plain)


def _value(
    hint: Any,
    value: Any,
    where: str,
    general: str,
    file_kind: FileKind[Any],
    each: "dataclasses.Field[Any]",
) -> Any:
    hint = _bare(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _MistakeError(f"{where} must be a table: write [{where}]")
        return _table(hint, value, f"{where}.", f"{general}.", file_kind)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _MistakeError(f"{where} = {_shown(value)}: {_expected(hint, where, each)}")
        named = f"{general}.NAME"
        return {
            # The field's example is one of the whole table.
            key: _value(arguments[1], one, f"{where}.{_written(key)}", named, file_kind, _PLAIN)
            for key, one in value.items()
        }
    if origin is tuple and dataclasses.is_dataclass(arguments[0]):
        if not (isinstance(value, list) and all(isinstance(one, Mapping) for one in value)):
            raise _MistakeError(f"{where} are tables: write [[{where}]] for each")
        # Counted as people count.
        return tuple(
            _table(arguments[0], one, f"{where}[{number}].", f"{general}.", file_kind)
            for number, one in enumerate(value, 1)
        )
    return _scalar(hint, value, where, each)


def _scalar(hint: Any, value: Any, where: str, each: "dataclasses.Field[Any]") -> Any:
    # Loaded when a file is read: not every command reads one.
    import msgspec

    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [str(choice.value) for choice in hint]
        if value not in choices:
            raise _MistakeError(f"unknown {where} {_shown(value)}{nearest(str(value), choices)}")
    if typing.get_origin(hint) is typing.Literal and value not in typing.get_args(hint):
        choices = [str(choice) for choice in typing.get_args(hint)]
        raise _MistakeError(f"unknown {where} {_shown(value)}{nearest(str(value), choices)}")
    bounds = each.metadata.get(_BOUNDS)
    if bounds is not None:
        hint = Annotated[hint, msgspec.Meta(ge=bounds[0], le=bounds[1])]
    try:
        return msgspec.convert(value, hint, strict=True, dec_hook=_quantity)
    except _MistakeError as error:
        if isinstance(error, _NoUnitError):
            known = _EXAMPLE in each.metadata
            wrong = f"{_shown(value)}: {_expected(hint, where, each)}" if known else f"{error}"
            raise _MistakeError(f"{where} = {wrong}") from error
        raise _MistakeError(f"{where}: {error}") from error
    except msgspec.ValidationError as error:
        remedy = _expected(hint, where, each)
        if bounds is not None and "got" not in str(error):  # it is of the right kind
            remedy = f"give a number from {bounds[0]} to {bounds[1]}"
        raise _MistakeError(f"{where} = {_shown(value)}: {remedy}") from error


def _quantity(kind: Any, value: Any) -> Any:
    """A value of a class that msgspec does not know: a quantity, with its unit."""
    if not issubclass(kind, Quantity):
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        # Where the field has an example, _scalar says so.
        raise _NoUnitError(f"{_shown(value)} has no unit: write a text such as {kind.EXAMPLE!r}")
    try:
        return kind.parsed(value)
    except UserError as error:
        raise _MistakeError(str(error)) from error


_WORDS: tuple[tuple[Any, str], ...] = (
    (str, "write a text between quotes"),
    (bool, "write true or false"),
    (bool | int, "write true or false, or a whole number"),
    (int, "write a whole number"),
    (float, "write a number"),
    (tuple[str, ...], 'write a list of texts, such as ["...", "..."]'),
    (tuple[float, ...], "write a list of numbers, such as [1, 2.5]"),
)


def _expected(hint: Any, where: str, each: "dataclasses.Field[Any]") -> str:
    """What to write at *where*, by an example or in words."""
    if _EXAMPLE in each.metadata:
        return f"write such as {where.rpartition('.')[2]} = {each.metadata[_EXAMPLE]}"
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    for kind, words in _WORDS:
        if hint == kind:
            return words
    if typing.get_origin(hint) is Mapping:
        inner, name = _tables_in(hint)
        return f"write a table [{where}{name}]" + (" for each" if inner is not None else "")
    return "that is of the wrong kind"


def _shown(value: Any) -> str:
    """*value*, but no more of it than a line has room for."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
