"""What injected requests are answered (injected_requests.py): short methods, as host operations.

They say what makes the event possible, and apply nothing. They raise OSError.
"""

import errno
import os
import stat as modes

from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.model.events import Notice
from osxfs_sim.mount.events.inject import Injection, Injector, ancestors
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings


class NotAnnouncedError(OSError):
    """The injector's request is not for the event that is being raised; errno is ESTALE."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, os.strerror(errno.ESTALE))


class SuppressedAnswers:
    """Answers the injector's requests for what it is raising. The reactor's thread only."""

    def __init__(
        self,
        injector: Injector,
        inodes: InodeTable,
        backing: Backing,
        spellings: Spellings,
        entries: Entries,
        operations: HostOperations,
    ) -> None:
        self._injector = injector
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings
        self._entries = entries
        self._operations = operations

    def _injection(self, parent_number: int, name: bytes, *notices: Notice) -> Injection:
        """The one being raised, if that is for *name*. Raises NotAnnouncedError."""
        injection = self._injector.current
        if (
            injection is None
            or injection.notice not in notices
            or injection.directory.number != parent_number
            or injection.name != name
        ):
            raise NotAnnouncedError
        return injection

    def look_up(self, parent_number: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """The uncached entry that the event needs. Raises OSError: ENOENT to create, ESTALE."""
        try:
            injection = self._injection(parent_number, name, Notice.CREATE, Notice.DELETE)
        except NotAnnouncedError:
            return self._on_the_way(parent_number, name, ctx)
        injection.was_looked_up = True
        if injection.notice is Notice.CREATE:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._as_before(injection, ctx)

    def _on_the_way(
        self, parent_number: int, requested: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """A directory that the injector walks through to what it has announced.

        What goes with a tree goes before its directories do, and is raised when
        they are gone, too. Who watches them is still to hear of it, so they are
        shown as they were; or else `rm -r` would be one deletion.
        """
        before = self._directory_before(parent_number, requested)
        try:
            parent = self._inodes[parent_number]
            dir_fd = self._backing.directory_fd(parent)
            name, status = self._spellings.find(parent, dir_fd, requested)
            if before is None or self._inodes.find(status) is before:
                return self._entries.entry(
                    parent, dir_fd, name, status, ctx, requested, is_cached=False
                )
        except OSError as error:
            if before is None or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
        before.nlookup += 1
        return tombstone_attributes(before)

    def _directory_before(self, parent_number: int, name: bytes) -> Inode | None:
        """The directory of this name that a deletion is about, or lies below."""
        injection = self._injector.current
        if injection is None or injection.notice is not Notice.DELETE:
            return None
        return next(
            (
                here
                for here in ancestors(injection.directory)
                if here.name == name
                and here.parent is not None
                and here.parent.number == parent_number
                and self._inodes.knows(here)
            ),
            None,
        )

    def _as_before(self, injection: Injection, ctx: RequestContext) -> EntryAttributes:
        """What is gone, so that it can be seen to go."""
        inode = injection.gone
        if inode is not None and _is_there_again(inode):
            # Once the kernel has seen that one go it would show it as empty for ever.
            inode = injection.gone = None
        if inode is None or not self._inodes.knows(inode):
            inode = self._inodes.tombstone(injection.directory, injection.name, injection.kind)
            answer = tombstone_attributes(inode)
        else:
            try:
                # Open in the guest, or with another link: it is as it is, and what the
                # call takes from its link count is added to it.
                answer = self._operations.getattr(inode.number, ctx, is_cached=False)
                answer.st_nlink += 1
            except OSError:
                answer = tombstone_attributes(inode)
        inode.nlookup += 1
        return answer

    def where_it_got_to(self, number: int, ctx: RequestContext) -> EntryAttributes:
        """The attributes of inode *number*, st_nlink 1 at least. Raises OSError.

        The injector asks only which directory it has reached, which may be gone (_on_the_way).
        Shown without a link, the kernel would take it for deleted and end the watches on
        it, before what was deleted in it could be raised.
        """
        try:
            answer = self.attributes_now(number, ctx)
        except (FileNotFoundError, StaleError):
            return tombstone_attributes(self._inodes[number])
        answer.st_nlink = max(answer.st_nlink, 1)
        return answer

    def attributes_now(self, number: int, ctx: RequestContext) -> EntryAttributes:
        """The attributes of inode *number* as they are, uncached. Raises OSError: ESTALE."""
        return self._operations.getattr(number, ctx, is_cached=False)

    def created(self, parent_number: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """The uncached entry of what the host has made. Raises OSError: ENOENT, ESTALE."""
        injection = self._injection(parent_number, name, Notice.CREATE)
        injection.is_moot = True
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        host_name, status = self._spellings.find(parent, dir_fd, name)
        if modes.S_IFMT(status.st_mode) != injection.kind:
            # Another object by now, of another kind: an event of its own will come.
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        injection.is_moot = False
        return self._entries.entry(parent, dir_fd, host_name, status, ctx, name, is_cached=False)

    def removed(self, parent_number: int, name: bytes) -> None:
        """Check a removal, and remove nothing. Raises OSError: EAGAIN if it is back, ESTALE."""
        injection = self._injection(parent_number, name, Notice.DELETE)
        is_back = injection.gone is not None and _is_there_again(injection.gone)
        if not injection.was_looked_up or is_back:
            # The kernel goes by an answer to somebody else, about what is there now:
            # a suppressed removal would take that for gone.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _is_there_again(inode: Inode) -> bool:
    """Whether the guest has something in a removed directory, which is made again for that."""
    if not inode.is_directory:
        return False
    return inode.device != -1 or (inode.overlay is not None and bool(inode.overlay.names))


def tombstone_attributes(inode: Inode) -> EntryAttributes:
    """Attributes for an *inode* that is gone: its type, one link, size 0, not to be cached."""
    entry = EntryAttributes()
    entry.st_ino = inode.number
    entry.st_mode = inode.kind | (0o700 if inode.is_directory else 0o600)
    entry.st_nlink = 1
    entry.st_uid = entry.st_gid = 0
    entry.st_rdev = 0
    entry.st_size = 0
    entry.st_blksize = 4096
    entry.st_blocks = 0
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = 0
    entry.entry_timeout = entry.attr_timeout = 0
    return entry
