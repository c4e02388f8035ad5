"""Whatever is wrong with a file that a command is given, it says so in one line.

A result is edited by hand, cut by a full disk, or of another program. Each file here is damaged
at random: values are replaced, taken away and put elsewhere, and bytes are changed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.damaging import cut_or_flipped, damaged, is_shown_or_refused_in_a_line, said_by
from support.frontiers import comparison as frontier_comparison
from support.reporting import comparison
from support.traces import found, in_turn, missed, row, write_trace

from osxfs_sim.lab import results as results_module
from osxfs_sim.lab.results import ResultError, comparison_from
from osxfs_sim.lab.shapes import TEXT, RecordShape, mismatch

RESULTS = Path(__file__).parents[2] / "docs" / "results"
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TRACE_ROWS = in_turn(
    [missed("a", directory="/"), found("b", 5, directory="/"), row("GETATTR", 5), missed("a")]
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is derived need not be exact here."""
    import osxfs_sim.lab.frontier as frontier
    import osxfs_sim.lab.statistics as statistics
    import osxfs_sim.lab.summary as summary

    for module in (statistics, summary, frontier):
        monkeypatch.setattr(module, "RESAMPLES", 10, raising=False)


RESULT = comparison(runs=2).to_document()
RUNS = json.loads((RESULTS / "rake-mid.json").read_text())
FRONTIER = frontier_comparison().to_document()
STALENESS = json.loads((RESULTS / "staleness" / "load.json").read_text())
for _view in STALENESS["views"]:
    del _view["samples"][20:]
HISTORY = {
    "schema": 1,
    "about": {"profile": "osxfs", "seed": 1},
    "grain": "share",
    "initial": {"a": "x"},
    "umask": 18,
    "operations": [
        {
            "actor": "guest-1",
            "call_ns": 0,
            "return_ns": 5,
            "operation": {"act": "create", "path": "b", "data": "1"},
        },
        {
            "actor": "host",
            "call_ns": 6,
            "return_ns": 9,
            "operation": {"act": "unlink", "path": "a"},
        },
        {
            "actor": "guest-1",
            "call_ns": 10,
            "return_ns": 15,
            "operation": {"act": "stat", "path": "b"},
            "value": {
                "type": "file",
                "mode": 420,
                "size": 1,
                "links": 1,
                "inode": 4,
                "mtime_ns": 1,
            },
        },
    ],
}
KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "compare": (RESULT, ("report", "FILE", "--format", "markdown", "--output", "-")),
    "run": (RUNS, ("report", "FILE", "--format", "csv", "--output", "-")),
    "shown": (RESULT, ("compare", "--show", "FILE")),
    "resumed": (RESULT, ("compare", "--resume", "FILE", "--runs", "1")),
    "frontier": (FRONTIER, ("frontier", "--show", "FILE")),
    "staleness": (STALENESS, ("staleness", "--from", "FILE")),
    "history": (HISTORY, ("check-history", "FILE")),
}


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def words_for(kind: str, file: Path) -> list[str]:
    return [str(file) if word == "FILE" else word for word in KINDS[kind][1]]


@pytest.mark.takes_seconds
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_shown(kind: str, tmp_path: Path, capsys) -> None:
    code, out, err = said_by(words_for(kind, written(tmp_path / "f.json", KINDS[kind][0])), capsys)
    if kind == "resumed":
        assert "cannot be resumed: it was not made by compare" in err
    else:
        assert code == 0, err
        assert out


@pytest.mark.takes_seconds
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_document_is_shown_or_refused_in_one_line(
    kind: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "f.json"

    @FEW
    @given(damaged(KINDS[kind][0]))
    def whatever_is_wrong(document: Any) -> None:
        is_shown_or_refused_in_a_line(words_for(kind, written(file, document)), capsys)

    whatever_is_wrong()


@pytest.mark.takes_seconds
@pytest.mark.parametrize("kind", ["compare", "staleness", "history"])
def test_a_file_of_damaged_bytes_is_shown_or_refused_in_one_line(
    kind: str, tmp_path: Path, capsys
) -> None:
    file = tmp_path / "f.json"
    content = json.dumps(KINDS[kind][0]).encode()

    @settings(FEW, max_examples=25)
    @given(cut_or_flipped(content))
    def whatever_is_wrong(damaged_content: bytes) -> None:
        file.write_bytes(damaged_content)
        is_shown_or_refused_in_a_line(words_for(kind, file), capsys)

    whatever_is_wrong()


@pytest.mark.takes_seconds
def test_a_damaged_trace_is_analyzed_or_refused_in_one_line(tmp_path: Path, capsys) -> None:
    content = write_trace(tmp_path / "t.parquet", TRACE_ROWS).read_bytes()
    file = tmp_path / "damaged.parquet"

    @settings(FEW, max_examples=150)
    @given(cut_or_flipped(content))
    def whatever_is_wrong(damaged_content: bytes) -> None:
        file.write_bytes(damaged_content)
        is_shown_or_refused_in_a_line(["analyze", str(file)], capsys)

    whatever_is_wrong()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": []}, "holds no samples yet: nothing can be shown of it"),
        ({"arms": ["native", "native"]}, "two of its arms have one name"),
        ({"started": "yesterday"}, "started is 'yesterday', and no date"),
        ({"machine": {"cores": "two"}}, "machine.cores is 'two', and no whole number"),
        ({"claims": [{"text": 1, "source": ""}]}, "claims[0].text is 1, and no text"),
        ({"samples": [{"arm": "native"}]}, "samples[0] has no round"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str, tmp_path: Path, capsys) -> None:
    file = written(tmp_path / "f.json", RESULT | change)
    for words in (["report", str(file)], ["compare", "--show", str(file)]):
        code, _, err = said_by(words, capsys)
        assert code == 1
        assert said in err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300, True, "1", None])
def test_what_is_no_time_is_no_result(value: object) -> None:
    document = json.loads(json.dumps(RESULT))
    document["samples"][0]["wall_s"] = value
    with pytest.raises(
        ResultError, match=r"^it is no result: samples\[0\].wall_s is .*no (finite|time)"
    ):
        comparison_from(document, "it")


def test_what_a_later_version_adds_is_passed_over() -> None:
    document = json.loads(json.dumps(RESULT)) | {"new": 1}
    document["samples"][0]["new"] = {"x": 1}
    assert comparison_from(document, "it").samples[0].arm == RESULT["samples"][0]["arm"]


def test_a_command_that_did_not_look_would_be_found_out(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeded bug: files are believed, as they once were."""
    monkeypatch.setattr(results_module, "mismatch", lambda *_: "")
    monkeypatch.setattr("osxfs_sim.cli.report.read_from", __import__("contextlib").nullcontext)
    file = tmp_path / "f.json"

    @settings(FEW, max_examples=300, phases=[Phase.generate], report_multiple_bugs=False)
    @given(damaged(RESULT))
    def whatever_is_wrong(document: Any) -> None:
        is_shown_or_refused_in_a_line(words_for("compare", written(file, document)), capsys)

    with pytest.raises((Exception, ExceptionGroup)):
        whatever_is_wrong()


@pytest.mark.takes_seconds
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_a_shape_says_something_of_everything(value: Any) -> None:
    shape = RecordShape({"a": TEXT}, {})
    assert "\n" not in mismatch(value, shape)
    assert mismatch({"a": value}, shape) == "" or not isinstance(value, str)
