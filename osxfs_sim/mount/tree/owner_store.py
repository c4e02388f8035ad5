"""Owners of the objects that cannot carry the attribute: symlinks, sockets, FIFOs.

Linux keeps ``user.`` attributes only with regular files and directories. For
all else the attribute's value lies in a small SQLite database in the server's
state directory, one for each user that runs servers, so that several shares of
one tree, or of overlapping trees, see the same.

The key is what the host's file system itself calls the object for as long as
it exists (syscalls.file_handle), with the file system's identity before it.
So a record follows its object through renames and hard links, on either side,
and a later object with the same inode number is never taken for it. The
record is taken away with the object when the guest deletes it; the record of
one that the host deletes is dead, and dropped when there are too many.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.mount import syscalls

log = logging.getLogger(__name__)

_MOST_RECORDS = 1_000_000
_PRUNINGS = 64
"""How often the records are counted while as many are written as may be kept."""
_BUSY_TIMEOUT_S = 10.0
_SMALLEST_FREE_BYTES = 1 << 16
# A record of an object deleted by the host is never asked for again, so that
# the oldest changes are the right ones to drop.
_TABLE = """
CREATE TABLE IF NOT EXISTS owners (
    change INTEGER PRIMARY KEY AUTOINCREMENT,
    object BLOB NOT NULL UNIQUE,
    owner TEXT NOT NULL
)
"""
# As bytes, whatever somebody else may have put there.
_READ = "SELECT CAST(owner AS BLOB) FROM owners WHERE object = ?"
_PRUNE = """
DELETE FROM owners WHERE change IN (
    SELECT change FROM owners ORDER BY change DESC LIMIT -1 OFFSET ?
)
"""
# What a guest can make something of; all else that befalls the state directory is EIO.
_TOLD = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_REMEDY = "make it writable for the server, or choose another place with --state"


class OwnerStore:
    """The records in one state directory. The reactor's thread only.

    Nothing is made before the first owner is kept, and as long as nobody has
    kept one, to ask costs a look at whether there is a database.
    """

    def __init__(self, directory: Path, *, most_records: int = _MOST_RECORDS) -> None:
        self._directory = directory
        self._path = directory / "owners.sqlite"
        self._most_records = most_records
        self._database: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        self._writable = False
        self._lock_fd = -1
        self._locks = 0
        self._said: set[str] = set()
        self.trouble = ""
        """The first thing that went wrong, for the status; empty: nothing did."""

    def check(self) -> None:
        """Set *trouble* where the state directory could not be made or written. Never fails."""
        directory = self._directory
        while not os.path.lexists(directory) and directory != directory.parent:
            directory = directory.parent
        writable = os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
        if not (directory.is_dir() and writable):
            self._say(f"{self._directory} cannot be made or written: {_REMEDY}")

    def read(self, dir_fd: int, name: bytes, status: os.stat_result) -> bytes | None:
        """The owner kept for *name* in *dir_fd*, as bytes; None: none. Raises OSError: EIO, EACCES.

        An empty name is the object behind *dir_fd*. FileNotFoundError where it has just gone; EIO
        or EACCES where the database cannot be read.
        """
        if not self._exists():
            return None
        key = _key(dir_fd, name, status)
        if key is None:
            return None
        with self._as_errno():
            row = self._open(to_write=False).execute(_READ, (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def change(
        self, fd: int, status: os.stat_result, changed: Callable[[bytes | None], bytes]
    ) -> None:
        """Replace the owner kept for the object behind *fd* by *changed* of it. Raises OSError.

        No other server changes it meanwhile. Raises OSError: ENOSPC, EROFS, EACCES, EIO; EOPNOTSUPP
        where its file system offers nothing to know it by.
        """
        key = _key(fd, b"", status)
        if key is None:
            self._say(
                f"file system {os.major(status.st_dev)}:{os.minor(status.st_dev)} has no lasting "
                "name for an object, so that no owner can be kept there"
            )
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        with self._as_errno():
            database = self._open(to_write=True)
            database.execute("BEGIN IMMEDIATE")
            with database:
                row = database.execute(_READ, (key,)).fetchone()
                value = changed(None if row is None else bytes(row[0]))
                cursor = database.execute(
                    "INSERT OR REPLACE INTO owners (object, owner) VALUES (?, ?)",
                    (key, value.decode()),
                )
                # By their number, not by the changes made: those of one object, however
                # many, shall not push out what was kept of another.
                if (cursor.lastrowid or 0) % max(1, self._most_records // _PRUNINGS) == 0:
                    database.execute(_PRUNE, (self._most_records,))

    def forget(self, fd: int, status: os.stat_result) -> None:
        """Delete the value kept for the object behind *fd*, which is gone for good. Never fails."""
        if not self._exists():
            return
        # Where it fails, the record will never be asked for again.
        with contextlib.suppress(OSError):
            key = _key(fd, b"", status)
            with self._as_errno():
                database = self._open(to_write=True)
                database.execute("DELETE FROM owners WHERE object = ?", (key,))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block, hold the state directory's lock; goes on without it where it cannot.

        For what takes several calls on the host. Where the directory cannot be written there is
        nothing to wait for one another by: then without.
        """
        if self._locks == 0:
            with contextlib.suppress(OSError):
                if self._lock_fd < 0:
                    self._make_directory()
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                    self._lock_fd = os.open(self._directory / "owners.lock", flags, 0o600)
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        self._locks += 1
        try:
            yield
        finally:
            self._locks -= 1
            if self._locks == 0 and self._lock_fd >= 0:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the database and the lock file, if they are open."""
        self._close_database()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _exists(self) -> bool:
        """Whether there is a database; if somebody took away ours, it is let go of."""
        try:
            status = os.stat(self._path)
        except OSError:
            self._close_database()
            return False
        if self._opened is not None and not os.path.samestat(status, self._opened):
            self._close_database()
        return True

    def _open(self, *, to_write: bool) -> sqlite3.Connection:
        if to_write:
            self._exists()
        if self._database is not None and (self._writable or not to_write):
            return self._database
        self._close_database()
        try:
            self._make_directory()
            # SQLite would not say why it cannot.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self._path, flags, 0o600))
        except OSError as error:
            if to_write or error.errno not in (errno.EROFS, errno.EACCES):
                raise
            os.close(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))
            self._database = self._connect_to_read()
            self._writable = False
        else:
            # Two servers that open it for the first time would refuse one another.
            with self.alone():
                self._database = self._connect()
            self._writable = True
        self._opened = os.stat(self._path)
        return self._database

    def _make_directory(self) -> None:
        os.close(at.make_directories(self._directory, 0o700, flags=os.O_PATH))

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            # As durable as a file system's own metadata: nothing is torn by a
            # crash, and what was not synced may be lost by a power failure.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_TABLE)
        except BaseException:
            database.close()
            raise
        return database

    def _connect_to_read(self) -> sqlite3.Connection:
        """Where nothing can be written, not even what readers need to wait for a writer."""
        for how in ("mode=ro", "immutable=1"):
            database = sqlite3.connect(f"{self._path.as_uri()}?{how}", uri=True)
            try:
                database.execute("SELECT 1 FROM owners LIMIT 1")
                return database
            except sqlite3.OperationalError:
                database.close()
                if how == "immutable=1":
                    raise
        raise AssertionError

    @contextlib.contextmanager
    def _as_errno(self) -> Iterator[None]:
        """Turn what goes wrong into an errno for the guest; the log has it once."""
        try:
            yield
        except sqlite3.Error as error:
            self._say(f"{self._path}: {error}")
            code = self._errno_of(error)
            raise OSError(code, os.strerror(code)) from error
        except OSError as error:
            self._say(f"{error.filename or self._path}: {error.strerror}: {_REMEDY}")
            code = error.errno if error.errno in _TOLD else errno.EIO
            raise OSError(code, os.strerror(code)) from error

    def _errno_of(self, error: sqlite3.Error) -> int:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # SQLite tells a full disk as such only where it writes the database itself.
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            with contextlib.suppress(OSError):
                space = os.statvfs(self._directory)
                if space.f_bavail * space.f_frsize < _SMALLEST_FREE_BYTES:
                    return errno.ENOSPC
        return {
            sqlite3.SQLITE_FULL: errno.ENOSPC,
            sqlite3.SQLITE_READONLY: errno.EROFS,
            sqlite3.SQLITE_CANTOPEN: errno.EACCES,
            sqlite3.SQLITE_PERM: errno.EACCES,
        }.get(code, errno.EIO)

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.trouble = self.trouble or what
            log.warning("the owners that no attribute can hold: %s", what)


def _key(dir_fd: int, name: bytes, status: os.stat_result) -> bytes | None:
    """What identifies an object for good; None where nothing does.

    *status* tells whether *name* is of the directory's file system, and not of
    one mounted upon it. An inode number alone says nothing: it is used again.
    """
    if name and os.fstat(dir_fd).st_dev != status.st_dev:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            return _key(fd, b"", status)
        finally:
            os.close(fd)
    # st_dev may be another after a reboot; the file system's own identity is not.
    # One without (FUSE) also hands out handles that mean nothing after a remount.
    file_system = os.fstatvfs(dir_fd).f_fsid
    handle = syscalls.file_handle(dir_fd, name) if file_system else None
    if handle is None:
        birth_ns = syscalls.birth_time_ns(dir_fd, name)
        if not birth_ns:
            return None
        handle = b"%d:%d" % (status.st_ino, birth_ns)
    return (file_system or status.st_dev).to_bytes(8, "little") + handle
