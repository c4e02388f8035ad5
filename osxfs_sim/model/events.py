"""What a change on the host is called between the stages that carry it to the guest."""

import enum
from typing import Protocol


class What(enum.Flag):
    """What happened to one name.

    The flags of one name coalesce by OR and then have lost their order, as
    in FSEvents.
    """

    CREATED = enum.auto()
    REMOVED = enum.auto()
    RENAMED = enum.auto()
    MODIFIED = enum.auto()
    ATTRIBUTES = enum.auto()
    CLOSED = enum.auto()  # a writer closed it
    DIRECTORY = enum.auto()  # the object is a directory


class Directory(Protocol):
    """A directory of the tree, hashable by identity; mount.inodes.Inode is one."""

    parent: "Directory | None"
