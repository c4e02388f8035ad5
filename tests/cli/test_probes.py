"""``osxfs-sim events`` and ``osxfs-sim staleness``: mistakes, output, exit codes, interruption."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import eventually_beside

from osxfs_sim.mount.mounts.mountpoints import mounts

# The command as it is, but for where its trees lie. All tests that run it at the same
# time would have their trees side by side: none could tell what its own leaves behind.
_IN_ITS_OWN_PLACE = """
import sys
from pathlib import Path
from osxfs_sim.lab import trees
place = Path(sys.argv.pop(1))
trees.default_directory = lambda: place
from osxfs_sim.cli import main
sys.argv[0] = "osxfs-sim"
main()
"""


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", _IN_ITS_OWN_PLACE, str(place), *arguments]


def osxfs_sim(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(place, *arguments), capture_output=True, text=True, timeout=300)


def left_behind(place: Path) -> set[str]:
    """What lies in *place*, and what is mounted in it."""
    mounted = [e.mountpoint for e in mounts() if e.mountpoint.startswith(f"{place}/")]
    return {*map(str, place.iterdir()), *mounted}


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("events", "osxf"), 1, "unknown profile 'osxf'; did you mean 'osxfs'?"),
        (("staleness", "osxf"), 1, "unknown profile 'osxf'; did you mean 'osxfs'?"),
        (("events", "none"), 1, "profile none has no event stream: nothing to hear"),
        (
            ("events", "osxfs", "--host-events", "none"),
            1,
            "with --host-events none there is nothing",
        ),
        (("events", "osxfs", "--number", "0"), 2, "0 is not in the range x>=1"),
        (("staleness", "osxfs", "--number", "0"), 2, "0 is not in the range x>=1"),
        (("staleness", "osxfs", "--view", "contents"), 2, "'contents' is not one of 'existence'"),
        (
            ("staleness", "osxfs", "--cache-timeout", "1s"),
            1,
            "cache_timeout has no effect under the policy",
        ),
        (("staleness", "osxfs", "--latency", "1"), 2, "'1' has no unit"),
        (("events",), 2, "Missing argument 'PROFILE'"),
        (("event", "osxfs"), 2, "no such command 'event'; did you mean 'events'?"),
    ],
)
def test_bad_input_is_one_line(
    field: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = osxfs_sim(field, *arguments)
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr
    assert not left_behind(field)


@pytest.mark.usefixtures("need_fuse")
def test_what_is_heard_is_scored_and_told_to_scripts(field: Path) -> None:
    result = osxfs_sim(field, "events", "osxfs", "--number", "2", "--latency", "0us", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    assert (document["schema"], document["profile"], document["number"]) == (1, "osxfs", 2)
    changes = {change["change"]: change for change in document["changes"]}
    assert len(changes) == 17
    rename = changes["rename"]
    assert rename["required"] == ["IN_DELETE a", "IN_MODIFY b"]
    assert (rename["changes"], rename["delivered"], rename["missing"]) == (2, 4, {})
    assert len(rename["delays_ns"]) == 4
    assert changes["open, read, close"]["delivered"] == 0


@pytest.mark.usefixtures("need_fuse")
def test_staleness_is_told_to_scripts_with_every_sample(field: Path) -> None:
    arguments = ("--host-events", "none", "--cache-timeout", "20ms", "--latency", "0us")
    views = ("--view", "attributes", "--view", "listing", "--view", "attributes")
    result = osxfs_sim(
        field, "staleness", "osxfs-cached", *arguments, *views, "--number", "3", "--json"
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    attributes, listing = document["views"]
    assert (attributes["view"], listing["view"]) == ("attributes", "listing")
    assert attributes["predicted"] == "uniform, 0 to 20ms"
    assert attributes["phase_ns"] == 20_000_000
    assert set(attributes["comparison"]) == {"agrees", "text", "distance", "critical"}
    assert set(attributes["samples"][0]) == {
        *("phase_ns", "stale_reads", "lower_ns", "seen_ns", "upper_ns"),
    }
    assert len(attributes["samples"]) == len(listing["samples"]) == 3
    assert document["changed"]["cache_timeout_ns"] == 20_000_000
    assert not left_behind(field)


@pytest.mark.usefixtures("need_fuse")
def test_staleness_is_a_table_for_people(field: Path) -> None:
    result = osxfs_sim(field, "staleness", "none", "--view", "existence", "--number", "2")
    assert result.returncode == 0, result.stderr
    assert "none: how long the guest sees what was" in result.stdout
    assert "at once" in result.stdout


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("probe", ["events", "staleness"])
def test_an_interrupted_measurement_leaves_nothing_behind(
    field: Path, probe: str, how: signal.Signals
) -> None:
    process = subprocess.Popen(
        command(field, probe, "osxfs", "--number", "100000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        eventually_beside(process, lambda: any(map(os.path.ismount, left_behind(field))))
        os.killpg(process.pid, how)  # as a terminal does
        _, errors = process.communicate(timeout=180)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert not left_behind(field)
