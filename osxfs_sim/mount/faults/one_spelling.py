"""V3: a thread that has listed a directory knows it by that spelling only."""

import errno
import os
from collections import OrderedDict
from typing import Any

from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import Inode, InodeTable

_PROCESSES_REMEMBERED = 256

_Spellings = OrderedDict[int, dict[Inode, bytes]]


class OneSpelling(Fault):
    """A thread that has listed a directory as ``A`` does not find it as ``a`` (of apfs and hfs+).

    Nor, having listed the directory above, by any other spelling than the listed one
    (``ls . A`` in the report). Others, and programs that begin anew, find both.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Per thread: how it has last asked for each directory, and how it has listed them.
        self._requested: _Spellings = OrderedDict()
        self._listed: _Spellings = OrderedDict()

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: LOOKUP of a listed directory respelled raises OSError: ENOENT."""
        return _OneSpellingOperations(below, self._inodes, evict, self._requested, self._listed)

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, wrapped: it forgets the spellings of an evicted inode first."""

        def evict(inode: Inode) -> None:
            for spellings in (*self._requested.values(), *self._listed.values()):
                spellings.pop(inode, None)
            below(inode)

        return evict


class _OneSpellingOperations(Layer):
    next: HostOperations

    def __init__(
        self,
        below: HostOperations,
        inodes: InodeTable,
        evict: Evict,
        requested: _Spellings,
        listed: _Spellings,
    ) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._evict = evict
        self._requested = requested
        self._listed = listed

    def lookup(self, parent_number: int, requested: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        answer = self.next.lookup(parent_number, requested, ctx)
        if not answer.st_ino:
            return answer
        inode = self._inodes[answer.st_ino]
        if not inode.is_directory:
            return answer
        listed = self._listed.get(ctx.pid, {})
        known_as = inode.name if parent in listed else listed.get(inode, requested)
        if known_as != requested:
            # The kernel is not sent it after all: it will send no FORGET.
            if self._inodes.forget(inode.number, 1) is not None:
                self._evict(inode)
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        _of_thread(self._requested, ctx.pid)[inode] = requested
        return answer

    def opendir(self, number: int, ctx: RequestContext) -> int:
        handle = self.next.opendir(number, ctx)
        inode = self._inodes[number]
        spelling = self._requested.get(ctx.pid, {}).get(inode, inode.name)
        _of_thread(self._listed, ctx.pid)[inode] = spelling
        return handle


def _of_thread(remembered: _Spellings, thread_id: int) -> dict[Inode, bytes]:
    spellings = remembered.setdefault(thread_id, {})
    remembered.move_to_end(thread_id)
    if len(remembered) > _PROCESSES_REMEMBERED:
        remembered.popitem(last=False)
    return spellings
