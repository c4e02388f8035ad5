"""``museum``: the bugs of real systems, each shown on a live share beside its cure."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.options import json_option
from osxfs_sim.cli.saying import say_json, tell
from osxfs_sim.coherence.museum.exhibits import (
    Arrangement,
    Demonstration,
    DemonstrationPlay,
    DemonstrationResult,
    MakeShare,
    MountedSides,
    demonstrate,
    demonstration_of,
    demonstrations,
)
from osxfs_sim.lab.trees import default_directory
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.model.bugs import BUGS, Bug
from osxfs_sim.model.user_error import nearest
from osxfs_sim.mount.launch import mounted
from osxfs_sim.report.museum import museum_report, shown_report
from osxfs_sim.settings import ShareSettings

SCHEMA = 1

ALL = "all"


class Exhibit(click.ParamType[tuple[Demonstration, ...]]):
    """A bug by its number or name, or all of them."""

    name = "bug"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Demonstration, ...]:
        """The demonstrations of the bug that *value* names, or of all. Raises BadParameter."""
        if isinstance(value, tuple):
            return value
        word = str(value).lower()
        if word == ALL:
            return demonstrations()
        for bug in Bug:
            if word in (bug.value, BUGS[bug].id.lower()):
                return (demonstration_of(bug),)
        return self.fail(
            f"no bug {value!r} here{nearest(word, (*(bug.value for bug in Bug), ALL))}", param, ctx
        )

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of bugs, and ``all``, that begin with *incomplete*, as completions."""
        return [CompletionItem(word) for word in (*Bug, ALL) if word.startswith(incomplete)]


@click.command()
@click.argument("which", type=Exhibit(), nargs=-1, metavar="[V1|NAME|all]...")
@json_option
def museum(which: tuple[tuple[Demonstration, ...], ...], as_json: bool) -> None:
    """Show bugs of real systems on a live share, and each beside what cures it.

    Without a bug's name, lists them. With one, mounts a share that has the bug and shares
    where it is cured, has processes of host and guest do the same on each, and prints what
    they were told. What comes out other than documented makes the exit code 1.

    A share of yours gets a bug by --bug NAME.

    \b
    osxfs-sim museum
    osxfs-sim museum V1
    osxfs-sim museum phantom two-locks
    osxfs-sim museum all --json
    """
    if not which:
        if as_json:
            say_json(_head() | {"bugs": list(map(_described, demonstrations()))})
        else:
            museum_report(demonstrations())
        return
    end_on_signals()
    chosen = {each.bug: each for group in which for each in group}.values()
    shown: list[DemonstrationResult] = []
    for demonstration in chosen:
        shown.append(_shown(demonstration))
        if not as_json:
            shown_report(shown[-1])
    if as_json:
        say_json(_head() | {"shown": list(map(_document, shown))}, indent=1)
    if not all(each.as_documented for each in shown):
        sys.exit(1)


def _shown(demonstration: Demonstration) -> DemonstrationResult:
    with work_directory("museum", default_directory()) as work:
        place = work.resolve()  # by its real path the listener names what it hears of
        grounds = (place / f"host-{number}" for number in range(100))

        def ground() -> Path:
            path = next(grounds)
            path.mkdir()
            return path

        return demonstrate(demonstration, stage_in(place), ground, _say)


def stage_in(place: Path) -> MakeShare:
    """A function whose context managers mount a share in *place*. They raise MountError."""

    @contextlib.contextmanager
    def stage(host: Path, settings: Mapping[str, Any]) -> Iterator[MountedSides]:
        guest = place / "share"
        guest.mkdir(exist_ok=True)
        with mounted(ShareSettings(str(host), str(guest), **settings)) as share:
            yield MountedSides(host, guest, share.settle)

    return stage


def _say(text: str) -> None:
    tell(f"  {text}")


def _head() -> dict[str, Any]:
    return {"schema": SCHEMA}


def _described(demonstration: Demonstration) -> dict[str, Any]:
    spec = BUGS[demonstration.bug]
    return {
        "id": spec.id,
        "name": demonstration.bug.value,
        "title": spec.title,
        "shows": spec.shows,
        "system": spec.system,
        "mistake": spec.mistake,
        "sources": list(spec.sources),
        "cures": [_arranged(cure) for cure in demonstration.cures],
    }


def _arranged(arrangement: Arrangement) -> dict[str, Any]:
    return {
        "words": arrangement.words,
        "settings": dict(arrangement.settings),
        "has_bug": arrangement.has_bug,
    }


def _document(shown: DemonstrationResult) -> dict[str, Any]:
    return _described(shown.demonstration) | {
        "as_documented": shown.as_documented,
        "plays": [_play_document(play) for play in shown.plays],
    }


def _play_document(play: DemonstrationPlay) -> dict[str, Any]:
    return _arranged(play.arrangement) | {
        "cured": play.is_cured,
        "as_documented": play.as_documented,
        "steps": [
            {
                "actor": told.step.actor,
                "operation": told.step.operation.to_json(),
                "answer": told.answer,
                "documented": told.expected,
            }
            for told in play.answers
        ],
    }
