"""The table of what a workload risked: from a document alone."""

import io
from typing import Any

import pytest
from rich.console import Console
from support.reporting import comparison

from osxfs_sim.coherence.answers.risk import KINDS
from osxfs_sim.lab.summary import summarize
from osxfs_sim.report.contents import contents_of
from osxfs_sim.report.risk import risk_report


def risk(result: str = "same", native_stale: int = 0, **ages_ns: list[int]) -> dict[str, Any]:
    return {
        "edits": {"stream": "vim", "seed": 0, "made": 3, "skipped": 0},
        "answers": {"recorded": 210, "judged": 200, "unknown": 10},
        "stale": {
            kind: {
                "judged": 0 if kind == "absence" else 50,
                "stale": len(ages_ns.get(kind, [])),
                "ages_ns": ages_ns.get(kind, []),
                "unexplained": 0,
            }
            for kind in KINDS
        },
        "result": result,
        "compared": ["exit"],
        "native": {"judged": 100, "stale": native_stale, "unexplained": 0},
    }


def shown(*rows: tuple[str, str, list[dict[str, Any]]]) -> str:
    out = Console(file=io.StringIO(), width=200)
    risk_report(out, rows)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def cells(text: str, arm: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip().startswith(arm))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_runs_of_an_arm_are_summed_up_and_kinds_have_their_share() -> None:
    runs = [risk(content=[1_000_000, 3_000_000]), risk("changed", attributes=[80_000_000])]
    text = shown(("cached", "fresh", runs), ("native", "fresh", [risk()]))
    assert cells(text, "cached") == [
        *("cached", "fresh", "6", "400", "20", "3 (0.75%)", "attributes 1, content 2"),
        *("3ms", "80ms", "changed in 1 of 2"),
    ]
    assert cells(text, "native") == ["native", "fresh", "3", "200", "10", "0", "same"]
    assert "do not believe" not in text


def test_a_result_that_differs_without_a_stale_answer_is_said_to() -> None:
    text = shown(("cached", "fresh", [risk("failed"), risk("failed", listing=[5])]))
    assert cells(text, "cached")[-1] == "failed in 2 of 2 (1 without a stale answer)"


def test_where_no_result_was_compared_none_is_called_the_same() -> None:
    text = shown(("cached", "fresh", [risk() | {"compared": ["check"]}]))
    assert cells(text, "cached")[-1] == "not compared"


def test_a_judge_that_is_wrong_natively_is_not_believed() -> None:
    assert "do not believe this table" in shown(("cached", "fresh", [risk(native_stale=1)]))


def test_without_edits_there_is_no_table() -> None:
    assert shown(("cached", "fresh", [])) == ""


@pytest.mark.takes_seconds
def test_a_report_has_the_table_where_there_were_edits() -> None:
    plain = comparison(runs=2)
    assert "the host edited" not in str(contents_of(plain, summarize(plain, resamples=50)).tables)
    edited = comparison(runs=2)
    arm = edited.arms[-1]
    for sample in edited.samples:
        if sample.arm == arm:
            sample.risk = risk(content=[2_000_000])
    (table,) = (
        table
        for table in contents_of(edited, summarize(edited, resamples=50)).tables
        if "the host edited" in table.title
    )
    assert table.rows == [
        (arm, "fresh", "6", "400", "20", "2 (0.5%)", "content 2", "2ms", "2ms", "same"),
    ]
