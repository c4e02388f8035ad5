"""A trace's file: what is written is read, and what is no trace is refused in one line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.traces import header_of, in_turn, missed, row, write_trace

from osxfs_sim.trace.analysis import analyze_file
from osxfs_sim.trace.format import (
    FORMAT,
    METADATA_KEY,
    SCHEMA,
    Header,
    TraceError,
    TraceWriter,
    columns_of,
    read_trace,
)
from osxfs_sim.trace.schema import ADDED, metadata_of

COUNTS = st.integers(0, 2**62)
WORDS = st.text(st.characters(codec="utf-8"), max_size=5)
_ROWS = {
    "arrival_ns": COUNTS,
    "target_ns": COUNTS,
    "took_ns": COUNTS,
    "operation": st.sampled_from(["LOOKUP", "READ"]),
    "inode": COUNTS,
    "name": st.none() | WORDS,
    "found": COUNTS,
    "size_bytes": COUNTS,
    "offset_bytes": COUNTS,
    "error": st.none() | st.just("ENOENT"),
    "process": st.integers(0, 2**31 - 1),
    "program": st.none() | WORDS,
    "directory": st.none() | WORDS,
    "answered_by": st.sampled_from(["host", "held"]),
}


@pytest.mark.takes_seconds
@given(st.lists(st.fixed_dictionaries(_ROWS), max_size=8), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_in_the_order_of_arrival(tmp_path_factory, rows, at_once):
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    writer = TraceWriter(path)
    for first in range(0, len(rows), at_once):
        writer.write(columns_of(iter(rows[first : first + at_once])))
    header = Header(7, 99, lost=3, command_start_ns=1, policy="negative", notes={"a": [1]})
    writer.close(header)
    read_header, table = read_trace(path)
    assert read_header == header
    in_order = sorted(rows, key=lambda row: row["arrival_ns"])
    assert [row["arrival_ns"] for row in table.to_pylist()] == [
        row["arrival_ns"] for row in in_order
    ]
    assert as_sorted(table.to_pylist()) == as_sorted(row | ADDED for row in in_order)


def as_sorted(rows):
    return sorted(repr(sorted(row.items())) for row in rows)


def test_a_row_may_leave_out_what_is_evident(tmp_path):
    _, table = read_trace(write_trace(tmp_path / "t", in_turn([row("STATFS")])))
    (read,) = table.to_pylist()
    assert (read["answered_by"], read["found"], read["name"]) == ("host", 0, None)


def test_batches_with_words_of_their_own_are_one_trace(tmp_path):
    writer = TraceWriter(tmp_path / "t")
    rows = in_turn([missed("a", program="ruby"), row("GETATTR", program="sh"), missed("a")])
    for each in rows:
        writer.write(columns_of(iter([each])))
    writer.close(header_of(rows))
    result = analyze_file(tmp_path / "t")
    assert {part.label for part in result.programs} == {"ruby", "sh", "(unknown)"}
    assert [cause.remedy for cause in result.causes] == ["negative"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "it is no Parquet file"), (b"PAR1 not", "it is no Parquet")],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path, content, why):
    path = tmp_path / "t"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TraceError, match=why) as told:
        read_trace(path)
    assert "\n" not in str(told.value)


def test_a_trace_that_was_cut_short_is_refused(tmp_path):
    whole = write_trace(tmp_path / "t", in_turn([missed("a")] * 100)).read_bytes()
    for kept in range(0, len(whole), 97):
        (tmp_path / "cut").write_bytes(whole[:kept])
        with pytest.raises(TraceError, match="it is no Parquet file"):
            read_trace(tmp_path / "cut")


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t")
    with pytest.raises(TraceError, match="its metadata has no osxfs_sim"):
        read_trace(tmp_path / "t")


def with_metadata(path, document, columns=SCHEMA.names):
    table = pa.Table.from_pydict(columns_of(iter([])), schema=SCHEMA).select(columns)
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), path)
    return path


HEADER = {"format": FORMAT, "began_ns": 0, "lasted_ns": 5}


def test_a_trace_of_the_first_format_is_read_by_its_old_column_names(tmp_path):
    rows = in_turn([missed("a", target_ns=130), missed("b", target_ns=130)])
    path = write_trace(tmp_path / "new", rows)
    table = pq.read_table(path)
    header = json.loads(pq.read_metadata(path).metadata[METADATA_KEY]) | {"format": 1}
    names = ["asked_ns" if name == "target_ns" else name for name in table.column_names]
    old = table.rename_columns(names).replace_schema_metadata(
        {METADATA_KEY: json.dumps(header).encode()}
    )
    pq.write_table(old, tmp_path / "old")
    assert read_trace(tmp_path / "old") == read_trace(path)
    pq.write_table(old.drop_columns("asked_ns"), tmp_path / "neither")
    with pytest.raises(TraceError, match="it has no column target_ns"):
        read_trace(tmp_path / "neither")


def test_a_later_format_is_refused_with_the_remedy(tmp_path):
    path = with_metadata(tmp_path / "t", HEADER | {"format": FORMAT + 1})
    with pytest.raises(TraceError, match=f"of format {FORMAT + 1}, this version reads {FORMAT}"):
        read_trace(path)


def test_a_column_that_is_missing_is_named(tmp_path):
    path = with_metadata(tmp_path / "t", HEADER, [name for name in SCHEMA.names if name != "found"])
    with pytest.raises(TraceError, match="it has no column found"):
        read_trace(path)


@pytest.mark.parametrize(
    "document",
    [
        *(b"{", b"[1]", b"\xff", {"format": "x"}, {"format": FORMAT, "began_ns": 0}),
        *(HEADER | {"lasted_ns": "5"}, HEADER | {"notes": []}, HEADER | {"command_end_ns": 1.5}),
    ],
)
def test_a_header_that_is_damaged_is_refused(tmp_path, document):
    with pytest.raises(TraceError, match="its header is damaged"):
        read_trace(with_metadata(tmp_path / "t", document))


def test_what_a_later_version_has_added_is_passed_over(tmp_path):
    path = with_metadata(tmp_path / "t", HEADER | {"colour": "red"})
    assert read_trace(path)[0] == Header(0, 5)


def test_a_column_of_another_type_is_refused_by_name(tmp_path):
    table = pa.Table.from_pydict(columns_of(iter(in_turn([row("LOOKUP")]))), schema=SCHEMA)
    place = SCHEMA.names.index("inode")
    table = table.set_column(place, "inode", pa.array(["one"]))
    document = json.dumps(HEADER).encode()
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: document}), tmp_path / "t")
    with pytest.raises(TraceError, match="column inode"):
        analyze_file(tmp_path / "t")


def test_where_nothing_can_be_written_is_told(tmp_path):
    with pytest.raises(TraceError, match="cannot be written: No such file"):
        TraceWriter(tmp_path / "nowhere" / "t")


def test_a_trace_of_an_earlier_version_has_the_later_columns_empty(tmp_path):
    earlier = [name for name in SCHEMA.names if name not in ADDED]
    table = pa.Table.from_pydict(columns_of(iter(in_turn([row("LOOKUP")]))), schema=SCHEMA)
    path = tmp_path / "t"
    pq.write_table(table.select(earlier).replace_schema_metadata(metadata_of(Header(0, 10))), path)
    _, read = read_trace(path)
    assert read.num_rows == 1
    assert {name: read[name].to_pylist() for name in ADDED} == {
        name: [nothing] for name, nothing in ADDED.items()
    }


def test_a_header_says_where_threads_come_from(tmp_path):
    threads = [[7, 7, 1, 10_000_000], [8, 7, 1, 0]]
    write(tmp_path / "t", Header(0, 10, began_wall_ns=5, threads=threads))
    header, _ = read_trace(tmp_path / "t")
    assert (header.threads, header.began_wall_ns) == (threads, 5)


@pytest.mark.parametrize(
    "threads", [{}, [7], [[7, 7, 1]], [[7, 7, 1, "late"]], [[7, 7, 1, 2**63]], [[True, 7, 1, 0]]]
)
def test_threads_that_are_none_are_damage(tmp_path, threads):
    write(tmp_path / "t", Header(0, 10, threads=threads))
    with pytest.raises(TraceError, match="its header is damaged"):
        read_trace(tmp_path / "t")


def write(path, header):
    table = pa.Table.from_pydict(columns_of(iter(in_turn([row("LOOKUP")]))), schema=SCHEMA)
    pq.write_table(table.replace_schema_metadata(metadata_of(header)), path)
