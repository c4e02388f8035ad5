"""The same report as Markdown: for an issue, a README or a pull request."""

from collections.abc import Iterator, Sequence

from osxfs_sim.report.contents import NO_TRACE, TILDE, Contents, TraceContents
from osxfs_sim.report.tables import markdown_text


def markdown(all_contents: Sequence[Contents], extra_traces: Sequence[TraceContents] = ()) -> str:
    """A report on comparisons, and on traces without one, as the text of a Markdown document."""
    blocks: list[str] = []
    for contents in all_contents:
        blocks += _comparison(contents)
    if extra_traces:
        blocks.append("# Traces")
        for trace in extra_traces:
            blocks += _trace(trace, "##")
    return "\n\n".join([*blocks, markdown_text(TILDE)]) + "\n"


def _comparison(contents: Contents) -> Iterator[str]:
    yield f"# {markdown_text(contents.title)}"
    yield markdown_text(contents.subtitle)
    if contents.caveats:
        yield "## Know before believing"
        yield _items(contents.caveats)
    yield _items(f"{name}: {value}" for name, value in contents.facts)
    yield "## Wall times"
    yield from contents.arms.markdown()
    yield "## Published, and obtained here"
    yield "Published:" if contents.claims else "The case names no published claims."
    if contents.claims:
        yield _items(f"{text} ({source})" if source else text for text, source in contents.claims)
    if contents.obtained:
        yield "Obtained here:"
        yield _items(contents.obtained)
    for table in contents.tables:
        yield from table.markdown()
    yield "## Where the time went"
    if contents.traces:
        for trace in contents.traces:
            yield from _trace(trace, "###")
    else:
        yield markdown_text(NO_TRACE)
    yield "## What the arms were"
    yield from contents.profiles.markdown()
    yield "## Every run"
    yield from contents.samples.markdown()


def _trace(trace: TraceContents, level: str) -> Iterator[str]:
    yield f"{level} Trace of {markdown_text(trace.label)}"
    yield markdown_text(trace.reconciliation)
    if trace.sentences:
        yield _items(trace.sentences)
    for table in trace.tables:
        yield from table.markdown()


def _items(texts: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {markdown_text(text)}" for text in texts)
