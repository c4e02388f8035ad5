"""Raises inotify events in the guest, by real system calls of a thread of its own.

The kernel raises an event when somebody makes a system call, and offers no
other way. So the injector makes one in the mount, and the server answers it
without applying it (injected_requests.py), as osxfs did:

    what the guest shall see    the call
    IN_CREATE                   mknod, mkdir or symlink
    IN_DELETE, IN_DELETE_SELF   unlink or rmdir
    IN_MODIFY                   utimensat of the time of modification alone
    IN_ATTRIB                   utimensat of both times

osxfs used truncate(2) and chmod(2) for the last two. Both work; but truncate
takes pages away, waits for writers, and fails for a program that runs
(ETXTBSY), and neither can name a symlink. fsnotify_change (linux/fsnotify.h)
tells which event each setting of attributes raises.

Nothing but the share itself may be reached: what the guest has mounted in it is
another file system, where these calls would be real. So paths are walked
without crossing a mount or following a link (openat2(2)), from a root that is
checked to be the share's. The root is held no longer than one batch, since
whoever holds it keeps the share from being unmounted. The thread holds nothing of
/dev/fuse while it waits in the share (fd_tables.py), so that it keeps nobody waiting
when the server is killed.
"""

import collections
import errno
import logging
import os
import queue
import stat as modes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.model.events import Notice
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.events.invalidate import NORMAL, invalidate_entry
from osxfs_sim.mount.loop.fd_tables import Device
from osxfs_sim.mount.loop.notifications import InvalEntry
from osxfs_sim.mount.tree.inodes import Inode

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_MOST_WAITING = 16_384
BUSY = 4_096
"""How many may wait before those who can wait should."""
_STUCK_AFTER_S = 5.0
_NO_THREAD = -1  # 0 is who is in no process namespace of ours
_SMALL_BURST = 64
_LONGEST_WAY_NS = 2_000_000
_PAUSE_NS = 3_000_000_000
_LONGEST_SLEEP_NS = 10_000_000
_LONGEST_WALK_BYTES = 3_000  # below PATH_MAX
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_INSIDE = (
    syscalls.RESOLVE_BENEATH
    | syscalls.RESOLVE_NO_SYMLINKS
    | syscalls.RESOLVE_NO_MAGICLINKS
    | syscalls.RESOLVE_NO_XDEV
)


@dataclass(slots=True, eq=False)
class Injection:
    """One inotify event to raise in the guest."""

    notice: Notice
    """The event that the guest's processes shall get."""
    directory: Inode
    """Where it is raised; the injector walks there."""
    name: bytes
    """The name in it, as the guest spells it; b"" is the root itself."""
    kind: int
    """The object's type, its S_IFMT bits."""
    gone: Inode | None = None
    """Of a DELETE, the inode that the guest knew by that name, if it is that which is gone.
    Written by suppressed_answers, too."""
    was_looked_up: bool = False
    """Whether the call has made the kernel send a LOOKUP of the name. Written by injector and
    suppressed_answers."""
    is_moot: bool = False
    """Whether there is nothing to tell any more: the host has something else there. Written by
    suppressed_answers."""


class Injector:
    """The thread that raises inotify events in the guest, by system calls in the mount."""

    def __init__(self, mountpoint: str, guest_waits: Callable[[], bool]) -> None:
        """*guest_waits* tells whether requests of the guest are being served."""
        self.current: Injection | None = None
        """What the thread is raising: by it the server knows what to answer."""
        self.raised = dict.fromkeys(Notice, 0)
        self.failed = 0
        """Events that could not be raised."""
        self.overflowed_since_ns: int | None = None
        """From when on events were not raised, for being too many (monotonic)."""
        self.waiting = 0
        self._mountpoint = mountpoint
        self._guest_waits = guest_waits
        self._device_of_share: Device | None = None
        self._invalidate_entry: Callable[[InvalEntry], None] = invalidate_entry
        self._in_a_row = 0
        self._began_ns = 0
        self._device = -1
        self._batches: queue.SimpleQueue[list[Injection] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = False
        self._paused_until_ns = 0
        self._complained: set[tuple[Notice, int | None]] = set()
        # It lives as long as the share: the number of a thread that has ended may be
        # given to a process of the guest, whose requests would then not be applied.
        self._thread = threading.Thread(target=self._run, name="osxfs-sim injector", daemon=True)
        self._thread_id = _NO_THREAD

    def start(self, device: Device | None = None) -> None:
        """Start the thread, once requests are served; it gives up the descriptors of *device*."""
        self._device_of_share = device
        self._thread.start()
        assert self._thread.native_id is not None
        self._thread_id = self._thread.native_id

    @property
    def thread_id(self) -> int:
        """The ID of the thread that makes injected requests; -1 before start()."""
        return self._thread_id

    def is_injected_request(self, ctx: Any) -> bool:
        """Whether the request of context *ctx* (pyfuse3's) is made by the injector's thread."""
        return getattr(ctx, "pid", 0) == self._thread_id

    def open(self) -> None:
        """Find out the share's device number; blocks until it is served. Raises OSError."""
        self._device = os.stat(self._mountpoint).st_dev

    def inject(self, injections: Sequence[Injection], at_ns: int) -> None:
        """Queue *injections*, events to raise in the guest; drops them where too many wait.

        Where too many wait already they are dropped, and take_overflow() says so.
        """
        with self._lock:
            if self.waiting + len(injections) > _MOST_WAITING:
                if self.overflowed_since_ns is None:
                    self.overflowed_since_ns = at_ns
                return
            self.waiting += len(injections)
        self._batches.put(list(injections))

    def take_overflow(self) -> int | None:
        """Since when events were dropped (monotonic, ns); None: none were, or some still wait."""
        with self._lock:
            if self.waiting:
                return None
            since_ns, self.overflowed_since_ns = self.overflowed_since_ns, None
            return since_ns

    def pause(self) -> bool:
        """Hold nothing in the share for the next 3 s. Returns whether events were waiting."""
        self._paused_until_ns = time.monotonic_ns() + _PAUSE_NS
        return self.waiting > 0

    def stop(self) -> bool:
        """End the thread, waiting 5 s for it; False: it is stuck, so go on serving requests."""
        self._stopping = True
        if self._thread_id == _NO_THREAD:
            return True
        self._batches.put(None)
        self._thread.join(_STUCK_AFTER_S)
        return not self._thread.is_alive()

    def _leave(self) -> None:
        """Keep no descriptor by which the share is served."""
        leave = None if self._device_of_share is None else self._device_of_share.leave()
        if leave is None:
            return

        def invalidate_entry_from_outside(entry: InvalEntry) -> None:
            try:
                leave(entry.directory, entry.name)
            except OSError as error:
                if error.errno not in NORMAL:
                    raise

        self._invalidate_entry = invalidate_entry_from_outside

    def _run(self) -> None:
        self._leave()
        while True:
            batch = self._batches.get()
            if batch is None:
                return
            left = collections.deque(batch)
            # Nothing else waited: what comes is no part of a burst before it.
            self._in_a_row = self._in_a_row + len(batch) if self.waiting > len(batch) else 0
            while left and not self._stopping:
                pause_ns = self._paused_until_ns - time.monotonic_ns()
                if pause_ns > 0:
                    time.sleep(min(pause_ns, _LONGEST_SLEEP_NS) / 1e9)
                    continue
                self._raise_while_possible(left)
            with self._lock:
                self.waiting -= len(batch)

    def _raise_while_possible(self, left: "collections.deque[Injection]") -> None:
        try:
            self._raise_all(left)
        except OSError as error:
            self.failed += len(left)
            left.clear()
            if error.errno not in _UNMOUNTED:
                log.warning("cannot raise events in %s: %s", self._mountpoint, error)
        except Exception:
            log.exception("bug: %r", self.current)
        finally:
            self.current = None

    def _raise_all(self, left: "collections.deque[Injection]") -> None:
        """Raise from the left, until there are none or somebody wants the share released."""
        root_fd = os.open(self._mountpoint, _WALK | os.O_DIRECTORY)
        directory, dir_fd = None, -1
        try:
            if os.fstat(root_fd).st_dev != self._device:
                left.clear()  # something else is mounted over it: nobody sees the share there
            while left and not self._stopping and self._paused_until_ns < time.monotonic_ns():
                injection = left.popleft()
                self.current = injection  # what the server answers on the way there depends on it
                try:
                    if injection.directory is not directory:
                        if dir_fd >= 0:
                            os.close(dir_fd)
                        directory, dir_fd = None, -1
                        dir_fd = _walk(root_fd, injection.directory)
                        if os.fstat(dir_fd).st_ino != injection.directory.number:
                            continue  # renamed meanwhile, and another has its name
                        directory = injection.directory
                    self._give_way()
                    self._raise(dir_fd, injection)
                except OSError as error:
                    if error.errno in _UNMOUNTED:
                        raise
                    # Gone, or something else by now: an event of its own will tell that.
                    if error.errno not in _OVERTAKEN:
                        self.failed += 1
                        self._complain(injection.notice, error)
        finally:
            if dir_fd >= 0:
                os.close(dir_fd)
            os.close(root_fd)

    def _complain(self, notice: Notice, error: OSError) -> None:
        """Once for each reason: where it is a matter of rights, every event has it."""
        reason = notice, error.errno
        if reason not in self._complained:
            self._complained.add(reason)
            log.warning("cannot raise %s: %s", notice.value, error)

    def _give_way(self) -> None:
        """In a burst, take no more than a quarter of the time while the guest asks for something.

        The server answers us too, and the interpreter serves one thread at a time.
        """
        now_ns = time.monotonic_ns()
        took_ns, self._began_ns = now_ns - self._began_ns, now_ns
        if self._in_a_row > _SMALL_BURST and self._guest_waits():
            time.sleep(min(3 * took_ns, _LONGEST_WAY_NS) / 1e9)
            self._began_ns = time.monotonic_ns()

    def _raise(self, dir_fd: int, injection: Injection) -> None:
        if injection.notice in (Notice.MODIFY, Notice.ATTRIB):
            _touch(dir_fd, injection)
            raised = True
        else:
            raised = self._make_or_remove(dir_fd, injection)
        self.raised[injection.notice] += raised

    def _make_or_remove(self, dir_fd: int, injection: Injection) -> bool:
        """Whether it was raised; False where there is nothing to tell any more."""
        for _ in range(_ATTEMPTS):
            # The call must not meet what the guest has cached of the name, but the server.
            self._invalidate_entry(InvalEntry(injection.directory.number, injection.name))
            injection.was_looked_up = False
            try:
                if injection.notice is Notice.CREATE:
                    _make(dir_fd, injection)
                else:
                    _remove(dir_fd, injection)
            except OSError as error:
                # A process of the guest has asked in this moment, and its answer
                # is cached: once more.
                if injection.is_moot or error.errno not in _CACHED_OTHERWISE:
                    raise
                continue
            return True
        return False


# What the calls say where the guest's kernel goes by what it has cached, the last by
# suppressed_answers.py.
_CACHED_OTHERWISE = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EAGAIN)
_OVERTAKEN = (
    *_CACHED_OTHERWISE,
    errno.ESTALE,
    errno.ELOOP,
    errno.EXDEV,  # the guest has mounted something there
    errno.EBUSY,  # and on this very name
    errno.ENOTEMPTY,
)
_UNMOUNTED = (errno.ENOTCONN, errno.ENODEV)


def _touch(dir_fd: int, injection: Injection) -> None:
    fd = dir_fd
    if injection.name:
        fd = syscalls.open_beneath(dir_fd, injection.name, _WALK, _INSIDE)
    try:
        now_ns = time.time_ns()  # the server looks at neither
        atime_ns = now_ns if injection.notice is Notice.ATTRIB else None
        syscalls.set_times(fd, atime_ns, now_ns)
    finally:
        if fd != dir_fd:
            os.close(fd)


def _make(dir_fd: int, injection: Injection) -> None:
    if injection.kind == modes.S_IFDIR:
        os.mkdir(injection.name, dir_fd=dir_fd)
    elif injection.kind == modes.S_IFLNK:
        os.symlink(b"suppressed", injection.name, dir_fd=dir_fd)
    else:
        os.mknod(injection.name, injection.kind | 0o600, dir_fd=dir_fd)


def _remove(dir_fd: int, injection: Injection) -> None:
    remove = os.rmdir if injection.kind == modes.S_IFDIR else os.unlink
    remove(injection.name, dir_fd=dir_fd)


def ancestors(directory: Inode) -> Iterator[Inode]:
    """*directory* and those above it, without the root. Raises OSError: ELOOP where endless.

    ELOOP where there are too many, as two renames that were seen in the wrong order can make it.
    """
    here: Inode | None = directory
    for _ in range(_LONGEST_WALK_BYTES):
        if here is None or here.parent is None:
            return
        yield here
        here = here.parent
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _walk(root_fd: int, directory: Inode) -> int:
    """A descriptor of *directory* in the share, by the names that the guest knows."""
    names = [here.name for here in ancestors(directory)]
    fd = os.dup(root_fd)
    try:
        while names:
            part = names.pop()
            while names and len(part) + len(names[-1]) < _LONGEST_WALK_BYTES:
                part += b"/" + names.pop()
            below = syscalls.open_beneath(fd, part, _WALK | os.O_DIRECTORY, _INSIDE)
            os.close(fd)
            fd = below
    except BaseException:
        os.close(fd)
        raise
    return fd
