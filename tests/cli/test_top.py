"""``top`` counts what is asked between two looks, and only while somebody looks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.command import Command
from support.guests import eventually

from osxfs_sim.model.formatting import format_frequency
from osxfs_sim.model.operations import Operation
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.mount.requests.live_counters import LOOKED_AT_NS, LiveCounters
from osxfs_sim.trace.answers import AnsweredBy

SHORTLY = ("--interval", "100ms")


@pytest.fixture(scope="session")
def top(cli: Command):
    def top(*arguments: object) -> subprocess.CompletedProcess[str]:
        return cli("top", *arguments)

    return top


@pytest.fixture
def busy(share) -> Iterator[object]:
    """A share in which another process looks for a name that is not there, again and again."""
    live = share(profile="osxfs", latency_ns=1_000)
    (live.source / "lib").mkdir()
    looking = f"import os\nwhile True: os.path.exists({str(live.guest / 'lib' / 'missing')!r})"
    with subprocess.Popen([sys.executable, "-c", looking]) as process:
        try:
            eventually(lambda: live.status().missing_lookups > 0)
            yield live
        finally:
            process.kill()


def test_each_look_tells_rates_latency_and_the_hottest_directory(top, busy) -> None:
    done = top(busy.guest, *SHORTLY, "--count", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == 2
    for look in looks:
        assert look["missing_lookups"] > 0
        assert look["requests"]["LOOKUP"] >= look["missing_lookups"]
        assert look["answered_by"]["host"] == sum(look["requests"].values())
        assert dict(look["directories"]).keys() == {"/", "/lib"}
        assert look["target_p50_ns"] == 1_000
        assert look["observed_p50_ns"] > 0
    table = top(busy.guest, *SHORTLY, "--count", "1")
    assert "LOOKUP" in table.stdout
    assert "/lib" in table.stdout
    assert "by the host, a crossing each" in table.stdout


def test_a_share_counts_only_while_somebody_looks(share) -> None:
    live = share()
    ask(str(live.guest), "live-counters")
    os.path.exists(live.guest / "missing")
    assert ask(str(live.guest), "live-counters")["missing_lookups"] == 1
    assert ask(str(live.guest), "live-counters")["missing_lookups"] == 0
    # A trace may begin and end meanwhile.
    live.share.start_trace(str(live.source / "trace.parquet"))
    os.path.exists(live.guest / "missing")
    assert live.share.stop_trace()["rows"] > 0
    assert ask(str(live.guest), "live-counters")["missing_lookups"] == 1


def test_what_is_kept_of_directories_is_bounded_and_nobody_looks_for_ever() -> None:
    counters = LiveCounters(lambda number: f"/{number}", now_ns=0)
    for number in range(1, 40_000):
        row = (0, 130, 131, Operation.LOOKUP, number, b"a", 0, 0, 0, 2, 1)
        counters.add(*row, number, AnsweredBy.HOST)
    assert not counters.is_over(LOOKED_AT_NS)
    assert counters.is_over(LOOKED_AT_NS + 1)
    answer = counters.take(1_000_000_000, top=1)
    assert answer["directories"] == [[None, 40_000 - 1 - 16_384]], "the rest is one"
    assert (answer["target_p50_ns"], answer["observed_p50_ns"]) == (130, 131)
    assert answer["requests"] == {"LOOKUP": 39_999}
    assert counters.take(2_000_000_000, top=1)["requests"] == {}


def test_a_place_without_a_share_and_an_interval_out_of_range_are_one_line(top, tmp_path) -> None:
    none = top(tmp_path)
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
    assert "no share is mounted" in none.stderr
    long = top(tmp_path, "--interval", "1h")
    assert (long.returncode, long.stderr) == (
        2,
        "osxfs-sim: --interval goes from 100ms to 5s (see --help)\n",
    )


def test_rates_have_sensible_digits() -> None:
    assert [format_frequency(count, 2.0) for count in (0, 1, 33, 123_456)] == [
        "0/s",
        "0.5/s",
        "16.5/s",
        "61,728/s",
    ]
