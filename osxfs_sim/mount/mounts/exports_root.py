"""What lies at the mount point of a share file: a directory that shows the exports, no more.

It is a share like any other, of a directory in the runtime directory that holds
nothing but an empty directory for each export; the exports' own shares are
mounted on these. The guest can change nothing in it (EROFS), so that whatever
lies outside the exports is refused, and as nothing in it ever changes, the
guest's kernel may cache it for good: a walk into an export costs no request.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from osxfs_sim.model.caching import Cached
from osxfs_sim.mount.mounts.mountpoints import MountError, control_path

FOR_GOOD = Cached(timeout_ns=10 * 365 * 86_400 * 10**9)


class ExportsRoot:
    """The host directory behind the mount point of a share file: an empty directory per export.

    It lies in a directory of the user that the server works as: to be made and removed as that
    user, so that nothing put there leads root elsewhere.
    """

    def __init__(self, runtime: Path, mountpoint: str, names: Sequence[str]) -> None:
        """Make it. Raises MountError."""
        self.path = control_path(runtime, mountpoint).with_suffix(".exports")
        self.remove()  # of a server that was killed
        try:
            for path in (self.path, *(self.path / name for name in names)):
                path.mkdir(mode=0o755)
        except OSError as error:
            raise MountError(f"cannot make {self.path}: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the directory as far as it is empty; goes on if not. Raises OSError."""
        try:
            for name in os.listdir(self.path):
                (self.path / name).rmdir()
            self.path.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
