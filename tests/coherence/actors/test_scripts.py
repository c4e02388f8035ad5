"""Schedules as scripts: they run by themselves, and find a breach unless it is cured."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import osxfs_sim
from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.scripts import changed, operation_source, script, set_up

STEPS = [
    ("host", ActorOperation("create", "a", data="old")),
    ("guest", ActorOperation("read", "a")),
    ("host", ActorOperation("write", "a", data='"new"\\')),
    ("guest", ActorOperation("read", "a")),
]
JUDGE = '''
def breach(told: list[OperationInterval]) -> str | None:
    """The guest reads what the host wrote."""
    if told[-1].outcome == OperationResult('"new"\\\\'):
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
        ActorOperation("rename", "a", "b"),
        ActorOperation("pread", handle="h", offset=3, size=4),
        ActorOperation("sync"),
    ):
        assert eval(operation_source(operation), {"ActorOperation": ActorOperation}) == operation


@pytest.mark.parametrize("title", ["plain", 'with """ and \\ and {braces}'])
def test_a_script_is_python_whatever_its_title(title: str) -> None:
    exports = {"above": {"source": "tree", "profile": "osxfs-cached"}}
    source = script(
        {"profile": "osxfs", "cache_timeout_ns": 0}, STEPS, JUDGE, title, exports=exports
    )
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
    exports = {"above": {"source": "tree", "profile": "osxfs-cached"}}
    arguments = [
        "profile=osxfs",
        "cache_timeout_ns=5",
        "above.profile=none",
        "kernel_write_back=true",
    ]
    settings, trees = changed({"cache_timeout_ns": 4, "seed": 1}, exports, arguments)
    assert settings == {
        "cache_timeout_ns": 5,
        "seed": 1,
        "profile": "osxfs",
        "kernel_write_back": True,
    }
    assert trees == {"above": {"source": "tree", "profile": "none"}}
    assert exports["above"]["profile"] == "osxfs-cached"


@pytest.mark.parametrize("wrong", ["profile", "=osxfs", "below.profile=osxfs"])
def test_what_is_no_setting_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(SystemExit, match="write KEY=VALUE, such as profile=osxfs"):
        changed({}, {"above": {}}, [wrong])


def test_a_script_tries_as_often_as_it_is_told() -> None:
    """One breach is enough, or it needs one each time."""
    for every, breaches, expected in (
        (False, [None, "wrong", None], ("wrong", 2)),
        (False, [None, None, None], (None, 3)),
        (True, ["wrong", "wrong", "wrong"], ("wrong", 3)),
        (True, ["wrong", None, "wrong"], (None, 2)),
    ):
        source = script({}, STEPS, JUDGE, "Several.", tries=3, every=every)
        scope: dict[str, Any] = {"__name__": "a script"}
        exec(source, scope)
        plays = iter(breaches)
        played: list[object] = []
        scope["play"] = lambda played=played: played.append(None) or []
        scope["breach"] = lambda _, plays=plays: next(plays)
        code = scope["main"]()
        assert (code, len(played)) == (1 if expected[0] else 0, expected[1])


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
