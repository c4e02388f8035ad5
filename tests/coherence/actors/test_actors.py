"""Actors: processes that do what they are told below a directory, and tell when."""

import stat
from pathlib import Path

import pytest

from osxfs_sim.coherence.actors.operations import ACTS, Operation, Outcome, Performer
from osxfs_sim.coherence.actors.processes import Actor, ActorError

EVERY_ACT = (
    (Operation("create", "a", data="one"), Outcome()),
    (Operation("create", "a"), Outcome(error="EEXIST")),
    (Operation("write", "b", data="two\xff"), Outcome()),
    (Operation("read", "b"), Outcome("two\xff")),
    (Operation("overwrite", "a", data="N", offset=1), Outcome()),
    (Operation("read", "a"), Outcome("oNe")),
    (Operation("overwrite", "none", data="N"), Outcome(error="ENOENT")),
    (Operation("append", "a", data="!"), Outcome()),
    (Operation("truncate", "a", size=2), Outcome()),
    (Operation("read", "a"), Outcome("oN")),
    (Operation("mkdir", "d", mode=0o755), Outcome()),
    (Operation("rename", "a", "d/a"), Outcome()),
    (Operation("link", "d/a", "d/l"), Outcome()),
    (Operation("symlink", "s", "nowhere"), Outcome()),
    (Operation("readlink", "s"), Outcome("nowhere")),
    (Operation("mkfifo", "f"), Outcome()),
    (Operation("mksock", "k"), Outcome()),
    (Operation("list", "d"), Outcome(["a", "l"])),
    (Operation("rmdir", "d"), Outcome(error="ENOTEMPTY")),
    (Operation("unlink", "d/l"), Outcome()),
    (Operation("chmod", "b", mode=0o600), Outcome()),
    (Operation("utimes", "b", offset=10**18), Outcome()),
    (Operation("open", "b", handle="h"), Outcome()),
    (Operation("lock", handle="h"), Outcome()),
    (Operation("open", "b", handle="i", size=-1), Outcome()),
    (Operation("lock", handle="i"), Outcome(error="EAGAIN")),
    (Operation("unlock", handle="h"), Outcome()),
    (Operation("lock", handle="i"), Outcome()),
    (Operation("pwrite", handle="h", data="TW"), Outcome()),
    (Operation("pwrite", handle="i", data="no"), Outcome(error="EBADF")),
    (Operation("pread", handle="h", size=2, offset=1), Outcome("Wo")),
    (Operation("outline", "b"), Outcome("T*1 W*1 o*1 ÿ*1")),
    (Operation("outline", handle="h"), Outcome("T*1 W*1 o*1 ÿ*1")),
    (Operation("fsync", handle="h"), Outcome()),
    (Operation("fsync", "d"), Outcome()),
    (Operation("map", "b", handle="m", size=3), Outcome()),
    (Operation("mread", handle="m"), Outcome("TWo")),
    (Operation("map", "b", handle="n", size=300), Outcome(error="EINVAL")),
    (Operation("unmap", handle="m"), Outcome()),
    (Operation("close", handle="h"), Outcome()),
    (Operation("wait", pause_ns=1), Outcome()),
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
    performer.perform(Operation("write", "a", data="four"))
    performer.perform(Operation("utimes", "a", offset=10**18))
    performer.perform(Operation("symlink", "s", "a"))
    told = performer.perform(Operation("stat", "a")).value
    inode = (tmp_path / "a").stat().st_ino
    assert told == {
        "type": "file",
        "mode": stat.S_IMODE((tmp_path / "a").stat().st_mode),
        "size": 4,
        "links": 1,
        "inode": inode,
        "mtime_ns": 10**18,
    }
    assert performer.perform(Operation("stat", "s")).value["type"] == "symlink"
    performer.perform(Operation("open", "a", handle="h"))
    assert performer.perform(Operation("fstat", handle="h")).value == told
    performer.close()


@pytest.mark.starts_processes
def test_moments_lie_in_order_and_two_actors_work_at_once(tmp_path: Path) -> None:
    """The one waits for what the other does: they could not one after the other."""
    with Actor("host", tmp_path) as host, Actor("guest", tmp_path) as guest:
        guest.start([Operation("wait", pause_ns=50_000_000), Operation("read", "a")])
        (written,) = host.play([Operation("create", "a", data="x")])
        _, read = guest.finish()
    assert read.outcome == Outcome("x")
    assert written.call_ns <= written.return_ns < read.call_ns <= read.return_ns
    assert str(read) == "guest: read a -> 'x'"


def test_an_operation_survives_json() -> None:
    for operation, _ in EVERY_ACT:
        assert Operation.from_json(operation.to_json()) == operation
    assert Operation("rename", "a", "b").to_json() == {"act": "rename", "path": "a", "to": "b"}


@pytest.mark.starts_processes
def test_an_actor_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with Actor("guest", tmp_path) as guest:
        guest.start([Operation("mkfifo", "f"), Operation("read", "f")])
        with pytest.raises(ActorError, match="the process of the guest does not answer"):
            guest.finish(within_s=0.2)
