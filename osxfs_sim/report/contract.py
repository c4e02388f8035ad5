"""The verdicts of the contract's rules, on a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from osxfs_sim.coherence.contract.breaches import script_name
from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Use
from osxfs_sim.coherence.contract.verdicts import Breach, Finding, RuleVerdict
from osxfs_sim.model.escaping import quoted
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import Cell, table

_MOST_UNPLAYED = 4

_STYLES = {
    Finding.BROKEN: "red",
    Finding.INCONCLUSIVE: "yellow",
    Finding.UNDECIDED: "yellow",
    Finding.KEPT: "green",
    Finding.NOT_APPLICABLE: "dim",
}


def contract_report(
    verdicts: Sequence[RuleVerdict], title: str, machine: str, scripts: Mapping[str, Path]
) -> None:
    """Print each rule's verdict, and below the schedules that broke it or could not be played.

    *scripts* are those that were written, by the name that script_name gives them.
    """
    out = console()
    rows = table("rule", "verdict", ">schedules", "the rule, and what was found", title=title)
    for verdict in verdicts:
        style = _STYLES[verdict.finding]
        rows.add_row(
            verdict.rule,
            Cell(f"{verdict.finding}{'*' if verdict.known else ''}", style),
            str(verdict.schedules or ""),
            _told(verdict),
        )
    out.print(rows)
    told: dict[ContractSchedule, RuleId] = {}
    for verdict in verdicts:
        for breach in (*([verdict.breach] if verdict.breach else []), *verdict.known):
            if breach is verdict.breach:
                style = _STYLES[verdict.finding]
                heading = f"[{style}]{verdict.rule} {verdict.finding}[/{style}]"
            else:
                heading = f"* {verdict.rule}, but for this: {escape(breach.schedule.known)}"
            before = told.setdefault(breach.schedule, verdict.rule)
            if before is not verdict.rule:
                out.print(f"{heading}: the schedule of {before}, above")
                continue
            out.print(heading)
            _schedule(out, breach, scripts.get(script_name(verdict, breach)))
        for line in verdict.unplayed[:_MOST_UNPLAYED]:
            out.print(f"  {verdict.rule}, not shown: {escape(line)}", style="dim")
        if len(verdict.unplayed) > _MOST_UNPLAYED:
            more = len(verdict.unplayed) - _MOST_UNPLAYED
            out.print(f"  {verdict.rule}, not shown: {more} more (--json has them)", style="dim")
    out.print(
        "  kept: by every schedule that was played. inconclusive: may lag, and was never seen to. "
        "undecided: what it needs did not succeed. "
        "--list names the schedules, --script writes those that were found as scripts."
    )
    out.print(f"  {escape(machine)}", style="dim")


def rules_report(rules: Mapping[RuleId, tuple[str, Sequence[ContractSchedule]]]) -> None:
    """Print each rule of the contract with its schedules, or why it does not apply."""
    out = console()
    for rule, (why, schedules) in rules.items():
        out.print(f"[bold]{rule}[/bold] {escape(RULES[rule].text)}")
        if why:
            out.print(f"  does not apply: {escape(why)}", style="dim")
        for schedule in schedules:
            use = "may: " if schedule.use is Use.MAY else ""
            out.print(f"  {use}{escape(schedule.name)} ({len(schedule.steps)} steps)")


def _told(verdict: RuleVerdict) -> str:
    text = RULES[verdict.rule].text
    if verdict.by is not None:
        return f"{text}: see {verdict.by}"
    if verdict.finding is Finding.NOT_APPLICABLE:
        return verdict.why
    if verdict.finding is Finding.UNDECIDED:
        return f"{text}: {verdict.why}"
    if verdict.finding is Finding.KEPT and RULES[verdict.rule].refers_to and verdict.why:
        return f"{text}: kept {verdict.why}"
    return text


def _schedule(out: Console, breach: Breach, script: Path | None) -> None:
    for export in breach.schedule.exports:
        profile = export.profile or "this profile"
        out.print(f"    export {export.name}: {escape(export.source)}, {escape(profile)}")
    for number, (actor, operation) in enumerate(breach.schedule.steps):
        out.print(f"    {number}  {actor:9} {escape(str(operation))}")
    out.print(f"    {escape(breach.seen)} ({breach.times} of {breach.plays} times)")
    if script is not None:
        out.print(f"    python {escape(quoted(str(script)))}", soft_wrap=True)
