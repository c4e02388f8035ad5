"""``histories`` and ``check-history``: what several processes do at once, judged by the mode."""

import contextlib
import datetime
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import click

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.options import DurationType, ProfileName, json_option, share_options
from osxfs_sim.cli.probing import circumstances
from osxfs_sim.cli.saying import say, say_json, say_lines, tell, telling_when_slow
from osxfs_sim.coherence.histories.generate import MOST_OBJECTS, ProgrammeSize, generate
from osxfs_sim.coherence.histories.history import History
from osxfs_sim.coherence.histories.linearize import CheckResult, Limits
from osxfs_sim.coherence.histories.modes import Bounds, past_the_bound
from osxfs_sim.coherence.histories.record import Flush, record
from osxfs_sim.coherence.histories.schedules import script_of
from osxfs_sim.coherence.histories.shrink import shrink_by_replay, shrink_recorded
from osxfs_sim.coherence.histories.stage import Places
from osxfs_sim.coherence.histories.timeline import in_words
from osxfs_sim.coherence.histories.verdicts import HistoryVerdict, PartitionVerdict, Rules, check
from osxfs_sim.coherence.staleness.measure import kernel_tick_ns
from osxfs_sim.coherence.staleness.predictions import PredictedTimeouts
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.machine import describe_machine, describe_machine_shortly
from osxfs_sim.lab.trees import default_directory
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.model.consistency import Mode
from osxfs_sim.model.formatting import format_duration
from osxfs_sim.model.profile import ProfileError, Transport
from osxfs_sim.model.user_error import UserError
from osxfs_sim.mount.launch import mounted
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import table
from osxfs_sim.settings import EmulatedSystem, ShareSettings

SCHEMA = 1
_SETTLE_NS = 100_000_000
# Of what may be cached for longer, to wait in every run would take too long.
_LONGEST_SETTLE_NS = 3_000_000_000
_MODES = [mode.label for mode in sorted(Mode)]
_SHRINKS_FOR_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _Run:
    """One recorded history and what is said of it; *minimal* where it was shrunk, and how."""

    seed: int
    history: History
    verdict: HistoryVerdict
    minimal: History | None = None
    shrunk: str = ""


@click.command()
@click.argument("profile", type=ProfileName())
@click.option(
    "--operations",
    type=click.IntRange(min=1),
    default=60,
    metavar="N",
    help="Of the host and of each guest, in a run. [60]",
)
@click.option(
    "--guests", type=click.IntRange(1, 8), default=2, metavar="N", help="Guest processes. [2]"
)
@click.option(
    "--objects",
    type=click.IntRange(1, MOST_OBJECTS),
    metavar="N",
    help="Objects that they share: each a file, a second name, a directory with a file; the last, "
    "from two on, a file that is mapped. [3; judged as delegated 4, so that both sides change one]",
)
@click.option("--runs", type=click.IntRange(min=1), default=10, metavar="N", help="[10]")
@click.option(
    "--as", "mode", type=click.Choice(_MODES), help="Judge by this mode. [the share's own]"
)
@click.option(
    "--bound",
    "stale_ns",
    type=DurationType(),
    help="How old a guest's answer may be under cached and delegated. [what timeouts and events "
    "of the profile allow, and --allowance]",
)
@click.option(
    "--allowance",
    "allowance_ns",
    type=DurationType(),
    help="What the machine may need beside that; a busy one needs more. [250ms]",
)
@click.option(
    "--time-limit",
    "limit_ns",
    type=DurationType(),
    default="10s",
    help="For judging one object of one history; what takes longer is unknown. [10s]",
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save each violating run below DIR: history.json, minimal.json, timeline.svg and "
    "schedule.py.",
)
@json_option
@share_options
def histories(
    profile: str,
    operations: int,
    guests: int,
    objects: int | None,
    runs: int,
    mode: str | None,
    stale_ns: int | None,
    allowance_ns: int | None,
    limit_ns: int,
    save: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Let host and guests change the same names, and judge what they were told.

    Each run performs a random programme and checks its history against the mode: for
    consistent one order must explain every answer; for cached answers may be old, within
    a bound, and no process goes back; for delegated the host may see changes late, too. A
    violation makes the exit code 1, and is made smaller. "unknown" is what could not be
    decided in time: neither ok nor a violation. Run K uses the seed plus K - 1.

    \b
    osxfs-sim histories osxfs --runs 50
    osxfs-sim histories osxfs-cached --host-events none --as consistent --save found
    osxfs-sim histories native          # the check itself, where nothing can be wrong
    """
    if profile.endswith(".toml"):
        profile = str(Path(profile).absolute())  # a script may be run from elsewhere
    settings = ShareSettings("", "", profile=profile, **options)
    system = settings.system()
    judged_as = system.mode if mode is None else Mode[mode.upper()]
    rules = Rules(judged_as, _bounds(settings, system, judged_as, stale_ns, allowance_ns))
    apart = judged_as is Mode.DELEGATED
    plan = ProgrammeSize(operations, guests, objects or (4 if apart else 3), apart=apart)
    end_on_signals()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    say = telling_when_slow()
    done: list[_Run] = []
    with (
        _ground(settings, system) as (host, guest, flush),
        Places(host, guest, flush) as places,
        _workers() as executor,
    ):
        for number in range(runs):
            say(f"run {number + 1} of {runs}")
            seed = settings.seed + number
            recorded = record(
                *(generate(plan, Random(seed)), *places.sides(), flush),
                settle_ns=_settle_ns(rules.bounds),
                about={"profile": profile, "changed": _plain(settings), "seed": seed},
            )
            verdict = check(recorded, _limited(rules, limit_ns), executor)
            run = _Run(seed, recorded, verdict)
            if verdict.answer is CheckResult.VIOLATION:
                say(f"run {number + 1} is a violation: making it smaller")
                run = _shrunk(run, rules, places)
                if save is not None:
                    _save(save / _folder(profile, seed), run, rules, settings)
            done.append(run)
    if as_json:
        say_json(_document(done, rules, settings, plan, started), indent=1)
    else:
        _tell(done, rules, profile, save, circumstances(profile, settings.given()))
    if any(run.verdict.answer is CheckResult.VIOLATION for run in done):
        sys.exit(1)


@click.command("check-history")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
)
@click.option(
    "--as",
    "mode",
    type=click.Choice(_MODES),
    help="Judge by this mode. [as it was when saved, else consistent]",
)
@click.option(
    "--bound",
    "stale_ns",
    type=DurationType(),
    help="How old a guest's answer may be. [as it was when saved]",
)
@click.option(
    "--lag",
    "lag_ns",
    type=DurationType(),
    help="How old the host's answer may be under delegated. [as it was when saved]",
)
@click.option(
    "--time-limit", "limit_ns", type=DurationType(), default="10s", help="For one object. [10s]"
)
@click.option("--json", "as_json", is_flag=True, help="The answers, for scripts.")
def check_history(
    files: tuple[Path, ...],
    mode: str | None,
    stale_ns: int | None,
    lag_ns: int | None,
    limit_ns: int,
    as_json: bool,
) -> None:
    """Judge saved histories of host and guests again, and print verdicts.

    \b
    osxfs-sim check-history found/osxfs-cached-3/history.json
    osxfs-sim check-history found/*/minimal.json --as cached --bound 1s
    """
    verdicts: dict[Path, HistoryVerdict] = {}
    for file in files:
        try:
            saved = History.load(file)
            rules = _saved_rules(saved, mode, stale_ns, lag_ns)
            verdicts[file] = check(saved, _limited(rules, limit_ns))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # What an operation is said to have been told is anything that JSON can hold.
            text = " ".join(f"{error}".split())[:300]
            if not isinstance(error, ValueError):
                text = f"it cannot be judged; is it damaged? {type(error).__name__}: {text}"
            raise UserError(f"{file}: {text}") from error
    if as_json:
        answers = {
            str(file): {"mode": verdict.mode.label} | _verdict_document(verdict)
            for file, verdict in verdicts.items()
        }
        say_json({"schema": SCHEMA, "files": answers}, indent=1)
    else:
        for file, verdict in verdicts.items():
            say(f"{file}: {verdict.answer} as {verdict.mode.label}")
            for partition in verdict.violations:
                say_lines(in_words(partition))
        say(_counted([verdict.answer for verdict in verdicts.values()]))
    if any(verdict.answer is CheckResult.VIOLATION for verdict in verdicts.values()):
        sys.exit(1)


def _folder(profile: str, seed: int) -> str:
    """Where a run is saved: a profile of one's own is named by its file."""
    return f"{Path(profile).stem if profile.endswith('.toml') else profile}-{seed}"


# By what is judged


_ALLOWANCE_NS = 250_000_000


def _bounds(
    settings: ShareSettings,
    system: EmulatedSystem,
    mode: Mode,
    stale_ns: int | None,
    allowance_ns: int | None,
) -> Bounds:
    """What the profile allows: a cache timeout, or the time until an event invalidates; an age."""
    if mode is Mode.CONSISTENT:
        if stale_ns is not None or allowance_ns is not None:
            raise click.UsageError(
                "--bound and --allowance have no effect as consistent, where nothing may be old: "
                "leave them out, or judge --as cached"
            )
        return Bounds()
    if stale_ns is not None and allowance_ns is not None and mode is not Mode.DELEGATED:
        raise click.UsageError("--allowance has no effect beside --bound: leave one of them out")
    allowance_ns = _ALLOWANCE_NS if allowance_ns is None else allowance_ns
    if stale_ns is None:
        if settings.policy is not None:
            raise click.UsageError(
                "how long a policy of your own caches is not known: give --bound"
            )
        timeouts = PredictedTimeouts.by(system.policy, time.time_ns())
        stale_ns = max(
            timeouts.entry_timeout_ns, timeouts.attr_timeout_ns, timeouts.negative_timeout_ns
        )
        # The kernel rounds a timeout up to a tick, and it expires with the tick after that.
        stale_ns += 2 * kernel_tick_ns()
        if system.events.stream is not None:
            stale_ns = min(stale_ns, system.events.stream.latency_ns)
        stale_ns += allowance_ns
    age_ns = system.write_back.age_ns if system.write_back is not None else 0
    return Bounds(stale_ns, age_ns + allowance_ns)


def _settle_ns(bounds: Bounds) -> int:
    """How long the final reads wait: such that the bound allows them nothing old any more.

    Where that would be too long, only as long as events need.
    """
    settle_ns = bounds.stale_ns + _SETTLE_NS
    return settle_ns if settle_ns <= _LONGEST_SETTLE_NS else _SETTLE_NS


def _saved_rules(
    saved: History, mode: str | None, stale_ns: int | None, lag_ns: int | None
) -> Rules:
    rules = saved.about.get("rules", {})
    if not isinstance(rules, dict):
        raise ValueError(f"rules must be an object, with mode, stale_ns and lag_ns: {rules!r}")
    label = mode or rules.get("mode", Mode.CONSISTENT.label)
    if label not in _MODES:
        raise ValueError(f"the mode in rules must be one of {', '.join(_MODES)}, and is {label!r}")
    for key in ("stale_ns", "lag_ns"):
        value = rules.get(key, 0)
        if type(value) is not int or value < 0:
            raise ValueError(f"{key} in rules must be a number from 0 on, and is {value!r}")
    if label == Mode.CONSISTENT.label and (stale_ns is not None or lag_ns is not None):
        raise click.UsageError("--bound and --lag have no effect as consistent: leave them out")
    return Rules(
        Mode[label.upper()],
        Bounds(
            rules.get("stale_ns", 0) if stale_ns is None else stale_ns,
            rules.get("lag_ns", 0) if lag_ns is None else lag_ns,
        ),
    )


def _limited(rules: Rules, limit_ns: int) -> Rules:
    return replace(rules, limits=Limits(within_ns=limit_ns))


# Where it happens


@contextlib.contextmanager
def _ground(
    settings: ShareSettings, system: EmulatedSystem
) -> Iterator[tuple[Path, Path, Flush | None]]:
    """The two sides of an empty share and how its host gets everything; native: one directory."""
    profile = system.profile
    if profile.transport is Transport.COPY:
        raise ProfileError(
            f"with the profile {profile.name} host and guest share no tree: nothing to judge "
            "(osxfs-sim sync shows how copies are kept alike)"
        )
    with work_directory("histories", default_directory()) as at:
        host, guest = at.resolve() / "host", at.resolve() / "share"
        host.mkdir()
        if profile.is_local:
            yield host, host, None
            return
        guest.mkdir()
        with mounted(replace(settings, source=str(host), mountpoint=str(guest))) as share:
            for warning in share.first_status.warnings:
                tell(f"osxfs-sim: warning: {warning}")
            yield host, guest, share.flush


@contextlib.contextmanager
def _workers() -> Iterator[Executor]:
    """Processes that judge; they begin anew, because this one may have threads by then."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context) as executor:
        yield executor


# A violation made smaller, and kept


def _shrunk(run: _Run, rules: Rules, places: Places) -> _Run:
    """By leaving operations out of what was seen, and then by playing ever less of it again."""
    first = run.verdict.violations[0]
    # What a rule says needs no search, and where a guest caches much, searches take long.
    limit_ns = 0 if first.lost else _SHRINKS_FOR_NS

    def violates(history: History) -> bool:
        verdict = check(history, _limited(rules, limit_ns))
        return verdict.answer is CheckResult.VIOLATION

    names = first.names
    replayed = shrink_by_replay(run.history, names, places.play, violates)
    if replayed is None:
        smaller = shrink_recorded(run.history, names, violates)
        how = "as it was seen; played one step after the other it does not show"
        return replace(run, minimal=smaller, shrunk=how)
    minimal = replace(replayed, about=run.history.about)
    return replace(run, minimal=minimal, shrunk="as played again, one step after the other")


def _save(where: Path, run: _Run, rules: Rules, settings: ShareSettings) -> None:
    """The history, its smallest part, a picture of that and a script. Imports the pictures late."""
    from osxfs_sim.report.plots import Style, render
    from osxfs_sim.report.timeline import timeline

    assert run.minimal is not None
    make_output_directory(where)
    kept = {
        "rules": {
            "mode": rules.mode.label,
            "stale_ns": rules.bounds.stale_ns,
            "lag_ns": rules.bounds.lag_ns,
        }
    }
    replace(run.history, about=dict(run.history.about) | kept).save(where / "history.json")
    replace(run.minimal, about=dict(run.minimal.about) | kept | {"shrunk": run.shrunk}).save(
        where / "minimal.json"
    )
    style = Style(width_inches=9.0)
    partition = _minimal_part(run, rules)
    write_output(where / "timeline.svg", render(timeline(partition, style), style, "svg"))
    title = f"A history that is not {rules.mode.label} (seed {run.seed})."
    text = script_of(run.minimal, rules, {"profile": settings.profile} | _plain(settings), title)
    write_output(where / "schedule.py", text)


def _minimal_part(run: _Run, rules: Rules) -> PartitionVerdict:
    """What is wrong with the smallest history; where time is up before, with the whole one.

    It is judged within the limits that it was made smaller in: within them it is a violation,
    unless the machine is slower now than it was then.
    """
    assert run.minimal is not None
    judged = check(run.minimal, _limited(rules, _SHRINKS_FOR_NS))
    return next(iter(judged.violations), run.verdict.violations[0])


def _plain(settings: ShareSettings) -> dict[str, Any]:
    given = settings.given()
    given.pop("profile", None)
    return given


# What is told


def _tell(
    done: Sequence[_Run], rules: Rules, profile: str, save: Path | None, of_what: str
) -> None:
    out = console()
    title = f"{of_what}: histories judged as {rules.mode.label}"
    if rules.mode is not Mode.CONSISTENT:
        title += f" (guests up to {format_duration(rules.bounds.stale_ns)} behind"
        if rules.mode is Mode.DELEGATED:
            title += f", the host up to {format_duration(rules.bounds.lag_ns)}"
        title += ")"
    rows = table(">seed", "answer", ">operations", ">objects", ">steps", ">not judged", title=title)
    for run in done:
        partitions = run.verdict.partitions
        rows.add_row(
            str(run.seed),
            str(run.verdict.answer),
            str(len(run.history.operations)),
            str(len(partitions)),
            str(sum(partition.steps for partition in partitions)),
            str(run.verdict.unjudged or ""),
        )
    out.print(rows)
    for run in done:
        if run.minimal is not None:
            out.print(f"[red]seed {run.seed}: a violation, {escape(run.shrunk)}[/red]")
            out.print(in_words(_minimal_part(run, rules)), markup=False, soft_wrap=True)
            if save is not None:
                out.print(f"  saved in {save / _folder(profile, run.seed)}", markup=False)
    out.print(f"  {_counted([run.verdict.answer for run in done])}", markup=False)
    if not all(_past_the_bound(run, rules) for run in done):
        out.print(
            f"[yellow]  no read came {format_duration(rules.bounds.stale_ns)} or more after a "
            "change: none was judged by the bound, and guests that are never told of any host "
            "change would pass. A shorter --bound, or another --cache-timeout judges more.[/yellow]"
        )
    out.print(f"  {escape(describe_machine_shortly())}", style="dim")


def _past_the_bound(run: _Run, rules: Rules) -> int:
    return past_the_bound(run.history.operations, rules.bounds)


def _counted(answers: Sequence[CheckResult]) -> str:
    counts = Counter(answers)
    return (
        f"{len(answers)} histories: {counts[CheckResult.OK]} ok, "
        f"{counts[CheckResult.VIOLATION]} violations, {counts[CheckResult.UNKNOWN]} unknown"
    )


def _document(
    done: Sequence[_Run], rules: Rules, settings: ShareSettings, plan: ProgrammeSize, started: str
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "profile": settings.profile,
        "changed": settings.given(),
        "policy_digest": settings.policy_digest(),
        "started": started,
        "machine": describe_machine(),
        "mode": rules.mode.label,
        "stale_ns": rules.bounds.stale_ns,
        "lag_ns": rules.bounds.lag_ns,
        "operations": plan.operations,
        "guests": plan.guests,
        "objects": plan.objects,
        "counts": {
            answer.value: sum(run.verdict.answer is answer for run in done)
            for answer in CheckResult
        },
        "runs": [
            {"seed": run.seed, "past_the_bound": _past_the_bound(run, rules)}
            | _verdict_document(run.verdict)
            | {
                "history": run.history.to_json(),
                "minimal": None if run.minimal is None else run.minimal.to_json(),
                "shrunk": run.shrunk or None,
            }
            for run in done
        ],
    }


def _verdict_document(verdict: HistoryVerdict) -> dict[str, Any]:
    return {
        "answer": verdict.answer.value,
        "objects": [
            {
                "names": list(partition.names),
                "answer": partition.answer.value,
                "steps": partition.steps,
                "unjudged": partition.unjudged,
                "not_explained": [str(each) for each in partition.counterexample],
                "lost": list(partition.lost),
            }
            for partition in verdict.partitions
        ],
    }
