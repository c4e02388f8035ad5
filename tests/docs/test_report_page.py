"""What docs/report.md tells the reader to type works, on the results that are there."""

import os
from pathlib import Path

import pytest
from test_examples import DOCS, blocks, run_blocks


@pytest.mark.starts_processes
def test_the_commands_of_the_page_on_reports_work(tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(DOCS)
    texts = [text for language, _, text in blocks("report.md") if language == "sh"]
    assert len(texts) == 4
    done = run_blocks("sh", texts, tmp_path)
    assert done.returncode == 0, done.stderr
    made = set(os.listdir(tmp_path)) - {"docs"}
    assert made == {"report.html", "rake.html", "rake.md", "figures"}
    assert "rake-wall-times.png" in done.stdout
    assert "case,variant,quick" in done.stdout
