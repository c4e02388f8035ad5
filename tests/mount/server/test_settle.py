"""Share.settle(): after it the guest has been told of all that the host did before it.

What is looked at is what the guest has cached for a day: only an event of the host's shows it anew.
A first change after quiet is told at once, and opens the window in which others have to wait: so
the host makes another one before those that count.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from inotify_simple import INotify, flags
from support.command import Command
from support.complaints import complaint, noticed
from support.guests import eventually
from support.live import LiveShare, is_mounted

import osxfs_sim
from osxfs_sim.mount import launch
from osxfs_sim.mount.mounts.mountpoints import MountError, SilentError

Shared = Callable[..., LiveShare]

NEGATIVE = {"profile": "osxfs-negative", "latency_ns": 0}
_WINDOW_NS = 200_000_000
_AN_HOUR_NS = 3_600_000_000_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind-mount")


def with_cached(live: LiveShare) -> LiveShare:
    """Have the guest cache what is there, and what is not; no event of the host's is about it."""
    (live.guest / "file").write_text("old")
    assert sees(live) == (3, False)
    return live


def sees(live: LiveShare) -> tuple[int, bool]:
    """The size of a file, and whether another is there, as the guest has it."""
    return (live.guest / "file").stat().st_size, (live.guest / "missing").exists()


OLD, NEW = (3, False), (16, True)


def change(live: LiveShare) -> None:
    """The host makes of OLD what NEW is, while the window is open."""
    (live.source / "first").touch()
    eventually(lambda: live.status().events.delivered)
    (live.source / "file").write_text("as new as can be")
    (live.source / "missing").write_text("no more")


def shows_all_once_settled(live: LiveShare) -> None:
    """The checker: what the host did before the guest sees after."""
    with_cached(live)
    change(live)
    live.share.settle()
    assert sees(live) == NEW


@pytest.mark.parametrize("profile", ["osxfs-negative", "osxfs-complete"])
def test_the_guest_sees_what_the_host_did_before(share: Shared, profile: str) -> None:
    shows_all_once_settled(share(profile=profile, latency_ns=0, event_latency_ns=_WINDOW_NS))


def test_an_answer_that_comes_at_once_is_noticed(
    share: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "support.hasty_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    live = share(**NEGATIVE, event_latency_ns=_AN_HOUR_NS)
    with noticed():
        shows_all_once_settled(live)


def test_with_the_other_watcher_too(share: Shared) -> None:
    shows_all_once_settled(share(**NEGATIVE, host_events="inotify", event_latency_ns=_WINDOW_NS))


def test_the_guests_processes_have_been_told(share: Shared) -> None:
    live = share(**NEGATIVE, event_latency_ns=_WINDOW_NS)
    with INotify() as notify:
        notify.add_watch(live.guest, flags.CREATE)
        for number in range(100):
            (live.source / f"new-{number}").touch()
        told = live.share.settle()
        heard = {event.name for event in notify.read(timeout=0)}
    assert {f"new-{number}" for number in range(100)} <= heard
    assert told.events is not None
    assert told.events.waiting == 0
    assert told.events.raised["create"] >= 100


def test_what_was_lost_has_been_looked_for(share: Shared) -> None:
    live = with_cached(share(**NEGATIVE))
    live.share.drop_events(count=1)
    (live.source / "file").write_text("lost on its way")
    status = live.share.settle()
    assert (live.guest / "file").stat().st_size == len("lost on its way")
    assert status.events is not None
    assert (status.events.dropped, status.events.rescans) == (1, 1)


def test_nothing_is_made_in_the_hosts_tree(share: Shared) -> None:
    live = with_cached(share(**NEGATIVE))
    before = live.source.stat().st_mtime_ns
    live.share.settle()
    assert os.listdir(live.source) == ["file"]
    assert live.source.stat().st_mtime_ns == before


# Where it does not come to an end


def test_a_host_that_is_never_quiet_is_told_of_after_the_timeout(share: Shared) -> None:
    live = with_cached(share(**NEGATIVE, event_latency_ns=_AN_HOUR_NS))
    change(live)
    said = complaint(MountError, lambda: live.share.settle(0.2))
    assert "still on its way to the guest after 0.2 s" in said
    assert sees(live) == OLD
    assert live.status().pid == live.pid, "the share goes on"


def test_a_server_that_is_stopped_is_not_waited_for(share: Shared) -> None:
    live = share(**NEGATIVE)
    os.kill(live.pid, signal.SIGSTOP)
    try:
        assert "server is stopped" in complaint(SilentError, live.share.settle)
    finally:
        os.kill(live.pid, signal.SIGCONT)
    live.share.settle()


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_time(timeout_s: float) -> None:
    assert "no time to wait" in complaint(
        MountError, lambda: launch.settle("/nowhere", timeout_s=timeout_s)
    )


# Shares of other kinds


def test_where_there_are_no_host_events_there_is_nothing_to_wait_for(share: Shared) -> None:
    live = with_cached(share(**{**NEGATIVE, "profile": "osxfs-cached"}, host_events="none"))
    (live.source / "file").write_text("newer")
    assert live.share.settle().events is None
    assert sees(live) == OLD


@needs_root
def test_the_hosts_directory_itself_is_always_settled(share: Shared) -> None:
    live = share(profile="native")
    (live.source / "file").write_text("new")
    assert live.share.settle().transport == "host"
    assert (live.guest / "file").read_text() == "new"


@needs_root
def test_a_copy_is_settled_by_a_cycle_that_has_seen_all(share: Shared, tmp_path: Path) -> None:
    live = share(profile="docker-vz-sync", copy=str(tmp_path / "copy"))
    (live.source / "file").write_text("new")
    assert live.share.settle().synchronization is not None
    assert (live.guest / "file").read_text() == "new"


@pytest.mark.usefixtures("need_fuse")
def test_all_exports_of_a_share_file_are_settled(field: Path) -> None:
    for name in ("one", "two", "guest"):
        (field / name).mkdir()
    file = field / "share.toml"
    file.write_text(
        "\n".join(
            f'[exports.{name}]\nsource = "{name}"\nprofile = "osxfs-cached"\nlatency = "0us"\n'
            for name in ("one", "two")
        )
    )
    with osxfs_sim.share(file, field / "guest", allow_other=True, calibrate=False) as share:
        for name in ("one", "two"):
            (field / name / "file").write_text("old")
            assert (field / "guest" / name / "file").stat().st_size == 3
        for name in ("one", "two"):
            (field / name / "file").write_text("newer")
        share.settle()
        for name in ("one", "two"):
            assert (field / "guest" / name / "file").stat().st_size == 5
    assert not is_mounted(field / "guest")


# On the command line


def test_the_command_waits_too(share: Shared, cli: Command) -> None:
    live = with_cached(share(**NEGATIVE, event_latency_ns=_WINDOW_NS))
    change(live)
    settled = cli("settle", live.guest)
    assert (settled.returncode, settled.stdout, settled.stderr) == (0, "", "")
    assert sees(live) == NEW


def test_the_command_says_what_it_has_not_waited_for(share: Shared, cli: Command) -> None:
    live = with_cached(share(**NEGATIVE, event_latency_ns=_AN_HOUR_NS))
    change(live)
    settled = cli("settle", live.guest, "--timeout", "100ms")
    assert settled.returncode == 1
    (line,) = settled.stderr.splitlines()
    assert "still on its way to the guest after 0.1 s" in line
