"""Whether a file can be written, asked before anything is measured that it is to hold."""

import errno
import os
from pathlib import Path

from osxfs_sim.lab.cases import CaseError


def check_can_be_written(path: str | Path) -> None:
    """Raise CaseError, in one line, where *path* cannot be written; nothing is made or touched.

    What follows may take hours.

    Nothing is made, and what is there is not touched.
    """
    path = Path(path)
    parent = path.absolute().parent
    if not parent.is_dir():
        raise CaseError(f"{path} cannot be written: its directory does not exist")
    if path.is_dir():
        raise CaseError(f"{path} cannot be written: it is a directory")
    if not os.access(path if path.exists() else parent, os.W_OK):
        raise CaseError(f"{path} cannot be written: {os.strerror(errno.EACCES)}")
