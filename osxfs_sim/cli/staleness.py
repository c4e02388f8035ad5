"""``staleness``: how long one side sees what the other has changed, as a distribution."""

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.options import ProfileName, force_option, json_option, share_options
from osxfs_sim.cli.probing import SCHEMA, circumstances, head, settling, shared, start
from osxfs_sim.cli.saying import say, say_json, telling_when_slow
from osxfs_sim.coherence.scorecard.measure import Pace
from osxfs_sim.coherence.staleness.loading import LoadSpec, loaded
from osxfs_sim.coherence.staleness.measure import ViewResult, kernel_tick_ns, measure_views
from osxfs_sim.coherence.staleness.predictions import (
    Direction,
    Outlook,
    PredictedTimeouts,
    View,
    outlook,
    outlook_to_host,
    with_losses,
)
from osxfs_sim.coherence.staleness.saved import view_document, view_result, with_current_keys
from osxfs_sim.fs.output import write_output
from osxfs_sim.fs.reading import MOST_RESULT_BYTES, parse_json, read_bytes
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.lab.result_shapes import STALENESS
from osxfs_sim.lab.results import ResultError, read_from
from osxfs_sim.lab.shapes import mismatch, shown
from osxfs_sim.model.events import NO_EVENTS
from osxfs_sim.model.formatting import format_count, format_fixed, format_plain
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.mount.launch import Share
from osxfs_sim.report.coherence import curves_report, staleness_report
from osxfs_sim.settings import ShareSettings

_BOTH = "both"
_DIRECTIONS = (*(each.value for each in Direction), _BOTH)
_LOAD_SHARE = 0.25
# The others are those of a share.
_OWN = (
    *("number", "views", "direction", "processes", "load_share", "lose"),
    *("output", "force", "saved", "svg", "scale", "as_json"),
)
# What --from leaves to be chosen: how it is shown.
_OF_SHOWING = ("saved", "svg", "scale", "as_json")


@click.command()
@click.argument("profile", type=ProfileName(), required=False)
@click.option(
    "--number", type=click.IntRange(min=1), default=100, metavar="N", help="Of each view. [100]"
)
@click.option(
    "--view",
    "views",
    multiple=True,
    type=click.Choice([view.value for view in View]),
    help="Only this one; give it several times. [all]",
)
@click.option(
    "--direction",
    type=click.Choice(_DIRECTIONS),
    default=Direction.TO_GUEST.value,
    help="The host changes and the guest reads, the other way round, or one after the other. "
    "[to-guest]",
)
@click.option(
    "--load",
    "processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Meanwhile N processes of the guest read other files of the share.",
)
@click.option(
    "--load-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=_LOAD_SHARE,
    metavar="S",
    help="How much of one processor each of these may take. [0.25]",
)
@click.option(
    "--lose",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="R",
    help="Lose each event of the host with probability R; the share then rescans.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Save every sample there.",
)
@force_option
@click.option(
    "--from",
    "saved",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Measure nothing: show what --output has saved.",
)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw P(stale) against the time since the change, with band and prediction.",
)
@click.option(
    "--scale",
    type=click.Choice(("log", "linear")),
    default="log",
    help="With --svg: of the axis of time. [log]",
)
@json_option
@share_options
@click.pass_context
def staleness(ctx: click.Context, /, profile: str | None, **asked: Any) -> None:
    """Change a share on one side, measure how long the other sees the old state.

    Of each view (a name's existence, a file's content through an open handle, and so
    on) N samples are taken and compared with what the system's caches, or its
    write-back, predict. A view that differs from that makes the exit code 1.

    \b
    osxfs-sim staleness osxfs
    osxfs-sim staleness osxfs-cached --cache-timeout 50ms --view attributes --view content
    osxfs-sim staleness osxfs-delegated --direction both --write-back-age 200ms --svg stale.svg
    osxfs-sim staleness osxfs-cached --load 4 --lose 0.2 -o stale.json
    osxfs-sim staleness --from stale.json --svg stale.svg
    """
    given = {
        name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    options = {name: asked.pop(name) for name in list(asked) if name not in _OWN}
    _check_together(ctx, profile, asked, given)
    if asked["saved"] is not None:
        document, results = _read(asked["saved"])
    else:
        settings = ShareSettings("", "", profile=profile or "", **options)
        document, results = _measure(settings, asked)
        if asked["output"] is not None:
            _write(Path(asked["output"]), (json.dumps(document) + "\n").encode())
    # What was just measured is not damaged: its mistakes are ours.
    with read_from(asked["saved"]) if asked["saved"] is not None else contextlib.nullcontext():
        if asked["svg"] is not None:
            _draw(document, results, Path(asked["svg"]), asked["scale"])
        if asked["as_json"]:
            say_json(document, indent=1)
        else:
            _show(document, results)
    if any(result.agrees is False for result in results):
        sys.exit(1)


def _check_together(
    ctx: click.Context, profile: str | None, asked: Mapping[str, Any], given: set[str]
) -> None:
    """Raise UsageError for options that contradict each other, or have no effect."""
    if asked["saved"] is not None:
        useless = sorted(given.difference(_OF_SHOWING))
        if useless:
            words = {param.name: param for param in ctx.command.params}
            name = words[useless[0]].opts[0] if useless[0] != "profile" else "PROFILE"
            raise click.UsageError(f"{name} has no effect with --from, which measures nothing")
    elif profile is None:
        raise click.UsageError("name a PROFILE to measure, or a saved result with --from")
    if "scale" in given and asked["svg"] is None:
        raise click.UsageError("--scale has no effect without --svg")
    if "load_share" in given and asked["processes"] is None:
        raise click.UsageError("--load-share has no effect without --load")
    if asked["force"] and asked["output"] is None:
        raise click.UsageError("--force has no effect without --output")
    if asked["lose"] is not None and asked["direction"] == Direction.TO_HOST:
        raise click.UsageError(
            "--lose has no effect with --direction to-host: no event tells the host"
        )
    if asked["svg"] is not None and Path(asked["svg"]).suffix != ".svg":
        raise click.UsageError(f"--svg {asked['svg']}: name a file that ends in .svg")
    for option in ("output", "svg"):
        path = asked[option]
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise ResultError(f"{path} cannot be written: its directory does not exist")
    if asked["output"] is not None and Path(asked["output"]).exists() and not asked["force"]:
        raise ResultError(
            f"{asked['output']} exists: overwrite it with --force, or name another; "
            f"--from {asked['output']} shows it"
        )


def _measure(
    settings: ShareSettings, asked: Mapping[str, Any]
) -> tuple[dict[str, Any], list[ViewResult]]:
    directions = list(Direction)
    if asked["direction"] != _BOTH:
        directions = [Direction(asked["direction"])]
    views = [View(view) for view in dict.fromkeys(asked["views"])] or list(View)
    plans = {each: _outlooks(settings, each, views, asked["lose"]) for each in directions}
    pace = Pace.of(settings.system().events)
    load_spec = None
    if asked["processes"] is not None:
        load_spec = LoadSpec(asked["processes"], asked["load_share"])
    started, random, say = start(), Random(settings.seed), telling_when_slow()
    results: list[ViewResult] = []

    def measure(host: Path, guest: Path, share: Share) -> None:
        settle = settling(share, "give a smaller --number, or less --load")
        for direction, outlooks in plans.items():
            results.extend(
                measure_views(
                    *(host, guest, outlooks, asked["number"], pace.quiet_ns, random, say),
                    direction,
                    settle,
                )
            )

    load_document = None
    with shared(settings) as (host, guest, share):
        if asked["lose"] is not None:
            share.drop_events(rate=asked["lose"])
        if load_spec is None:
            measure(host, guest, share)
        else:
            load_document = _under_load(load_spec, host, guest, share, measure)
        lost = None if asked["lose"] is None else _lost(share, asked["lose"])
    document = head(settings, started) | {
        "number": asked["number"],
        "load": load_document,
        "lost": lost,
        "views": [view_document(result) for result in results],
    }
    return document, results


def _outlooks(
    settings: ShareSettings, direction: Direction, views: Sequence[View], lose: float | None
) -> dict[View, Outlook]:
    """What to expect of each of *views*. Raises ProfileError where there is nothing to lose."""
    system = settings.system()
    if direction is Direction.TO_HOST:
        return dict.fromkeys(views, outlook_to_host(system.write_back))
    if lose is not None and system.events.stream is None:
        why = "with --host-events none" if settings.host_events == "none" else "of this profile"
        raise ProfileError(
            f"--lose has no effect: {why} there is no event stream that could lose "
            "anything (osxfs-cached has one)"
        )
    # A policy of one's own may answer otherwise for each file: nothing is predicted of it.
    timeouts = (
        PredictedTimeouts.by(system.policy, time.time_ns()) if settings.policy is None else None
    )
    tick_ns = kernel_tick_ns()
    planned = {view: outlook(view, timeouts, system.events, tick_ns) for view in views}
    if lose is not None:
        for view, known in planned.items():
            planned[view] = with_losses(known, outlook(view, timeouts, NO_EVENTS, tick_ns), lose)
    return planned


def _under_load(
    spec: LoadSpec,
    host: Path,
    guest: Path,
    share: Share,
    measure: Callable[[Path, Path, Share], None],
) -> dict[str, Any]:
    """Measure while the share is busy; what the load was."""
    with loaded(host, guest, spec) as load:
        measure(host, guest, share)
    assert load.done is not None
    return {
        "processes": spec.processes,
        "processor_share": spec.share,
        **dataclasses.asdict(load.done),
    }


def _lost(share: Share, rate: float) -> dict[str, Any]:
    """What became of the events of the host, as the share has counted them."""
    events = share.status().events
    assert events is not None
    return {
        "rate": rate,
        "seen": events.seen,
        "dropped": events.dropped,
        "rescans": events.rescans,
    }


def _read(path: str) -> tuple[dict[str, Any], list[ViewResult]]:
    """A saved result. Raises ResultError where *path* is none."""
    remedy = "save one with `osxfs-sim staleness PROFILE --output FILE`"
    try:
        document = parse_json(read_bytes(path, MOST_RESULT_BYTES))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is no result of staleness: it is no JSON; {remedy}") from error
    if not isinstance(document, dict) or not document.get("views"):
        raise ResultError(f"{path} is no result of staleness; {remedy}")
    if document.get("schema") != SCHEMA:
        raise ResultError(
            f"{path} has schema {shown(document.get('schema'))}, this version reads {SCHEMA}"
        )
    document = with_current_keys(document)
    wrong = mismatch(document, STALENESS)
    if wrong:
        raise ResultError(f"{path} is no result of staleness: {wrong}; {remedy}")
    try:
        with read_from(path):
            return document, [view_result(each) for each in document["views"]]
    except UserError as error:
        raise ResultError(f"{path} is no result of staleness: {error}; {remedy}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_output(path, content)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error.strerror}") from error


def _draw(
    document: Mapping[str, Any], results: Sequence[ViewResult], path: Path, scale: str
) -> None:
    # Drawing takes a library that takes a second to load.
    from osxfs_sim.report.plots import Style, render
    from osxfs_sim.report.stale_curves import stale_curves

    style = Style(width_inches=9.0)
    figure = stale_curves(results, style, _circumstances(document), scale)
    _write(path, render(figure, style, "svg"))


def _circumstances(document: Mapping[str, Any]) -> str:
    """The profile, and what was beside it: what a title needs."""
    return "; ".join([_of_what(document), *_disturbances(document)])


def _of_what(document: Mapping[str, Any]) -> str:
    return circumstances(document["profile"], document["changed"])


def _show(document: Mapping[str, Any], results: Sequence[ViewResult]) -> None:
    machine = describe_machine_shortly(document["machine"])
    number = document["number"]
    for direction, who in ((Direction.TO_GUEST, "guest"), (Direction.TO_HOST, "host")):
        some = [result for result in results if result.direction is direction]
        if some:
            title = (
                f"{_of_what(document)}: how long the {who} sees what was "
                f"(up to {number} changes of each view)"
            )
            staleness_report(some, title, machine)
    curves_report(results, machine)
    for line in _disturbances(document):
        say(f"  {line}")


def _disturbances(document: Mapping[str, Any]) -> list[str]:
    """What went on meanwhile, a phrase each."""
    said = []
    load, lost = document["load"], document["lost"]
    if load is not None:
        reads_per_s = load["reads"] / load["elapsed_s"]
        busy = load["processor_s"] / load["elapsed_s"]
        said.append(
            f"under load: {load['processes']} processes, {format_count(reads_per_s)} files/s, "
            f"{format_fixed(busy, 2)} processors"
        )
    if lost is not None:
        said.append(
            f"events lost: {format_count(lost['dropped'])} of {format_count(lost['seen'])} "
            f"({format_plain(lost['rate'])} asked for), {format_count(lost['rescans'])} rescans"
        )
    return said
