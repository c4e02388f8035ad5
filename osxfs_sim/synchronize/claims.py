"""Which directories the shares of this machine have for their own, as long as they live.

Two that write into one copy would each take what the other puts there for their guest's
work, and carry it home; so would one whose copy is another's source, or lies in it. Each
share holds a lock on a file that says what it has (flock(2): it ends with its process,
however that ends), and reads those of the others first.

Directories are told apart by device and inode, theirs and those of all above them:
names can lead there by mounts and links that a comparison of paths does not see.
"""

import contextlib
import fcntl
import json
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.roots import shown

_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def claims_directory(uid: int) -> Path:
    """The path of the directory where user *uid*'s shares keep their claims."""
    if uid == 0:
        return Path("/run/osxfs-sim/claims")
    for_user = Path(f"/run/user/{uid}")
    base = for_user / "osxfs-sim" if for_user.is_dir() else Path(f"/tmp/osxfs-sim-{uid}")
    return base / "claims"


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory, and all that it lies in."""

    path: str
    within: tuple[tuple[int, int], ...]
    """Device and inode of itself first."""

    def overlaps(self, other: "_Place") -> bool:
        """Whether one is the other, or lies in it."""
        return self.within[0] in other.within or other.within[0] in self.within


@dataclass(frozen=True, slots=True)
class _Claimed:
    pid: int
    source: _Place
    copy: _Place
    is_only_read: bool


class Claim:
    """One share's claim of its two directories, until it is released or the process ends."""

    def __init__(
        self,
        source: bytes,
        copy: bytes,
        *,
        is_only_read: bool = False,
        directory: Path | None = None,
    ) -> None:
        """Raises SyncError where another has any of it, OSError where there is no telling.

        *is_only_read*: nothing travels from the copy to the source. Such shares of one
        source may have one copy.
        """
        self._directory = directory or claims_directory(os.geteuid())
        wanted = _Claimed(os.getpid(), _place(source), _place(copy), is_only_read)
        _make_private(self._directory)
        with self._locked():
            for other in self._others():
                _refuse(wanted, other)
            self._path = self._directory / f"{os.getpid()}-{secrets.token_hex(4)}.json"
            self._fd = os.open(self._path, _CREATE | os.O_EXCL, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX)
                os.write(self._fd, _written(wanted))
            except BaseException:
                self.release()
                raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Held only while others are read: whoever waits for it does not wait long."""
        fd = os.open(self._directory / "lock", _CREATE, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _others(self) -> Iterator[_Claimed]:
        for path in sorted(self._directory.glob("*.json")):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield _read(file.read())
                else:
                    path.unlink()  # its process has ended

    def release(self) -> None:
        """End the claim, so that other shares may have the directories; never fails."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(fd)


def _refuse(wanted: _Claimed, other: _Claimed) -> None:
    """Raises SyncError where both cannot be."""
    remedy = "choose another copy, or stop the other share first"
    if wanted.copy.overlaps(other.copy):
        is_one = wanted.copy.within[0] == other.copy.within[0]
        is_shared = (
            wanted.is_only_read
            and other.is_only_read
            and is_one
            and wanted.source.within[0] == other.source.within[0]
        )
        if not is_shared:
            how = "is" if is_one else "overlaps with"
            raise SyncError(
                f"the copy {wanted.copy.path} {how} the copy that {other.source.path} has "
                f"(process {other.pid}): {remedy}"
            )
    if wanted.copy.overlaps(other.source) and not (wanted.is_only_read and other.is_only_read):
        raise SyncError(
            f"the copy {wanted.copy.path} overlaps with {other.source.path}, which another "
            f"share has as its source (process {other.pid}): {remedy}"
        )
    if wanted.source.overlaps(other.copy) and not (wanted.is_only_read and other.is_only_read):
        raise SyncError(
            f"{wanted.source.path} overlaps with {other.copy.path}, the copy of another "
            f"share (process {other.pid}): share another directory, or stop the other share first"
        )


def _place(path: bytes) -> _Place:
    real = os.fsencode(os.path.realpath(path))
    within = []
    above = real
    while True:
        try:
            status = os.stat(above)
        except (FileNotFoundError, NotADirectoryError):
            within.append((-1, zlib.crc32(os.fsencode(above))))  # it is still to be made
        else:
            within.append((status.st_dev, status.st_ino))
        if above == os.path.dirname(above):
            return _Place(shown(real), tuple(within))
        above = os.path.dirname(above)


def _written(claimed: _Claimed) -> bytes:
    return json.dumps(
        [
            claimed.pid,
            [[place.path, place.within] for place in (claimed.source, claimed.copy)],
            claimed.is_only_read,
        ]
    ).encode()


def _read(content: bytes) -> _Claimed:
    pid, places, is_only_read = json.loads(content)
    source, copy = (
        _Place(path, tuple((device, inode) for device, inode in within)) for path, within in places
    )
    return _Claimed(pid, source, copy, is_only_read)


def _make_private(directory: Path) -> None:
    """Raises SyncError where others have made it."""
    for each in (directory.parent, directory):
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)
        status = each.lstat()
        if status.st_uid != os.geteuid() or each.is_symlink():
            raise SyncError(f"{each} belongs to another user: remove it")
