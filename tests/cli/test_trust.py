"""What a file has this program run is said first; what only a result names does not run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.reporting import comparison
from support.users import OWNER

import osxfs_sim
from osxfs_sim.cli import main
from osxfs_sim.cli.trust import modules_of, scripts_of, whose_else
from osxfs_sim.lab.results import save_result

_POLICY = """
import os
open(os.path.join(os.path.dirname(__file__), "imported"), "w").close()
from osxfs_sim.model.caching import Consistent as P
"""
_CASE = """
name = "theirs"
title = "t"
purpose = "p"
arms = ["native", "none"]
[tree]
setup = ["scripts/run.sh", "{tree}"]
[command]
measured = ["scripts/run.sh", "{tree}"]
"""


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ending:
        main(list(map(str, words)))
    code = ending.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a case and a policy of somebody, in which one works."""
    scripts = tmp_path / "case" / "scripts"
    scripts.mkdir(parents=True)
    (tmp_path / "case" / "case.toml").write_text(_CASE)
    (scripts / "run.sh").write_text(f'#!/bin/sh\nmkdir -p "$1"; touch {tmp_path}/ran\n')
    (scripts / "run.sh").chmod(0o755)
    (tmp_path / "their_policy.py").write_text(_POLICY)
    monkeypatch.delitem(sys.modules, "their_policy", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def has_run(theirs: Path) -> bool:
    return (theirs / "ran").exists() or (theirs / "imported").exists()


def result(theirs: Path, case: str, *arms: str, damage: dict[str, object] | None = None) -> Path:
    """As compare, or frontier, has saved it."""
    made = comparison(1)
    made.plan = {
        "runs": 1,
        "until": None,
        "most_runs": 1,
        "case": case,
        "arms": list(arms),
        "aa": None,
        "baseline": None,
        "caches": "warm",
        "again": False,
        "quick": False,
        "variant": None,
        "toggles": [],
        "directory": None,
        "seed": 0,
        "dilate": 1.0,
        "trace": None,
        "edits": None,
        "groups": {},
        **(damage or {}),
    }
    made.sources = {"recipe": "x"}
    save_result(made, theirs / "result.json")
    return theirs / "result.json"


ARMS = ("native", "none", "x=none --policy their_policy:P")


@pytest.mark.parametrize("name", ["compare", "frontier"])
@pytest.mark.parametrize(
    ("case", "arms", "named"),
    [
        ("CASE", ("native", "none"), "scripts of the case"),
        ("rake", ARMS, "module their_policy"),
        ("rake", ("native", "none --policy=their_policy:P"), "module their_policy"),
        ("CASE", ARMS, "; the Python module their_policy"),
    ],
)
def test_a_result_that_is_gone_on_with_runs_nothing_of_its_own(
    theirs, capfd, name, case, arms, named
):
    file = result(theirs, case.replace("CASE", str(theirs / "case")), *arms)
    assert command(name, "--resume", file) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert named in line
    assert "--trust" in line
    assert not has_run(theirs)


@pytest.mark.starts_processes
def test_what_is_named_on_the_command_line_too_may_run(theirs, capfd):
    file = result(theirs, str(theirs / "case"), *ARMS)
    assert command("compare", theirs / "case", "--resume", file) == 1
    assert "the Python module their_policy" in capfd.readouterr().err
    assert not has_run(theirs)
    arms = [word for arm in ARMS for word in ("--arm", arm)]
    assert command("compare", "--resume", file, *arms) == 1
    assert "scripts of the case" in capfd.readouterr().err
    command("compare", theirs / "case", "--resume", file, *arms)
    assert "--trust" not in capfd.readouterr().err
    assert has_run(theirs), "the policy was imported, to see whether it is what it was"


@pytest.mark.starts_processes
def test_what_is_trusted_is_said_all_the_same(theirs, capfd):
    file = result(theirs, str(theirs / "case"), *ARMS)
    command("compare", "--resume", file, "--trust")
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith(f"osxfs-sim: {file} has this run: the scripts of the case")
    assert has_run(theirs)


@pytest.mark.parametrize("plan", [{"case": 5}, {"arms": "x"}, {"arms": [5]}, {"aa": [5]}])
@pytest.mark.parametrize("name", ["compare", "frontier"])
def test_a_plan_that_is_damaged_is_refused(theirs, capfd, name, plan):
    assert command(name, "--resume", result(theirs, "rake", *ARMS, damage=plan)) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


SWEEP = """
title = "t"
[[groups]]
name = "g"
arms = ["none --policy their_policy:P"]
"""


@pytest.mark.parametrize("owner", [0, OWNER.uid])
def test_a_sweep_says_what_it_imports_and_is_refused_where_another_wrote_it(theirs, capfd, owner):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    (theirs / "sweep.toml").write_text(SWEEP)
    os.chown(theirs / "sweep.toml", owner, -1)
    command("frontier", "nosuch", "--sweep", theirs / "sweep.toml")
    first, *_ = capfd.readouterr().err.splitlines()
    assert "the Python module their_policy" in first
    assert has_run(theirs) == (owner == 0)
    if owner:
        command("frontier", "nosuch", "--sweep", theirs / "sweep.toml", "--trust")
        assert has_run(theirs)


@pytest.mark.parametrize("owner", [0, OWNER.uid])
def test_a_share_file_too_before_anything_is_imported(theirs, capfd, owner):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    file = theirs / "share.toml"
    file.write_text('[exports.a]\nsource = "case"\npolicy = "their_policy:P"\nprofile = "none"\n')
    os.chown(file, owner, -1)
    # Refused for its mount point, later.
    assert command("mount", file, theirs / "nosuch") == 1
    first, *_ = capfd.readouterr().err.splitlines()
    assert "the Python module their_policy" in first
    assert has_run(theirs) == (owner == 0)


@pytest.mark.starts_processes
def test_a_case_that_others_can_write_is_named(theirs, capfd):
    (theirs / "case" / "scripts" / "run.sh").chmod(0o777)
    command("run", "./case", "--arm", "native", "--runs", "1")
    assert "which everybody may write" in capfd.readouterr().err


def test_what_runs_is_found_however_it_is_written():
    assert [*modules_of(["none", "a=none --policy 'm.n:P' --seed 1", "none --policy=k:P"])] == [
        "the Python module m.n",
        "the Python module k",
    ]
    assert [*modules_of(["none --policy m:P --policy m:Q"])] == ["the Python module m"]
    assert not [*scripts_of("rake")]
    assert [*scripts_of("./rake")]
    assert [*scripts_of("nosuch")]


def test_who_else_can_write(tmp_path):
    file = tmp_path / "file"
    file.touch(0o644)
    assert whose_else(file) == ""
    file.chmod(0o666)
    assert "everybody" in whose_else(file)
    assert whose_else(tmp_path / "nosuch") == ""


def test_the_hint_to_go_on_names_what_the_file_alone_would_not_be_believed(theirs):
    from osxfs_sim.cli.compare import _to_go_on
    from osxfs_sim.lab.comparing import ComparisonPlan

    plan = ComparisonPlan(case="./my case", runs=1, arms=ARMS)
    said = _to_go_on(plan, Path("r 1.json"))
    assert said == "osxfs-sim compare './my case' --resume 'r 1.json' --trust"
    plan = ComparisonPlan(case="rake", runs=1, arms=("native", "none"))
    assert _to_go_on(plan, Path("r.json")) == "osxfs-sim compare --resume r.json"
    assert json.loads((result(theirs, "rake")).read_text())["plan"]["case"] == "rake"


_DRAWS = """
import hashlib
from osxfs_sim.report.plots import Style, WallTimes, render, wall_times
arm = WallTimes("osxfs", (1.0, 2.0), 1.5, (1.0, 2.0))
style = Style()
drawn = render(wall_times({"fresh": [arm]}, "osxfs", style), style, "svg")
print(hashlib.sha256(drawn).hexdigest())
"""


@pytest.mark.starts_processes
def test_a_style_that_lies_where_one_works_draws_nothing(tmp_path):
    """And runs nothing: with usetex, labels would be given to a program with a preamble."""
    said = []
    for style in ("", "text.usetex: True\nlines.linewidth: 40\naxes.titlesize: 99\n"):
        (tmp_path / "matplotlibrc").write_text(style)
        done = subprocess.run(
            [sys.executable, "-c", _DRAWS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(osxfs_sim.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
