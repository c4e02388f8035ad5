"""The frontier's page has what its samples say between its marks, and its picture is theirs."""

import json
from pathlib import Path

import pytest
from support.project_scripts import project_script

ROOT = Path(__file__).parents[2]


study = project_script("frontier_page")
PAGE = study.PAGE.read_text()


@pytest.mark.starts_processes
def test_the_page_says_what_its_samples_say(tmp_path: Path) -> None:
    results = study.measured()
    if not results:
        assert study.filled(PAGE, study.NOT_YET) == PAGE
        assert not study.PICTURE.exists()
        return
    drawn = tmp_path / "frontier.svg"
    text = f"{study.IMAGE}\n\n{study.told(results, '--picture', str(drawn))}"
    assert study.filled(PAGE, text) == PAGE
    assert study.PICTURE.read_bytes() == drawn.read_bytes()


def test_a_number_that_was_changed_would_be_noticed() -> None:
    page = study.filled(PAGE, "| osxfs | 12.3 s |")
    assert study.filled(page, "| osxfs | 12.3 s |") == page
    assert study.filled(page, "| osxfs | 12.4 s |") != page
    with pytest.raises(ValueError, match="lacks"):
        study.filled(page.replace(study.END, ""), "")


def test_every_measured_case_is_one_of_the_pages() -> None:
    names = {path.stem for path in study.RESULTS.glob("*.json")}
    assert names <= set(study.CASES)
    script = (ROOT / "scripts" / "frontier").read_text()
    for case in study.CASES:
        assert f"\nmeasure {case} " in script


def test_every_arm_that_is_measured_is_explained() -> None:
    explained = PAGE.partition("| arm | what it caches")[2].partition("\n\n")[0]
    from osxfs_sim.cli.arms import parse_arms
    from osxfs_sim.lab.sweep import load_sweep

    for arm in parse_arms(load_sweep("short").arms)[1:]:
        assert arm.label in explained
    for path in study.measured():
        for label in json.loads(path.read_text())["arms"]:
            assert label == "native" or label in explained
