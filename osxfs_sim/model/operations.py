"""The requests of the FUSE protocol, and the classes they are priced by.

The names are those of the protocol (linux/fuse.h), because a trace, a status
and a paper all speak of LOOKUP and GETATTR. The classes are ours: published
numbers never tell lookups from getattrs, but they do tell a metadata round
trip (130 us on osxfs) from a small write (225 us) and from bulk data.
"""

import enum


class OperationClass(enum.IntEnum):
    """The classes of requests; a profile gives each one base latency."""

    METADATA = 0
    READ = 1
    WRITE = 2
    DIRECTORY = 3
    SYNC = 4

    @property
    def label(self) -> str:
        """The class's name as profiles and tables have it, such as ``metadata``."""
        return self.name.lower()


class Operation(enum.IntEnum):
    """The requests this emulator can be sent, by their protocol names."""

    LOOKUP = 0
    FORGET = 1
    GETATTR = 2
    SETATTR = 3
    READLINK = 4
    MKNOD = 5
    MKDIR = 6
    UNLINK = 7
    RMDIR = 8
    SYMLINK = 9
    RENAME = 10
    LINK = 11
    OPEN = 12
    READ = 13
    WRITE = 14
    FLUSH = 15
    RELEASE = 16
    FSYNC = 17
    OPENDIR = 18
    READDIRPLUS = 19
    RELEASEDIR = 20
    FSYNCDIR = 21
    STATFS = 22
    SETXATTR = 23
    GETXATTR = 24
    LISTXATTR = 25
    REMOVEXATTR = 26
    ACCESS = 27
    CREATE = 28
    READDIR = 29

    @property
    def operation_class(self) -> OperationClass:
        """The class of requests, such as METADATA, that this one is priced by."""
        return CLASS_OF[self]


_EXCEPTIONS = {
    Operation.READ: OperationClass.READ,
    Operation.WRITE: OperationClass.WRITE,
    Operation.READDIR: OperationClass.DIRECTORY,
    Operation.READDIRPLUS: OperationClass.DIRECTORY,
    Operation.FSYNC: OperationClass.SYNC,
    Operation.FSYNCDIR: OperationClass.SYNC,
}
CLASS_OF: tuple[OperationClass, ...] = tuple(
    _EXCEPTIONS.get(operation, OperationClass.METADATA) for operation in Operation
)
"""The class of each operation, indexed by it: all that carry no bulk data are metadata."""

UNAWAITED = frozenset({Operation.FORGET, Operation.RELEASE, Operation.RELEASEDIR})
"""Requests for whose answer no process in the guest waits.

FORGET has no answer at all; the kernel sends RELEASE and RELEASEDIR in the
background after close(2) has returned. They are counted, and never delayed: that
would only fill the kernel's background queue, which the guest does feel, as it
would not on the emulated system.
"""
