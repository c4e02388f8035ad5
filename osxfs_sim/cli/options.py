"""What several commands take: quantities with units, and the options of a share."""

import os
from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from osxfs_sim.catalogue import profile_names
from osxfs_sim.coherence.edits.stream import parse_stream, stream_names
from osxfs_sim.model.bugs import Bug, parse_ailment
from osxfs_sim.model.profile import FILE_RULES, ProfileError
from osxfs_sim.model.units import parse_duration_ns, parse_rate_bytes_per_s
from osxfs_sim.model.user_error import UserError
from osxfs_sim.settings import (
    HOST_EVENTS,
    UNWRITTEN,
    check_volume_paths,
    parse_data_path,
    parse_volume,
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Duration(click.ParamType[int]):
    """A duration with its unit; the value is integer nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_duration_ns(str(value))
        except UserError as error:
            self.fail(str(error), param, ctx)


class Rate(click.ParamType[str]):
    """A rate with its unit, or none; checked here, kept as text."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_rate_bytes_per_s(str(value))
        except UserError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class DataPathCounts(click.ParamType[tuple[int, int]]):
    """``copies=5,switches=3``: the steps that remain on the data path."""

    name = "counts"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        try:
            return parse_data_path(str(value))
        except ProfileError as error:
            self.fail(str(error), param, ctx)


class HostService(click.ParamType[tuple[str, str]]):
    """``NAME=SOCKET``; both are checked when the share is mounted."""

    name = "service"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, path = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r}: write NAME=SOCKET, such as ssh-auth=$SSH_AUTH_SOCK", param, ctx)
        return name, path


class Volume(click.ParamType[tuple[str, str]]):
    """``PATH=DIR``, or PATH alone; the directory's path is made absolute."""

    name = "volume"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        path, directory = parse_volume(str(value))
        try:
            check_volume_paths([path])
        except ProfileError as error:
            self.fail(str(error), param, ctx)
        return path, os.path.abspath(directory) if directory else ""


class BugName(click.ParamType[str]):
    """A bug's name, its number of the museum, or such as ``descriptors=100``; kept as text."""

    name = "bug"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(parse_ailment(str(value)))
        except UserError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(bug.value) for bug in Bug if bug.startswith(incomplete)]


class ProfileName(click.ParamType[str]):
    """A profile's name, or the path of a .toml file. Checked when it is loaded."""

    name = "profile"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in profile_names() if name.startswith(incomplete)]


class Edits(click.ParamType[str]):
    """Edits of the host, such as ``vim@5/s``; checked here, kept as text."""

    name = "edits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        parse_stream(str(value))
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in stream_names() if name.startswith(incomplete)]


edits_option = click.option(
    "--edits",
    type=Edits(),
    metavar="STREAM",
    help="Let the host edit files while the command runs, such as vim or vim@5/s, and judge "
    "every answer about them; see `osxfs-sim edits list`.",
)


class PlainPath(click.Path):
    """A path completed as one but not looked at: to ask a share is to be counted by it."""

    def convert(
        self,
        value: str | PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        return fspath(value)


def share_options(command: _Command) -> _Command:
    """The options that change a profile, named as the fields of ShareSettings."""
    options = (
        click.option(
            "--latency",
            "latency_ns",
            type=Duration(),
            help="Round trip of a metadata request, such as 65us; other classes keep their "
            "proportion to it.",
        ),
        click.option(
            "--bandwidth", type=Rate(), help="Of the link, such as 250MB/s; none: no limit."
        ),
        click.option(
            "--distribution",
            metavar="KIND",
            help="How latencies scatter: constant, lognormal:SIGMA, or empirical:FILE "
            "(a duration a line; without --latency the file's median is the round trip).",
        ),
        click.option(
            "--served-at-once",
            type=click.IntRange(min=1),
            metavar="N",
            help="How many requests the server works on at a time; others queue.",
        ),
        click.option(
            "--data-path",
            type=DataPathCounts(),
            metavar="COUNTS",
            help="Copies and context switches that remain, such as copies=5,switches=3.",
        ),
        click.option(
            "--lifetime",
            "lifetime_ns",
            type=Duration(),
            help="How long names, attributes and pages are believed (cached, negative, complete).",
        ),
        click.option(
            "--missing-lifetime",
            "missing_lifetime_ns",
            type=Duration(),
            help="How long a missing name is believed missing (negative, complete).",
        ),
        click.option(
            "--policy",
            metavar="MODULE:CLASS",
            help="A cache policy of your own instead of the profile's.",
        ),
        click.option(
            "--ownership",
            type=click.Choice(FILE_RULES["ownership"]),
            help="Whose files are: whoever asks (osxfs), or the host's real owners, with "
            "permission checks by the kernel (host).",
        ),
        click.option(
            "--names",
            type=click.Choice(FILE_RULES["names"]),
            help="How the host's file system compares and stores names.",
        ),
        click.option(
            "--extended-attributes",
            type=click.Choice(FILE_RULES["extended_attributes"]),
            help="Of the guest: refused, or kept on the host.",
        ),
        click.option(
            "--replaced",
            type=click.Choice(FILE_RULES["replaced"]),
            help="What the guest has of a file that the host has replaced, while it still takes "
            "the name for it: the old one (held), or the new one (anew).",
        ),
        click.option(
            "--host-events",
            type=click.Choice(HOST_EVENTS),
            default="auto",
            help="How changes of the host are seen: by fanotify, by inotify, or not. [auto]",
        ),
        click.option(
            "--event-latency",
            "event_latency_ns",
            type=Duration(),
            help="The window in which changes of the host are collected, such as 10ms.",
        ),
        click.option(
            "--write-back-age",
            "write_back_age_ns",
            type=Duration(),
            help="How long a change may be held before it is written back, such as 5s.",
        ),
        click.option(
            "--write-back-changes",
            type=click.IntRange(min=1),
            metavar="N",
            help="How many changes may be held; who makes more waits.",
        ),
        click.option(
            "--write-back-bytes",
            metavar="SIZE",
            help="How many bytes may be held, such as 64MB; who writes more waits.",
        ),
        click.option(
            "--kernel-write-back/--no-kernel-write-back",
            default=None,
            help="Let the guest's kernel hold small writes as well (FUSE_WRITEBACK_CACHE).",
        ),
        click.option(
            "--unwritten",
            type=click.Choice(UNWRITTEN),
            help="What becomes of changes that an earlier share of SOURCE has not written back.",
        ),
        click.option(
            "--dilate",
            type=float,
            default=1.0,
            metavar="K",
            help="Multiply every time in the model by K, for a processor K times slower than "
            "the published machine, or for latencies below this machine's floor.",
        ),
        click.option(
            "--volume",
            "volumes",
            type=Volume(),
            multiple=True,
            metavar="PATH[=DIR]",
            help="A guest-local directory DIR at PATH in the share, which the host does not see. "
            "In an arm of a case: without DIR, an empty one for each mount. [root only]",
        ),
        click.option(
            "--bug",
            "bugs",
            type=BugName(),
            multiple=True,
            metavar="NAME",
            help="A bug of a real system that the share shall have, such as phantom; see museum.",
        ),
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, help="Of all randomness. [0]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
