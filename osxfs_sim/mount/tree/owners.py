"""Who owns an object, as the guest sees it, and where a change of that is kept.

The rules are the model's (model/ownership.py); this applies them on the
host. One object of one of the two classes serves a share: OsxfsOwners or
HostOwners. Both answer the same questions:

    ids          which user and group a caller is shown
    change       what chown(2) does
    make         how an object is made for a caller
    gone         an object's last name was taken away
    may_carry    the mode bits that a caller may give
    hides        extended attributes of ours that no guest shall see
"""

import errno
import logging
import os
import stat as modes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from osxfs_sim.fs import at
from osxfs_sim.model.ownership import (
    LONGEST_OWNER_BYTES,
    OWNER_ATTRIBUTE,
    UNSET,
    MalformedOwnerError,
    Owner,
    Ownership,
    format_owner,
    parse_owner,
)
from osxfs_sim.model.status import OwnershipStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import magic_link
from osxfs_sim.mount.tree.owner_store import OwnerStore

log = logging.getLogger(__name__)

_CARRIERS = (modes.S_IFREG, modes.S_IFDIR)
_REFUSED = (errno.EACCES, errno.EPERM)
_MOST_REMEMBERED = 10_000
_MOST_UNOWNED = 100_000
_LONGEST_TICK_NS = 50_000_000


class Caller(Protocol):
    """The process in the guest that a request comes from, as pyfuse3's RequestContext tells it."""

    @property
    def uid(self) -> int:
        """The user ID of the requesting process (fsuid of its thread)."""

    @property
    def gid(self) -> int:
        """The group ID of the requesting process (fsgid of its thread)."""


class KnownCaller(NamedTuple):
    """A caller's ids, to remember for longer than its request."""

    uid: int
    """The user."""
    gid: int
    """The group."""


class Owners(Protocol):
    """Who owns what in a share, by its ownership policy: the Strategy that requests ask."""

    def ids(
        self, dir_fd: int, name: bytes, status: os.stat_result, caller: Caller
    ) -> tuple[int, int]:
        """The uid and gid that *caller* is shown for *name* in *dir_fd*. May raise OSError.

        An empty *name* is the object behind *dir_fd* itself; *status* is what the host says of it.
        """

    def change(self, fd: int, status: os.stat_result, uid: int | None, gid: int | None) -> None:
        """Change the owner of what is behind *fd* (chown(2)); None keeps an id. Raises OSError."""

    def make(self, caller: Caller, call: Callable[..., Any], *args: Any, **keys: Any) -> Any:
        """Call *call*, which creates an object, with the right owner. Raises as *call*."""

    def gone(self, fd: int, status: os.stat_result) -> None:
        """Forget the owner kept of the object behind *fd*, whose last name is gone. Never fails."""

    def may_carry(self, mode: int, caller: Caller) -> int:
        """*mode* without the bits that *caller* may not set on a file: set-id bits, perhaps."""

    def hides(self, attribute: bytes) -> bool:
        """Whether the extended *attribute* is the share's own, which no guest may see or set."""

    def check(self) -> None:
        """Find out whether owners could be kept, which report() tells. Never fails.

        Once the server is who it is to be.
        """

    def report(self) -> OwnershipStatus:
        """The ownership policy and what went wrong with it, as a part of the share's status."""

    def close(self) -> None:
        """Close the files by which owners are kept, if any."""


class HostOwners:
    """Ids are the host's, and the guest's kernel checks permissions by them."""

    def __init__(self, server: KnownCaller) -> None:
        self._server = server
        if server.uid == 0:
            syscalls.keep_capabilities_when_ids_change()

    def ids(
        self, dir_fd: int, name: bytes, status: os.stat_result, caller: Caller
    ) -> tuple[int, int]:
        """The host's uid and gid, as *status* has them, whoever asks. Never fails."""
        return status.st_uid, status.st_gid

    def change(self, fd: int, status: os.stat_result, uid: int | None, gid: int | None) -> None:
        """chown(2) what is behind *fd* on the host; None leaves an id as it is. Raises OSError."""
        syscalls.set_owner(fd, -1 if uid is None else uid, -1 if gid is None else gid)

    def make(self, caller: Caller, call: Callable[..., Any], *args: Any, **keys: Any) -> Any:
        """Call *call* as user *caller* (setfsuid(2)) if the server is root. Raises as *call*."""
        if self._server.uid != 0 or self._server == (caller.uid, caller.gid):
            return call(*args, **keys)
        # Not made as root and then given away: it would belong to the wrong
        # user for a moment, and its set-group-ID directory's group would be lost.
        syscalls.act_as(caller.uid, caller.gid)
        try:
            return call(*args, **keys)
        finally:
            syscalls.act_as(*self._server)

    def gone(self, fd: int, status: os.stat_result) -> None:
        """Do nothing: no owner is kept besides the host's own."""
        return

    def may_carry(self, mode: int, caller: Caller) -> int:
        """*mode* as it is: the guest's kernel has decided which bits *caller* may set."""
        return mode  # the guest's kernel has decided

    def hides(self, attribute: bytes) -> bool:
        """Always False: no extended attribute is the share's own."""
        return False

    def check(self) -> None:
        """Do nothing: the host keeps owners, so there is nothing to find out."""
        return

    def report(self) -> OwnershipStatus:
        """The ownership policy's name, for the share's status: nothing can go wrong with it."""
        return OwnershipStatus(policy=Ownership.HOST.value)

    def close(self) -> None:
        """Do nothing: no file is held open."""
        return


class OsxfsOwners:
    """The osxfs rule: whoever asks owns, until somebody changes it (docs/semantics.md, OWN)."""

    def __init__(self, state_directory: Path, server_uid: int) -> None:
        self._uid = server_uid
        self._attribute = syscalls.AttributeReader(OWNER_ATTRIBUTE, LONGEST_OWNER_BYTES)
        self._store = OwnerStore(state_directory)
        # File systems on which no object at all carries attributes, by st_dev.
        self._without_attributes: set[int] = set()
        # The ctime at which an object was seen to have no owner of its own.
        self._unowned: dict[tuple[int, int], int] = {}
        # What was read by force, while the object has not changed since.
        self._forced: dict[tuple[int, int], tuple[int, Owner]] = {}
        self._malformed: set[tuple[int, int]] = set()
        self._first_malformed = ""

    def ids(
        self, dir_fd: int, name: bytes, status: os.stat_result, caller: Caller
    ) -> tuple[int, int]:
        """The uid and gid set for *name* in *dir_fd*, else those of *caller*. Raises OSError."""
        return self._read(dir_fd, name, status).reported_to(caller.uid, caller.gid)

    def _read(self, dir_fd: int, name: bytes, status: os.stat_result) -> Owner:
        if not self._carries(status):
            return self._read_record(dir_fd, name, status)
        identity = status.st_dev, status.st_ino
        if self._unowned.get(identity) == status.st_ctime_ns:
            return UNSET
        value = self._attribute.read_at(dir_fd, name) if name else self._attribute.read(dir_fd)
        if value == errno.ENODATA:
            self._remember_unowned(identity, status)
            return UNSET
        if isinstance(value, bytes) or value == errno.ERANGE:
            return self._parsed(value, dir_fd, name, status)
        if value in _REFUSED:
            return self._read_by_force(dir_fd, name, status)
        if value == errno.EOPNOTSUPP:
            self._without_attributes.add(status.st_dev)
            return self._read_record(dir_fd, name, status)
        # Anything else (it has just gone, say) the request itself will meet or has met.
        return UNSET

    def _read_record(self, dir_fd: int, name: bytes, status: os.stat_result) -> Owner:
        try:
            value = self._store.read(dir_fd, name, status)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):
                return UNSET  # it has just gone: see above
            raise
        return UNSET if value is None else self._parsed(value, dir_fd, name, status)

    def _remember_unowned(self, identity: tuple[int, int], status: os.stat_result) -> None:
        """To set an attribute moves the ctime. To look is then enough, and costs no call.

        Not of an object that has just changed: before Linux 6.13 a change within
        the same tick of the clock would leave the ctime as it is.
        """
        if time.time_ns() - status.st_ctime_ns < _LONGEST_TICK_NS:
            return
        if len(self._unowned) >= _MOST_UNOWNED:
            self._unowned.clear()
        self._unowned[identity] = status.st_ctime_ns

    def _carries(self, status: os.stat_result) -> bool:
        return (
            modes.S_IFMT(status.st_mode) in _CARRIERS
            and status.st_dev not in self._without_attributes
        )

    def _parsed(
        self, value: bytes | int, dir_fd: int, name: bytes, status: os.stat_result
    ) -> Owner:
        """What a *value* means; an errno stands for one that is too long."""
        try:
            if isinstance(value, int):
                raise MalformedOwnerError(f"it is longer than {LONGEST_OWNER_BYTES} bytes")
            return parse_owner(value)
        except MalformedOwnerError as error:
            identity = status.st_dev, status.st_ino
            if identity not in self._malformed and len(self._malformed) < _MOST_REMEMBERED:
                self._malformed.add(identity)
                path = _path_of(dir_fd, name)
                self._first_malformed = self._first_malformed or path
                log.warning("malformed owner attribute of %s, taken as unset: %s", path, error)
            return UNSET

    # An attribute can be read only by who may read the object itself. What the
    # server owns it can open to itself for a moment, as osxfs's server did.

    def _read_by_force(self, dir_fd: int, name: bytes, status: os.stat_result) -> Owner:
        identity = status.st_dev, status.st_ino
        known = self._forced.get(identity)
        if known is not None and known[0] == status.st_ctime_ns:
            return known[1]
        if name == b".":
            name = b""  # nor can a directory that cannot be searched be reached from within
        try:
            fd = os.open(
                name or magic_link(dir_fd),
                os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if name else 0),
                dir_fd=dir_fd if name else None,
            )
        except OSError:
            return UNSET
        try:
            if not os.path.samestat(os.fstat(fd), status):
                return UNSET
            # A directory that cannot be searched may still be read.
            value = self._attribute.read(fd)
            if value in _REFUSED:
                if status.st_uid != self._uid:
                    return UNSET
                value = self._with_access(fd, modes.S_IRUSR, lambda: self._attribute.read(fd))
            found = isinstance(value, bytes) or value == errno.ERANGE
            owner = self._parsed(value, fd, b"", status) if found else UNSET
            if len(self._forced) >= _MOST_REMEMBERED:
                self._forced.clear()
            self._forced[identity] = os.fstat(fd).st_ctime_ns, owner
            return owner
        except OSError:
            return UNSET
        finally:
            os.close(fd)

    def _with_access(self, fd: int, bits: int, call: Callable[[], Any]) -> Any:
        """*call* while the object behind *fd* has these mode bits besides its own.

        Not while another server does so: it would take the opened mode for the
        object's own, and give that back.
        """
        with self._store.alone():
            mode = modes.S_IMODE(os.fstat(fd).st_mode)
            at.set_mode(fd, mode | bits)
            try:
                return call()
            finally:
                at.set_mode(fd, mode)

    def change(self, fd: int, status: os.stat_result, uid: int | None, gid: int | None) -> None:
        """Keep ids of what is behind *fd* in attribute or store, not on host. Raises OSError."""
        # As chown(2) on Linux: the ctime moves, also where the ids stay the same, and
        # set-id bits end. First, because an overlay may move the object to do it.
        syscalls.set_owner(fd, -1, -1)
        status = os.fstat(fd)
        if self._carries(status):
            with self._store.alone():
                self._write(fd, status, self._read(fd, b"", status).overlaid(uid, gid))
        if self._carries(status):
            return

        def changed(value: bytes | None) -> bytes:
            owner = UNSET if value is None else self._parsed(value, fd, b"", status)
            return format_owner(owner.overlaid(uid, gid))

        self._store.change(fd, status, changed)

    def _write(self, fd: int, status: os.stat_result, owner: Owner) -> None:
        """Set the attribute, or learn that this file system has none."""
        value = format_owner(owner)

        def write() -> None:
            at.set_attribute(fd, os.fsdecode(OWNER_ATTRIBUTE), value)

        try:
            write()
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                self._without_attributes.add(status.st_dev)
            elif error.errno in _REFUSED and status.st_uid == self._uid:
                self._with_access(fd, modes.S_IWUSR, write)
            else:
                raise
        self._forced.pop((status.st_dev, status.st_ino), None)

    def make(self, caller: Caller, call: Callable[..., Any], *args: Any, **keys: Any) -> Any:
        """Call *call* as the server, so that nobody owns the new object yet. Raises as *call*."""
        return call(*args, **keys)

    def gone(self, fd: int, status: os.stat_result) -> None:
        """Delete the store's record, if any, of the deleted object behind *fd*. Never fails."""
        if not self._carries(status):
            self._store.forget(fd, status)

    def may_carry(self, mode: int, caller: Caller) -> int:
        """*mode* without set-id bits, unless *caller* is root or the server's own user.

        The file belongs to the server's user on the host. A set-id bit set by
        another user of the guest would hand that user's rights to everybody there.
        """
        if caller.uid in (0, self._uid):
            return mode
        return mode & ~(modes.S_ISUID | modes.S_ISGID)

    def hides(self, attribute: bytes) -> bool:
        """Whether the extended *attribute* is the one that carries owners."""
        return attribute == OWNER_ATTRIBUTE

    def check(self) -> None:
        """Find out whether the store of owners could be written. Never fails."""
        self._store.check()

    def report(self) -> OwnershipStatus:
        """The policy, malformed attributes, and what is wrong with the store, for the status."""
        return OwnershipStatus(
            policy=Ownership.OSXFS.value,
            malformed=len(self._malformed),
            first_malformed=self._first_malformed,
            store_trouble=self._store.trouble,
        )

    def close(self) -> None:
        """Close the store of owners, if it is open."""
        self._store.close()


def open_owners(ownership: Ownership, state_directory: Path, server: KnownCaller) -> Owners:
    """What tells and keeps owners by this *ownership* policy; its records in *state_directory*."""
    if ownership is Ownership.HOST:
        return HostOwners(server)
    return OsxfsOwners(state_directory, server.uid)


def _path_of(dir_fd: int, name: bytes) -> str:
    """Where *name* in a directory is, for people: on one line, whatever it holds."""
    try:
        path = os.fsencode(os.readlink(magic_link(dir_fd)))
    except OSError:
        path = b"..."  # longer than the kernel tells
    if name not in (b"", b"."):
        path = os.path.join(path, name)
    text = path.decode("utf-8", "replace")
    return text if text.isprintable() else repr(text)
