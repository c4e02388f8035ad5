"""The bug museum on a terminal: what there is, and one bug as it was shown."""

from collections.abc import Iterable

from osxfs_sim.coherence.museum.exhibits import (
    Demonstration,
    DemonstrationPlay,
    DemonstrationResult,
    StepAnswer,
)
from osxfs_sim.model.bugs import BUGS
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import Cell, green, red, table, yellow


def museum_report(demonstrations: Iterable[Demonstration]) -> None:
    """Print a line per bug of the museum: what a user sees, who had it, and what cures it."""
    rows = table("", "name", "what a user sees", "who had it", "cured by")
    for demonstration in demonstrations:
        spec = BUGS[demonstration.bug]
        cures = "; or ".join(cure.words for cure in demonstration.cures)
        rows.add_row(
            spec.id,
            str(demonstration.bug),
            spec.shows,
            spec.system,
            cures,
        )
    out = console()
    out.print(rows)
    out.print("  osxfs-sim museum V1 shows one of them, osxfs-sim museum all every one.")


def shown_report(shown: DemonstrationResult) -> None:
    """Print what a bug's demonstration asked and was told, with the bug and with each cure."""
    out = console()
    spec = BUGS[shown.demonstration.bug]
    out.print(f"[bold]{spec.id} {shown.demonstration.bug}: {escape(spec.title)}[/bold]")
    out.print(f"  seen      {escape(spec.shows)}")
    out.print(f"  in        {escape(spec.system)}: {', '.join(spec.sources)}", soft_wrap=True)
    out.print(f"  mistake   {escape(spec.mistake)}")
    columns = ["with the bug", *("cured" for _ in shown.plays[1:])]
    if len(shown.plays) > 2:
        columns[1:] = [f"cured ({number})" for number in range(1, len(shown.plays))]
    rows = table("actor", "does", *columns)
    first = shown.plays[0]
    for place, step in enumerate(each.step for each in first.answers):
        rows.add_row(
            step.actor,
            str(step.operation),
            *(_told(play.answers[place], first.answers[place]) for play in shown.plays),
        )
    out.print(rows)
    for words, play in zip(columns, shown.plays, strict=True):
        out.print(f"  {words}: {escape(play.arrangement.words)}: {_verdict(play)}")
    out.print()


def _told(told: StepAnswer, with_bug: StepAnswer) -> str | Cell:
    words = told.answer
    if not told.as_expected:
        return red(f"{words} (documented: {told.expected})")
    if told.step.cured is None:
        return words
    return yellow(words) if told is with_bug else green(words)


def _verdict(play: DemonstrationPlay) -> str:
    if not play.as_documented:
        wrong = sum(not told.as_expected for told in play.answers)
        return f"[red]not as documented, in {wrong} of {len(play.answers)} steps[/red]"
    if not play.is_cured:
        return "the bug shows"
    return "it does not show" + (", though the share has it" if play.arrangement.has_bug else "")
