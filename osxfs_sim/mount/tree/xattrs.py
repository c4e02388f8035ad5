"""Extended attributes of the guest: refused, or kept with the host's objects.

Where they are refused, the guest's kernel answers ENOTSUP itself after the first
ENOSYS, without a crossing. Namespaces and permissions (xattr(7)) are checked by
the guest's kernel; here is what it leaves to us.
"""

import errno
import os
from collections.abc import Sequence

from osxfs_sim.fs import at
from osxfs_sim.mount.tree.backing import magic_link
from osxfs_sim.mount.tree.owners import Caller, Owners

_ACCESS_LISTS = b"system.posix_acl_"
# Ordinary users are not even shown that there are any.
_OF_ROOT = b"trusted."


class GuestAttributes:
    """Extended attributes as the guest may use them; by descriptors, O_PATH ones too."""

    def __init__(self, owners: Owners, *, allowed: bool) -> None:
        self._owners = owners
        self._allowed = allowed

    def set(self, fd: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute. Raises OSError: ENOSYS not shared, EPERM the share's own."""
        self.check(name)
        if self._owners.hides(name):
            raise OSError(errno.EPERM, "kept by the share itself")
        at.set_attribute(fd, name, value)

    def get(self, fd: int, name: bytes) -> bytes:
        """The value of an extended attribute. Raises OSError: ENOSYS not shared, ENODATA none."""
        self.check(name)
        self._check_shown(name)
        return os.getxattr(magic_link(fd), name)

    def names(self, fd: int, caller: Caller) -> Sequence[bytes]:
        """The extended attributes' names that *caller* may see. Raises OSError: ENOSYS."""
        self.check(b"")
        hidden = (_ACCESS_LISTS, _OF_ROOT) if caller.uid else _ACCESS_LISTS
        names = [os.fsencode(name) for name in os.listxattr(magic_link(fd))]
        return [
            name for name in names if not name.startswith(hidden) and not self._owners.hides(name)
        ]

    def remove(self, fd: int, name: bytes) -> None:
        """Remove an extended attribute. Raises OSError: ENOSYS not shared, ENODATA none."""
        self.check(name)
        self._check_shown(name)
        at.remove_attribute(fd, name)

    def check(self, name: bytes) -> None:
        """Check that *name* is shared. Raises OSError: ENOSYS (none is), EOPNOTSUPP (an ACL)."""
        if not self._allowed:
            raise OSError(errno.ENOSYS, "not shared")
        if name.startswith(_ACCESS_LISTS):
            # The guest's kernel would keep them and not act by them.
            raise OSError(errno.EOPNOTSUPP, "not shared")

    def _check_shown(self, name: bytes) -> None:
        if self._owners.hides(name):
            raise OSError(errno.ENODATA, "not for the guest")
