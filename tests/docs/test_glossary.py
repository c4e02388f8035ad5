"""docs/glossary.md: its symbols are in FUSE's headers, its files are there, its terms are used.

Which names the headers define is kept in fuse_symbols.txt (made by scripts/fuse_symbols.py), since
not every machine has headers, or those of the kernel that it runs. Where it has some, the list is
compared with them.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.project_scripts import project_script

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text()

fuse_symbols = project_script("fuse_symbols")

_SYMBOL = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_SINCE = re.compile(r"\(Linux \d")
_NO_SYMBOL = "—"


class Row(NamedTuple):
    """One term, or several of one meaning."""

    terms: tuple[str, ...]
    sentence: str
    source: str
    file: str


def rows_in(page: str) -> list[Row]:
    """Those of all tables."""
    rows = []
    for line in page.splitlines():
        if line.startswith("| **"):
            terms, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            rows.append(Row(tuple(re.findall(r"\*\*([^*]+)\*\*", terms)), *cells))
    return rows


def unknown_symbols(rows: Iterable[Row], headers: Mapping[str, Any]) -> list[str]:
    """What rows cite in place of a symbol, and no header defines."""
    known = set().union(*(header.names for header in headers.values()))
    return [symbol for row in rows for symbol in _SYMBOL.findall(row.source) if symbol not in known]


def missing_files(rows: Iterable[Row]) -> list[str]:
    """Files that a row leads to, and that are not there; or rows that lead to none."""
    return [
        row.file
        for row in rows
        if not (places := _LINK.findall(row.file))
        or not all((ROOT / "docs" / place).is_file() for place in places)
    ]


def misnamed_files(rows: Iterable[Row]) -> list[str]:
    """Links whose text is not the end of the path that they lead to."""
    links = (re.fullmatch(r"\[([^]]+)\]\(([^)]+)\)", row.file) for row in rows)
    return [link[0] for link in links if link and not link[2].endswith(f"/{link[1]}")]


def pattern_of(term: str) -> re.Pattern[str]:
    """*term* in a text: its words may be joined otherwise, and its last one be inflected."""
    words = re.split(r"[\s_-]+", term)
    *before, last = map(re.escape, words)
    if last.endswith("y"):
        last = rf"{last[:-1]}(?:y|ies)"
    elif last.endswith("e"):
        last = rf"{last}(?:s|d)?"
    else:
        last = rf"{last}(?:s|es|ed|ing)?"
    joined = r"[\s_-]*".join([*before, last])
    return re.compile(rf"(?<![A-Za-z]){joined}(?![a-z])", re.IGNORECASE)


@functools.cache
def texts() -> str:
    """The code and the pages, but for the glossary."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    code = (ROOT / "osxfs_sim").rglob("*.py")
    return "\n".join(
        path.read_text() for path in sorted([*pages, *code]) if path.name != "glossary.md"
    )


def unused_terms(rows: Iterable[Row], text: str) -> list[str]:
    return [term for row in rows for term in row.terms if not pattern_of(term).search(text)]


def test_every_symbol_is_in_the_headers() -> None:
    rows = rows_in(PAGE)
    assert len(rows) > 80
    assert unknown_symbols(rows, fuse_symbols.kept()) == []
    # A row has a symbol, a source in words, or says that it has none.
    assert [row.terms for row in rows if not row.source] == []


def test_every_file_is_there_and_called_by_its_name() -> None:
    rows = rows_in(PAGE)
    assert missing_files(rows) == []
    assert misnamed_files(rows) == []


@pytest.mark.takes_seconds
def test_every_term_is_used() -> None:
    assert unused_terms(rows_in(PAGE), texts()) == []


def test_no_term_is_there_twice_and_each_has_a_sentence() -> None:
    rows = rows_in(PAGE)
    terms = [term.lower() for row in rows for term in row.terms]
    assert sorted({term for term in terms if terms.count(term) > 1}) == []
    assert [row.terms for row in rows if len(row.sentence.split()) < 4] == []
    # Each line of a table is a row that is looked at.
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    tables = PAGE.count("\n| --- |")
    assert len(lines) == len(rows) + 2 * tables


# What each check refuses

_ROW = "| **{term}** | what it means, in a sentence | {source} | [a.py]({file}) |"


def row_of(term: str = "dentry", source: str = "—", file: str = "glossary.md") -> list[Row]:
    return rows_in(_ROW.format(term=term, source=source, file=file))


@pytest.mark.parametrize(
    "symbol",
    ["FUSE_NOTIFY_EVERYBODY", "fuse_entry_out.entry_timeout", "fuse_entry_out.padding", "FUSE_"],
)
def test_a_symbol_that_no_header_has_is_refused(symbol: str) -> None:
    rows = row_of(source=f"`FUSE_LOOKUP`, `{symbol}`")
    assert unknown_symbols(rows, fuse_symbols.kept()) == [symbol]


@pytest.mark.parametrize("file", ["../osxfs_sim/mount/nowhere.py", "../osxfs_sim/mount", "no.md"])
def test_a_file_that_is_not_there_is_refused(file: str) -> None:
    assert len(missing_files(row_of(file=file))) == 1


def test_a_row_without_a_file_and_one_with_another_are_refused() -> None:
    assert missing_files([Row(("dentry",), "what it is", "—", "somewhere")]) == ["somewhere"]
    assert len(misnamed_files(row_of(file="../osxfs_sim/mount/launch.py"))) == 1


@pytest.mark.parametrize("term", ["the dentry's ghost", "dent", "hit rate", "entry timeout"])
def test_a_term_that_nobody_uses_is_refused(term: str) -> None:
    text = "Dentries, and no hit; the rate. entry_timeouts and entrytimeout"
    used = {"entry timeout"}
    assert unused_terms(row_of(term), text) == ([] if term in used else [term])


# The list, and the headers of this machine

HEADER = """
/* struct fuse_never { int given; }; and FUSE_NEVER */
#define FUSE_ROOT_ID 1
#define FUSE_KERNEL_VERSION 7
# define FOPEN_SIDEWAYS (1 << 9) // FUSE_NOR_THIS
#define OTHER_THING(a) fuse_of_macro(a, \\
                                     fuse_of_its_second_line(a))
enum fuse_opcode { FUSE_LOOKUP = 1, /* no = */ FUSE_LAST };
struct fuse_out {
\tuint64_t\tnodeid;\t/* Inode ID */
\tuint32_t\tnames[8];
\tuint32_t\tpadding;
\tunion { uint32_t one; uint32_t other; };
\tunsigned int keep_cache : 1;
\tvoid (*lookup) (fuse_req_t req, const char *name);
};
int fuse_reply_entry(fuse_req_t req, const struct fuse_entry *e);
"""


def test_the_names_of_a_header_are_found() -> None:
    assert set(fuse_symbols.names_in(HEADER)) == {
        *("FUSE_ROOT_ID", "FUSE_KERNEL_VERSION", "FOPEN_SIDEWAYS", "FUSE_LOOKUP", "FUSE_LAST"),
        *("fuse_out", "fuse_out.nodeid", "fuse_out.names", "fuse_out.one", "fuse_out.other"),
        *("fuse_out.keep_cache", "fuse_out.lookup", "fuse_reply_entry"),
    }


def test_the_list_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    headers = fuse_symbols.kept()
    path.write_text(fuse_symbols.written(headers))
    assert fuse_symbols.kept(path) == headers
    assert path.read_text() == fuse_symbols.KEPT.read_text()
    assert all(len(header.names) > 200 for header in headers.values())


def contradictions(rows: Iterable[Row], kept: Any, installed: Any) -> list[str]:
    """Where a header and the list of its kind do not fit, as far as rows rest on it.

    What a row cites of a header that is newer than the machine's says since when it is there;
    of one that is as old or newer everything is in it, or the list is no list of it.
    """
    said = []
    for row in rows:
        for symbol in _SYMBOL.findall(row.source):
            if symbol not in kept.names or symbol in installed.names:
                continue
            is_older = installed.version < kept.version
            if not (is_older and _SINCE.search(row.source)):
                said.append(symbol)
    if installed.version == kept.version:
        said += sorted(installed.names ^ kept.names)
    return said


@pytest.mark.parametrize("kind", [fuse_symbols.KERNEL, fuse_symbols.LIBRARY])
def test_the_list_is_that_of_the_headers_that_are_here(kind: str) -> None:
    read = {
        fuse_symbols.KERNEL: fuse_symbols.kernel_header,
        fuse_symbols.LIBRARY: fuse_symbols.library_headers,
    }
    installed = read[kind]()
    if installed is None:
        pytest.skip(f"no headers of {kind} here")
    assert contradictions(rows_in(PAGE), fuse_symbols.kept()[kind], installed) == []


def test_a_list_that_contradicts_a_header_is_noticed() -> None:
    header = fuse_symbols.Header
    kept = header((7, 45), frozenset({"FUSE_LOOKUP", "FUSE_NEW"}))
    lookup, new = row_of(source="`FUSE_LOOKUP`"), row_of(source="`FUSE_NEW`")
    dated = row_of(source="`FUSE_NEW` (Linux 6.16)")
    older = header((7, 38), frozenset({"FUSE_LOOKUP"}))
    assert contradictions([*lookup, *dated], kept, older) == []
    assert contradictions(new, kept, older) == ["FUSE_NEW"]
    newer = header((7, 46), frozenset({"FUSE_LOOKUP"}))
    assert contradictions(dated, kept, newer) == ["FUSE_NEW"]
    same = header((7, 45), frozenset({"FUSE_LOOKUP", "FUSE_OTHER"}))
    assert contradictions(lookup, kept, same) == ["FUSE_NEW", "FUSE_OTHER"]


def test_a_machine_without_headers_has_none(tmp_path: Path) -> None:
    assert fuse_symbols.kernel_header(tmp_path / "fuse.h") is None
    assert fuse_symbols.library_headers(tmp_path) is None
