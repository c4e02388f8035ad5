"""Arms, runs and results, on a case small enough to be read here."""

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.benches import by_arm, comparison_of, run_in_turn, workload_of

from osxfs_sim import Share, share
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.results import Sample
from osxfs_sim.lab.summary import representative, representatives
from osxfs_sim.lab.trees import prepare_tree

CASE = """
name = "look"
title = "Look for what is not there"
purpose = "Three names, two of them missing."
arms = ["native", "none"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
expected_output = "expected"
"""
SETUP = """#!/bin/sh
set -e
echo setting-up >> "$(dirname "$0")/times-set-up.md"
mkdir "$1.part"
echo present > "$1.part/there"
echo found > "$1.part/expected"
mv "$1.part" "$1"
"""
RUN = """#!/bin/sh
test -e "$1/there" && ! test -e "$1/missing" && ! test -e "$1/gone" && echo found
"""


@pytest.fixture
def folder(small_case) -> Path:
    return small_case("look", CASE, {"setup.sh": SETUP, "run.sh": RUN})


def mount(arm: str, source: Path, mountpoint: Path) -> "AbstractContextManager[Share]":
    return share(source, mountpoint, profile=arm, calibrate=False)


def say_nothing(text: str) -> None:
    del text


def test_a_tree_is_set_up_once_and_again_when_its_recipe_changes(
    folder: Path, tmp_path: Path
) -> None:
    case = load_case(f"{folder}/")
    first = prepare_tree(case, "default", tmp_path / "cache", say_nothing)
    assert prepare_tree(case, "default", tmp_path / "cache", say_nothing) == first
    # The .md files of a case are for people, and no part of its recipe.
    assert (folder / "times-set-up.md").read_text().splitlines() == ["setting-up"]
    (folder / "setup.sh").write_text(SETUP + "# changed\n")
    assert prepare_tree(case, "default", tmp_path / "cache", say_nothing) != first


def test_a_set_up_that_fails_is_an_error_and_leaves_no_tree(folder: Path, tmp_path: Path) -> None:
    (folder / "setup.sh").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(CaseError, match=r"^setting up the case look failed"):
        prepare_tree(load_case(f"{folder}/"), "default", tmp_path / "cache", say_nothing)


def test_variants_with_the_same_set_up_share_its_tree(folder: Path, tmp_path: Path) -> None:
    (folder / "case.toml").write_text(
        CASE.replace("[command]", 'variants = ["one", "other"]\n[command]')
    )
    case = load_case(f"{folder}/")
    first = prepare_tree(case, "one", tmp_path / "cache", say_nothing)
    assert prepare_tree(case, "other", tmp_path / "cache", say_nothing) == first


@pytest.mark.usefixtures("need_fuse")
def test_each_arm_has_a_fresh_run_and_others_and_its_requests_are_counted(
    folder: Path, tmp_path: Path
) -> None:
    made = run_in_turn(folder, mount, "native", "none", "osxfs-negative", runs=2)
    native, consistent, negative = by_arm(made)
    assert [run.kind for run in native] == ["fresh", "again"]
    assert [run.failure for arm in (native, consistent, negative) for run in arm] == [""] * 6
    assert "native" not in made.mounted
    missing = [
        [run.share["missing_lookups"] for run in arm if run.share] for arm in (consistent, negative)
    ]
    assert missing == [[2, 2], [2, 0]]
    document = made.to_document()
    assert json.loads(json.dumps(document)) == document
    assert document["samples"][2]["share"]["missing_lookups"] == 2
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_failing_command_is_a_failed_run(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho fine\necho broken >&2\nexit 7\n")
    (run,) = run_in_turn(folder, mount, "native").samples
    assert run.failure == "exit code 7: broken"


def test_another_output_is_a_failed_run(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho lost\n")
    (run,) = run_in_turn(folder, mount, "native").samples
    assert run.failure == "the output differs from expected"


def test_a_quick_command_that_prints_nothing_is_a_failed_run(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\n")
    quick = workload_of(folder, quick=True)
    (run,) = run_in_turn(folder, mount, "native", workload=quick).samples
    assert run.failure == "the command printed nothing"


def test_the_table_shows_the_fresh_run_and_the_median_of_the_others() -> None:
    fresh = Sample("osxfs", 0, "fresh", 9.0, 1.0)
    others = [Sample("osxfs", 1, "again", wall_s, 1.0) for wall_s in (3.0, 1.0, 2.0)]
    made = comparison_of(["osxfs"], samples=[fresh, *others])
    assert representatives(made, "osxfs") == [fresh, others[2]]
    assert representative(made, "osxfs", "again") == others[2]


def test_a_failed_run_never_stands_for_the_others() -> None:
    failed = Sample("osxfs", 1, "again", 0.1, 0.0, failure="exit code 1")
    good = Sample("osxfs", 2, "again", 3.0, 1.0)
    made = comparison_of(["osxfs"], samples=[failed, good])
    assert representatives(made, "osxfs") == [failed, good]
    assert representative(made, "osxfs", "again") == good
    assert representative(comparison_of(["osxfs"], samples=[failed]), "osxfs", "again") is None
