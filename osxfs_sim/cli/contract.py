"""``contract``: every rule of the consistency contract, judged on a live share."""

import contextlib
import dataclasses
import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.options import ProfileName, json_option, share_options
from osxfs_sim.cli.probing import circumstances
from osxfs_sim.cli.saying import say_json, tell, telling_when_slow
from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.scripts import Exports, SharePlace, set_up
from osxfs_sim.coherence.actors.staging import Stage
from osxfs_sim.coherence.contract.breaches import breach_script, script_name
from osxfs_sim.coherence.contract.checks import Nature, schedules, why_not
from osxfs_sim.coherence.contract.kinds import steps_within
from osxfs_sim.coherence.contract.playing import judge
from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule
from osxfs_sim.coherence.contract.verdicts import Breach, RuleVerdict
from osxfs_sim.coherence.scorecard.measure import Pace
from osxfs_sim.exports import export_keys, load_exports
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.machine import describe_machine, describe_machine_shortly
from osxfs_sim.lab.trees import default_directory
from osxfs_sim.model.consistency import Mode
from osxfs_sim.model.profile import Transport
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.report.console import escape
from osxfs_sim.report.contract import contract_report, rules_report
from osxfs_sim.settings import ShareSettings

SCHEMA = 1


@click.command()
@click.argument("profile", type=ProfileName())
@click.option(
    "--as",
    "mode",
    type=click.Choice([mode.label for mode in reversed(Mode)]),
    help="Judge by this mode's rules. [the mode that the profile promises]",
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="ID",
    type=click.Choice([rule.value for rule in RuleId]),
    help="Only this one, such as CON-2; give it several times. [all]",
)
@click.option(
    "--script",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what breaks a rule as scripts into this directory.",
)
@click.option("--list", "only_list", is_flag=True, help="Name rules and schedules; play none.")
@json_option
@share_options
def contract(
    profile: str,
    mode: str | None,
    rules: tuple[str, ...],
    directory: Path | None,
    only_list: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge a share by the consistency contract, with processes on both sides.

    Each rule is kept, broken (the shortest schedule that shows it is told), inconclusive (a mode
    that may lag was never seen to), undecided (what it is shown by did not succeed), or does not
    apply. A rule that is broken, inconclusive or undecided makes the exit code 1. With --as, a
    share is held to the rules of another mode.

    \b
    osxfs-sim contract osxfs
    osxfs-sim contract osxfs-cached --as consistent --rule CON-2 --script breaches
    python breaches/CON-2.py
    """
    if options["volumes"]:
        raise click.UsageError("--volume has no part in the contract: leave it out")
    if only_list and directory is not None:
        raise click.UsageError("--script has no effect with --list: leave one of them out")
    if profile.endswith(".toml"):
        profile = str(Path(profile).absolute())  # a script may be run from elsewhere
    settings = ShareSettings("", "", profile=profile, **options)
    nature = nature_of(settings, None if mode is None else Mode[mode.upper()])
    chosen = [rule for rule in RuleId if not rules or rule.value in rules]
    if only_list:
        _list(chosen, nature, as_json)
        return
    end_on_signals()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with LiveSite(settings) as site:
        verdicts = list(judge(site, nature, chosen, telling_when_slow()))
    written = {} if directory is None else _write_scripts(directory, verdicts, settings)
    if as_json:
        document = {
            "schema": SCHEMA,
            "profile": profile,
            "changed": settings.given(),
            "policy_digest": settings.policy_digest(),
            "judged_as": nature.mode.label,
            "started": started,
            "machine": describe_machine(),
            "rules": [_document(verdict, written) for verdict in verdicts],
        }
        say_json(document, indent=1)
    else:
        what = circumstances(profile, settings.given())
        title = escape(f"{what}: the consistency contract, judged as {nature.mode.label}")
        contract_report(verdicts, title, describe_machine_shortly(), written)
    if any(verdict.is_bad for verdict in verdicts):
        sys.exit(1)


def nature_of(settings: ShareSettings, mode: Mode | None = None) -> Nature:
    """What the contract must know of a share with *settings*. Raises ProfileError.

    *mode* says by which rules it is judged; None: by its own.
    """
    system = settings.system()
    profile, events = system.profile, system.events
    apart = ""
    if profile.synchronization is not None:
        apart = "the guest works in a copy, which is synchronized when it is: the contract is of "
        apart += "shares that ask the host"
    elif profile.transport is Transport.COPY:
        apart = "the guest works in a copy, which the host does not see"
    return Nature(
        mode=system.promise.mode if mode is None else mode,
        is_default=mode is None and not system.promise.strengthens,
        tells_processes=events.stream is not None and events.notify is not None,
        tells_caches=events.stream is not None,
        is_shared=not profile.is_local,
        apart=apart,
        patience_ns=Pace.of(events).patience_ns,
    )


class LiveSite:
    """Plays schedules on shares that are mounted for it, for the time of a ``with`` block.

    Most are played on one share, each in a directory of its own. Those that take the share
    away, and those that need several exports, have a share of their own.
    """

    def __init__(self, settings: ShareSettings) -> None:
        self._settings = replace(settings, calibrate=False)
        # What the guest sees of the host is judged, but for copies, where it need see nothing.
        is_copy = settings.system().profile.transport is Transport.COPY
        self._ground_is_made_by = "guest" if is_copy else "host"
        self._kept = contextlib.ExitStack()
        self._stage: Stage | None = None
        self._played = 0

    def __enter__(self) -> "LiveSite":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._kept.__exit__(*failure)

    def play(self, schedule: ContractSchedule) -> Sequence[OperationInterval]:
        """Play *schedule* on a mounted share; returns what each step was told. Raises UserError."""
        if schedule.exports or schedule.ends:
            with contextlib.ExitStack() as stack:
                return self._mounted(stack, schedule).play(schedule.steps)
        if self._stage is None:
            self._stage = self._mounted(self._kept, schedule)
        self._played += 1
        ground = f"s{self._played}"
        self._stage.play([(self._ground_is_made_by, ActorOperation("mkdir", ground, mode=0o777))])
        told = self._stage.play(steps_within(ground, schedule.steps))
        return [
            replace(each, operation=operation)
            for each, (_, operation) in zip(told, schedule.steps, strict=True)
        ]

    def _mounted(self, stack: contextlib.ExitStack, schedule: ContractSchedule) -> Stage:
        exports = exports_of(schedule, self._settings)
        place = stack.enter_context(set_up(exports, default_directory()))
        share = stack.enter_context(self._share(place, exports))
        return stack.enter_context(Stage(place.host, place.guest, share, MountError))

    def _share(
        self, place: SharePlace, exports: Exports | None
    ) -> contextlib.AbstractContextManager[Share]:
        state = self._settings.state_directory or place.defaults["state_directory"]
        if exports is not None:
            given = {"state_directory": state, "calibrate": False}
            return mounted(load_exports(str(place.source), str(place.guest), given))
        return mounted(
            replace(
                self._settings,
                source=str(place.source),
                mountpoint=str(place.guest),
                state_directory=state,
            )
        )


def exports_of(schedule: ContractSchedule, settings: ShareSettings) -> Exports | None:
    """The exports of a share file that *schedule* needs: keys by name. None if it needs none."""
    if not schedule.exports:
        return None
    exports: dict[str, Mapping[str, Any]] = {}
    for export in schedule.exports:
        keys = export_keys(settings) if export.profile is None else {"profile": export.profile}
        if not export.hears_of_host:
            keys["host_events"] = "none"
        exports[export.name] = {"source": export.source, **keys}
    return exports


def _write_scripts(
    directory: Path, verdicts: Sequence[RuleVerdict], settings: ShareSettings
) -> dict[str, Path]:
    """A script for every breach, the known ones too; where each is, by its name."""
    written: dict[str, Path] = {}
    given = {"profile": settings.profile, **settings.given()}
    for verdict in verdicts:
        for breach in (*([verdict.breach] if verdict.breach else []), *verdict.known):
            name = script_name(verdict, breach)
            if name in written:
                continue
            exports = exports_of(breach.schedule, settings)
            source = breach_script(
                verdict.by or verdict.rule,
                *(breach.schedule, {} if exports else given, exports),
            )
            make_output_directory(directory)
            written[name] = directory / name
            write_output(written[name], source)
    if not written:
        tell(f"osxfs-sim: nothing to write into {directory}: no rule is broken")
    return written


def _list(chosen: Sequence[RuleId], nature: Nature, as_json: bool) -> None:
    named = {rule: (why_not(rule, nature), schedules(rule, nature)) for rule in chosen}
    if as_json:
        document = [
            {
                "rule": rule,
                "text": RULES[rule].text,
                "refers_to": list(RULES[rule].refers_to),
                "not_applicable": why or None,
                "schedules": [
                    {
                        "name": schedule.name,
                        "use": schedule.use.value,
                        "steps": [f"{actor}: {operation}" for actor, operation in schedule.steps],
                    }
                    for schedule in own
                ],
            }
            for rule, (why, own) in named.items()
        ]
        say_json({"schema": SCHEMA, "rules": document}, indent=1)
    else:
        rules_report(named)


def _document(verdict: RuleVerdict, written: Mapping[str, Path]) -> dict[str, Any]:
    def told(breach: Breach) -> dict[str, Any]:
        return _breach_document(breach, written.get(script_name(verdict, breach)))

    return {
        "rule": verdict.rule,
        "text": RULES[verdict.rule].text,
        "verdict": verdict.finding.value,
        "why": verdict.why,
        "by": verdict.by,
        "breach": None if verdict.breach is None else told(verdict.breach),
        "known": [told(breach) for breach in verdict.known],
        "schedules": verdict.schedules,
        "unplayed": list(verdict.unplayed),
    }


def _breach_document(breach: Breach, script: Path | None) -> dict[str, Any]:
    schedule = breach.schedule
    return {
        "schedule": schedule.name,
        "steps": [[actor, operation.to_json()] for actor, operation in schedule.steps],
        "exports": [dataclasses.asdict(export) for export in schedule.exports],
        "seen": breach.seen,
        "times": breach.times,
        "plays": breach.plays,
        "known": schedule.known or None,
        "script": None if script is None else str(script),
    }
