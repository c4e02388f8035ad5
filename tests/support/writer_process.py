"""A host writer in a process of its own, which cannot import pyfuse3: changes in, effects out.

It has a tree of its own, which it is told of with each change, and knows no share, no mount, no
overlay and no list of what is pending. Ends when the other side of its socket does.
"""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osxfs_sim.model.write_back import Change
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.server import without_fuse
from osxfs_sim.mount.tree.backing import Backing, descriptor_budget
from osxfs_sim.mount.tree.inodes import Facts, Inode, InodeTable
from osxfs_sim.mount.tree.owners import OsxfsOwners
from osxfs_sim.mount.tree.pending import drop_overlay, overlay_of
from osxfs_sim.mount.tree.spellings import ExactNames
from osxfs_sim.mount.writeback.conflicts import Conflicts
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.effects import Effect
from osxfs_sim.mount.writeback.host_writer import HostWriter

from .writer_messages import (
    EndedError,
    ObjectState,
    asked,
    change_of,
    pack_answers,
    pack_question,
    packed,
    receive,
    send,
    states_of,
    unpack_answers,
    unpack_question,
)

_MOST_DIRECTORIES = 1_024
_ATTEMPTS = 3
"""So many processes may end of one change."""
MODULE = __name__
"""What is started; tests put one in its place that dies."""


class WriterTree:
    """The host's tree as the writer has it: what was said of it, and what was done since."""

    def __init__(self, root_fd: int, state: Path) -> None:
        """*root_fd* is ours. Raises OSError."""
        self.inodes = InodeTable(os.fstat(root_fd))
        self.backing = Backing(
            self.inodes.root, root_fd, most_descriptors=descriptor_budget(_MOST_DIRECTORIES)
        )
        self.owners = OsxfsOwners(state, os.geteuid())
        self.namespace = Namespace(
            *(self.inodes, self.backing, self.owners, ExactNames(), None, None)
        )
        self._told: dict[int, Inode] = {}

    def tell(self, states: list[ObjectState], fds: list[int]) -> dict[int, Inode]:
        """What is known of the objects of the changes to come; *fds* are ours.

        Returns these objects by their numbers.
        """
        self._told = {state.number: self._inode(state) for state in states}
        for state in states:
            inode = self._told[state.number]
            if inode is self.inodes.root:
                continue
            ways = [(self._told[parent], name) for parent, name in state.ways]
            inode.parent, inode.name = ways[0] if ways else (None, b"")
            inode.other_names = ways[1:] or None
            if state.is_pending:
                overlay = overlay_of(inode)
                overlay.local_only = state.local_only
                overlay.mode = state.mode
                overlay.seen = state.seen
                overlay.place = (
                    (self._told[state.place[0]], state.place[1])
                    if state.place is not None
                    else None
                )
                overlay.fd = _taken(fds, state.fd)
            if state.handle >= 0:
                inode.open_fds = [_taken(fds, state.handle)]
            if state.path_fd >= 0 and inode.path_fd < 0:
                self.backing.keep_orphan(inode, _taken(fds, state.path_fd))
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        return self._told

    def _inode(self, state: ObjectState) -> Inode:
        inode = next((each for each in self._at(state.number) if each.kind == state.kind), None)
        if inode is None:
            for other in self._at(state.number):
                self._drop(other)
            inode = Inode(state.number, -1, 0, state.kind, None, b"")
            inode.nlookup = 1
            self.inodes._put(inode)
        known = inode.facts.generation if inode.facts is not None else None
        identity = state.device, state.host_number
        if (inode.device, inode.host_number) != identity or known != state.generation:
            self.backing.forget(inode)
            if state.device == -1:
                self.inodes.detach_host_number(inode)
                inode.host_number = state.host_number
            else:
                self.inodes.identify(inode, *identity)
        inode.facts = Facts(state.generation, 0, 0)
        inode.shown = state.shown
        return inode

    def _at(self, number: int) -> list[Inode]:
        with contextlib.suppress(KeyError):
            return [self.inodes[number]]
        return []

    def _drop(self, inode: Inode) -> None:
        self.namespace.forget(inode)
        self.inodes.remove(inode)

    def forget(self) -> None:
        """The changes are made: of files nothing is kept, of directories a descriptor."""
        for inode in self._told.values():
            overlay = inode.overlay
            if overlay is not None and overlay.fd >= 0:
                os.close(overlay.fd)
            drop_overlay(inode)
            for fd in inode.open_fds or ():
                os.close(fd)
            inode.open_fds = None
        too_many = len(self.inodes) > _MOST_DIRECTORIES
        for inode in self.inodes.all() if too_many else self._told.values():
            if inode is not self.inodes.root and (too_many or not inode.is_directory):
                self._drop(inode)
        self._told = {}
        self.inodes.unneeded.clear()


def _taken(fds: list[int], place: int) -> int:
    """The descriptor at *place*, which is not closed with the others any more; -1: none."""
    if place < 0:
        return -1
    fd, fds[place] = fds[place], -1
    return fd


class Served:
    """Makes the changes that come by *connection*."""

    def __init__(self, connection: socket.socket, tree: WriterTree, data_fd: int) -> None:
        self._connection = connection
        self._tree = tree
        self._effects = EffectApplier(tree.namespace, tree.inodes, tree.backing, None, Conflicts())
        self._writer = HostWriter(
            *(tree.inodes.root, tree.backing, tree.owners),
            lambda position, length: os.pread(data_fd, length, position),
            self._emit,
            tells_handles=True,
        )
        self._packed: list[tuple[Any, ...]] = []
        self._fds: list[int] = []

    def _emit(self, effect: Effect) -> None:
        self._packed.append(packed(effect, self._fds))
        self._effects.apply(effect)

    def serve(self) -> None:
        """Until the other side ends."""
        while True:
            try:
                body, fds = receive(self._connection)
            except EndedError:
                return
            states, changes = unpack_question(body)
            objects = self._tree.tell(states, fds)
            answers = []
            for each in changes:
                self._writer.conflicts.repeats = each.repeats
                code, bug = self._made(change_of(each, objects))
                answers.append((code, bug, self._packed))
                self._packed = []
                if code or bug:
                    break
            try:
                send(self._connection, pack_answers(answers), self._fds)
            except EndedError:
                return
            for fd in self._fds:
                os.close(fd)
            self._fds = []
            self._tree.forget()

    def _made(self, change: "Change[Inode]") -> tuple[int, str]:
        try:
            self._writer.apply(change)
        except OSError as error:
            return error.errno or errno.EIO, ""
        except Exception:
            return 0, traceback.format_exc()
        return 0, ""


class WriterBugError(Exception):
    """The writer has come upon something that it should not."""


class ProcessWriter:
    """The server's side: has changes made by a process, which is started anew if it ends.

    As HostWriter, for all that the server asks of that at a change.
    """

    def __init__(
        self, root_fd: int, state: Path, data_fd: int, effects: EffectApplier, module: str = MODULE
    ) -> None:
        """*effects* is told of what the process has done."""
        self.effects = effects
        self.starts = 0
        """How often a process was started."""
        self._root_fd, self._state, self._data_fd = root_fd, state, data_fd
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def pid(self) -> int:
        """Of the process, if one has been started, else 0."""
        return self._process.pid if self._process is not None else 0

    def apply(self, change: "Change[Inode]") -> None:
        """Have *change* made on the host, and apply its effects. Raises OSError.

        Where the process ends meanwhile, another is asked, as of something half done.
        """
        repeats = False
        for _ in range(_ATTEMPTS):
            fds: list[int] = []
            states = states_of([change], fds)
            body = pack_question(states, [asked(change, repeats=repeats)])
            try:
                connection = self._connected()
                send(connection, body, fds)
                answer, received = receive(connection)
            except EndedError:
                self.close()
                repeats = True
                continue
            break
        else:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        (made,) = unpack_answers(answer, received)
        for effect in made.effects:
            self.effects.apply(effect)
        if made.bug:
            raise WriterBugError(made.bug)
        if made.code:
            raise OSError(made.code, os.strerror(made.code))

    def _connected(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            arguments = [str(os.getpid()), str(theirs.fileno()), str(self._state)]
            arguments += [str(self._root_fd), str(self._data_fd)]
            with theirs:
                self._process = subprocess.Popen(
                    without_fuse.command(self._module, *arguments),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), self._root_fd, self._data_fd),
                )
            self._connection = ours
            self.starts += 1
        return self._connection

    def close(self) -> None:
        """End the process, and wait for it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def main(add_layer: Callable[[type[HostWriter]], None] | None = None) -> None:
    """The process itself; *lay_over* may put something in the writer's way."""
    parent_pid, fd, state, root_fd, data_fd = sys.argv[1:]
    without_fuse.end_with(int(parent_pid))
    os.umask(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if add_layer is not None:
        add_layer(HostWriter)
    with socket.socket(fileno=int(fd)) as connection:
        Served(connection, WriterTree(int(root_fd), Path(state)), int(data_fd)).serve()
