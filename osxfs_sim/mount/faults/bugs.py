"""Bugs of real systems, made on purpose: each is a few methods laid over the right ones.

A share without bugs is made of the classes that it always was (`afflicted` returns what it
is given), so that nothing of this costs its requests anything. With bugs, the handlers'
class gets the bugs' classes before it, and the way of host events is one that does not
hear all. What each stands for, and who had it, is in model/bugs.py; docs/museum.md shows
them.
"""

import contextlib
import errno
import os
import resource
import stat as modes
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from osxfs_sim.model.bugs import Ailment, Bug, heard
from osxfs_sim.model.caching import Lifetimes
from osxfs_sim.model.events import FileEvent, Notice
from osxfs_sim.mount.events.host_events import HostEvents
from osxfs_sim.mount.events.inject import Injection
from osxfs_sim.mount.events.injected_requests import AcknowledgingHandlers, shadow
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.watch.watcher import HostChange, Lost

_Kind = TypeVar("_Kind", bound=AcknowledgingHandlers)

_OWN_DESCRIPTORS = 512
_PROCESSES_REMEMBERED = 256
_MISSING_REMEMBERED = 4_096  # of a directory
_S_PER_NS = 1e-9


class Afflicted(AcknowledgingHandlers):
    """The handlers of a share with bugs."""

    ailments: tuple[Ailment, ...] = ()


@dataclass(frozen=True, slots=True)
class _Size:
    """What the guest was told: *told_ns* is wall-clock time, *until_ns* monotonic."""

    size_bytes: int
    told_ns: int
    until_ns: int


class StaleSize(Afflicted):
    """An open ends the pages; the size that the guest was told stays what it is for its lifetime.

    Not only because no event ends it: a kernel that has read asks anew for the attributes
    (the time of access has changed), and the report has the old size in ``ls`` still. What the
    guest changes itself, it knows. Where no attributes are believed, there is nothing to keep.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sizes: dict[Inode, _Size] = {}

    def _attributes(
        self,
        inode: Inode,
        status: os.stat_result,
        ids: tuple[int, int],
        believed: Lifetimes,
    ) -> EntryAttributes:
        entry = super()._attributes(inode, status, ids, believed)
        if not modes.S_ISREG(status.st_mode):
            return entry
        now_ns = time.monotonic_ns()
        told = self._sizes.get(inode)
        if told is not None and now_ns < told.until_ns and inode.changed_ns <= told.told_ns:
            entry.st_size = told.size_bytes
        elif believed.attributes_ns:
            until_ns = now_ns + believed.attributes_ns
            self._sizes[inode] = _Size(status.st_size, time.time_ns(), until_ns)
        return entry

    def let_go(self, inode: Inode) -> None:
        self._sizes.pop(inode, None)
        super().let_go(inode)

    def _keep_pages(self, inode: Inode, status: os.stat_result) -> bool:
        return False


class StaleContent(Afflicted):
    """No open ends the pages: only what the kernel itself learns of size and mtime does."""

    def _keep_pages(self, inode: Inode, status: os.stat_result) -> bool:
        return True


class LostByLink(Afflicted):
    """Who links a file gives it another number; what the guest knows by the old one is lost.

    Apple's server invents its inode numbers, and a link changes that of the object
    (podman#23061 quotes Docker's words of it). ENOENT rather than ESTALE, which the guest's
    kernel would answer by looking the name up anew.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lost: set[Inode] = set()

    def _made(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        caller: Any,
        asked: bytes,
        *,
        is_new: bool = True,
    ) -> EntryAttributes:
        if not is_new:
            linked = self._inodes.known(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
            if linked is not None:
                self._inodes.renounce_identity(linked)
                self._lost.add(linked)
                # What is believed of it goes with it; for attributes alone, the kernel waits
                # for nobody (fuse_reverse_inval_inode), so that it can be told from here.
                with contextlib.suppress(OSError):  # it does not know it any more
                    pyfuse3.invalidate_inode(pyfuse3.InodeT(linked.number), True)
        return super()._made(parent, dir_fd, name, caller, asked, is_new=is_new)

    def let_go(self, inode: Inode) -> None:
        self._lost.discard(inode)
        super().let_go(inode)

    def _look_for(self, number: int) -> None:
        if self._inodes[number] in self._lost:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _getattr(
        self, number: int, ctx: RequestContext, *, believes: bool = True
    ) -> EntryAttributes:
        self._look_for(number)
        return super()._getattr(number, ctx, believes=believes)

    def _setattr(self, number: int, *arguments: Any) -> EntryAttributes:
        self._look_for(number)
        return super()._setattr(number, *arguments)

    def _open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        self._look_for(number)
        return super()._open(number, flags, ctx)

    def _readlink(self, number: int) -> bytes:
        self._look_for(number)
        return super()._readlink(number)

    def _link(self, number: int, *arguments: Any) -> EntryAttributes:
        self._look_for(number)
        return super()._link(number, *arguments)


class OneSpelling(Afflicted):
    """A thread that has listed a directory as ``A`` does not find it as ``a`` (of apfs and hfs+).

    Nor, having listed the directory above, by any other spelling than the listed one
    (``ls . A`` in the report). Others, and programs that begin anew, find both.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Per thread: how it has last asked for each directory, and how it has listed them.
        self._asked: OrderedDict[int, dict[Inode, bytes]] = OrderedDict()
        self._listed: OrderedDict[int, dict[Inode, bytes]] = OrderedDict()

    def _lookup(self, parent_number: int, asked: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        answer = super()._lookup(parent_number, asked, ctx)
        if not answer.st_ino:
            return answer
        inode = self._inodes[answer.st_ino]
        if not inode.is_directory:
            return answer
        listed = self._listed.get(ctx.pid, {})
        known_as = inode.name if parent in listed else listed.get(inode, asked)
        if known_as != asked:
            # Not told of it after all: the kernel owes no forget.
            if self._inodes.forget(inode.number, 1) is not None:
                self.let_go(inode)
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        _of_thread(self._asked, ctx.pid)[inode] = asked
        return answer

    def _opendir(self, number: int, ctx: RequestContext) -> int:
        handle = super()._opendir(number, ctx)
        inode = self._inodes[number]
        spelling = self._asked.get(ctx.pid, {}).get(inode, inode.name)
        _of_thread(self._listed, ctx.pid)[inode] = spelling
        return handle

    def let_go(self, inode: Inode) -> None:
        for spellings in (*self._asked.values(), *self._listed.values()):
            spellings.pop(inode, None)
        super().let_go(inode)


def _of_thread(
    remembered: "OrderedDict[int, dict[Inode, bytes]]", thread_id: int
) -> dict[Inode, bytes]:
    spellings = remembered.setdefault(thread_id, {})
    remembered.move_to_end(thread_id)
    if len(remembered) > _PROCESSES_REMEMBERED:
        remembered.popitem(last=False)
    return spellings


class TwoLocks(Afflicted):
    """Who looks up a file that is open gets another inode of it; flock(2) is an inode's own.

    A name that the kernel believes is not looked up, and leads both to one inode: so too
    in the report, where locks that follow quickly exclude each other.
    """

    def _lookup(self, parent_number: int, asked: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        try:
            dir_fd = self._backing.directory_fd(parent)
            _, status = self._spellings.find(parent, dir_fd, asked)
            known = self._inodes.known(status)
        except OSError:
            known = None  # what is wrong, the look-up itself will say
        if known is not None and known.open_fds:
            self._inodes.renounce_identity(known)
        return super()._lookup(parent_number, asked, ctx)


class Phantom(Afflicted):
    """What the host has removed cannot be opened or read as a link: EINVAL."""

    def _open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        return cast(FileInfo, _or_invalid(super()._open, number, flags, ctx))

    def _readlink(self, number: int) -> bytes:
        return cast(bytes, _or_invalid(super()._readlink, number))


def _or_invalid(work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ENOENT):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
        raise


class StillMissing(Afflicted):
    """A name stays missing as long as the guest was told that it may believe that.

    Linux before 6.6 believed it itself. Since then a kernel that meets EEXIST asks anew
    (fuse: invalidate dentry on EEXIST creates), and the server answers what an older one
    would have believed. Where no missing name is believed, there is nothing to keep.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._missing_until_ns: dict[Inode, dict[bytes, int]] = {}

    def _lookup(self, parent_number: int, asked: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        left_ns = self._until_ns(parent).get(asked, 0) - time.monotonic_ns()
        if left_ns > 0:
            missing = EntryAttributes()
            missing.st_ino = pyfuse3.InodeT(0)
            missing.entry_timeout = left_ns * _S_PER_NS
            return missing
        return super()._lookup(parent_number, asked, ctx)

    def _missing(self, parent: Inode, asked: bytes) -> EntryAttributes | None:
        missing = super()._missing(parent, asked)
        if missing is not None:
            lifetime_ns = round(missing.entry_timeout / _S_PER_NS)
            names = self._missing_until_ns.setdefault(parent, {})
            names[asked] = time.monotonic_ns() + lifetime_ns
            if len(names) > _MISSING_REMEMBERED:
                del names[next(iter(names))]
        return missing

    def _until_ns(self, directory: Inode) -> dict[bytes, int]:
        return self._missing_until_ns.get(directory, {})

    def _named_by_guest(self, parent: Inode, asked: bytes) -> None:
        self._until_ns(parent).pop(asked, None)

    def let_go(self, inode: Inode) -> None:
        self._missing_until_ns.pop(inode, None)
        super().let_go(inode)


class FalseCreate(Afflicted):
    """Acknowledges the creation of what is gone: the other half is TellingFalsely."""

    def _made_by_host(
        self, parent_number: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        injection = self._injection(parent_number, name, Notice.CREATE)
        if not isinstance(injection, FalseInjection):
            return super()._made_by_host(parent_number, name, ctx)
        inode = self._inodes.vanished(injection.directory, name, injection.kind)
        inode.lookups += 1
        return shadow(inode)


class Descriptors(Afflicted):
    """Holds a descriptor of each object that the guest's kernel knows, until it forgets it.

    They are real (O_PATH), and so is what they cost; beyond the limit it is this
    server that says ENFILE, since the machine shall not be the one to run out.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._held: dict[int, int] = {}

    @property
    def _limit(self) -> int:
        return next(each.limit for each in self.ailments if each.bug is Bug.DESCRIPTORS)

    def _need_one(self) -> None:
        if len(self._held) >= self._limit:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    def _inode(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        known = self._inodes.known(status)
        if known is None or known.number not in self._held:
            self._need_one()
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                inode, status = super()._inode(parent, dir_fd, name, status)
            except BaseException:
                os.close(fd)
                raise
            replaced = self._held.pop(inode.number, -1)
            if replaced >= 0:
                os.close(replaced)
            self._held[inode.number] = fd
            return inode, status
        return super()._inode(parent, dir_fd, name, status)

    def let_go(self, inode: Inode) -> None:
        fd = self._held.pop(inode.number, -1)
        if fd >= 0:
            os.close(fd)
        super().let_go(inode)

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()
        super().close()

    # Asked before anything is made on the host, as a host that has none left would.

    def _create(self, *arguments: Any) -> tuple[FileInfo, EntryAttributes]:
        self._need_one()
        return super()._create(*arguments)

    def _mknod(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return super()._mknod(*arguments)

    def _mkdir(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return super()._mkdir(*arguments)

    def _symlink(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return super()._symlink(*arguments)

    def _open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        self._need_one()
        return super()._open(number, flags, ctx)

    def _opendir(self, number: int, ctx: RequestContext) -> int:
        self._need_one()
        return super()._opendir(number, ctx)


_LAID_OVER: dict[Bug, type[Afflicted]] = {
    Bug.STALE_SIZE: StaleSize,
    Bug.LOST_BY_LINK: LostByLink,
    Bug.ONE_SPELLING: OneSpelling,
    Bug.TWO_LOCKS: TwoLocks,
    Bug.PHANTOM: Phantom,
    Bug.STALE_CONTENT: StaleContent,
    Bug.STILL_MISSING: StillMissing,
    Bug.FALSE_CREATE: FalseCreate,
    Bug.DESCRIPTORS: Descriptors,
}


@dataclass(slots=True, eq=False)
class FalseInjection(Injection):
    """A creation that never was."""


class Unhearing(HostEvents):
    """The way of host events where some of them are not heard, or are told falsely."""

    def __init__(self, ailments: tuple[Ailment, ...], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ailments = ailments
        self._tells_falsely = any(each.bug is Bug.FALSE_CREATE for each in ailments)

    def _happened(self, change: HostChange | Lost) -> None:
        if isinstance(change, HostChange):
            what = heard(self._ailments, change.what)
            if not what:
                return
            change = HostChange(change.directory, change.name, what, change.at_ns, change.moved_to)
        super()._happened(change)

    def _injections(self, event: FileEvent[Inode], gone: Inode | None) -> Iterator[Injection]:
        for injection in super()._injections(event, gone):
            if self._tells_falsely and injection.notice is Notice.DELETE:
                yield FalseInjection(
                    Notice.CREATE, injection.directory, injection.name, injection.kind
                )
            yield injection


def afflicted(handlers_class: type[_Kind], ailments: tuple[Ailment, ...]) -> type[_Kind]:
    """*handlers_class* with these bugs; without any, itself. Raises MountError."""
    if not ailments:
        return handlers_class
    for ailment in ailments:
        if ailment.bug is Bug.DESCRIPTORS:
            _make_room(ailment.limit)
    bases = (*(_LAID_OVER[ailment.bug] for ailment in ailments), handlers_class)
    name = f"{handlers_class.__name__}WithBugs"
    return cast(type[_Kind], type(name, bases, {"ailments": ailments}))


def hearing(ailments: tuple[Ailment, ...], *arguments: Any) -> HostEvents:
    """The way of host events of a share with these bugs; without any, the usual one."""
    return Unhearing(ailments, *arguments) if ailments else HostEvents(*arguments)


def _make_room(limit: int) -> None:
    """Be allowed to hold *limit* descriptors beside one's own. Raises MountError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limit + _OWN_DESCRIPTORS
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError) as error:
        raise MountError(
            f"the bug {Bug.DESCRIPTORS} needs {wanted} descriptors, and this process may have "
            f"{hard}: give a smaller number, such as --bug {Bug.DESCRIPTORS}=1000"
        ) from error
