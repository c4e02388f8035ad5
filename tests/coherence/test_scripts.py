"""Schedules as scripts: they run by themselves, and find a breach unless it is cured."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import osxfs_sim
from osxfs_sim.coherence.operations import Operation
from osxfs_sim.coherence.scripts import changed_settings, operation_source, script, set_up

STEPS = [
    ("host", Operation("create", "a", data="old")),
    ("guest", Operation("read", "a")),
    ("host", Operation("write", "a", data='"new"\\')),
    ("guest", Operation("read", "a")),
]
JUDGE = '''
def breach(told: list[Performed]) -> str | None:
    """The guest reads what the host wrote."""
    if told[-1].outcome == Outcome('"new"\\\\'):
        return None
    return f"the guest read {told[-1].outcome.value!r}"
'''


def run(source: str, path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path.write_text(source)
    package = str(Path(osxfs_sim.__file__).parents[1])
    return subprocess.run(
        [sys.executable, path, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": package},
    )


def test_an_operation_is_written_as_it_was() -> None:
    for operation in (
        *(operation for _, operation in STEPS),
        Operation("rename", "a", "b"),
        Operation("pread", handle="h", offset=3, size=4),
        Operation("sync"),
    ):
        assert eval(operation_source(operation), {"Operation": Operation}) == operation


@pytest.mark.parametrize("title", ["plain", 'with """ and \\ and {braces}'])
def test_a_script_is_python_whatever_its_title(title: str) -> None:
    exports = {"above": {"source": "tree", "profile": "osxfs-cached"}}
    source = script({"profile": "osxfs", "lifetime_ns": 0}, STEPS, JUDGE, title, exports=exports)
    tree = ast.parse(source)
    assert "breach" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.usefixtures("need_fuse")
def test_a_script_finds_the_breach_and_not_where_it_is_cured(tmp_path: Path) -> None:
    """Where nothing tells the cache of the change it must lag; where there is none it cannot."""
    settings = {"profile": "osxfs-cached", "latency_ns": 0, "host_events": "none"}
    source = script(settings, STEPS, JUDGE, "A cached share that hears of nothing lags.")
    found = run(source, tmp_path / "breach.py")
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines()[-2:] == [
        "guest: read a -> 'old'",
        "BREACH: the guest read 'old'",
    ]
    cured = run(source, tmp_path / "breach.py", "profile=osxfs")
    assert (cured.returncode, cured.stderr) == (0, "")
    assert cured.stdout.splitlines()[-1] == "no breach"


def test_what_is_changed_for_a_run_is_json_or_text() -> None:
    changed = changed_settings(["profile=osxfs", "lifetime_ns=5", "kernel_write_back=true"])
    assert changed == {"profile": "osxfs", "lifetime_ns": 5, "kernel_write_back": True}
    with pytest.raises(SystemExit, match="write KEY=VALUE"):
        changed_settings(["profile"])


def test_a_place_has_the_sources_of_its_exports_and_leaves_nothing() -> None:
    exports = {
        "above": {"source": "tree", "profile": "osxfs-cached"},
        "inner": {"source": "tree/inner", "profile": "osxfs", "served_at_once": 2},
    }
    with set_up(exports) as place:
        assert (place.host / "tree" / "inner").is_dir()
        assert place.source.read_text().splitlines() == [
            "[exports.above]",
            'source = "host/tree"',
            'profile = "osxfs-cached"',
            "[exports.inner]",
            'source = "host/tree/inner"',
            'profile = "osxfs"',
            "served_at_once = 2",
        ]
    assert not place.host.exists()
