"""The examples in the docs are run as a reader would run them, block by block, in order."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.listening import NODE_MODULES

from osxfs_sim.lab.false_alarms import false_alarms
from osxfs_sim.lab.results import load_result

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(sh|python)( slow)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.usefixtures("need_fuse")


def blocks(page: str) -> list[tuple[str, bool, str]]:
    """Language, whether it is slow, and text of each block."""
    return [(m[1], bool(m[2]), m[3]) for m in _BLOCK.finditer((DOCS / page).read_text())]


def run_blocks(
    language: str, texts: list[str], directory: Path
) -> "subprocess.CompletedProcess[str]":
    """Run *texts* one after the other, stopping at the first failure; leave nothing of them."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-c"]
    if language == "sh":
        # timeout(1) ends the programs in the background, too, and the trap those that a
        # failure leaves.
        texts = ["trap 'kill $(jobs -p) 2> /dev/null || true' EXIT", *texts]
        command = ["timeout", "500", "bash", "-euo", "pipefail", "-c"]
    try:
        return subprocess.run(
            [*command, "\n".join(texts)],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
    finally:
        if os.path.ismount(directory / "share"):
            subprocess.run(["umount", "-l", str(directory / "share")], check=True)


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_tutorial_does_what_it_says(language: str, tmp_path: Path) -> None:
    texts = [text for kind, slow, text in blocks("tutorial.md") if kind == language and not slow]
    assert texts
    result = run_blocks(language, texts, tmp_path)
    assert result.returncode == 0, result.stderr
    if language == "sh":
        # The counts that the text explains.
        assert "{'LOOKUP': 4, 'GETATTR': 2}" in result.stdout
        lines = result.stdout.splitlines()
        assert lines.count("{}") == 2
        # What the text says of host events, owners, names and exports.
        assert "rescans: 1" in lines
        assert {"the guest still sees 7 bytes", "the host has 21 bytes"} <= set(lines)
        assert "the guest is told 1234:5678" in lines
        assert f"the host has {os.getuid()}:{os.getgid()}" in lines
        assert lines.count("Part1.rb") == 1
        assert {"code", "notes", "seen by the host"} <= set(lines)
        # What the text says of the comparison, the trace and the page.
        assert "osxfs --latency 65us" in result.stdout
        assert "100 repeated lookups of missing names" in " ".join(result.stdout.split())
        assert "<!doctype html>" in (tmp_path / "report.html").read_text().lower()


@pytest.mark.slow
def test_the_case_study_of_the_tutorial_runs(tmp_path: Path) -> None:
    texts = [text for kind, slow, text in blocks("tutorial.md") if kind == "sh" and slow]
    assert texts
    result = run_blocks("sh", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "osxfs-negative" in result.stdout
    assert "repeated lookups of missing names" in " ".join(result.stdout.split())
    assert (tmp_path / "rake.html").is_file()


def test_the_listeners_hear_what_their_page_says(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)  # as its npm install would have it
    texts = [text for kind, _, text in blocks("listeners.md") if kind == "sh"]
    assert texts
    result = run_blocks("sh", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    shown = [
        "CREATE share/page",
        "MODIFY share/page",
        "DELETE share/page",
        "MODIFY share/leaf",
    ]
    # An event may be told more than once.
    assert list(dict.fromkeys(result.stdout.splitlines())) == shown
    assert "\n".join(f"    {line}" for line in shown) in (DOCS / "listeners.md").read_text()
    assert "moved" not in (tmp_path / "heard-by-watchdog.txt").read_text()


def test_what_is_held_reaches_the_host_as_its_page_says(tmp_path: Path) -> None:
    texts = [text for kind, _, text in blocks("write-back.md") if kind == "sh"]
    assert texts
    result = run_blocks("sh", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    told = [line for line in result.stdout.splitlines() if line.startswith("on the host")]
    assert told == ["on the host: ", "on the host: file"]
    assert "of 7 made 2 crossed, 0 along with others, 5 cancelled out" in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a directory")
def test_the_topologies_are_as_their_page_says(tmp_path: Path) -> None:
    texts = [text for kind, slow, text in blocks("topologies.md") if kind == "sh" and not slow]
    assert texts
    result = run_blocks("sh", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert {
        "the host has: node_modules, and in it:",
        "kept: file",
        "the host still has it from the host",
        "the guest has it from the guest",
        "soon on the host",
    } <= set(lines)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a directory")
def test_the_topologies_are_compared_as_their_page_says(tmp_path: Path) -> None:
    texts = [text for kind, slow, text in blocks("topologies.md") if kind == "sh" and slow]
    assert texts
    result = run_blocks("sh", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "docker-vz --volume node_modules" in result.stdout


@pytest.mark.parametrize("language", ["sh", "python"])
def test_comparisons_are_made_as_their_page_says(language: str, tmp_path: Path) -> None:
    texts = [text for kind, _, text in blocks("statistics.md") if kind == language]
    assert texts
    result = run_blocks(language, texts, tmp_path)
    assert result.returncode == 0, result.stderr
    if language == "sh":
        assert "5 rounds of an arm against itself" in result.stdout
        derived = json.loads((tmp_path / "derived.json").read_text())
        assert [(arm["label"], arm["runs"]) for arm in derived["arms"]] == [
            *(("native", 6), ("osxfs", 6), ("short", 6)),
        ]
        assert derived["arms"][1]["verdict"] == "slower"
    else:
        assert "15 done, 0 left" in result.stdout
        made = load_result(tmp_path / "from-python.json")
        assert [len(made.of(arm)) for arm in made.arms] == [5, 5, 5]


def test_a_broken_example_would_be_noticed(tmp_path: Path) -> None:
    assert run_blocks("sh", ["false", "true"], tmp_path).returncode != 0
    assert run_blocks("sh", ["sleep 600 &", "false"], tmp_path).returncode != 0
    assert run_blocks("python", ["assert False"], tmp_path).returncode != 0


def test_the_published_comparison_of_an_arm_with_itself_says_what_its_page_says() -> None:
    published = load_result(DOCS / "results" / "comparisons" / "against-itself.json")
    found = false_alarms(published, "fresh", seed=published.seed)
    assert found is not None
    page = (DOCS / "statistics.md").read_text()
    assert found.rounds == 20
    assert f"no difference detected (p = {found.p:.2f})" in page
    assert f"{100 * found.rate:.1f}% find one" in page
    assert f"(95% interval {100 * found.interval[0]:.1f} to {100 * found.interval[1]:.1f}%)" in page
    assert found.p_in_order < 0.0001
