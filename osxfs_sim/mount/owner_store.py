"""Owners of the objects that cannot carry the attribute: symlinks, sockets, FIFOs.

Linux keeps ``user.`` attributes only with regular files and directories. For
all else the owner lies in a small SQLite database in the server's state
directory, one for each user that runs servers, so that several shares of one
tree, or of overlapping trees, see the same.

The key is what the host's file system itself calls the object for as long as
it exists (syscalls.file_handle), with the file system's identity before it.
So a record follows its object through renames and hard links, on either side,
and a later object with the same inode number is never taken for it. The
record is taken away with the object when the guest deletes it; the record of
one that the host deletes is dead, and dropped when there are too many.
"""

import contextlib
import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from osxfs_sim.model.ownership import (
    UNSET,
    MalformedOwnerError,
    Owner,
    format_owner,
    parse_owner,
)
from osxfs_sim.mount import syscalls

log = logging.getLogger(__name__)

_MOST_RECORDS = 1_000_000
_BUSY_TIMEOUT_S = 10.0
# A record of an object deleted by the host is never asked for again, so that
# the oldest changes are the right ones to drop.
_TABLE = """
CREATE TABLE IF NOT EXISTS owners (
    change INTEGER PRIMARY KEY AUTOINCREMENT,
    object BLOB NOT NULL UNIQUE,
    owner TEXT NOT NULL
)
"""


class OwnerStore:
    """The records in one state directory. The reactor's thread only.

    Nothing is made before the first owner is kept, and as long as nobody has
    kept one, to ask costs a look at whether there is a database.
    """

    def __init__(self, directory: Path, *, most_records: int = _MOST_RECORDS) -> None:
        self._path = directory / "owners.sqlite"
        self._most_records = most_records
        self._database: sqlite3.Connection | None = None
        self._file_systems: dict[int, bytes] = {}

    def read(self, dir_fd: int, name: bytes, status: os.stat_result) -> Owner:
        """The owner kept of *name* in a directory (empty: of the object behind *dir_fd*).

        Raises OSError (EIO) where the database cannot be read.
        """
        if self._database is None and not os.access(self._path, os.F_OK):
            return UNSET
        with _as_errno():
            row = (
                self._open()
                .execute(
                    "SELECT owner FROM owners WHERE object = ?", (self._key(dir_fd, name, status),)
                )
                .fetchone()
            )
        try:
            return UNSET if row is None else parse_owner(row[0].encode())
        except MalformedOwnerError:
            return UNSET

    def write(self, fd: int, status: os.stat_result, owner: Owner) -> None:
        """Keep *owner* of the object behind *fd*. Raises OSError: ENOSPC, EIO, EACCES."""
        with _as_errno():
            database = self._open()
            with database:
                database.execute(
                    "INSERT OR REPLACE INTO owners (object, owner) VALUES (?, ?)",
                    (self._key(fd, b"", status), format_owner(owner).decode()),
                )
                database.execute(
                    "DELETE FROM owners WHERE change <= (SELECT max(change) FROM owners) - ?",
                    (self._most_records,),
                )

    def forget(self, fd: int, status: os.stat_result) -> None:
        """The object behind *fd* is gone for good."""
        if self._database is None and not os.access(self._path, os.F_OK):
            return
        try:
            with _as_errno(), self._open() as database:
                database.execute(
                    "DELETE FROM owners WHERE object = ?", (self._key(fd, b"", status),)
                )
        except OSError as error:
            # The object is deleted, and its record will never be asked for again.
            log.warning("cannot take the owner of a deleted object away: %s", error)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                # As durable as a file system's own metadata: nothing is torn by a
                # crash, and what was not synced may be lost by a power failure.
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                with database:
                    database.execute(_TABLE)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _key(self, dir_fd: int, name: bytes, status: os.stat_result) -> bytes:
        file_system = self._file_systems.get(status.st_dev)
        if file_system is None:
            # st_dev may be another after a reboot; the file system's own identity is not.
            identity = os.fstatvfs(dir_fd).f_fsid or status.st_dev
            file_system = identity.to_bytes(8, "little")
            self._file_systems[status.st_dev] = file_system
        handle = syscalls.file_handle(dir_fd, name)
        if handle is None:
            birth_ns = syscalls.birth_time_ns(dir_fd, name)
            handle = b"%d:%d" % (status.st_ino, birth_ns)
        return file_system + handle


@contextlib.contextmanager
def _as_errno() -> Iterator[None]:
    """SQLite's errors as those that a guest can be told."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        log.warning("the database of owners: %s", error)
        raise OSError(
            {
                sqlite3.SQLITE_FULL: errno.ENOSPC,
                sqlite3.SQLITE_READONLY: errno.EROFS,
                sqlite3.SQLITE_CANTOPEN: errno.EACCES,
                sqlite3.SQLITE_PERM: errno.EACCES,
            }.get(code, errno.EIO),
            str(error),
        ) from error
