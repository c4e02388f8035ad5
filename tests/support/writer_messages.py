"""What a host writer in another process is asked and answers, as bytes and descriptors.

A message is a length, a number of descriptors, and msgpack; the descriptors come with its first
byte (SCM_RIGHTS). Asked is one or more changes, in their order, with the state of every object
that they are about when they were sent; answered is what became of each, up to the first that the
host has refused: its effects, also those of that one.
"""

import os
import socket
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import Inode, Shown
from osxfs_sim.mount.writeback import effects
from osxfs_sim.mount.writeback.effects import (
    Created,
    Effect,
    Moved,
    NameLost,
    ObjectIdentity,
    Opened,
    Seen,
)
from osxfs_sim.mount.writeback.journal_format import detail_of

_HEADER = struct.Struct("=II")  # length of what follows, number of descriptors
_PIECE_BYTES = 1 << 16
_MOST_DESCRIPTORS = 253
"""That one message carries: SCM_MAX_FD of include/net/scm.h."""


class EndedError(Exception):
    """The other side has ended, perhaps in the middle of a message."""


class ObjectState(NamedTuple):
    """What the asking side knows of one object; descriptors by their place in the message."""

    number: int
    kind: int
    device: int
    host_number: int
    generation: bytes | None
    shown: Shown | None
    ways: tuple[tuple[int, bytes], ...]
    place: tuple[int, bytes] | None
    """Where the host had it last, if anything is pending of it (Overlay.place)."""
    is_pending: bool
    """Whether anything is."""
    local_only: bool
    mode: int | None
    seen: tuple[int, int, int] | None
    fd: int
    """To write through (Overlay.fd); -1: none."""
    handle: int
    """One that the guest has open; -1: none."""
    path_fd: int
    """That is held of it (Inode.path_fd); -1: none."""


class Asked(NamedTuple):
    """One change, objects by their numbers, 0 for none."""

    sequence: int
    kind: str
    target: int
    parent: int
    name: bytes
    old_parent: int
    old_name: bytes
    replaced: int
    replaced_is_directory: bool
    offset: int
    length: int
    position: int
    detail: tuple[Any, ...]
    repeats: bool
    """Whether it may be half done already (ConflictRules)."""


class Answer(NamedTuple):
    """What became of one change."""

    code: int
    """The errno with which the host has refused it, or 0."""
    bug: str
    """What has gone wrong that should not; empty: nothing."""
    effects: tuple[Effect, ...]
    """What was done on the host, in its order."""


def asked(change: "Change[Inode]", *, repeats: bool) -> Asked:
    """*change* as it is sent."""
    return Asked(
        *(change.sequence, change.kind.value, change.target.number),
        *(_number(change.parent), change.name, _number(change.old_parent), change.old_name),
        *(_number(change.replaced), change.replaced_is_directory),
        *(change.offset, change.length, change.position, tuple(change.detail), repeats),
    )


def change_of(each: Asked, inodes: "dict[int, Inode]") -> "Change[Inode]":
    """*each* as it is made, with its objects."""
    kind = Kind(each.kind)
    return Change(
        *(kind, inodes[each.target], 0, inodes.get(each.parent), each.name),
        *(inodes.get(each.old_parent), each.old_name, inodes.get(each.replaced)),
        *(each.replaced_is_directory, each.offset, each.length, each.position),
        *(detail_of(kind, each.detail), each.sequence),
    )


def states_of(changes: "Iterable[Change[Inode]]", fds: list[int]) -> list[ObjectState]:
    """All objects by which *changes* are made, up to the root; their descriptors go to *fds*."""
    found: dict[Inode, ObjectState] = {}
    used = {
        inode
        for change in changes
        for inode in (change.target, change.parent, change.old_parent, change.replaced)
        if inode is not None
    }
    reached_by = {_nearest(inode) for inode in used}
    waiting = [*used]
    while waiting:
        inode = waiting.pop()
        if inode in found:
            continue
        state = _state(inode, fds, inode in reached_by or not inode.is_directory)
        found[inode] = state
        waiting += [parent for parent, _ in inode.places()]
        if inode.overlay is not None and inode.overlay.place is not None:
            waiting.append(inode.overlay.place[0])
    return list(found.values())


def _nearest(inode: Inode) -> Inode:
    """The directory above *inode*, or itself, from which it is reached."""
    here, seen = inode, {inode}
    while (here.path_fd < 0 or not here.is_directory) and here.parent not in (None, *seen):
        assert here.parent is not None
        here = here.parent
        seen.add(here)
    return here


def _state(inode: Inode, fds: list[int], with_path_fd: bool) -> ObjectState:
    def sent(fd: int) -> int:
        if fd < 0:
            return -1
        fds.append(fd)
        return len(fds) - 1

    overlay, place = inode.overlay, None
    if overlay is not None and overlay.place is not None:
        place = overlay.place[0].number, overlay.place[1]
    is_open = bool(inode.open_fds) and not inode.is_local_only and not inode.is_directory
    return ObjectState(
        inode.number,
        inode.kind,
        inode.device,
        inode.host_number,
        inode.facts.generation if inode.facts is not None else None,
        inode.shown,
        tuple((parent.number, name) for parent, name in inode.places()),
        place,
        overlay is not None,
        overlay is not None and overlay.local_only,
        overlay.mode if overlay is not None else None,
        overlay.seen if overlay is not None else None,
        sent(overlay.fd if overlay is not None else -1),
        sent(inode.open_fds[-1] if is_open and inode.open_fds else -1),
        sent(inode.path_fd if with_path_fd else -1),
    )


def _number(inode: Inode | None) -> int:
    return 0 if inode is None else inode.number


# Effects

_TYPES: tuple[type[Any], ...] = (
    *(effects.Created, effects.Named, effects.Unnamed, effects.NameLost, effects.Moved),
    *(effects.Linked, effects.Stale, effects.Opened, effects.Seen, effects.Changed),
    *(effects.CameBack, effects.Lost, effects.Kept, effects.Overruled),
)
_NUMBERS = {each: number for number, each in enumerate(_TYPES)}


def packed(effect: Effect, fds: list[int]) -> tuple[Any, ...]:
    """*effect* as it is sent; a copy of its descriptor goes to *fds*."""
    if isinstance(effect, NameLost | Opened):
        fds.append(os.dup(effect.fd))
        return (_NUMBERS[type(effect)], *effect._replace(fd=len(fds) - 1))
    return (_NUMBERS[type(effect)], *effect)


def unpacked(values: Any, fds: list[int]) -> Effect:
    """The effect that was sent as *values* and *fds*."""
    effect = _TYPES[values[0]](*values[1:])
    match effect:
        case NameLost() | Opened():
            fd, fds[effect.fd] = fds[effect.fd], -1
            effect = effect._replace(fd=fd)
        case Seen():
            effect = effect._replace(like=tuple(effect.like))
        case Created():
            shown = None if effect.shown is None else Shown(*effect.shown)
            effect = effect._replace(shown=shown)
    if isinstance(effect, Created | NameLost | Moved):
        effect = effect._replace(identity=ObjectIdentity(*effect.identity))
    return effect  # type: ignore[no-any-return]


def pack_answers(answers: Iterable[tuple[int, str, list[tuple[Any, ...]]]]) -> bytes:
    """*answers*, whose effects are packed(), as they are sent."""
    return msgpack.packb(list(answers))  # type: ignore[no-any-return]


def unpack_answers(body: bytes, fds: list[int]) -> list[Answer]:
    """The answers that were sent; *fds* are theirs."""
    return [
        Answer(code, bug, tuple(unpacked(each, fds) for each in told))
        for code, bug, told in msgpack.unpackb(body)
    ]


def pack_question(states: list[ObjectState], changes: list[Asked]) -> bytes:
    """What is asked, as it is sent."""
    return msgpack.packb((states, changes))  # type: ignore[no-any-return]


def unpack_question(body: bytes) -> tuple[list[ObjectState], list[Asked]]:
    """What was asked."""
    states, changes = msgpack.unpackb(body)
    found = []
    for values in states:
        state = ObjectState(*values)
        found.append(
            state._replace(
                shown=None if state.shown is None else Shown(*state.shown),
                seen=None if state.seen is None else tuple(state.seen),
                ways=tuple((parent, name) for parent, name in state.ways),
                place=None if state.place is None else (state.place[0], state.place[1]),
            )
        )
    return found, [Asked(*each) for each in changes]


# Messages


def send(connection: socket.socket, body: bytes, fds: list[int]) -> None:
    """Send a message. Raises EndedError."""
    assert len(fds) <= _MOST_DESCRIPTORS
    data = memoryview(_HEADER.pack(len(body), len(fds)) + body)
    try:
        sent = socket.send_fds(connection, [data], fds)
        if sent < len(data):  # or nothing at all is sent, to who has perhaps answered and ended
            connection.sendall(data[sent:])
    except (BrokenPipeError, ConnectionError):
        raise EndedError from None


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The next message, and its descriptors, which are the caller's. Raises EndedError."""
    data, fds = b"", list[int]()
    wanted = _HEADER.size
    try:
        while len(data) < wanted:
            more, also, flags, _ = socket.recv_fds(connection, _PIECE_BYTES, _MOST_DESCRIPTORS)
            fds += also
            if not more or flags & socket.MSG_CTRUNC:
                raise EndedError
            data += more
            if len(data) >= _HEADER.size:
                wanted = _HEADER.size + _HEADER.unpack_from(data)[0]
    except (ConnectionError, EndedError):
        for fd in fds:
            os.close(fd)
        raise EndedError from None
    return data[_HEADER.size :], fds
