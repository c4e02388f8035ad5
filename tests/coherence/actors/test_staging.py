"""A stage: steps by processes, by a listener, and by whoever mounted the share.

On a plain directory, which both sides have: its events are the kernel's own.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.staging import SILENCE, ScheduleStep, Stage, refusing

pytestmark = pytest.mark.starts_processes

MS = 10**6


class RefusalError(Exception):
    """What this share says no by."""


class PlainShare:
    """Notes what it is asked."""

    exports = ()

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    def settle(self) -> None:
        self.asked.append("settle")
        if self._refuses:
            raise RefusalError("the host never pauses")

    def flush(self) -> dict[str, Any]:
        self.asked.append("flush")
        return {}

    def unmount(self) -> None:
        self.asked.append("unmount")
        if self._refuses:
            raise RefusalError("in use by somebody")


def told(directory: Path, share: PlainShare, *steps: ScheduleStep) -> list[str]:
    with Stage(directory, directory, share, RefusalError) as stage:
        return [str(each.outcome) for each in stage.play(steps)]


def test_processes_of_both_sides_perform_steps_in_order(tmp_path: Path) -> None:
    outcomes = told(
        tmp_path,
        PlainShare(),
        ("host", ActorOperation("create", "a", data="x")),
        ("guest", ActorOperation("read", "a")),
        ("guest-2", ActorOperation("unlink", "a")),
        ("guest", ActorOperation("read", "a")),
    )
    assert outcomes == ["done", "'x'", "done", "ENOENT"]


def test_a_listener_hears_of_a_name_and_looks(tmp_path: Path) -> None:
    with Stage(tmp_path, tmp_path, PlainShare(), RefusalError) as stage:
        _, _, _, heard, other, silence = stage.play(
            [
                ("listener", ActorOperation("watch")),
                ("host", ActorOperation("create", "b")),
                ("host", ActorOperation("create", "a", data="x")),
                ("listener", ActorOperation("hear", "a", pause_ns=10_000 * MS)),
                ("listener", ActorOperation("hear", "b", pause_ns=10_000 * MS)),
                ("listener", ActorOperation("hear", "c", pause_ns=MS)),
            ]
        )
    assert heard.outcome.value["event"] == "IN_CREATE"
    assert heard.outcome.value["exists"]
    assert other.outcome.value["event"] == "IN_CREATE"
    assert silence.outcome.error == SILENCE


def test_to_settle_is_asked_of_the_share(tmp_path: Path) -> None:
    share = PlainShare()
    assert told(tmp_path, share, ("share", ActorOperation("settle"))) == ["done"]
    assert share.asked == ["settle"]
    share = PlainShare(refuses=True)
    assert told(tmp_path, share, ("share", ActorOperation("settle"))) == ["the host never pauses"]


def test_what_the_share_says_against_it_is_the_outcome(tmp_path: Path) -> None:
    share = PlainShare(refuses=True)
    steps = ("share", ActorOperation("flush")), ("share", ActorOperation("unmount"))
    assert told(tmp_path, share, *steps) == ["done", "in use by somebody"]
    assert share.asked == ["flush", "unmount"]


def test_an_unmount_ends_the_processes_and_their_handles(tmp_path: Path) -> None:
    outcomes = told(
        tmp_path,
        PlainShare(),
        ("guest", ActorOperation("create", "a", data="x")),
        ("guest", ActorOperation("open", "a", handle="h")),
        ("share", ActorOperation("unmount")),
        ("guest", ActorOperation("pread", handle="h")),
        ("host", ActorOperation("read", "a")),
    )
    assert outcomes == ["done", "done", "done", "EBADF", "'x'"]


def test_a_host_that_refuses_lets_nobody_make_or_remove_a_name(field: Path) -> None:
    try:
        with refusing(field):
            pass
    except OSError as error:
        pytest.skip(f"this file system cannot be made to refuse: {error}")
    outcomes = told(
        field,
        PlainShare(),
        ("host", ActorOperation("create", "a")),
        ("share", ActorOperation("refuse")),
        ("host", ActorOperation("create", "b")),
        ("host", ActorOperation("unlink", "a")),
        ("share", ActorOperation("accept")),
        ("host", ActorOperation("unlink", "a")),
    )
    refused = "EACCES" if os.geteuid() else "EPERM"
    assert outcomes == ["done", "done", refused, refused, "done", "done"]


def test_what_still_refuses_at_the_end_accepts_again(field: Path) -> None:
    told(field, PlainShare(), ("share", ActorOperation("refuse")))
    (field / "a").touch()
