"""``edits``: what the host changes while a case runs (``--edits``)."""

import shlex
from dataclasses import replace
from pathlib import Path

import click

from osxfs_sim.cli import Group
from osxfs_sim.cli.options import force_option
from osxfs_sim.cli.saying import say
from osxfs_sim.coherence.edits.recording import pattern_of, record
from osxfs_sim.coherence.edits.stream import parse_rate, parse_stream, stream_names
from osxfs_sim.fs.output import write_output
from osxfs_sim.model.formatting import format_plain
from osxfs_sim.model.user_error import UserError
from osxfs_sim.report.console import console
from osxfs_sim.report.tables import table


@click.group(cls=Group)
def edits() -> None:
    """List, or record, the edits of the host that run, compare and frontier take as --edits.

    \b
    osxfs-sim edits list
    osxfs-sim edits record project vim.toml -- vim project/main.rb
    osxfs-sim run rake --edits vim@5/s
    """


@edits.command("list")
def list_() -> None:
    """List the edits that ship with osxfs-sim.

    Written NAME, NAME@RATE (5/s, 2/min), and after it ,same (contents stay, times
    change), ,even (no random moments) or ,files=N.
    """
    rows = table("edits", ">a second", ">files", ">at a time", "what they are")
    for name in stream_names():
        pattern = parse_stream(name).pattern
        rows.add_row(
            name,
            format_plain(pattern.rate_per_s),
            f"{pattern.files}",
            f"{pattern.burst}",
            pattern.about,
        )
    console().print(rows)


@edits.command("record", context_settings={"ignore_unknown_options": True})
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@click.argument("out", type=click.Path(dir_okay=False))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--about", default="", help="What it is, for people.")
@click.option("--rate", default="1/s", metavar="RATE", help="Of its edits in a stream. [1/s]")
@force_option
def record_(
    directory: str, out: str, command: tuple[str, ...], about: str, rate: str, force: bool
) -> None:
    """Run a command that edits files in DIRECTORY, keep how it does so in OUT.

    \b
    osxfs-sim edits record project format.toml -- ruff format project
    osxfs-sim run rake --edits ./format.toml

    Everything that it does to a file and beside it is made general, so that it can be
    done to any file. Where it edits several, they are a burst.
    """
    target, rate_per_s = Path(out), parse_rate(rate, f"--rate {rate}")
    if target.suffix != ".toml":
        raise click.UsageError(f"{out}: name a file that ends in .toml")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{out} cannot be written: its directory does not exist")
    if target.exists() and not force:
        raise UserError(f"{out} exists: --force overwrites it")
    heard, before, after = record(Path(directory), command)
    # Nothing of the place where it was made.
    words = shlex.join([Path(command[0]).name, *command[1:]]).replace(directory, "DIR")
    pattern = pattern_of(
        heard,
        before,
        after,
        name=target.stem,
        about=about or f"Recorded from: {words}",
        recorded=f"osxfs-sim edits record DIR, of: {words}",
    )
    write_output(target, replace(pattern, rate_per_s=rate_per_s).to_toml())
    steps = ", ".join(f"{step.act} {step.path}" for step in pattern.steps)
    say(f"{out}: {pattern.burst} at a time, each: {steps}")
