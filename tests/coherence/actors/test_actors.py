"""Actors: processes that do what they are told below a directory, and tell when."""

import stat
from pathlib import Path

import pytest

from osxfs_sim.coherence.actors.operations import ACTS, ActorOperation, OperationResult, Performer
from osxfs_sim.coherence.actors.processes import Actor
from osxfs_sim.model.user_error import UserError

EVERY_ACT = (
    (ActorOperation("create", "a", data="one"), OperationResult()),
    (ActorOperation("create", "a"), OperationResult(error="EEXIST")),
    (ActorOperation("write", "b", data="two\xff"), OperationResult()),
    (ActorOperation("read", "b"), OperationResult("two\xff")),
    (ActorOperation("overwrite", "a", data="N", offset=1), OperationResult()),
    (ActorOperation("read", "a"), OperationResult("oNe")),
    (ActorOperation("overwrite", "none", data="N"), OperationResult(error="ENOENT")),
    (ActorOperation("append", "a", data="!"), OperationResult()),
    (ActorOperation("truncate", "a", size=2), OperationResult()),
    (ActorOperation("read", "a"), OperationResult("oN")),
    (ActorOperation("mkdir", "d", mode=0o755), OperationResult()),
    (ActorOperation("rename", "a", "d/a"), OperationResult()),
    (ActorOperation("link", "d/a", "d/l"), OperationResult()),
    (ActorOperation("symlink", "s", "nowhere"), OperationResult()),
    (ActorOperation("readlink", "s"), OperationResult("nowhere")),
    (ActorOperation("mkfifo", "f"), OperationResult()),
    (ActorOperation("mksock", "k"), OperationResult()),
    (ActorOperation("list", "d"), OperationResult(["a", "l"])),
    (ActorOperation("rmdir", "d"), OperationResult(error="ENOTEMPTY")),
    (ActorOperation("unlink", "d/l"), OperationResult()),
    (ActorOperation("chmod", "b", mode=0o600), OperationResult()),
    (ActorOperation("utimes", "b", offset=10**18), OperationResult()),
    (ActorOperation("open", "b", handle="h"), OperationResult()),
    (ActorOperation("lock", handle="h"), OperationResult()),
    (ActorOperation("open", "b", handle="i", size=-1), OperationResult()),
    (ActorOperation("lock", handle="i"), OperationResult(error="EAGAIN")),
    (ActorOperation("unlock", handle="h"), OperationResult()),
    (ActorOperation("lock", handle="i"), OperationResult()),
    (ActorOperation("pwrite", handle="h", data="TW"), OperationResult()),
    (ActorOperation("pwrite", handle="i", data="no"), OperationResult(error="EBADF")),
    (ActorOperation("pread", handle="h", size=2, offset=1), OperationResult("Wo")),
    (ActorOperation("outline", "b"), OperationResult("T*1 W*1 o*1 ÿ*1")),
    (ActorOperation("outline", handle="h"), OperationResult("T*1 W*1 o*1 ÿ*1")),
    (ActorOperation("fsync", handle="h"), OperationResult()),
    (ActorOperation("fsync", "d"), OperationResult()),
    (ActorOperation("map", "b", handle="m", size=3), OperationResult()),
    (ActorOperation("mread", handle="m"), OperationResult("TWo")),
    (ActorOperation("map", "b", handle="n", size=300), OperationResult(error="EINVAL")),
    (ActorOperation("unmap", handle="m"), OperationResult()),
    (ActorOperation("close", handle="h"), OperationResult()),
    (ActorOperation("wait", pause_ns=1), OperationResult()),
)


@pytest.mark.starts_processes
def test_an_actor_performs_every_act(tmp_path: Path) -> None:
    with Actor("host", tmp_path) as host:
        performed = host.play([operation for operation, _ in EVERY_ACT])
    assert [each.outcome for each in performed] == [outcome for _, outcome in EVERY_ACT]
    tried = {operation.act for operation, _ in EVERY_ACT}
    assert tried | {"stat", "fstat", "sync", "mkdev"} == set(ACTS)


def test_attributes_are_those_of_the_name_itself(tmp_path: Path) -> None:
    performer = Performer(str(tmp_path))
    performer.perform(ActorOperation("write", "a", data="four"))
    performer.perform(ActorOperation("utimes", "a", offset=10**18))
    performer.perform(ActorOperation("symlink", "s", "a"))
    told = performer.perform(ActorOperation("stat", "a")).value
    inode = (tmp_path / "a").stat().st_ino
    assert told == {
        "type": "file",
        "mode": stat.S_IMODE((tmp_path / "a").stat().st_mode),
        "size": 4,
        "links": 1,
        "inode": inode,
        "mtime_ns": 10**18,
    }
    assert performer.perform(ActorOperation("stat", "s")).value["type"] == "symlink"
    performer.perform(ActorOperation("open", "a", handle="h"))
    assert performer.perform(ActorOperation("fstat", handle="h")).value == told
    performer.close()


@pytest.mark.starts_processes
def test_moments_lie_in_order_and_two_actors_work_at_once(tmp_path: Path) -> None:
    """The one waits for what the other does: they could not one after the other."""
    with Actor("host", tmp_path) as host, Actor("guest", tmp_path) as guest:
        guest.start([ActorOperation("wait", pause_ns=50_000_000), ActorOperation("read", "a")])
        (written,) = host.play([ActorOperation("create", "a", data="x")])
        _, read = guest.finish()
    assert read.outcome == OperationResult("x")
    assert written.call_ns <= written.return_ns < read.call_ns <= read.return_ns
    assert str(read) == "guest: read a -> 'x'"


def test_an_operation_survives_json() -> None:
    for operation, _ in EVERY_ACT:
        assert ActorOperation.from_json(operation.to_json()) == operation
    assert ActorOperation("rename", "a", "b").to_json() == {"act": "rename", "path": "a", "to": "b"}


@pytest.mark.starts_processes
def test_an_actor_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with Actor("guest", tmp_path) as guest:
        guest.start([ActorOperation("mkfifo", "f"), ActorOperation("read", "f")])
        with pytest.raises(UserError, match="the process of the guest does not answer"):
            guest.finish(within_s=0.2)
