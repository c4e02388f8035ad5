"""What several commands take: quantities with units, and the options of a share."""

from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from osxfs_sim.catalogue import profile_names
from osxfs_sim.coherence.edits.stream import parse_stream, stream_names
from osxfs_sim.model.units import parse_duration_ns
from osxfs_sim.model.user_error import UserError
from osxfs_sim.settings import OPTIONS
from osxfs_sim.share_options import PLACE, SWITCH, Option, Where

_Command = TypeVar("_Command", bound=Callable[..., Any])


class DurationType(click.ParamType[int]):
    """A duration with its unit; the value is integer nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Whole nanoseconds of a text such as 65us. Raises click's BadParameter for other text."""
        try:
            return parse_duration_ns(str(value))
        except UserError as error:
            self.fail(str(error), param, ctx)


class OptionValue(click.ParamType[Any]):
    """A value of an option of a share, as its kind reads it."""

    def __init__(self, option: Option) -> None:
        self.kind = option.kind
        self.name = option.kind.word.lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """*value*, where a text, parsed as the option's kind does. Raises click's BadParameter."""
        if not isinstance(value, str):
            return value
        try:
            return self.kind.parse(value)
        except UserError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What the option's kind offers that begins with *incomplete*, as completions."""
        offered = self.kind.completions() if self.kind.completions is not None else ()
        return [CompletionItem(name) for name in offered if name.startswith(incomplete)]


class ProfileName(click.ParamType[str]):
    """A profile's name, or the path of a .toml file. Checked when it is loaded."""

    name = "profile"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shipped profiles that begin with *incomplete*, as completions."""
        return [CompletionItem(name) for name in profile_names() if name.startswith(incomplete)]


class Edits(click.ParamType[str]):
    """Edits of the host, such as ``vim@5/s``; checked here, kept as text."""

    name = "edits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value* as text, unchanged. Raises UserError where it names no stream of edits."""
        parse_stream(str(value))
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of shipped edits that begin with *incomplete*, as completions."""
        return [CompletionItem(name) for name in stream_names() if name.startswith(incomplete)]


edits_option = click.option(
    "--edits",
    type=Edits(),
    metavar="STREAM",
    help="Let the host edit files while the command runs, such as vim or vim@5/s, and judge "
    "every answer about them; see `osxfs-sim edits list`.",
)


directory_option = click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where host trees lie: a disk, for one. [memory: /dev/shm]",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of all randomness. [0]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
force_option = click.option("--force", is_flag=True, help="Overwrite what is there.")

_CASE_OPTIONS = (
    click.option("--quick", is_flag=True, help="A shortened command, for a first look."),
    click.option("--variant", help="Of the case, such as full. [its first]"),
    click.option(
        "--with", "toggles", multiple=True, metavar="OPTION", help="Of the case, such as bootsnap."
    ),
)


def case_options(command: _Command) -> _Command:
    """Add to *command* the options of all commands that run a case: --quick, --variant, --with."""
    for option in reversed(_CASE_OPTIONS):
        command = option(command)
    return command


class PlainPath(click.Path):
    """A path completed as one but not looked at: to ask a share is to be counted by it."""

    def convert(
        self,
        value: str | PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """The path *value* as text, without looking whether anything is there; never fails."""
        return fspath(value)


def option_of(option: Option) -> Callable[[_Command], _Command]:
    """A decorator that adds *option* of the table to a click command, as an option of its own."""
    kind = option.kind
    others: dict[str, Any] = {"help": option.help, "default": option.default}
    if kind is SWITCH:
        return click.option("/".join(option.flags), option.name, **others)
    others["type"] = OptionValue(option)
    if option.choices:
        others["type"] = click.Choice(option.choices)
    elif option.least is not None:
        others["type"] = click.IntRange(min=option.least)
    elif kind.is_path:
        is_file = option.value_word == "FILE"
        others["type"] = click.Path(file_okay=is_file, dir_okay=not is_file, resolve_path=True)
    if kind.are_several:
        others |= {"multiple": True, "default": None}
    if not option.choices and (kind is not PLACE):
        others["metavar"] = option.value_word
    return click.option(*option.flags, *option.abbreviated, option.name, **others)


def share_options(command: _Command) -> _Command:
    """Add to *command* the options of a share that all commands have which mount one."""
    return _with_options(command, Where.COMMANDS)


def mount_options(command: _Command) -> _Command:
    """Add to *command* the options of share_options(), and those of ``mount`` alone."""
    return _with_options(command, Where.COMMANDS | Where.MOUNT)


def _with_options(command: _Command, where: Where) -> _Command:
    for option in reversed(OPTIONS):
        if option.where & where:
            command = option_of(option)(command)
    return command
