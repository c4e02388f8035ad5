"""Where the work's files lie: natively, on a share, in a volume inside one, on a copy.

By the commands themselves, on a case whose work makes a directory of modules and a file
beside it. The host has one, the other or both: each arm is checked by what it should have.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.small_cases import write_script

from osxfs_sim.mount.mounts.mountpoints import mounts

pytestmark = [
    pytest.mark.usefixtures("need_fuse"),
    pytest.mark.skipif(os.geteuid() != 0, reason="it takes root"),
]

CASE = """
name = "install"
title = "Installs modules"
purpose = "A directory of modules, and a file beside it."
arms = ["native", "none"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
reset = ["reset.sh", "{tree}"]
shared = { default = "app" }
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}"]
deterministic = ["app"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir -p "$1/app" && echo source > "$1/app/source"',
    "reset.sh": 'find "$1/app/modules" -mindepth 1 -delete 2>/dev/null; rm -f "$1/app/built"',
    "run.sh": 'cd "$1/app" && umask 022 && mkdir -p modules/m && echo code > modules/m/file && '
    "sort source > built",
    "check.sh": 'test -s "$1/app/built" && test -s "$1/app/modules/m/file" || '
    "{ echo incomplete >&2; exit 1; }",
}


@pytest.fixture
def folder(small_case) -> Path:
    return small_case("install", CASE, SCRIPTS)


@pytest.fixture(scope="session")
def osxfs_sim(cli: Command):
    def osxfs_sim(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words, cwd=folder.parent, cache=folder.parent / "cache")

    return osxfs_sim


@pytest.fixture(scope="session")
def compare(osxfs_sim):
    def compare(folder: Path, *arms: str, again: bool = True) -> "subprocess.CompletedProcess[str]":
        words = [word for arm in ("native", *arms) for word in ("--arm", arm)]
        options = ("--runs", "1", "--output", "result.json", "--force", "--directory", ".")
        return osxfs_sim(folder, "compare", "./install", *words, *options, *["--again"] * again)

    return compare


def failures(folder: Path) -> dict[str, set[str]]:
    """What was wrong in each arm."""
    document = json.loads((folder.parent / "result.json").read_text())
    found: dict[str, set[str]] = {}
    for sample in document["samples"]:
        found.setdefault(sample["arm"], set()).add(sample["failure"])
    return found


def assert_nothing_is_left(directory: Path) -> None:
    assert not list(directory.glob("osxfs-sim-*"))
    assert not [e for e in mounts() if e.mountpoint.startswith(str(directory))]


VOLUMES = ("none --volume modules", "delegated=osxfs-delegated --latency 0us --volume modules")


TOPOLOGIES = (
    *VOLUMES,
    "volume",
    "linux=native --volume modules",
    "volume --volume modules",
    "docker-vz-sync",
    "sync=docker-vz-sync --volume modules",
)


def test_each_is_measured_and_checked_as_the_guest_sees_it(
    compare, osxfs_sim, folder: Path
) -> None:
    result = compare(folder, *TOPOLOGIES)
    assert result.returncode == 0, result.stderr
    assert len(failures(folder)) == 1 + len(TOPOLOGIES)
    assert all(said == {""} for said in failures(folder).values())
    document = json.loads((folder.parent / "result.json").read_text())
    digests = {sample["digest"] for sample in document["samples"]}
    assert len(digests) == 1, "the same tree everywhere, wherever it lies"
    (volume,) = document["mounted"]["delegated"]["volumes"]
    assert volume["path"] == "modules"
    assert not Path(volume["directory"]).exists(), "a new one for each mount"
    assert document["mounted"]["linux"]["transport"] == "host"
    assert document["mounted"]["sync"]["synchronization"]["mode"] == "two-way-safe"
    assert not Path(document["mounted"]["volume"]["copy"]).exists(), "a new one for each mount"
    assert_nothing_is_left(folder.parent)
    report = osxfs_sim(folder, "report", "result.json")
    assert report.returncode == 0, report.stderr
    assert "linux" in (folder.parent / "report.html").read_text()


def test_what_is_wrong_in_a_copy_is_found(compare, folder: Path) -> None:
    write_script(folder, "run.sh", f"{SCRIPTS['run.sh']}; mountpoint -q . && echo other > built; :")
    assert compare(folder, "volume", again=False).returncode == 1
    assert "app/built" in failures(folder)["volume"].pop()


def test_a_synchronized_host_has_all_after_the_run_or_it_has_failed(compare, folder: Path) -> None:
    # What is a pipe does not travel.
    write_script(folder, "run.sh", f"{SCRIPTS['run.sh']}; mkfifo pipe; :")
    assert compare(folder, "none", "docker-vz-sync", again=False).returncode == 1
    found = failures(folder)
    assert found["none"] == {""}
    assert "app/pipe" in found["docker-vz-sync"].pop()


def test_without_requests_there_is_nothing_to_trace_or_to_delay(osxfs_sim, folder: Path) -> None:
    arms = ("--arm", "native", "--arm", "volume", "--arm", "none")
    for command in (("compare", "./install", *arms), ("run", "./install", *arms)):
        result = osxfs_sim(folder, *command, "--trace", "traces")
        assert result.returncode == 1
        assert "nothing to record of the arm 'volume'" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    result = osxfs_sim(folder, "compare", "./install", *arms[:2], "--arm", "volume --latency 1ms")
    assert result.returncode == 1
    assert "latency has no effect with the profile volume" in result.stderr
    assert not (folder.parent / "cache").exists()


def test_what_is_wrong_in_a_volume_is_found(compare, folder: Path) -> None:
    # In a volume, and there only: in a share's the check finds it, in the other the comparison.
    wrong = (
        "case $(stat -f -c %T .) in fuse*) rm modules/m/file;; *) echo x > modules/m/file;; esac"
    )
    write_script(folder, "run.sh", f"{SCRIPTS['run.sh']}; mountpoint -q modules && {wrong}; :")
    result = compare(folder, "none", VOLUMES[0], "linux=native --volume modules", again=False)
    assert result.returncode == 1
    found = failures(folder)
    assert found["none"] == {""}
    assert found[VOLUMES[0]] == {"the check failed: exit code 1: incomplete"}
    assert "app/modules/m/file" in found["linux"].pop()


def test_a_run_has_volumes_too(osxfs_sim, folder: Path) -> None:
    words = ("run", "./install", "--arm", "none", "--volume", "modules", "--directory", ".")
    result = osxfs_sim(folder, *words, "--runs", "2", "--json", "run.json")
    assert result.returncode == 0, result.stderr
    document = json.loads((folder.parent / "run.json").read_text())
    assert [sample["failure"] for sample in document["samples"]] == ["", ""]
    assert document["mounted"]["none"]["volumes"][0]["path"] == "modules"
    assert_nothing_is_left(folder.parent)
    refused = osxfs_sim(folder, "run", "./install", "--arm", "native", "--volume", "modules")
    assert "no effect without a mounted arm" in refused.stderr


def test_a_volume_outside_of_the_share_is_refused_before_anything_runs(
    compare, folder: Path
) -> None:
    result = compare(folder, "none --volume ../modules")
    assert result.returncode == 2
    assert "no path inside the share" in result.stderr
    assert not (folder.parent / "cache").exists()
