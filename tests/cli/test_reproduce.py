"""``osxfs-sim reproduce`` on a tiny study of a tiny case: measured, gone on with, shown, drawn."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.command import Command

from osxfs_sim.lab.results import load_result
from osxfs_sim.mount.mounts.mountpoints import mounts

pytestmark = pytest.mark.usefixtures("need_fuse")

CASE = """
name = "make"
title = "Make a directory and a file in it"
purpose = "Something to wait for."
arms = ["native", "none"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
quick = ["run.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'test ! -e "$BROKEN" || exit 1; mkdir -p "$1/made"; echo x > "$1/made/x" && echo ok',
}
STUDY = """
name = "tiny"
title = "A tiny table"
case = "./make"
volume = "made"
local = "none"
source = "nobody"
machine = "a big one"
[[platforms]]
name = "Some"
profile = "osxfs"
native = 0.001
no_volumes = [0.001, 0.0009, 0.0011]
hybrid = 0.001
bind = 0.003
dilations = [1]
[[checks]]
text = "as published"
source = "nobody"
published = 3
unit = "times"
value = { case = "table", arm = "osxfs bind", over = "native" }
[[checks]]
text = "of the other"
source = "nobody"
published = 1
unit = "s"
value = { case = "again", arm = "none", kind = "again" }
[[others]]
name = "again"
case = "./make"
arms = ["native", "none"]
again = true
"""


@pytest.fixture
def here(small_case, tmp_path: Path) -> Path:
    small_case("make", CASE, SCRIPTS)
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="session")
def reproduce(cli: Command):
    def reproduce(here: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        broken = {"BROKEN": str(here / "broken")}
        return cli("reproduce", *options, cwd=here, cache=here / "cache", env=broken)

    return reproduce


@pytest.fixture(scope="session")
def result_of(reproduce):
    def result_of(here: Path, *options: str) -> Any:
        result = reproduce(here, "tiny.toml", *options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return result_of


def test_a_table_is_measured_gone_on_with_and_shown_as_it_was(
    reproduce, result_of, here: Path
) -> None:
    first = result_of(here, "--runs", "1", "--directory", ".", "--json")
    kept = here / "reproduction-tiny"
    assert sorted(path.name for path in kept.iterdir()) == [
        *("again.json", "machine.json", "table.json"),
    ]
    dilation = first["dilations"]["osxfs"]
    assert dilation == pytest.approx(first["native_s"] / 0.001, rel=0.01)
    assert [(cell["topology"], cell["runs"]) for cell in first["cells"]] == [
        *(("native", 1), ("no_volumes", 1), ("hybrid", 1), ("bind", 1)),
    ]
    table = load_result(kept / "table.json")
    assert table.specs["osxfs hybrid"]["options"]["dilate"] == dilation
    assert table.specs["osxfs bind K=1"]["options"]["dilate"] == 1
    # What is made lies in the volume: on the bind mount alone the share hears of the file.
    (bind,), (hybrid,) = table.of("osxfs bind"), table.of("osxfs hybrid")
    assert bind.share is not None
    assert hybrid.share is not None
    assert bind.share["requests"]["CREATE"] == 1
    assert "CREATE" not in hybrid.share["requests"]
    (added,) = first["added"]
    assert isinstance(added["line"]["waiting_s"], float)  # how large it is, the machine decides
    assert added["latency_ns"] == 130_000
    times, seconds = first["checked"]
    assert times["error"] == pytest.approx(times["ours"] / 3 - 1)
    assert seconds["ours"] > 0

    more = result_of(
        here, "--resume", "reproduction-tiny", "--runs", "2", "--directory", ".", "--json"
    )
    assert [cell["runs"] for cell in more["cells"]] == [2] * 4
    assert more["dilations"] == first["dilations"]
    again = load_result(kept / "table.json")
    assert again.samples[: len(table.samples)] == table.samples

    shown = reproduce(here, "tiny.toml", "--show", "reproduction-tiny", "--picture", "ratios.svg")
    assert shown.returncode == 0, shown.stderr
    assert "A tiny table" in shown.stdout
    assert "Some" in (here / "ratios.svg").read_text()
    assert result_of(here, "--show", "reproduction-tiny", "--json") == more
    assert (
        "| Some | native |"
        in reproduce(here, "tiny.toml", "--show", "reproduction-tiny", "--markdown").stdout
    )
    assert not [one for one in mounts() if one.mountpoint.startswith(str(here))]


def test_a_case_that_fails_natively_is_said_and_can_be_gone_on_with(reproduce, here: Path) -> None:
    (here / "broken").touch()
    result = reproduce(here, "tiny.toml", "--runs", "1", "--directory", ".")
    assert result.returncode == 1
    said = result.stderr.splitlines()
    assert said[-1].startswith("osxfs-sim: the case fails natively, so that nothing can be")
    assert said[-2] == "  to go on: osxfs-sim reproduce tiny.toml --resume reproduction-tiny"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("tiny.toml", "--show", "make", "--runs", "3"), "--runs has no effect with --show"),
        (
            ("tiny.toml", "--resume", "make", "--output", "x"),
            "--output has no effect with --resume",
        ),
        (("tiny.toml", "--json", "--markdown"), "--markdown has no effect beside --json"),
        (("tiny.toml", "--picture", "x.gif"), "ends in .svg or .png"),
        (("tiny.toml", "--show", "make"), "make holds no machine.json"),
        (("tiny.toml", "--output", "make"), "make is not empty: --resume make"),
        (("tiny.toml", "--output", "tiny.toml/such"), "cannot make tiny.toml/such"),
        (("tinny.toml",), "cannot read the study tinny.toml"),
        (("npm-instal",), "did you mean 'npm-install'"),
    ],
)
def test_a_mistake_is_one_line(reproduce, here: Path, options: tuple[str, ...], said: str) -> None:
    result = reproduce(here, *options)
    assert result.returncode in (1, 2)
    *before, line = result.stderr.splitlines()
    assert said in line
    # Where it would have begun, what it runs is said first.
    assert all("tiny.toml has this run: " in each for each in before), before
