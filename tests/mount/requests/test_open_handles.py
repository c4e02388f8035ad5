"""How many files who may have open: something is left for everybody else, and for the server."""

import contextlib
import errno
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frugal_server import LIMIT
from support.guests import ended, eventually
from support.nobody import interpreter_for_everybody
from support.users import OWNER, STRANGER

from osxfs_sim.mount import launch
from osxfs_sim.mount.requests.open_handles import OpenHandles

_SERVER = 1000


def open_all(handles: OpenHandles, uid: int, most: int = 10_000) -> int:
    """As many as *uid* gets."""
    for count in range(most):
        try:
            handles.acquire(uid)
        except OSError:
            return count
    return most


def test_who_opens_everything_gets_half_and_the_next_half_of_what_is_left():
    handles = OpenHandles(1_000, _SERVER)
    assert open_all(handles, 1) == 500
    assert open_all(handles, 2) == 250
    assert open_all(handles, 3) == 125
    assert open_all(handles, 1) == 0
    assert open_all(handles, 0) == 125, "root gets the rest"
    with pytest.raises(OSError, match="Too many"):
        handles.acquire(0)


def test_whose_server_it_is_has_it_all():
    assert open_all(OpenHandles(1_000, _SERVER), _SERVER) == 1_000


def test_what_is_closed_or_has_failed_is_free_again():
    handles = OpenHandles(4, _SERVER)
    handles.acquire(1)
    handles.assign(77, 1)
    handles.acquire(1)
    handles.release(1)  # it failed
    handles.acquire(1)
    handles.assign(78, 1)
    with pytest.raises(OSError, match="Too many"):
        handles.acquire(1)
    assert "users 1:" in handles.warning()
    handles.closed(77)
    handles.closed(77)  # of a handle that is nobody's
    handles.closed(78)
    assert handles.open == 0
    assert open_all(handles, 1) == 2


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=300))
def test_whatever_ordinary_users_do_another_can_open_one_and_counts_are_true(steps):
    handles = OpenHandles(64, _SERVER)
    held: list[tuple[int, int]] = []
    for number, (uid, closes) in enumerate(steps):
        if closes and held:
            handle, _ = held.pop(number % len(held))
            handles.closed(handle)
        else:
            try:
                handles.acquire(uid)
            except OSError:
                continue
            handles.assign(number, uid)
            held.append((number, uid))
        assert handles.open == len(held)
        # Four users leave a sixteenth.
        assert handles.most - handles.open >= 2
    handles.acquire(99)
    handles.acquire(0)


_HOLDS = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while len(held) < 4096:
        held.append(os.open(sys.argv[1], os.O_RDONLY))
except OSError as error:
    print(len(held), error.errno, flush=True)
sys.stdin.read()
"""


def test_a_user_who_opens_all_there_is_stops_nobody_else(share, monkeypatch):
    """The server of a share that may have few, and two users who take all that they get."""
    monkeypatch.setattr(launch, "_SERVER", "support.frugal_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    live = share()
    (live.source / "file").write_text("hi")
    most = live.status().most_handles
    assert most < LIMIT
    with contextlib.ExitStack() as ending:
        for user, expected in ((OWNER, most // 2), (STRANGER, most // 4)):
            holding = subprocess.Popen(
                [interpreter_for_everybody(), "-ISc", _HOLDS, str(live.guest / "file")],
                user=user.uid,
                group=user.gid,
                extra_groups=[],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            ending.enter_context(ended(holding))
            assert holding.stdout is not None
            count, code = map(int, holding.stdout.readline().split())
            assert code == errno.EMFILE
            assert abs(count - expected) <= 2
        assert (live.guest / "file").read_text() == "hi"
        (live.guest / "made").touch()
        status = live.status()
        assert status.handles_refused == 2
        assert any(f"for users {OWNER.uid}, {STRANGER.uid}" in each for each in status.warnings)
    eventually(lambda: live.status().open_handles == 0)
