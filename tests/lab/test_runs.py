"""Arms, runs and results, on a case small enough to be read here."""

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from osxfs_sim import Share, share
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.runs import ArmResult, Plan, Run, prepare_tree, run_case, to_document

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


def plan_for(folder: Path, *arms: str, runs: int = 2) -> Plan:
    case = load_case(f"{folder}/")
    return Plan(case, arms, "default", False, (), runs)


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
    plan = plan_for(folder, "native", "none", "osxfs-negative")
    tree = prepare_tree(plan.case, "default", tmp_path / "cache", say_nothing)
    native, consistent, negative = run_case(plan, tree, tmp_path, mount, say_nothing)
    assert [run.kind for run in native.runs] == ["fresh", "again"]
    assert [run.failure for arm in (native, consistent, negative) for run in arm.runs] == [""] * 6
    assert native.mounted is None
    missing = [
        [run.share["missing_lookups"] for run in arm.runs if run.share]
        for arm in (consistent, negative)
    ]
    assert missing == [[2, 2], [2, 0]]
    document = to_document(plan, [native, consistent], {"cores": 2}, "2026-01-01T00:00:00+00:00")
    assert json.loads(json.dumps(document)) == document
    assert document["arms"][1]["runs"][0]["share"]["missing_lookups"] == 2
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_failing_command_is_a_failed_run(folder: Path, tmp_path: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho fine\necho broken >&2\nexit 7\n")
    plan = plan_for(folder, "native", runs=1)
    tree = prepare_tree(plan.case, "default", tmp_path / "cache", say_nothing)
    (result,) = run_case(plan, tree, tmp_path, mount, say_nothing)
    assert result.runs[0].failure == "exit code 7: broken"


def test_another_output_is_a_failed_run(folder: Path, tmp_path: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho lost\n")
    plan = plan_for(folder, "native", runs=1)
    tree = prepare_tree(plan.case, "default", tmp_path / "cache", say_nothing)
    (result,) = run_case(plan, tree, tmp_path, mount, say_nothing)
    assert result.runs[0].failure == "the output differs from expected"


def test_a_quick_command_that_prints_nothing_is_a_failed_run(folder: Path, tmp_path: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\n")
    plan = replace(plan_for(folder, "native", runs=1), quick=True)
    tree = prepare_tree(plan.case, "default", tmp_path / "cache", say_nothing)
    (result,) = run_case(plan, tree, tmp_path, mount, say_nothing)
    assert result.runs[0].failure == "the command printed nothing"


def test_the_table_shows_the_fresh_run_and_the_median_of_the_others() -> None:
    fresh = Run("fresh", 9.0, 1.0)
    others = [Run("again", wall_s, 1.0) for wall_s in (3.0, 1.0, 2.0)]
    result = ArmResult("osxfs", [fresh, *others])
    assert result.representative() == [fresh, others[2]]
    assert result.counterpart(Run("again", 5.0, 1.0)) == others[2]


def test_a_failed_run_never_stands_for_the_others() -> None:
    good, failed = Run("again", 3.0, 1.0), Run("again", 0.1, 0.0, failure="exit code 1")
    result = ArmResult("osxfs", [failed, good])
    assert result.representative() == [failed, good]
    assert result.counterpart(Run("again", 5.0, 1.0)) == good
    assert ArmResult("osxfs", [failed]).counterpart(good) is None
