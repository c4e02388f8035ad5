"""The matrix of predictions: what is measured anew, and what its summary counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.prediction import PARALLEL, SERIAL, saved, summary


def cell(case: str, error: float, **others: Any) -> dict[str, Any]:
    made = {"case": case, "name": "osxfs", "runs": 5, "counts_equal": True, "measured_ns": 1}
    errors = dict.fromkeys(("error", "here_error", "one_line_error", "threads_error"), error)
    return {**made, **errors, **others}


def test_a_whole_cell_of_as_many_runs_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    machine = {"code": "this"}
    assert saved(path, 5, "this") is None
    path.write_text(json.dumps({"machine": machine, "cell": cell("rake", 0.0)}))
    assert saved(path, 5, "this") == cell("rake", 0.0)
    assert saved(path, 3, "this") is None
    assert saved(path, 5, "another program") is None
    broken = cell("rake", 0.0, failures=["it broke"])
    path.write_text(json.dumps({"machine": machine, "cell": broken}))
    assert saved(path, 5, "this") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_half_a_cell_is_measured_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "cell.json").write_text(text)
    assert saved(tmp_path / "cell.json", 5, "this") is None


def test_the_summary_has_serial_and_parallel_apart_and_errors_without_signs() -> None:
    serial = [cell(SERIAL[0], -0.5), cell(SERIAL[1], 0.1, counts_equal=False)]
    failed = cell(SERIAL[2], 9.0, measured_ns=None, counts_equal=None)
    lines = summary([*serial, failed, cell(PARALLEL[0], 0.2)])
    assert "serial: counts equal in 1 of 2" in lines
    assert "serial: error: median 30.0%, worst 50.0%, of 2" in lines
    assert "parallel: error: median 20.0%, worst 20.0%, of 1" in lines
    assert "all: error: median 20.0%, worst 50.0%, of 3" in lines
