"""The same report as Markdown: for an issue, a README or a pull request."""

from collections.abc import Iterator, Sequence

from osxfs_sim.model.escaping import printable_lines
from osxfs_sim.report.contents import NO_TRACE, TILDE, Contents, Table, TraceContents


def markdown(all_contents: Sequence[Contents], extra_traces: Sequence[TraceContents] = ()) -> str:
    """One document about these comparisons, and traces that came without one."""
    blocks: list[str] = []
    for contents in all_contents:
        blocks += _comparison(contents)
    if extra_traces:
        blocks.append("# Traces")
        for trace in extra_traces:
            blocks += _trace(trace, "##")
    return "\n\n".join([*blocks, escaped(TILDE)]) + "\n"


def _comparison(contents: Contents) -> Iterator[str]:
    yield f"# {escaped(contents.title)}"
    yield escaped(contents.subtitle)
    if contents.caveats:
        yield "## Know before believing"
        yield _items(contents.caveats)
    yield _items(f"{name}: {value}" for name, value in contents.facts)
    yield "## Wall times"
    yield from _table(contents.arms)
    yield "## Published, and obtained here"
    yield "Published:" if contents.claims else "The case names no published claims."
    if contents.claims:
        yield _items(f"{text} ({source})" if source else text for text, source in contents.claims)
    if contents.obtained:
        yield "Obtained here:"
        yield _items(contents.obtained)
    for table in contents.tables:
        yield from _table(table)
    yield "## Where the time went"
    if contents.traces:
        for trace in contents.traces:
            yield from _trace(trace, "###")
    else:
        yield escaped(NO_TRACE)
    yield "## What the arms were"
    yield from _table(contents.profiles)
    yield "## Every run"
    yield from _table(contents.samples)


def _trace(trace: TraceContents, level: str) -> Iterator[str]:
    yield f"{level} Trace of {escaped(trace.label)}"
    yield escaped(trace.reconciliation)
    if trace.sentences:
        yield _items(trace.sentences)
    for table in trace.tables:
        yield from _table(table)


def _items(texts: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


def _table(table: Table) -> Iterator[str]:
    yield f"**{escaped(table.caption)}**"
    rules = ["---:" if column in table.numbers else "---" for column in table.columns]
    lines = [table.columns, tuple(rules), *table.rows]
    yield "\n".join(
        f"| {' | '.join(cell if line is lines[1] else escaped(cell) for cell in line)} |"
        for line in lines
    )
    if table.legend:
        yield escaped(table.legend)


# What Markdown, or the HTML that it may hold, would take for something else.
_SPECIAL = str.maketrans(
    {letter: f"\\{letter}" for letter in "\\`*_[]<>|#~"} | {"\n": " ", "\r": " "}
)


def escaped(text: str) -> str:
    """As text, on one line: a label or a failure may hold anything."""
    return printable_lines(text).translate(_SPECIAL)
