"""The server of a share whose kernel refuses what keeps its threads apart from /dev/fuse.

APART_REFUSED names it: ``_clone``, another descriptor of the same connection, or ``_taken``, a
descriptor out of another thread's table.
"""

import errno
import os
from typing import NoReturn

from osxfs_sim.mount.loop import fd_tables
from osxfs_sim.mount.server.main import main


def _refuse(*_: object) -> NoReturn:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


if __name__ == "__main__":
    if os.environ["APART_REFUSED"] == "_clone":
        fd_tables._clone = lambda _fd: -1
    else:
        fd_tables._taken = _refuse
    main()
