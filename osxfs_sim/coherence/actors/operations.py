"""What an actor does to a file system, and what that returned: one operation, one result.

Also the programme of an actor's process (see processes.py), which is started as a script with
nothing but the standard library, so that an operation costs little beside its system calls.
Operations come as lines of JSON on standard input, a batch at a time; each batch is performed
in order, and answered by a line with each operation's result, call and return.
"""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

MOST_READ_BYTES = 1 << 20


_WRITES = frozenset({"create", "write", "overwrite", "append", "pwrite"})


@dataclass(frozen=True, slots=True)
class ActorOperation:
    """One operation below an actor's root: an act of ACTS, and its arguments."""

    act: str
    """What to do: one of ACTS."""
    path: str = ""
    """The object, relative to the actor's root; "" is the root, or whatever *handle* has open."""
    to: str = ""
    """The second name of rename and link; the target of symlink."""
    data: str = ""
    """What is written, one character a byte (latin-1)."""
    offset: int = 0
    """Where to begin, in bytes; of ``utimes`` the time, in ns since 1970."""
    size: int = 0
    """How many bytes; of a write, *data* is repeated until it is that long. 0: by *data* alone."""
    mode: int = 0o644
    """Permission bits of what is made or changed."""
    handle: str = ""
    """The actor's name for an open file or a mapping, from ``open`` or ``map`` to its end."""
    pause_ns: int = 0
    """How long to wait before it is called."""

    @property
    def content(self) -> str:
        """What is written, one character a byte: *data*, by acts that write repeated to *size*."""
        if not self.size or not self.data or self.act not in _WRITES:
            return self.data
        return (self.data * (self.size // len(self.data) + 1))[: self.size]

    def to_json(self) -> dict[str, Any]:
        """The operation as a dictionary for JSON: its act, and fields that are not the default."""
        given = {
            each.name: value
            for each in fields(self)
            if each.name != "act" and (value := getattr(self, each.name)) != each.default
        }
        return {"act": self.act} | given

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "ActorOperation":
        """The operation that ``to_json`` gave *words* of. Raises TypeError for other fields."""
        operation = cls(**words)
        for each in fields(cls):
            value, kind = getattr(operation, each.name), type(each.default)
            if type(value) is not (str if each.name == "act" else kind):
                raise TypeError(f"the {each.name} of an operation is {value!r:.40}")
        return operation

    def __str__(self) -> str:
        given = self.to_json()
        words = [given.pop(key) for key in ("act", "path", "to") if key in given]
        return " ".join([*words, *(f"{key}={value!r}" for key, value in given.items())])


@dataclass(frozen=True, slots=True)
class OperationResult:
    """What an operation returned: an errno's name, or a value that JSON can hold.

    The value of ``stat`` is a dictionary (type, mode, size, links, inode, mtime_ns), of
    ``read``, ``pread`` and ``mread`` the content as text (latin-1), of ``outline`` its runs, of
    ``readlink`` the target, of ``list`` the sorted names, and of all others None.
    """

    value: Any = None
    """What the call returned, as described above; None where it returns nothing, or failed."""
    error: str | None = None
    """The errno's name, such as ENOENT; None where it succeeded."""

    def __str__(self) -> str:
        return self.error or ("done" if self.value is None else repr(self.value))


_TYPES: Mapping[int, str] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class Performer:
    """Performs operations below *root*; keeps the handles that they open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._handles: dict[str, int] = {}
        self._mappings: dict[str, mmap.mmap] = {}

    def perform(self, operation: ActorOperation) -> OperationResult:
        """Perform *operation*; an OSError or unknown handle becomes its result, never raised."""
        act = ACTS[operation.act]
        try:
            return OperationResult(act(self, operation))
        except KeyError:
            return OperationResult(
                error="EBADF"
            )  # a handle that was never opened: its open has failed
        except OSError as error:
            return OperationResult(error=errno.errorcode.get(error.errno or 0, str(error)))

    def close(self) -> None:
        """Close all open handles and mappings; an error in closing a handle is passed over."""
        for mapping in self._mappings.values():
            mapping.close()
        for fd in self._handles.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._mappings.clear()
        self._handles.clear()

    def _path(self, operation: ActorOperation) -> str:
        return os.path.join(self._root, operation.path)

    def _to(self, operation: ActorOperation) -> str:
        return os.path.join(self._root, operation.to)

    def _written(self, operation: ActorOperation, flags: int, offset: int | None = None) -> None:
        fd = os.open(self._path(operation), flags | os.O_CLOEXEC, operation.mode)
        try:
            content = operation.content.encode("latin-1")
            if offset is not None:
                os.pwrite(fd, content, offset)
            elif content:
                os.write(fd, content)
        finally:
            os.close(fd)

    # The acts, by name (see ACTS)

    def create(self, operation: ActorOperation) -> None:
        """Make a new file *path* with *data*. Raises OSError, EEXIST if the name is taken."""
        self._written(operation, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def write(self, operation: ActorOperation) -> None:
        """Make *data* the whole content of the file *path*, made if absent. Raises OSError."""
        self._written(operation, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def overwrite(self, operation: ActorOperation) -> None:
        """Write *data* at *offset* of the existing file *path*, in one write. Raises OSError."""
        self._written(operation, os.O_WRONLY, operation.offset)

    def append(self, operation: ActorOperation) -> None:
        """Append *data* to the existing file *path*. Raises OSError."""
        self._written(operation, os.O_WRONLY | os.O_APPEND)

    def truncate(self, operation: ActorOperation) -> None:
        """Cut the file *path*, or extend it by zeros, to *size* bytes. Raises OSError."""
        os.truncate(self._path(operation), operation.size)

    def unlink(self, operation: ActorOperation) -> None:
        """Remove the name *path*, of no directory. Raises OSError."""
        os.unlink(self._path(operation))

    def rename(self, operation: ActorOperation) -> None:
        """Rename *path* to *to*, replacing what is there. Raises OSError."""
        os.rename(self._path(operation), self._to(operation))

    def link(self, operation: ActorOperation) -> None:
        """Make *to* a further name (hard link) of the object at *path*. Raises OSError."""
        os.link(self._path(operation), self._to(operation))

    def symlink(self, operation: ActorOperation) -> None:
        """Make a symlink at *path* whose target is the text *to*. Raises OSError."""
        os.symlink(operation.to, self._path(operation))

    def mkdir(self, operation: ActorOperation) -> None:
        """Make a new directory *path*. Raises OSError, EEXIST if the name is taken."""
        os.mkdir(self._path(operation))

    def rmdir(self, operation: ActorOperation) -> None:
        """Remove the empty directory *path*. Raises OSError."""
        os.rmdir(self._path(operation))

    def mkfifo(self, operation: ActorOperation) -> None:
        """Make a new FIFO (named pipe) *path* with *mode*. Raises OSError."""
        os.mkfifo(self._path(operation), operation.mode)

    def mksock(self, operation: ActorOperation) -> None:
        """Make a new socket *path* at which no process listens. Raises OSError."""
        os.mknod(self._path(operation), stat.S_IFSOCK | operation.mode)

    def mkdev(self, operation: ActorOperation) -> None:
        """Make a new character device *path* as /dev/null is. Raises OSError, EPERM if not root."""
        os.mknod(self._path(operation), stat.S_IFCHR | operation.mode, os.makedev(1, 3))

    def chmod(self, operation: ActorOperation) -> None:
        """Set the permission bits of *path* to *mode*. Raises OSError."""
        os.chmod(self._path(operation), operation.mode)

    def utimes(self, operation: ActorOperation) -> None:
        """Set both times of *path* to *offset* nanoseconds since the epoch. Raises OSError."""
        os.utime(self._path(operation), ns=(operation.offset, operation.offset))

    def stat(self, operation: ActorOperation) -> dict[str, Any]:
        """The attributes of *path*, a link not followed, as a dictionary. Raises OSError."""
        return _attributes(os.lstat(self._path(operation)))

    def fstat(self, operation: ActorOperation) -> dict[str, Any]:
        """The attributes of the open *handle*, as a dictionary. Raises OSError, KeyError."""
        return _attributes(os.fstat(self._handles[operation.handle]))

    def read(self, operation: ActorOperation) -> str:
        """The content of the file *path* by open, read, close, as latin-1 text. Raises OSError."""
        fd = os.open(self._path(operation), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, MOST_READ_BYTES).decode("latin-1")
        finally:
            os.close(fd)

    def outline(self, operation: ActorOperation) -> str:
        """The whole content as its runs of equal bytes, ``o*4096 N*3``. Raises OSError, KeyError.

        Of the file at *path*, or of the open *handle*.
        """
        if operation.handle:
            return _runs(_all_of(self._handles[operation.handle]))
        fd = os.open(self._path(operation), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _runs(_all_of(fd))
        finally:
            os.close(fd)

    def readlink(self, operation: ActorOperation) -> str:
        """The target of the symlink *path*. Raises OSError, EINVAL if it is no symlink."""
        return os.readlink(self._path(operation))

    def list(self, operation: ActorOperation) -> list[str]:
        """The names in the directory *path*, sorted. Raises OSError."""
        return sorted(os.listdir(self._path(operation)))

    def open(self, operation: ActorOperation) -> None:
        """Open the file *path* as *handle*, to read and write (*size* -1: read). Raises OSError."""
        flags = os.O_RDONLY if operation.size < 0 else os.O_RDWR
        self._handles[operation.handle] = os.open(self._path(operation), flags | os.O_CLOEXEC)

    def close_handle(self, operation: ActorOperation) -> None:
        """Close the open *handle*. Raises KeyError for an unknown one, and OSError."""
        os.close(self._handles.pop(operation.handle))

    def pread(self, operation: ActorOperation) -> str:
        """Read *size* bytes (0: all) at *offset* of the open *handle*. Raises OSError, KeyError."""
        size = operation.size or MOST_READ_BYTES
        return os.pread(self._handles[operation.handle], size, operation.offset).decode("latin-1")

    def pwrite(self, operation: ActorOperation) -> None:
        """Write *data* at *offset* of the open *handle*. Raises OSError, KeyError."""
        data = operation.content.encode("latin-1")
        os.pwrite(self._handles[operation.handle], data, operation.offset)

    def fsync(self, operation: ActorOperation) -> None:
        """Synchronize the open *handle*, else the object at *path*. Raises OSError, KeyError."""
        if operation.handle:
            os.fsync(self._handles[operation.handle])
            return
        fd = os.open(self._path(operation), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync(self, operation: ActorOperation) -> None:
        """Synchronize all file systems by sync(2), which never fails."""
        del operation
        os.sync()

    def map(self, operation: ActorOperation) -> None:
        """Map *size* bytes of file *path* to read as *handle*. Raises OSError, EINVAL: too long."""
        fd = os.open(self._path(operation), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._mappings[operation.handle] = mmap.mmap(
                fd, operation.size, access=mmap.ACCESS_READ
            )
        except ValueError as error:  # longer than the file, or empty
            raise OSError(errno.EINVAL, str(error)) from error
        finally:
            os.close(fd)

    def mread(self, operation: ActorOperation) -> str:
        """The content that the mapping *handle* shows now, as latin-1 text. Raises KeyError."""
        return self._mappings[operation.handle][:].decode("latin-1")

    def unmap(self, operation: ActorOperation) -> None:
        """End the mapping *handle*. Raises KeyError for an unknown one."""
        self._mappings.pop(operation.handle).close()

    def lock(self, operation: ActorOperation) -> None:
        """Take an exclusive flock(2) on *handle*, without waiting. Raises OSError, KeyError."""
        fcntl.flock(self._handles[operation.handle], fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(self, operation: ActorOperation) -> None:
        """Give up the flock(2) of the open *handle*, if any. Raises OSError, KeyError."""
        fcntl.flock(self._handles[operation.handle], fcntl.LOCK_UN)

    def wait(self, operation: ActorOperation) -> None:
        """Do nothing: the act is for its *pause_ns*, waited before it. Never fails."""


def _all_of(fd: int) -> bytes:
    pieces = list[bytes]()
    while piece := os.pread(fd, MOST_READ_BYTES, sum(map(len, pieces))):
        pieces.append(piece)
    return b"".join(pieces)


def _runs(content: bytes) -> str:
    runs = [f"{run[1].decode('latin-1')}*{len(run[0])}" for run in _RUN.finditer(content)]
    if len(runs) <= _MOST_RUNS:
        return " ".join(runs)
    return f"{' '.join(runs[:_MOST_RUNS])} and more, CRC {zlib.crc32(content):08x}"


_RUN = re.compile(rb"(?s)(.)\1*")
_MOST_RUNS = 8


def _attributes(status: os.stat_result) -> dict[str, Any]:
    return {
        "type": _TYPES[stat.S_IFMT(status.st_mode)],
        "mode": stat.S_IMODE(status.st_mode),
        "size": status.st_size,
        "links": status.st_nlink,
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
    }


ACTS: Mapping[str, Callable[[Performer, ActorOperation], Any]] = {
    act.__name__.removesuffix("_handle"): act
    for act in (
        *(Performer.create, Performer.write, Performer.overwrite, Performer.append),
        *(Performer.truncate, Performer.unlink, Performer.rename, Performer.link),
        *(Performer.symlink, Performer.mkdir, Performer.rmdir, Performer.mkfifo),
        *(
            Performer.mksock,
            Performer.mkdev,
            Performer.chmod,
            Performer.utimes,
            Performer.stat,
            Performer.fstat,
        ),
        *(Performer.read, Performer.outline, Performer.readlink, Performer.list, Performer.open),
        *(Performer.close_handle, Performer.pread, Performer.pwrite, Performer.fsync),
        *(Performer.sync, Performer.map, Performer.mread, Performer.unmap, Performer.lock),
        *(Performer.unlock, Performer.wait),
    )
}
"""What each act of an Operation does."""


def main() -> None:
    """Perform the operations that standard input lists, below directory argv[1], until it ends."""
    performer = Performer(sys.argv[1])
    _tell({"ready": True})
    for line in sys.stdin:
        told = []
        for operation in map(ActorOperation.from_json, json.loads(line)):
            if operation.pause_ns:
                time.sleep(operation.pause_ns / 1e9)
            call_ns = time.monotonic_ns()
            outcome = performer.perform(operation)
            told.append([call_ns, time.monotonic_ns(), asdict(outcome)])
        _tell(told)
    performer.close()


def _tell(words: Any) -> None:
    line = json.dumps(words).encode() + b"\n"
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


if __name__ == "__main__":
    # A caller that has gone away needs no answer.
    with contextlib.suppress(BrokenPipeError):
        main()
