"""What making a change on the host has done there: values, told as they happen.

The host writer makes changes (host_writer.py, host_places.py, host_contents.py), and keeps nothing
of what follows from them: it says so, in these, in the order in which it happened; also of a change
that then fails. Whoever keeps a tree of inodes applies them to it (effect_applier.py): the server
to its own, and a writer that has another one to that as well, so that both go on to say the same.

Objects are called by their numbers in the table of inodes. What the host says of an object that
perhaps only one of the tables knows is told by its identity (ObjectIdentity).
"""

from collections.abc import Callable
from typing import NamedTuple

from osxfs_sim.mount.tree.inodes import Shown


class ObjectIdentity(NamedTuple):
    """What tells an object of the host, by the names of os.stat_result."""

    st_dev: int
    """Its file system's device number."""
    st_ino: int
    """Its number there."""
    st_mode: int
    """The bits of its kind (S_IFMT), perhaps with its permissions."""


class Created(NamedTuple):
    """The host has an object, made just now or found, that stands for an inode from now on."""

    number: int
    """Of the inode."""
    parent: int
    """Of the directory that it is in."""
    name: bytes
    """What it is called there."""
    identity: ObjectIdentity
    """Which object that is."""
    generation: bytes | None
    """What tells it from a later one with its number (generations.py); None: nothing does."""
    shown: Shown | None
    """Of a directory what the host says of it; of others None."""
    handle: bytes | None
    """Of a directory, where somebody watches: its file handle, if it has one."""


class Named(NamedTuple):
    """A name that stands for something else, or for something, since this change."""

    parent: int
    """Of the directory that it is in."""
    name: bytes
    """The name."""
    is_moved: bool
    """Whether what it stands for had another name before."""


class Unnamed(NamedTuple):
    """A name that stands for nothing any more."""

    parent: int
    """Of the directory that it was in."""
    name: bytes
    """The name."""


class NameLost(NamedTuple):
    """An object has lost a name, perhaps its last, and may live on without it."""

    parent: int
    """Of the directory that the name was in."""
    name: bytes
    """The name."""
    identity: ObjectIdentity
    """Which object that was; an inode stands for it, or none."""
    is_last: bool
    """Whether it has no name at all any more."""
    fd: int
    """An O_PATH descriptor of the object: whoever applies this keeps it, or closes it."""


class Moved(NamedTuple):
    """An object has another place."""

    identity: ObjectIdentity
    """Which object; an inode stands for it, or none."""
    parent: int
    """Of the directory that it is in now."""
    name: bytes
    """What it is called there."""
    old_parent: int
    """Of the directory that it was in."""
    old_name: bytes
    """What it was called there."""
    is_found: bool
    """Whether it was there already: the host has moved it too, or we have, and were killed."""


class Linked(NamedTuple):
    """A file has one name more."""

    number: int
    """Of its inode."""
    parent: int
    """Of the directory that the name is in."""
    name: bytes
    """The name."""
    links: int
    """How many names it has now."""


class Stale(NamedTuple):
    """What an inode's descriptor leads to is not what the host has: it is to be let go of."""

    number: int
    """Of the inode."""


class Opened(NamedTuple):
    """A file is to be written to by a descriptor from now on."""

    number: int
    """Of its inode."""
    fd: int
    """The descriptor: whoever applies this keeps it, or closes it."""
    replaces_handles: bool
    """Whether what the guest has open is of that file, too, from now on."""


class Seen(NamedTuple):
    """What a file is like is the guest's doing: it is no change of the host's."""

    number: int
    """Of its inode."""
    like: tuple[int, int, int]
    """See restoring.what_is_seen()."""


class Changed(NamedTuple):
    """The content, the attributes or, of a directory, the names of an object have changed."""

    number: int
    """Of its inode."""


class CameBack(NamedTuple):
    """The host keeps a directory that the guest has removed, with something in it."""

    number: int
    """Of its inode, which does not stand for it any more."""


class Lost(NamedTuple):
    """A change of the host is lost to the guest's (DEL-7)."""

    parent: int
    """Of the directory where it was; 0 where nobody knows any more."""
    name: bytes
    """What of it is lost; empty: the directory itself."""


class Kept(NamedTuple):
    """The host keeps a name that the guest has taken away: it stands for something else now."""

    parent: int
    """Of the directory that it is in."""
    name: bytes
    """The name."""


class Overruled(NamedTuple):
    """A name is not on the host what the guest has made of it."""

    parent: int
    """Of the directory that it is in."""
    name: bytes
    """The name."""


Effect = (
    Created
    | Named
    | Unnamed
    | NameLost
    | Moved
    | Linked
    | Stale
    | Opened
    | Seen
    | Changed
    | CameBack
    | Lost
    | Kept
    | Overruled
)

Emit = Callable[[Effect], None]
"""Who is told of an effect. It has happened: nobody can refuse it."""
