"""Sends FUSE invalidations: the guest's kernel drops what it has cached. A thread of its own.

The kernel may have to wait for a directory's lock or for pages that wait for
this very server (pyfuse3's documentation of invalidate_inode and
invalidate_entry), so that the requests must go on meanwhile.

Replies that are on their way when a change is reported are decided for the change,
by the kernel's own order:

- To invalidate an entry takes the directory's lock, which a LOOKUP, a READDIRPLUS or a
  CREATE of a name in it holds from its request to the end of its reply: what they bring
  is there before it is invalidated (fs/fuse/dir.c, fuse_reverse_inval_entry).
- To invalidate attributes raises the inode's attr_version; attributes that were asked
  for before are then not taken over (fs/fuse/inode.c, fuse_change_attributes_i).
- To invalidate pages waits for those that are being read (invalidate_inode_pages2).

One gap is left: an inode that a reply on its way is about to bring. The kernel
does not know it yet (ENOENT), and would cache what the reply says. So the entry
that brings it is invalidated, which waits for the reply, and then the inode.
"""

import contextlib
import errno
import logging
import queue
import threading
from collections.abc import Callable, Iterable

import pyfuse3

from osxfs_sim.mount.loop.fd_tables import Device
from osxfs_sim.mount.loop.notifications import (
    IncrementEpoch,
    InvalAttributes,
    InvalEntry,
    Invalidation,
    InvalPages,
)

log = logging.getLogger(__name__)

NORMAL = (errno.ENOENT, errno.ENOTCONN, errno.ENODEV, errno.EBADF)
"""The kernel does not know it; or the mount is being taken away."""

_STUCK_AFTER_S = 5.0


class Invalidator:
    """The thread that sends FUSE invalidations, in the order in which they are asked for.

    A kernel that holds writes trusts its own size and times of a file for as long as it knows it
    (fs/fuse/inode.c, fuse_change_attributes): what was invalidated comes back with the next answer.
    With *forgets* the dentry by which it knows the file is invalidated too, so that it forgets the
    file, unless somebody has it open.
    """

    def __init__(
        self, *, forgets: bool = False, device: Device | None = None, keep: Iterable[int] = ()
    ) -> None:
        """*keep* are descriptors that the calls after invalidations need."""
        self._forgets = forgets
        self._device = device
        self._keep = tuple(keep)
        self.entries = 0
        self.attributes = 0
        self.pages = 0
        self.waiting = 0
        """Calls of invalidate() that are not done; written by the caller's thread too."""
        self._queue: queue.SimpleQueue[tuple[list[Invalidation], Callable[[], None]] | None] = (
            queue.SimpleQueue()
        )
        self._stopping = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="osxfs-sim invalidator", daemon=True)
        self._thread.start()

    def invalidate(self, invalidations: Iterable[Invalidation], then: Callable[[], None]) -> None:
        """Queue *invalidations*; the thread calls *then* once they are sent. Never fails."""
        with self._lock:
            self.waiting += 1
        self._queue.put((list(invalidations), then))

    def stop(self) -> bool:
        """End the thread, waiting 5 s for it; False: it is stuck, so go on serving requests."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join(_STUCK_AFTER_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._device is not None:
            self._device.keep_clone_only(self._keep)
        while True:
            asked = self._queue.get()
            if asked is None:
                return
            invalidations, then = asked
            for invalidation in invalidations:
                if self._stopping:
                    break
                try:
                    self._invalidate(invalidation)
                except Exception:
                    log.exception("bug: %r was not sent", invalidation)
            with self._lock:
                self.waiting -= 1
            try:
                then()
            except Exception:
                log.exception("bug: after %d invalidations", len(invalidations))

    def _invalidate(self, invalidation: Invalidation) -> None:
        match invalidation:
            case InvalEntry():
                self.entries += 1
                invalidate_entry(invalidation)
            case InvalAttributes():
                self.attributes += 1
                self._invalidate_inode(
                    invalidation.number, invalidation.entry, attributes_only=True
                )
            case InvalPages():
                self.pages += 1
                self._invalidate_inode(
                    invalidation.number, invalidation.entry, attributes_only=False
                )
            case IncrementEpoch():
                invalidation.call()

    def _invalidate_inode(
        self, number: int, entry: InvalEntry | None, *, attributes_only: bool
    ) -> None:
        inode = pyfuse3.InodeT(number)
        try:
            pyfuse3.invalidate_inode(inode, attributes_only)
        except OSError as error:
            if error.errno not in NORMAL:
                raise
            if error.errno != errno.ENOENT or entry is None:
                return
            # Perhaps a reply on its way brings it: see above.
            invalidate_entry(entry)
            with contextlib.suppress(OSError):
                pyfuse3.invalidate_inode(inode, attributes_only)
            return
        if self._forgets and entry is not None:
            invalidate_entry(entry)


def invalidate_entry(entry: InvalEntry) -> None:
    """Have the kernel drop a cached name; no error if it has none. Raises OSError.

    Sends FUSE_NOTIFY_INVAL_ENTRY, from a thread that holds nothing of the share's. That the mount
    is going is no error, either.
    """
    try:
        pyfuse3.invalidate_entry(pyfuse3.InodeT(entry.directory), entry.name)
    except OSError as error:
        if error.errno not in NORMAL:
            raise


def _nothing() -> None:
    """After invalidations that nobody waits for."""


class LateInvalidator:
    """An Invalidator that is started when it is first needed: most shares never need it."""

    def __init__(self, begin: Callable[[], Invalidator | None]) -> None:
        """*begin* makes it; None where the kernel cannot be talked to."""
        self._begin = begin
        self._invalidator: Invalidator | None = None

    def invalidate(self, invalidations: Iterable[Invalidation]) -> None:
        """Queue *invalidations* for a thread, started at need; does nothing if unconnected."""
        if self._invalidator is None:
            self._invalidator = self._begin()
        if self._invalidator is not None:
            self._invalidator.invalidate(invalidations, _nothing)

    def close(self) -> None:
        """Stop the invalidator's thread, if it was started, waiting 5 s for it."""
        if self._invalidator is not None:
            self._invalidator.stop()
