"""``events``: what a listener in the guest hears of changes on the host."""

import dataclasses
import sys
from random import Random
from typing import Any

import click

from osxfs_sim.cli.options import ProfileName, json_option, share_options
from osxfs_sim.cli.probing import circumstances, head, settling, shared, start
from osxfs_sim.cli.saying import say_json, telling_when_slow
from osxfs_sim.coherence.scorecard.expectations import expected_of
from osxfs_sim.coherence.scorecard.measure import KindResult, Pace, run_scorecard
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.report.coherence import scorecard_report
from osxfs_sim.settings import ShareSettings


@click.command()
@click.argument("profile", type=ProfileName())
@click.option(
    "--number", type=click.IntRange(min=1), default=50, metavar="N", help="Of each change. [50]"
)
@json_option
@share_options
def events(profile: str, number: int, as_json: bool, **options: Any) -> None:
    """Change a shared tree on the host, and score what the guest hears of it.

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
    started = start()
    results: list[KindResult] = []
    with shared(settings) as (host, guest, share):
        results += run_scorecard(
            host,
            guest,
            lambda kind: expected_of(kind, notify),
            number,
            Pace.of(spec),
            Random(settings.seed),
            telling_when_slow(),
            settle=settling(share, "give a smaller --number"),
        )
    if as_json:
        document = head(settings, started) | {
            "number": number,
            "events": dataclasses.asdict(spec),
            "changes": [_kind_document(result) for result in results],
        }
        say_json(document, indent=1)
    else:
        what = circumstances(profile, settings.given())
        title = f"{what}: host changes as the guest hears of them ({number} of each)"
        scorecard_report(results, title, describe_machine_shortly())
    if not all(result.score.is_right for result in results):
        sys.exit(1)


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
