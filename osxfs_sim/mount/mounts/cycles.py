"""Shares that can be reached from within their own source, by way of others too.

A bind mount of the share below its source, two shares in each other's sources, a chroot with
/ bound into it, a file system below it whose image or layers lie in the share (lower.py): whoever
goes there asks a server about the very mount that it serves, from the only thread that could
answer. The table of mounts tells beforehand. What can be known is
refused when a share is mounted; what is mounted later is not entered: while there is such a
mount below the source, the names it covers are ELOOP, and no listing has them.

The server asks its table of mounts before each request whether it has changed, in the same
poll(2) as for the request itself. As long as nothing of this kind is there, it costs no more.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.mount.mounts.lower import lower_paths
from osxfs_sim.mount.mounts.mountpoints import (
    MountError,
    escape,
    is_below,
    lies_in,
    mount_number_of,
    runtime_directory,
    unescape,
)
from osxfs_sim.mount.mounts.runtime_records import Record, all_records

_WALK = os.O_PATH | os.O_CLOEXEC
_MOST_SHARES_ON_THE_WAY = 64


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo, as far as it tells what lies below what."""

    number: int
    """Its mount ID."""
    parent: int
    """The mount ID of the mount it lies in."""
    device: str
    """Its device, as ``major:minor``."""
    path: str
    """The mount point."""
    file_system_type: str
    """Such as ``fuse.osxfs-sim``."""
    source: str = ""
    """What was mounted, as the file system says it."""
    options: str = ""
    """Of the file system, as they stand in the line."""

    @property
    def lower(self) -> list[str]:
        """The paths that the mount rests on (image, layers, export), as far as is known."""
        return lower_paths(self.file_system_type, self.source, self.device, self.options)


def mount_table() -> list[Mount]:
    """All mounts that this process sees, as /proc/self/mountinfo has them. Raises OSError."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [_mount(line) for line in file.read().split(b"\n") if line]


def _mount(line: bytes) -> Mount:
    before, _, after = line.partition(b" - ")
    number, parent, device, _, path, *_ = before.split(b" ")
    kind, source, options = (unescape(os.fsdecode(each)) for each in after.split(b" ", 2))
    place = unescape(os.fsdecode(path))
    return Mount(int(number), int(parent), device.decode(), place, kind, source, options)


def below(table: Sequence[Mount], number: int, path: str) -> Iterator[Mount]:
    """Yield the mounts in *table* reached below *path* of the mount *number*, without ``..``."""
    children: dict[int, list[Mount]] = {}
    for mount in table:
        children.setdefault(mount.parent, []).append(mount)
    start = path.rstrip("/") + "/"
    waiting = [each for each in children.get(number, ()) if each.path.startswith(start)]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += children.get(here.number, ())


class Shares:
    """Which share's server asks which others, by the records of their servers."""

    def __init__(self, table: Sequence[Mount], records: Sequence[Record]) -> None:
        self.table = table
        there = {(each.number, each.device) for each in table}
        self.records: Mapping[str, Record] = {
            record.device: record for record in records if (record.mount_id, record.device) in there
        }
        self._device_of = {each.number: each.device for each in table}
        self._of_device: dict[str, list[Mount]] = {}
        for each in table:
            self._of_device.setdefault(each.device, []).append(each)

    def asked_by(self, number: int, path: str) -> set[str]:
        """The devices (``major:minor``) that serving *path* of a mount meets, its own included."""
        found = {each.device for each in below(self.table, number, path)}
        return found | {self._device_of.get(number, "")}

    def leads_to(self, device: str, wanted: str) -> bool:
        """Whether a request to the share *device* may lead to one to the share *wanted*."""
        seen, waiting = set[str](), [device]
        while waiting:
            here = waiting.pop()
            if here == wanted:
                return True
            record = self.records.get(here)
            if here not in seen and record is not None:
                waiting += self.asked_by(record.source_mount_id, record.source)
            elif here not in seen:
                waiting += self._rests_on(here)
            seen.add(here)
        return False

    def _rests_on(self, device: str) -> set[str]:
        """The devices that somebody asks who answers for *device*, which is no share."""
        found = set()
        for mount in self._of_device.get(device, ())[:1]:  # the others are the same file system
            for path in mount.lower:
                holding = self._holding(path)
                if holding is not None:
                    found.add(holding.device)
        return found - {device}

    def _holding(self, path: str) -> Mount | None:
        """The mount that *path* leads into, as far as its words tell."""
        holding = [each for each in self.table if is_below(path, each.path)]
        deepest = max((len(each.path) for each in holding), default=0)
        return next((each for each in reversed(holding) if len(each.path) == deepest), None)

    def holds(self, record: Record, number: int, path: str) -> bool:
        """Whether *path* of the mount *number* lies in the source of the share *record*."""
        if number == record.source_mount_id:
            return is_below(path, record.source)
        return any(
            each.number == number
            for each in below(self.table, record.source_mount_id, record.source)
        )


def shares_now() -> Shares:
    """The shares and mounts of this moment, as Shares. Raises OSError."""
    return Shares(mount_table(), [each for each in all_records() if not each.is_of_the_dead])


def mount_number(path: str) -> int:
    """The ID of the mount that the directory *path* is in. Raises OSError.

    No file system is asked.
    """
    fd = os.open(path, _WALK)
    try:
        return mount_number_of(fd)
    finally:
        os.close(fd)


# Before a share is mounted


def check_cycles(source: str, mountpoint: str) -> None:
    """Raise MountError where a share of *source* at *mountpoint* would ask itself.

    Both are real paths.
    """
    shares = shares_now()
    if not shares.records:
        return
    asked = shares.asked_by(mount_number(source), source)
    number = mount_number(mountpoint)
    for record in shares.records.values():
        if shares.holds(record, number, mountpoint) and any(
            shares.leads_to(device, record.device) for device in asked
        ):
            raise MountError(
                f"the source {source} holds the share at {record.mountpoint}, and the source of "
                f"that, {record.source}, holds the mount point {mountpoint}: each would ask the "
                "other; mount it elsewhere"
            )


def check_own_places(mountpoint: str, places: Mapping[str, str]) -> None:
    """Raise MountError where a path that the server works with would lie in its share.

    *places* are paths by what they are, which is how they are named, with the remedy.
    """
    shares: Shares | None = None
    for what, path in places.items():
        real = os.path.realpath(path)
        for _ in range(_MOST_SHARES_ON_THE_WAY):
            if lies_in(real, mountpoint):
                raise MountError(
                    what.format(path=path, why=f"lies inside the mount point {mountpoint}")
                )
            # It may lie in another share, whose source holds the mount point.
            shares = shares or shares_now()
            outside = _on_the_host(shares, real)
            if outside is None:
                break
            real = outside


def _on_the_host(shares: Shares, path: str) -> str | None:
    """Where the share that *path* lies in, if any, keeps it."""
    for record in shares.records.values():
        if is_below(path, record.mountpoint):
            return os.path.normpath(
                os.path.join(record.source, os.path.relpath(path, record.mountpoint))
            )
    return None


def own_places(
    uid: int, state: Path, trace: str | None, host_services: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """The paths that a server of user *uid* works with, by the message that refuses them."""
    return {
        "the state directory {path} {why}: choose another with --state": str(state),
        "the server's sockets are in {path}, which {why}: mount it elsewhere": str(
            runtime_directory(uid)
        ),
        "osxfs-sim itself, {path}, {why}: mount it elsewhere": str(Path(__file__).parents[1]),
        "the Python that serves the share, {path}, {why}: mount it elsewhere": sys.prefix,
        **({"the trace {path} {why}: keep it elsewhere": trace} if trace is not None else {}),
        **{
            f"the host service {name}, {{path}}, {{why}}: name a socket outside": path
            for name, path in host_services
        },
    }


def check_outside(path: str, what: str, device: str) -> None:
    """Raise MountError where *path* is in the share *device*, or in one that asks it.

    *what* is what it is called. In a thread, while requests are served: it may well be asked for.
    """
    here = os.path.dirname(os.path.realpath(path))
    while True:
        try:
            number = mount_number(here)
        except FileNotFoundError:
            here = os.path.dirname(here)
            continue
        except OSError as error:
            raise MountError(f"{what} {path}: {error.strerror}") from error
        break
    shares = shares_now()
    found = next((each.device for each in shares.table if each.number == number), "")
    if shares.leads_to(found, device):
        where = "the share itself" if found == device else "another share, whose source holds it"
        raise MountError(f"{what} {path} lies inside {where}: keep it elsewhere")


# While it is served


class CycleGuard:
    """Keeps the server from entering its own mount through the source. Reactor's thread only."""

    def __init__(self, device: str, root_fd: int) -> None:
        self._device = device.encode()
        self._root_fd = root_fd
        self._table_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self.paths: tuple[str, ...] = ()
        """Where the share can be reached from within its source, and is not entered."""
        self._covered: dict[tuple[int, int], set[bytes]] = {}
        self._kept: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def fileno(self) -> int:
        """The descriptor of the table of mounts: POLLPRI says that it has changed."""
        return self._table_fd

    def refresh(self) -> None:
        """Read the mounts again; from then on what leads back into the share is ELOOP."""
        number = mount_number_of(self._root_fd)
        source = os.readlink(f"/proc/self/fd/{self._root_fd}")
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read()
        found: list[Mount] = []
        # It is looked at for whatever is mounted anywhere on the machine: as cheaply as can be.
        if b" %s/" % os.fsencode(escape(source.rstrip("/"))) in lines:
            found = self._ways_back(number, source)
        self.paths = tuple(each.path for each in found)
        self._cover(found)

    def _ways_back(self, number: int, source: str) -> list[Mount]:
        shares = shares_now()
        found, behind = [], set[int]()
        for mount in below(shares.table, number, source):  # from above
            if mount.parent in behind:
                behind.add(mount.number)
            elif shares.leads_to(mount.device, self._device.decode()):
                found.append(mount)
                behind.add(mount.number)
        return found

    def _cover(self, found: Sequence[Mount]) -> None:
        source = os.readlink(f"/proc/self/fd/{self._root_fd}")
        self._covered.clear()
        for mount in found:
            above, name = os.path.split(os.path.relpath(mount.path, source))
            try:
                status = os.stat(above or ".", dir_fd=self._root_fd)
            except OSError:
                continue
            self._covered.setdefault((status.st_dev, status.st_ino), set()).add(os.fsencode(name))
        if self._covered and self._kept is None:
            self._kept = os.stat, os.open
            self._guard_calls()
        elif not self._covered and self._kept is not None:
            os.stat, os.open = self._kept
            self._kept = None

    def _guard_calls(self) -> None:
        """From now on nobody in this process goes there: all go by these two, name by name.

        So that each request pays for it only while there is something to keep away from.
        """
        stat, open_ = os.stat, os.open

        def guarded_stat(
            path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True
        ) -> Any:
            if dir_fd is not None:
                self._check(dir_fd, path)
            return stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

        def guarded_open(
            path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
        ) -> int:
            if dir_fd is not None:
                self._check(dir_fd, path)
            return open_(path, flags, mode, dir_fd=dir_fd)

        os.stat, os.open = guarded_stat, guarded_open

    def _check(self, dir_fd: int, name: Any) -> None:
        place = os.fstat(dir_fd)
        if os.fsencode(name) in self._covered.get((place.st_dev, place.st_ino), ()):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)

    def warnings(self) -> list[str]:
        """The warnings, a line each, of where the share can be reached from its own source."""
        return [
            f"the share can be reached from its own source, at {path}: nobody gets in there (ELOOP)"
            for path in self.paths
        ]

    def close(self) -> None:
        """Guard no more against ways back into the share, and close the table."""
        self.paths = ()
        self._cover(())
        os.close(self._table_fd)
