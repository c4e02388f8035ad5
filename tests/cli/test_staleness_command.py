"""``osxfs-sim staleness``: mistakes, both directions, load and loss, saved results, the picture."""

import json
import subprocess
from pathlib import Path

import pytest
from support.command import Command

from osxfs_sim.cli import main
from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Outlook,
    StalenessSample,
    View,
    compare,
)
from osxfs_sim.coherence.staleness.saved import view_document
from osxfs_sim.lab.machine import describe_machine


@pytest.fixture(scope="session")
def staleness(cli: Command):
    def staleness(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return cli("staleness", *arguments)

    return staleness


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of the command in this very process: it mounts nothing."""
    with pytest.raises(SystemExit) as end:
        main(["staleness", *map(str, arguments)])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name a PROFILE to measure, or a saved result with --from"),
        (("osxfs", "--lose", "0"), 2, "0.0 is not in the range 0<x<=1"),
        (("osxfs", "--lose", "1.5"), 2, "1.5 is not in the range 0<x<=1"),
        (("none", "--lose", "0.5"), 1, "--lose has no effect: of this profile there is no event"),
        (
            ("osxfs", "--host-events", "none", "--lose", "0.5"),
            1,
            "--lose has no effect: with --host-events none there is no event stream",
        ),
        (
            ("osxfs", "--direction", "to-host", "--lose", "0.5"),
            2,
            "--lose has no effect with --direction to-host",
        ),
        (("osxfs", "--direction", "up"), 2, "'up' is not one of 'to-guest', 'to-host', 'both'"),
        (("osxfs", "--load", "0"), 2, "0 is not in the range x>=1"),
        (("osxfs", "--load-share", "0.5"), 2, "--load-share has no effect without --load"),
        (("osxfs", "--load", "1", "--load-share", "0"), 2, "0.0 is not in the range 0<x<=1"),
        (("osxfs", "--scale", "linear"), 2, "--scale has no effect without --svg"),
        (("osxfs", "--force"), 2, "--force has no effect without --output"),
        (("osxfs", "--svg", "picture.png"), 2, "name a file that ends in .svg"),
        (("osxfs", "--svg", "/nowhere/x.svg"), 1, "/nowhere/x.svg cannot be written"),
        (("osxfs", "-o", "/nowhere/x.json"), 1, "/nowhere/x.json cannot be written"),
        (("osxfs", "--write-back-age", "1s"), 1, "write_back_age has no effect without"),
        (("--from", "/nowhere.json"), 1, "/nowhere.json cannot be read: No such file"),
        (("osxfs", "--from", "x.json"), 2, "PROFILE has no effect with --from"),
        (("--from", "x.json", "--number", "3"), 2, "--number has no effect with --from"),
        (
            ("--from", "x.json", "--cache-timeout", "1s"),
            2,
            "--cache-timeout has no effect with --from",
        ),
        (("--from", "x.json", "-o", "y.json"), 2, "-o has no effect with --from"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended, _, errors = shown(capsys, *arguments)
    assert ended == code, errors
    assert len(errors.splitlines()) == 1
    assert said in errors


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "it is no JSON"),
        ("[]", "is no result of staleness"),
        ('{"schema": 1, "views": []}', "is no result of staleness"),
        ('{"schema": 99, "views": [1]}', "has schema 99, this version reads 1"),
        ('{"schema": 1, "views": [{"view": "handle"}]}', "is no result of staleness"),
        ('{"schema": 1, "views": [1]}', "is no result of staleness"),
    ],
)
def test_a_file_that_is_none_is_refused(capsys, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "x.json").write_text(content)
    code, _, errors = shown(capsys, "--from", tmp_path / "x.json")
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert said in errors


def test_a_saved_result_is_not_overwritten_unasked(capsys, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("precious")
    code, _, errors = shown(capsys, "osxfs", "-o", tmp_path / "x.json")
    assert code == 1
    assert "overwrite it with --force" in errors
    assert (tmp_path / "x.json").read_text() == "precious"


@pytest.mark.usefixtures("need_fuse")
def test_both_directions_under_load_and_loss_saved_and_shown_again(
    staleness, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # of both that are shown
    saved, picture = tmp_path / "stale.json", tmp_path / "stale.svg"
    measured = staleness(
        *("osxfs-delegated", "--direction", "both", "--view", "content", "--number", "3"),
        *("--latency", "0us", "--write-back-age", "50ms", "--load", "2", "--lose", "1"),
        *("-o", saved, "--svg", picture),
    )
    document = json.loads(saved.read_text())
    # What was lost waits for a look, whose time is not predicted: the three may differ, or not.
    differs = any(view["agrees"] is False for view in document["views"])
    assert measured.returncode == int(differs), measured.stderr
    to_guest, to_host = document["views"]
    assert (to_guest["direction"], to_host["direction"]) == ("to-guest", "to-host")
    assert to_guest["prediction"] == {"kind": "within", "limit_ns": 10_000_000, "deferred": False}
    assert to_guest["if_silent"]["parts"][1]["of"]["kind"] == "not seen"
    assert to_host["prediction"] == {"kind": "held", "age_ns": 50_000_000}
    assert all(sample["upper_ns"] >= 50_000_000 for sample in to_host["samples"])
    load, lost = document["load"], document["lost"]
    assert load["processes"] == 2
    assert load["processor_share"] == 0.25
    assert load["reads"] >= 2
    assert load["processor_s"] > 0
    assert lost["rate"] == 1
    assert 3 <= lost["dropped"] <= lost["seen"]
    assert lost["rescans"] >= 1
    said = " ".join(measured.stdout.split())
    assert "osxfs-delegated; latency 0us; write back age 50ms: how long the host sees what" in said
    assert "under load: 2 processes" in measured.stdout
    assert "events lost: " in measured.stdout

    for part in ("band", "prediction-high", "measured"):
        for name in ("content-to-guest", "content-to-host"):
            assert f'id="{part}-{name}"' in picture.read_text()

    code, again, errors = shown(capsys, "--from", saved, "--svg", tmp_path / "again.svg")
    assert (code, errors) == (int(differs), "")
    assert again == measured.stdout
    assert (tmp_path / "again.svg").read_bytes() == picture.read_bytes()
    linear = ("--scale", "linear", "--json")
    _, told, _ = shown(capsys, "--from", saved, "--svg", picture, *linear)
    assert json.loads(told) == document
    assert (tmp_path / "again.svg").read_bytes() != picture.read_bytes()


@pytest.mark.usefixtures("need_fuse")
def test_a_share_without_write_back_hides_nothing_from_the_host(staleness) -> None:
    result = staleness(
        *("none", "--direction", "to-host", "--view", "listing", "--number", "2", "--json")
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    (listing,) = document["views"]
    assert listing["predicted"] == "at once"
    assert listing["comparison"]["agrees"]
    assert document["load"] is document["lost"] is None


def saved_view(tmp_path: Path, *samples: StalenessSample) -> Path:
    """What --output would have saved of a share that shows every change at once."""
    planned = Outlook(AtOnce(), 0, 2_000_000_000)
    result = ViewResult(View.CONTENT, planned, samples, compare(planned.prediction, samples))
    document = {
        "schema": 1,
        "profile": "osxfs-cached",
        "changed": {"policy": "adaptive:Adaptive", "host_events": "none"},
        "machine": describe_machine(),
        "number": len(samples),
        "load": None,
        "lost": None,
        "views": [view_document(result)],
    }
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(document))
    return path


def test_a_view_that_differs_makes_the_exit_code_1_and_is_told_once(capsys, tmp_path: Path) -> None:
    fresh, stale = (
        StalenessSample(0, 0, 0, 5, 100),
        StalenessSample(0, 3, 50_000_000, 60_000_000, 61_000_000),
    )
    code, said, _ = shown(capsys, "--from", saved_view(tmp_path, *[fresh] * 5))
    assert code == 0
    assert "agrees" in said
    assert "differs" not in said.replace("differs where", "")
    code, said, _ = shown(capsys, "--from", saved_view(tmp_path, fresh, *[stale] * 9))
    assert code == 1
    assert "agrees" not in said
    code, told, _ = shown(capsys, "--from", tmp_path / "saved.json", "--json")
    assert code == 1
    assert json.loads(told)["views"][0]["agrees"] is False


def test_the_heading_names_what_was_changed_of_the_profile(capsys, tmp_path: Path) -> None:
    _, said, _ = shown(capsys, "--from", saved_view(tmp_path, StalenessSample(0, 0, 0, 5, 100)))
    heading = " ".join(said.split())
    assert "osxfs-cached; policy adaptive:Adaptive; host events none: how long" in heading
