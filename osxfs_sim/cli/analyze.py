"""``analyze`` and ``import-strace``: where the time of a trace went."""

from pathlib import Path

import click

from osxfs_sim.cli.options import DurationType
from osxfs_sim.cli.saying import say, say_json, tell
from osxfs_sim.model.formatting import format_count
from osxfs_sim.report.analysis import analysis_report
from osxfs_sim.trace.analysis import analyze_file
from osxfs_sim.trace.format import TraceError
from osxfs_sim.trace.strace import import_strace as make_trace

_TOP = 10


@click.command()
@click.argument("trace", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON instead.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="How many directories and programs are shown. [10]",
)
@click.option(
    "--wall",
    "wall_ns",
    type=DurationType(),
    help="The wall time, where another clock has measured it, such as 16.9s. [as the trace has it]",
)
def analyze(trace: str, as_json: bool, top: int | None, wall_ns: int | None) -> None:
    """Attribute TRACE's wall time to operations, places, programs and causes."""
    if as_json and top is not None:
        raise TraceError(
            "--top has no effect with --json, which has what a report needs: leave it out"
        )
    if as_json:
        document = analyze_file(trace, wall_ns=wall_ns).to_document()
        say_json(document, indent=1)
        return
    top = top or _TOP
    analysis_report(analyze_file(trace, wall_ns=wall_ns, directories=top), top)


@click.command("import-strace")
@click.argument("log", type=click.Path(dir_okay=False))
@click.option(
    "--root",
    required=True,
    metavar="DIR",
    help="The share's directory, as the traced command saw it.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False),
    help="The trace to write, such as trace.parquet.",
)
@click.option(
    "--cwd",
    metavar="DIR",
    help="Where the command was started. [as strace -y says]",
)
def import_strace(log: str, root: str, output: str, cwd: str | None) -> None:
    """Make a trace of LOG, recorded with strace -f -ttt -T -y -o LOG COMMAND."""
    if cwd is not None and not cwd.startswith("/"):
        raise TraceError(f"--cwd {cwd} is not an absolute path: give it as the command had it")
    made = make_trace(Path(log), Path(output), root, cwd)
    calls = sum(made.operations.values())
    say(
        f"{format_count(calls)} calls below {made.root} of {format_count(made.lines.calls)} "
        f"in {output}"
    )
    for warning in made.warnings():
        tell(f"  {warning}")
