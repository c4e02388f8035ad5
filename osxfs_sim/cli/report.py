"""``report``: results for reading, as one page, as Markdown or as CSV."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from osxfs_sim.cli.saying import hand_out, tell
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.results import Comparison, ResultError, load_result, read_from
from osxfs_sim.model.user_error import UserError
from osxfs_sim.report.contents import Contents, TraceContents, contents_of, trace_contents
from osxfs_sim.trace.analysis import Analysis

_FORMATS = {
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
}
_STANDARD_OUTPUT = "-"
_DEFAULT_OUTPUT = "report.html"
_DEFAULT_NAMES = {"html": _DEFAULT_OUTPUT, "markdown": "report.md", "csv": "report.csv"}


@click.command()
@click.argument("results", nargs=-1, metavar="RESULT...", type=click.Path())
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help=f"Where to write it; - is standard output. [{_DEFAULT_OUTPUT}]",
)
@click.option(
    "--format",
    "report_format",
    type=click.Choice(tuple(_DEFAULT_NAMES)),
    help="[as FILE's suffix says: .html, .md or .csv]",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="A trace to show besides those that the results name; can be given several times.",
)
@click.option(
    "--plots", type=click.Path(file_okay=False), metavar="DIRECTORY", help="Each plot as a file."
)
@click.option(
    "--plot-format", type=click.Choice(("svg", "png")), help="Of --plots: svg, or png. [svg]"
)
def report(
    results: tuple[str, ...],
    output: str | None,
    report_format: str | None,
    traces: tuple[str, ...],
    plots: str | None,
    plot_format: Literal["svg", "png"] | None,
) -> None:
    """Show RESULTs, which compare or run --json have saved, for reading.

    The page is one file that works offline, on a phone and in print.

    \b
    osxfs-sim report rake.json
    osxfs-sim report rake.json ember.json --output both.html
    osxfs-sim report rake.json --output samples.csv
    osxfs-sim report rake.json --plots figures --plot-format png
    """
    chosen_format = _format(output, report_format)
    output = output or _DEFAULT_NAMES[chosen_format]
    if not results and not traces:
        raise click.UsageError("nothing to report: name a RESULT, or a trace with --trace FILE")
    if traces and chosen_format == "csv":
        raise click.UsageError("--trace has no effect on CSV, which holds samples: leave it out")
    if not results and chosen_format == "csv":
        raise click.UsageError("CSV holds the samples of a RESULT: name one")
    if plot_format is not None and plots is None:
        raise click.UsageError("--plot-format has no effect without --plots DIRECTORY")
    _check_writable(output, (*results, *traces))
    comparisons = [load_result(path) for path in results]
    with read_from(", ".join(results)):
        rows = _csv(comparisons) if chosen_format == "csv" else ""
    if chosen_format == "csv" and plots is None:
        _write(output, rows)
        return
    all_contents = [
        _contents(comparison, Path(path))
        for comparison, path in zip(comparisons, results, strict=True)
    ]
    extra = [trace_contents(Path(path).name, _analyze(Path(path))) for path in traces]
    with read_from(", ".join((*results, *traces))):
        if plots is not None:
            _save_plots(Path(plots), plot_format or "svg", all_contents, extra)
        text = rows or _report(chosen_format, all_contents, extra)
    _write(output, text)


def _report(
    chosen_format: str, all_contents: Sequence[Contents], extra: Sequence[TraceContents]
) -> str:
    if chosen_format == "markdown":
        from osxfs_sim.report.markdown import markdown

        return markdown(all_contents, extra)
    from osxfs_sim.report.page import page

    return page(all_contents, extra)


def _format(output: str | None, report_format: str | None) -> str:
    if report_format is not None:
        return report_format
    if output is None:
        return "html"
    if output == _STANDARD_OUTPUT:
        raise click.UsageError("standard output has no suffix: say --format markdown, csv or html")
    suffix = Path(output).suffix.lower()
    if suffix not in _FORMATS:
        raise click.UsageError(
            f"{output} does not say what it shall be: end it in .html, .md or .csv, or add --format"
        )
    return _FORMATS[suffix]


def _check_writable(output: str, inputs: Sequence[str]) -> None:
    """Before anything is read or analyzed, which may take long."""
    if output == _STANDARD_OUTPUT:
        return
    path = Path(output)
    if not path.absolute().parent.is_dir():
        raise UserError(f"{output} cannot be written: its directory does not exist")
    if path.exists() and any(Path(each).exists() and path.samefile(each) for each in inputs):
        raise click.UsageError(f"{output} is what the report is about: name another --output")


def _contents(comparison: Comparison, path: Path) -> Contents:
    from osxfs_sim.lab.summary import summarize
    from osxfs_sim.report.traces import analyzed, chosen_traces

    if not comparison.samples:
        raise ResultError(f"{path} holds no samples yet: nothing can be shown of it")
    with read_from(path):
        summaries = summarize(comparison)
        traces, troubles = analyzed(chosen_traces(comparison, summaries, path.parent), _analyze)
        return contents_of(comparison, summaries, traces, troubles)


def _analyze(path: Path) -> Analysis:
    from osxfs_sim.trace.analysis import analyze_file

    _say(f"analyzing {path}")
    return analyze_file(path)


def _csv(comparisons: Sequence[Comparison]) -> str:
    from osxfs_sim.report.csv import csv_of

    return csv_of(comparisons)


def _save_plots(
    directory: Path,
    plot_format: Literal["svg", "png"],
    all_contents: Sequence[Contents],
    extra: Sequence[TraceContents],
) -> None:
    from osxfs_sim.report.pictures import Plot, plots_of, plots_of_traces
    from osxfs_sim.report.plots import Style, render

    make_output_directory(directory)
    style = Style()
    groups: list[tuple[str, list[Plot]]] = [
        (contents.comparison.case, [*plots_of(contents), *plots_of_traces(contents.traces)])
        for contents in all_contents
    ]
    groups.append(("trace", plots_of_traces(extra)))
    taken: set[str] = set()
    for group, group_plots in groups:
        for plot in group_plots:
            name = _file_name(f"{group}-{plot.name}", taken)
            path = directory / f"{name}.{plot_format}"
            _replace(path, render(plot.draw(style), style, plot_format))
    _say(f"{len(taken)} plots in {directory}")


def _file_name(wanted: str, taken: set[str]) -> str:
    """*wanted* as a file name that is not *taken* yet, which it is then."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).lstrip(".-") or "plot"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _write(output: str, text: str) -> None:
    # A result may hold half a character, as JSON allows; no file can.
    data = text.encode("utf-8", "backslashreplace")
    if output == _STANDARD_OUTPUT:
        hand_out(data)
        return
    _replace(Path(output), data)
    _say(f"saved to {output}")


def _replace(path: Path, data: bytes) -> None:
    """Write it whole or not at all."""
    try:
        write_output(path, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _say(text: str) -> None:
    tell(f"  {text}")
