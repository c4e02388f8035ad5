"""The command ``museum``, and bugs as options, as a user meets them."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.command import Command

from osxfs_sim.cli import main
from osxfs_sim.coherence.museum.exhibits import MountedSides
from osxfs_sim.model.bugs import BUGS, Bug


def test_it_lists_every_bug_with_who_had_it_and_its_cure(cli: Command) -> None:
    result = cli("museum")
    assert (result.returncode, result.stderr) == (0, "")
    for bug, spec in BUGS.items():
        assert spec.id in result.stdout
        assert bug.value in result.stdout
    listed = json.loads(cli("museum", "--json").stdout)["bugs"]
    assert [each["name"] for each in listed] == list(Bug)
    for each in listed:
        assert each["sources"]
        assert all(source.startswith("https://github.com/") for source in each["sources"])
        assert each["cures"]


@pytest.mark.usefixtures("need_fuse")
def test_it_shows_a_bug_beside_its_cure(cli: Command, tmp_path: Path) -> None:
    result = cli("museum", "v2", "--json", cwd=tmp_path)
    assert result.returncode == 0, (result.stdout, result.stderr)
    (shown,) = json.loads(result.stdout)["shown"]
    assert shown["as_documented"]
    with_bug, cured = shown["plays"]
    assert (with_bug["cured"], cured["cured"]) == (False, True)
    assert with_bug["settings"]["bugs"] == cured["settings"]["bugs"] == ["lost-by-link"]
    told = [
        (a["answer"], b["answer"]) for a, b in zip(with_bug["steps"], cured["steps"], strict=True)
    ]
    assert ("ENOENT", "a file of 3 bytes") in told
    assert ("ENOENT", "'one'") in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.starts_processes
def test_what_comes_out_otherwise_than_documented_is_told_and_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.contextmanager
    def plain(host: Path, settings: Mapping[str, Any]) -> Iterator[MountedSides]:
        del settings
        yield MountedSides(host, host, lambda: None)

    monkeypatch.setattr("osxfs_sim.cli.museum.stage_in", lambda _: plain)
    monkeypatch.setattr("osxfs_sim.cli.museum.end_on_signals", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main(["museum", "phantom"])
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "ENOENT (documented: EINVAL)" in text
    assert "not as documented, in 4 of 12 steps" in text
    assert "it does not show, though the share has it" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["museum", "phantoms"], "no bug 'phantoms' here; did you mean 'phantom'?"),
        (["museum", "V10"], "no bug 'V10' here"),
        (["staleness", "osxfs", "--bug", "phantoms"], "unknown bug 'phantoms'"),
        (
            ["staleness", "osxfs", "--bug", "one-spelling"],
            "the bug one-spelling has no effect where names are case-sensitive",
        ),
        (["staleness", "native", "--bug", "V5"], "bugs has no effect with the profile native"),
    ],
)
def test_mistakes_are_told_in_one_line(complaint, arguments: list[str], said: str) -> None:
    assert said in complaint(*arguments)
