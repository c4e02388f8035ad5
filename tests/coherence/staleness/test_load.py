"""Processes that keep a directory busy: what they do, what they may take, and how they end."""

import os
import signal
from pathlib import Path

import pytest
from support.guests import eventually

from osxfs_sim.coherence.staleness.load import read_file, rest_s
from osxfs_sim.coherence.staleness.loading import FILES, LoadSpec, loaded
from osxfs_sim.model.user_error import UserError

pytestmark = pytest.mark.starts_processes


def test_who_has_taken_more_than_its_share_rests_until_it_has_not() -> None:
    assert rest_s(0.5, 1.0, 0.25) == pytest.approx(1.0)
    assert rest_s(0.25, 1.0, 0.25) == 0
    assert rest_s(0.1, 1.0, 0.25) == 0
    assert rest_s(1.0, 1.0, 1.0) == 0
    # Less than a clock's tick is no rest.
    assert rest_s(0.2501, 1.0, 0.25) == 0


def test_a_look_reads(field: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(str(field / "missing"))


def test_a_load_looks_at_files_of_its_own_and_tells_how_often(field: Path) -> None:
    spec = LoadSpec(processes=2, share=0.5)
    with loaded(field, field, spec) as load:
        assert load.done is None
        assert os.listdir(field) == ["load"]
        assert len(os.listdir(field / "load")) == FILES
    assert load.done is not None
    assert load.done.reads >= 2
    assert load.done.processor_s > 0
    assert load.done.elapsed_s > 0


def test_it_is_on_the_share(share) -> None:
    live = share(profile="none")
    with loaded(live.source, live.guest, LoadSpec(1, 1.0)) as load:
        eventually(lambda: live.requests().get("OPEN", 0) >= 2 * FILES)
    assert load.done is not None
    assert load.done.reads >= 2 * FILES - 1


def test_a_load_that_has_ended_is_no_load(field: Path) -> None:
    def kill_one() -> None:
        with loaded(field, field, LoadSpec(2, 0.5)) as load:
            os.kill(load._processes[1].pid, signal.SIGKILL)
            load._processes[1].wait()

    with pytest.raises(UserError, match="has ended"):
        kill_one()


def test_a_load_that_met_an_error_says_so(field: Path) -> None:
    host, guest = field / "host", field / "guest"
    host.mkdir()
    guest.mkdir()  # shows nothing of the host's

    def elsewhere() -> None:
        with loaded(host, guest, LoadSpec(1, 0.5)):
            pass

    with pytest.raises(UserError, match=r"has met an error: .*No such file"):
        elsewhere()


def test_whatever_happens_none_goes_on(field: Path) -> None:
    started = []

    def fail() -> None:
        with loaded(field, field, LoadSpec(2, 0.5)) as load:
            started.extend(load._processes)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2
