"""Sees what the host changes in the tree, and tells our own server's changes apart.

Changes are hints: the kernel merges what one process does to one name, also
into a record that others have followed since (fsnotify_insert_event calls the
merge of fanotify for the last 128 in a queue's bucket), so neither the order of
two names nor that of one name's flags is certain. Whoever needs to know what is
there must look.

Not seen, by any watcher: writes through a shared memory mapping (the kernel has no
event for them), changes that other machines make to a network file system, and
changes through a name in a directory that is not watched, hard links included.
A link made or removed changes the link count of an object whose other names
get no event of their own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from osxfs_sim.model.events import What
from osxfs_sim.mount.tree.inodes import Inode

CHOICES = ("auto", "fanotify", "inotify")


@dataclass(frozen=True, slots=True)
class HostChange:
    """Something happened to *name* in *directory*.

    A rename is two of these, the old side first and the new side next to it,
    each only if its directory is watched. *moved_to* is the new place, on the
    old side of a rename whose new directory is watched too. A directory's own
    attributes are a change of its name in its parent; the root's of b"" in the root.
    """

    directory: Inode
    """Where it happened."""
    name: bytes
    """The name in it; b"" in the root: the root itself."""
    what: What
    """What happened."""
    at_ns: int
    """time.monotonic_ns() when it was read."""
    moved_to: tuple[Inode, bytes] | None = None
    """On the old side of a rename: the new place, if that is watched too."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The kernel's event queue overflowed: anything may have changed until *at_ns* (monotonic)."""

    at_ns: int
    """Until when anything may have changed."""


class Watcher(Protocol):
    """Changes that others make in the watched directories, those by our own process left out."""

    kind: str
    """"fanotify" or "inotify"."""
    needs_own_changes: bool
    """Whether record_own_change() and record_own_change_fd() must be called at all."""
    refused: int
    """Directories that could not be watched because the kernel had no watch left."""

    def fileno(self) -> int:
        """A file descriptor that is readable when there are changes to read."""

    def watch(self, directory: Inode, dir_fd: int, name: bytes) -> bool:
        """Report changes in and of *directory* from now on. Returns False where that cannot be.

        Must be called before anything below or about it is answered, and again after it was seen to
        be removed or replaced: the host may give its inode number to another. *name* in *dir_fd*
        reaches it; b"." is *dir_fd* itself. It cannot be on another file system, where no watch is
        left, where we may not read it, or it is no longer there.
        """

    def unwatch(self, directory: Inode) -> None:
        """Report no more changes in *directory*, which the guest has forgotten."""

    def read(self, most: int) -> Sequence[HostChange | Lost]:
        """About *most* host changes, in the kernel's order; perhaps none: it never waits.

        When it returns fewer than *most*, nothing that was taken from the kernel is left over: what
        comes next makes fileno() readable.
        """

    def record_own_change(self, directory: Inode, name: bytes, dir_fd: int) -> None:
        """Note that our server has just changed *name* in *directory*: that is no host change.

        For each name that a request put there, took away or changed the object of, once, after its
        success and before anything else is done; b"" is the directory itself.
        """

    def record_own_change_fd(self, fd: int) -> None:
        """Note that our server has just changed the object behind *fd*: that is no host change."""

    def close(self) -> None:
        """End all watches and close the file descriptor."""


def now_ns() -> int:
    """Now, by the clock of HostChange.at_ns: time.monotonic_ns(), in nanoseconds."""
    return time.monotonic_ns()
