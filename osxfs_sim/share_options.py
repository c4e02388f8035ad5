"""What an option of a share is: how it is written, what it means, and where it can be given.

The table of the options is the class settings.ShareSettings: each field that a user can set is an
option(), which says all there is to say of it, once. The command line (cli/options.py), the
keywords of osxfs_sim.share(), the keys of a share file (exports.py), what a status lists as
changed, and the table in docs/reference.md are made of it.
"""

import dataclasses
import enum
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from osxfs_sim.catalogue import profile_names
from osxfs_sim.model.bugs import Bug, parse_fault
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.units import (
    MAX_DURATION_NS,
    Duration,
    parse_duration_ns,
    parse_rate_bytes_per_s,
)
from osxfs_sim.model.user_error import UserError

_OPTION = "option"

HOST_EVENTS = ("auto", "fanotify", "inotify", "none")
"""How changes of the host can be seen: by itself the best that the machine allows, or not."""
UNWRITTEN = ("recover", "discard")
"""What may become of changes that an earlier share of the same source has not written back."""


class Where(enum.Flag):
    """Where an option can be given."""

    COMMANDS = enum.auto()
    """To each command that mounts a share: mount, run, events, staleness, contract, histories."""
    MOUNT = enum.auto()
    """To ``mount`` alone."""
    PYTHON = enum.auto()
    """As a keyword of osxfs_sim.share()."""
    EXPORT = enum.auto()
    """As a key of an export in a share file."""
    WHOLE = enum.auto()
    """With a share file, but not in it: it holds for the whole mount."""

    EVERYWHERE = COMMANDS | PYTHON | EXPORT


# How values are written.


def parse_text(text: str) -> str:
    """*text* itself, whatever it is; what it means is checked later, by system(). Never fails."""
    return text


_COUNTS = re.compile(r"copies=([0-9]+),switches=([0-9]+)")


def parse_data_path(text: str) -> tuple[int, int]:
    """The two counts in ``copies=5,switches=3``. Raises ProfileError for any other text."""
    match = _COUNTS.fullmatch(text)
    if match is None:
        raise ProfileError(f"{text!r}: write copies=5,switches=3")
    return int(match[1]), int(match[2])


def _parse_whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{text!r} is not a whole number") from None


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{text!r} is not a number") from None


def _parse_rate(text: str) -> str:
    parse_rate_bytes_per_s(text)
    return text


def _parse_bug(text: str) -> str:
    return str(parse_fault(text))


def parse_service(text: str) -> tuple[str, str]:
    """Split ``NAME=SOCKET`` into a host service's name and path. Raises UserError without ``=``."""
    name, equals, path = text.partition("=")
    if not equals:
        raise UserError(f"{text!r}: write NAME=SOCKET, such as ssh-auth=$SSH_AUTH_SOCK")
    return name, path


def parse_volume(text: str) -> tuple[str, str]:
    """Split ``PATH=DIR``, DIR made absolute, or empty if none. Raises ProfileError.

    There is no directory where none is named. Raises ProfileError.
    """
    path, _, directory = text.partition("=")
    check_volume_paths([path])
    return path, os.path.abspath(directory) if directory else ""


def check_volume_paths(paths: Sequence[str]) -> None:
    """Raise ProfileError unless each is a path inside a share, and no two are the same."""
    for path in paths:
        parts = path.split("/")
        if "\0" in path or {"", ".", ".."} & set(parts):
            raise ProfileError(
                f"the volume {path!r} is no path inside the share: write such as node_modules or "
                "web/node_modules"
            )
        if paths.count(path) > 1:
            raise ProfileError(f"two volumes are at {path}: leave one of them out")


def _volumes_in_file(table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    for path, directory in table.items():
        if not directory:
            raise UserError(f"{path!r} = {directory!r}: name a directory")
    return tuple(table.items())


def _as_it_is(value: Any) -> Any:
    return value


def _path(value: str | PathLike[str] | None) -> str | None:
    return None if value is None else fspath(value)


def _pairs(value: Mapping[str, str | PathLike[str]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, fspath(path)) for name, path in (value or {}).items())


def _names(value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ProfileError(f"give a sequence of names, such as [{value!r}]")
    return tuple(value)


@dataclass(frozen=True)
class OptionKind:
    """A kind of value: how it is parsed, checked and shown in each place where it is given."""

    word: str
    """What help calls a value, such as DURATION."""
    types: tuple[type, ...]
    """What a value is in ShareSettings (an element of it, where there may be several)."""
    remedy: str
    """For who gives something else in Python."""
    parse: Callable[[str], Any] = parse_text
    """A value of the command line's text. Raises UserError."""
    in_file: Any = str
    """What a value is in a share file, as toml_files reads it."""
    from_file: Callable[[Any], Any] = _as_it_is
    """The value that is meant by one in a share file."""
    to_file: Callable[[Any], Any] = _as_it_is
    """Its inverse, as text or a number."""
    annotation: str = ""
    """Of the keyword in Python; of *types*, where nothing is said."""
    from_python: Callable[[Any], Any] = _as_it_is
    """The value that is meant by what was given in Python."""
    are_several: bool = False
    """Whether it can be given several times."""
    is_path: bool = False
    """Whether it is a path, which is meant from where the command was given."""
    completions: Callable[[], Iterable[str]] | None = None
    """What a shell can offer."""


DURATION = OptionKind(
    "DURATION",
    (int,),
    "give whole nanoseconds, such as 65_000 for 65us",
    parse_duration_ns,
    Duration,
    int,
    "{}ns".format,
)
TEXT = OptionKind("TEXT", (str,), "give a text")
RATE = OptionKind("RATE", (str,), "give a rate such as '250MB/s', or 'none'", _parse_rate)
SIZE = OptionKind("SIZE", (str,), "give a size such as '64MB'")
COUNT = OptionKind("N", (int,), "give a whole number", _parse_whole, int)
NUMBER = OptionKind("K", (int, float), "give a number", _parse_number, float, annotation="float")
SWITCH = OptionKind("", (bool,), "give True or False", in_file=bool)
STEPS = OptionKind(
    "COUNTS",
    (tuple, list),
    "give the copies and the context switches, such as (5, 3)",
    parse_data_path,
    from_file=parse_data_path,
    to_file=lambda value: f"copies={value[0]},switches={value[1]}",
    annotation="tuple[int, int]",
)
PROFILE = OptionKind("PROFILE", (str,), "give a text", completions=profile_names)
PLACE = OptionKind(
    "DIRECTORY",
    (str,),
    "give a text",
    annotation="str | PathLike[str]",
    from_python=_path,
    is_path=True,
)
SERVICES = OptionKind(
    "NAME=SOCKET",
    (tuple, list),
    "give names and paths",
    parse_service,
    annotation="Mapping[str, str | PathLike[str]] | None",
    from_python=_pairs,
    are_several=True,
)
VOLUMES = OptionKind(
    "PATH[=DIR]",
    (tuple, list),
    "give paths and directories",
    parse_volume,
    Mapping[str, str],
    _volumes_in_file,
    annotation="Mapping[str, str | PathLike[str]] | None",
    from_python=_pairs,
    are_several=True,
)
BUGS = OptionKind(
    "NAME",
    (str,),
    "give a sequence of texts",
    _parse_bug,
    tuple[str, ...],
    annotation="Sequence[str]",
    from_python=_names,
    are_several=True,
    completions=lambda: (bug.value for bug in Bug),
)


@dataclass(frozen=True)
class Option:
    """An option of a share, by all that is to be said of it."""

    kind: OptionKind
    """Of which kind its value is: how it is parsed, checked and shown."""
    help: str
    """For --help: a sentence."""
    docs: str = ""
    """For the reference, in Markdown; the help, where nothing more is to be said."""
    example: str = ""
    """As it is written in a share file."""
    where: Where = Where.EVERYWHERE
    """The places in which it can be given: Python, the command line, share files."""
    flag: str = ""
    """The command line's, without its dashes, where it is not made of the field's name."""
    letter: str = ""
    """The command line's, abbreviated."""
    metavar: str = ""
    """What stands for its value in the help, where that is not the kind's word."""
    choices: tuple[str, ...] = ()
    """The values that it can have, where they are few."""
    least: int | None = None
    """The least number that it can be."""
    is_of_requests: bool = True
    """Whether it means something only where the guest's work makes requests."""
    is_shown: bool = True
    """Whether a share's status says that it was changed: it makes another system of it."""
    was: str = ""
    """Its key in earlier versions, which is refused by the new name."""
    name: str = ""
    """Of the field; filled in by options_of()."""
    default: Any = None
    """Of the field; filled in by options_of()."""

    @property
    def key(self) -> str:
        """The option's name without ``_ns``, as share files and messages have it."""
        return self.name.removesuffix("_ns")

    @property
    def default_in_python(self) -> Any:
        """The default of the option's keyword of share(); None where that is a mapping."""
        return None if self.kind.from_python is _pairs else self.default

    @property
    def flags(self) -> tuple[str, ...]:
        """The option's flags on the command line, with their dashes; two for a switch."""
        flag = self.flag or self.key.replace("_", "-")
        return (f"--{flag}", f"--no-{flag}") if self.kind is SWITCH else (f"--{flag}",)

    @property
    def abbreviated(self) -> tuple[str, ...]:
        """The option's flag of one letter, in a tuple that is empty if it has none."""
        return (f"-{self.letter}",) if self.letter else ()

    @property
    def value_word(self) -> str:
        """What stands for the option's value in help, such as FILE; empty for a switch."""
        return self.metavar or "|".join(self.choices) or self.kind.word

    def check(self, value: Any) -> None:
        """Raise ProfileError unless *value* is of the type that the option's kind has."""
        values, types = (value if self.kind.are_several else [value]), self.kind.types
        if self.kind.are_several and not isinstance(value, tuple):
            raise ProfileError(f"{self.name} = {value!r:.60}: {self.kind.remedy}")
        for each in values:
            is_right = isinstance(each, types) and (bool in types or not isinstance(each, bool))
            if not is_right:
                raise ProfileError(f"{self.name} = {value!r:.60}: {self.kind.remedy}")
        if self.kind is DURATION and value > MAX_DURATION_NS:
            raise ProfileError(f"{self.name} = {value}: that is longer than a thousand hours")


def option(default: Any, kind: OptionKind, help: str, **others: Any) -> Any:
    """A dataclass field of ShareSettings that a user can set; its metadata holds an Option."""
    return dataclasses.field(default=default, metadata={_OPTION: Option(kind, help, **others)})


def options_of(settings: Any) -> tuple[Option, ...]:
    """The Option of each field of the dataclass *settings* that has one, in their order."""
    return tuple(
        dataclasses.replace(each.metadata[_OPTION], name=each.name, default=each.default)
        for each in dataclasses.fields(settings)
        if _OPTION in each.metadata
    )


# What is made of the table and kept in a file, for people and for type checkers.


def keywords_of(options: Iterable[Option]) -> str:
    """The keywords of osxfs_sim.share(), a line ``name: type = default,`` each, as text."""
    lines = []
    for each in options:
        if Where.PYTHON in each.where:
            of_kind = " | ".join(kind.__name__ for kind in each.kind.types)
            annotation = each.kind.annotation or of_kind
            default = repr(each.default_in_python).replace("'", '"')
            if default == "None" and "None" not in annotation:
                annotation += " | None"
            lines.append(f"{each.name}: {annotation} = {default},")
    return "\n".join(lines)


def table_of(options: Iterable[Option]) -> str:
    """A Markdown table for the reference of the *options* that the command line has."""
    lines = ["| option | meaning | share file |", "| --- | --- | --- |"]
    for each in options:
        if not each.where & (Where.COMMANDS | Where.MOUNT):
            continue
        words = each.value_word.replace("|", "\\|")
        shown = [f"`{' '.join(filter(None, (flag, words)))}`" for flag in each.flags]
        meaning = each.docs or f"{each.help[:1].lower()}{each.help[1:].rstrip('.')}"
        if Where.MOUNT in each.where:
            meaning += " (`mount`)"
        in_file = f"`{each.key} = {each.example}`" if Where.EXPORT in each.where else ""
        if Where.WHOLE in each.where:
            in_file = "for all: on the command line"
        lines.append(f"| {', '.join(shown)} | {meaning} | {in_file} |")
    return "\n".join(lines)
