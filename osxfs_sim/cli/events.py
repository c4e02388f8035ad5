"""``events`` and ``staleness``: what the guest hears of host changes, and when it sees them."""

import contextlib
import dataclasses
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import click

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.options import ProfileName, share_options
from osxfs_sim.coherence.expectations import expected_of
from osxfs_sim.coherence.hearing import ListenerError
from osxfs_sim.coherence.predictions import Believed, View, outlook
from osxfs_sim.coherence.scorecard import KindResult, Pace, run_scorecard
from osxfs_sim.coherence.staleness import ViewResult, kernel_tick_ns, measure_views
from osxfs_sim.lab.machine import describe_machine, describe_machine_shortly
from osxfs_sim.lab.runs import default_directory
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.mount.launch import mounted
from osxfs_sim.report.coherence import scorecard_report, staleness_report
from osxfs_sim.settings import ShareSettings

SCHEMA = 1

_WORTH_TELLING_S = 2.0


@click.command()
@click.argument("profile", type=ProfileName())
@click.option(
    "--number", type=click.IntRange(min=1), default=50, metavar="N", help="Of each change. [50]"
)
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@share_options
def events(profile: str, number: int, as_json: bool, **options: Any) -> None:
    """Change a shared directory on the host, and score what a listener in the guest hears.

    Each kind of change is made N times while a process of the guest watches the
    share with inotify, and looks at what it hears of at once. What is missing, not
    of this system, or told before it can be seen makes the exit code 1.

    \b
    osxfs-sim events osxfs
    osxfs-sim events osxfs --number 200 --json
    """
    settings = ShareSettings("", "", profile=profile, **options)
    spec = settings.system().events
    if spec.stream is None:
        if settings.host_events == "none":
            raise ProfileError("with --host-events none there is nothing to hear: leave it out")
        raise ProfileError(
            f"profile {profile} has no event stream: nothing to hear (osxfs has one)"
        )
    if spec.notify is None:
        raise ProfileError(
            f"profile {profile} tells caches of changes and no process: nothing to hear "
            "(osxfs-sim staleness shows its caches)"
        )
    notify = spec.notify
    started = _start()
    results: list[KindResult] = []
    try:
        with _shared(settings) as (host, guest):
            results += run_scorecard(
                host,
                guest,
                lambda kind: expected_of(kind, notify),
                number,
                Pace.of(spec),
                Random(settings.seed),
                _progress(),
            )
    except ListenerError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        document = _head(settings, started) | {
            "number": number,
            "events": dataclasses.asdict(spec),
            "changes": [_kind_document(result) for result in results],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        title = f"{profile}: host changes as the guest hears of them ({number} of each)"
        scorecard_report(results, title, describe_machine_shortly())
    if not all(result.score.is_right for result in results):
        sys.exit(1)


@click.command()
@click.argument("profile", type=ProfileName())
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
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@share_options
def staleness(
    profile: str, number: int, views: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Change a shared directory on the host, and measure how long the guest sees the old state.

    Of each view (a name's existence, a file's content through an open handle, and so
    on) N samples are taken and compared with what the system's caches predict.

    \b
    osxfs-sim staleness osxfs
    osxfs-sim staleness osxfs-cached --lifetime 50ms --view attributes --view content
    """
    settings = ShareSettings("", "", profile=profile, **options)
    system = settings.system()
    spec = system.events
    # A policy of one's own may answer otherwise for each file: nothing is predicted of it.
    believed = Believed.by(system.policy, time.time_ns()) if settings.policy is None else None
    chosen = [View(view) for view in dict.fromkeys(views)] or list(View)
    outlooks = {view: outlook(view, believed, spec, kernel_tick_ns()) for view in chosen}
    started = _start()
    with _shared(settings) as (host, guest):
        results = list(
            measure_views(
                host,
                guest,
                outlooks,
                number,
                Pace.of(spec).quiet_ns,
                Random(settings.seed),
                _progress(),
            )
        )
    if as_json:
        document = _head(settings, started) | {
            "number": number,
            "views": [_view_document(result) for result in results],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        title = f"{profile}: how long the guest sees what was (up to {number} changes of each view)"
        staleness_report(results, title, describe_machine_shortly())


def _start() -> str:
    """From now on a signal takes away what is mounted. Returns the date and time."""
    end_on_signals()
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def _shared(settings: ShareSettings) -> Iterator[tuple[Path, Path]]:
    """The two sides of an empty directory that is shared for the time of a ``with`` block."""
    if settings.system().profile.is_local:
        raise ProfileError(
            f"the work with the profile {settings.profile} makes no requests: there are no "
            "answers to believe, and events are the kernel's own"
        )
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-events-", dir=default_directory()) as work:
        # Its real path: by that one the listener names what it hears of.
        host, guest = Path(work).resolve() / "host", Path(work).resolve() / "share"
        host.mkdir()
        guest.mkdir()
        with mounted(replace(settings, source=str(host), mountpoint=str(guest))) as share:
            for warning in share.first_status["warnings"]:
                click.echo(f"osxfs-sim: warning: {warning}", err=True)
            yield host, guest


def _progress() -> Callable[[str], None]:
    """Says what is being done, once it has taken long enough for somebody to wonder."""
    began_s = time.monotonic()

    def say(text: str) -> None:
        if time.monotonic() - began_s > _WORTH_TELLING_S:
            click.echo(f"  {text}", err=True)

    return say


def _head(settings: ShareSettings, started: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "profile": settings.profile,
        "changed": settings.given(),
        "seed": settings.seed,
        "dilate": settings.dilate,
        "started": started,
        "machine": describe_machine(),
    }


def _kind_document(result: KindResult) -> dict[str, Any]:
    score, expectation = result.score, result.expectation
    return {
        "change": result.kind.value,
        "required": list(map(str, expectation.required)),
        "allowed": sorted(map(str, expectation.allowed)),
        "changes": score.changes,
        "delivered": score.delivered,
        "missing": dict(score.missing),
        "duplicates": dict(score.duplicates),
        "unexpected": dict(score.unexpected),
        "early": dict(score.early),
        "delays_ns": list(score.delays_ns),
    }


def _view_document(result: ViewResult) -> dict[str, Any]:
    prediction, comparison = result.outlook.prediction, result.comparison
    return {
        "view": result.view.value,
        "predicted": None if prediction is None else str(prediction),
        "phase_ns": result.outlook.phase_ns,
        "patience_ns": result.outlook.patience_ns,
        "comparison": None if comparison is None else dataclasses.asdict(comparison),
        "samples": [dataclasses.asdict(sample) for sample in result.samples],
    }
