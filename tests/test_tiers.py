"""Each test is in one tier, by what it uses; and a unit test that does more is refused."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from support.guests import PATIENCE_S
from support.tiers import COLLECTED, SLOW, TIERS, tier_of

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("fixtures", "marks", "tier"),
    [
        ((), (), "unit"),
        (("tmp_path", "ground", "field", "monkeypatch"), ("parametrize",), "unit"),
        (("cli", "tmp_path"), (), "process"),
        ((), ("starts_processes",), "process"),
        ((), ("takes_seconds",), "thorough"),
        ((), ("takes_seconds", "slow"), "slow"),
        ((), ("takes_seconds", "starts_processes"), "process"),
        (("share", "sharing", "need_fuse", "ground"), (), "mount"),
        (("small_source",), (), "mount"),
        ((), ("mounts", "starts_processes"), "mount"),
        (("cli", "need_fuse"), (), "mount"),
        (("need_fuse",), ("slow", "mounts"), "slow"),
    ],
)
def test_a_tier_follows_from_fixtures_and_marks(
    fixtures: tuple[str, ...], marks: tuple[str, ...], tier: str
) -> None:
    assert tier_of(fixtures, marks) == tier


def not_in_one_tier(collected: Mapping[str, Iterable[str]]) -> list[str]:
    """Of tests by their marks, those that the tiers do not run exactly once, and slow ones."""
    return [test for test, marks in collected.items() if len(set(marks) & {*TIERS, SLOW}) != 1]


def test_the_tiers_together_are_what_is_run_without_arguments(request) -> None:
    """Of all that this run has collected, of which -m selects."""
    collected = request.config.stash[COLLECTED]
    assert request.node.nodeid in collected
    assert not_in_one_tier(collected) == []
    counts = {tier: sum(tier in marks for marks in collected.values()) for tier in TIERS}
    assert sum(counts.values()) == sum(SLOW not in marks for marks in collected.values())


@pytest.mark.parametrize(
    "marks", [(), ("unit", "mount"), ("slow", "process"), ("starts_processes",)]
)
def test_one_that_is_in_none_or_two_is_noticed(marks: tuple[str, ...]) -> None:
    assert not_in_one_tier({"a": ("unit",), "seeded": marks, "b": ("slow",)}) == ["seeded"]


# With pytest, on a folder of tests with the conftest of ours

ONE_OF_EACH = """
import subprocess, sys, pytest

def test_thinks(tmp_path):
    pass

def test_mounts(share):
    pass

@pytest.mark.mounts
def test_mounts_by_hand():
    pass

def test_runs_the_command(cli):
    pass

@pytest.mark.starts_processes
@pytest.mark.parametrize("number", [1, 2])
def test_starts_a_process(number):
    subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.mark.takes_seconds
def test_thinks_for_long():
    pass

@pytest.mark.slow
def test_takes_long(share):
    pass
"""


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_bytes((TESTS / "conftest.py").read_bytes())
    (folder / "pytest.ini").write_text('[pytest]\naddopts = --strict-markers -m "not slow"\n')
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder)
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent))),
            "CI": "1",  # reasons are not cut short
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.starts_processes
def test_each_tier_is_selected_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ONE_OF_EACH)

    def selected(*arguments: str) -> list[str]:
        done = run_pytest(tmp_path, "--collect-only", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line]

    assert selected("-m", "unit") == ["test_thinks"]
    assert selected("-m", "mount") == ["test_mounts", "test_mounts_by_hand"]
    assert selected("-m", "process") == [
        "test_runs_the_command",
        "test_starts_a_process[1]",
        "test_starts_a_process[2]",
    ]
    assert selected("-m", "slow") == ["test_takes_long"]
    assert selected("-m", "thorough") == ["test_thinks_for_long"]
    assert len(selected()) == 1 + 1 + 2 + 3


@pytest.mark.starts_processes
def test_a_test_that_falls_in_no_tier_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ONE_OF_EACH)
    (tmp_path / "forgetful.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_collection_modifyitems(items):\n"
        "    items[0].own_markers.clear()\n"
    )
    done = run_pytest(tmp_path, "-p", "forgetful")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py::test_thinks is in no tier: it must be in exactly one of" in done.stderr


@pytest.mark.starts_processes
def test_a_tier_that_is_marked_by_hand_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n@pytest.mark.unit\ndef test(): pass\n")
    done = run_pytest(tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "is marked unit: a tier follows from what a test uses" in done.stderr


REFUSED = {
    "start a process": {
        "run": 'subprocess.run(["true"])',
        "popen": 'subprocess.Popen("true", shell=True)',
        "fork": "os.fork()",
        "forkpty": "os.forkpty()",
        "posix_spawn": 'os.posix_spawn("/bin/true", ["true"], {})',
        "system": 'os.system("true")',
        "multiprocessing": 'multiprocessing.get_context("spawn").Process(target=print).start()',
        "swallowed": 'with contextlib.suppress(BaseException): subprocess.run(["true"])',
        "in_a_thread": "thread = threading.Thread(target=forks); thread.start(); thread.join()",
        "in_a_fixture": "request.getfixturevalue('forking')",
    },
    "mount": {
        "bind": 'syscalls.bind_mount("/nowhere", b"/nowhere")',
        "unmount": 'ctypes.CDLL(None).umount2(b"/nowhere", 0)',
        "file_system": 'syscalls.detached_file_system(b"tmpfs", {})',
        "fuse": 'os.open("/dev/fuse", os.O_RDWR)',
    },
    "sleep": {
        "sleep": "time.sleep(0.001)",
        "imported": "sleep(0.001)",
        "trio": "trio.run(trio.sleep, 0.001)",
        "asyncio": "asyncio.run(asyncio.sleep(0.001))",
        "eventually": "eventually(lambda: True)",
    },
}
ALLOWED = {
    "yields": "time.sleep(0); trio.run(trio.sleep, 0)",
    "simulated": "trio.run(trio.sleep, 3600, clock=trio.testing.MockClock(autojump_threshold=0))",
    "waits_for_a_thread": "thread = threading.Thread(target=print); thread.start(); thread.join()",
    "other_calls": "ctypes.CDLL(None).syscall(39); os.stat('/dev/fuse')",
}
_HEAD = """
import asyncio, contextlib, ctypes, multiprocessing, os, subprocess, threading, time
from time import sleep
import pytest, trio, trio.testing
from support.guests import eventually
from osxfs_sim.mount import syscalls

def forks():
    with contextlib.suppress(BaseException):
        os.fork()

@pytest.fixture
def forking():
    forks()
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest says of each of the examples: its outcome, and why."""
    folder = tmp_path_factory.mktemp("tiers")
    bodies = {f"refused_{name}": body for each in REFUSED.values() for name, body in each.items()}
    bodies |= {f"allowed_{name}": body for name, body in ALLOWED.items()}
    text = _HEAD + "".join(f"def test_{n}(request):\n    {body}\n" for n, body in bodies.items())
    marked = "@pytest.mark.starts_processes\ndef test_marked(): subprocess.run(['true'])"
    (folder / "test_it.py").write_text(f"{text}\n{marked}\n")
    done = run_pytest(folder, "-rA", "--tb=no", "-n0")
    lines = [line.split(" - ", 1) for line in done.stdout.splitlines() if "::test_" in line]
    return {words[0].split("::test_")[1]: " ".join(words) for words in lines}


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("what", "name"), [(what, name) for what, each in REFUSED.items() for name in each]
)
def test_a_unit_test_may_not(outcomes: dict[str, str], what: str, name: str) -> None:
    said = outcomes[f"refused_{name}"]
    assert said.startswith(("FAILED", "ERROR"))
    assert f"a unit test may not {what} (" in said
    assert "@pytest.mark." in said, "what to do"


@pytest.mark.starts_processes
@pytest.mark.parametrize("name", ALLOWED)
def test_a_unit_test_may(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[f"allowed_{name}"].startswith("PASSED")


@pytest.mark.starts_processes
def test_others_may_start_processes(outcomes: dict[str, str]) -> None:
    assert outcomes["marked"].startswith("PASSED")


# And scripts/test


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """scripts/test, with tools about it that only say how they were called."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "test").write_bytes((TESTS.parent / "scripts" / "test").read_bytes())
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for tool in ("scripts/setup", *(f"venv/bin/{name}" for name in ("ruff", "mypy", "python"))):
        (tmp_path / tool).write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        (tmp_path / tool).chmod(0o755)
    return tmp_path / "scripts" / "test"


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("", "-n auto --maxprocesses 4 --dist worksteal"),
        ("unit", "-n auto --maxprocesses 4 --dist worksteal -m unit"),
        ("mount -x", "-n auto --maxprocesses 4 --dist worksteal -m mount -x"),
        ("process tests/cli", "-n auto --maxprocesses 4 --dist worksteal -m process tests/cli"),
        ("slow tests/fs", "-m slow tests/fs"),
        ("-m slow tests/fs", "-m slow tests/fs"),
        ("tests/fs -x", "tests/fs -x"),
    ],
)
def test_a_tier_is_the_first_word_of_scripts_test(
    scripts: Path, words: str, arguments: str
) -> None:
    venv = {"OSXFS_SIM_VENV": str(scripts.parents[1] / "venv")}
    done = subprocess.run(
        ["bash", scripts, *words.split()], env=os.environ | venv, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *checks, tests = done.stdout.splitlines()
    assert checks == ["setup ", "ruff format --check .", "ruff check .", "mypy "]
    assert tests == f"python -m pytest {arguments}"
