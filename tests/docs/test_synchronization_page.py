"""docs/synchronization.md has every mode, and its example does what it says."""

from pathlib import Path

import pytest
from test_examples import blocks, run_blocks

from osxfs_sim.model.synchronization import SyncMode
from osxfs_sim.synchronize.engine import EMPTIED_FROM_ENTRIES

PAGE = (Path(__file__).parents[2] / "docs" / "synchronization.md").read_text()


def modes_of(page: str) -> set[str]:
    [header] = [line for line in page.splitlines() if line.startswith("| host | guest |")]
    return {cell.strip(" `") for cell in header.split("|")[3:-1]}


def test_every_mode_has_its_column():
    assert modes_of(PAGE) == {str(mode) for mode in SyncMode}
    assert modes_of(PAGE.replace("| `one-way-safe` ", "| ")) != {str(mode) for mode in SyncMode}


def test_the_number_of_a_halt_is_the_codes():
    assert f"had {EMPTIED_FROM_ENTRIES} entries or more" in " ".join(PAGE.split())


@pytest.mark.starts_processes
def test_its_example_does_what_it_says(tmp_path):
    texts = [text for kind, _, text in blocks("synchronization.md") if kind == "python"]
    result = run_blocks("python", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "from the host",
        "from the guest",
        "a file file file",
    ]
