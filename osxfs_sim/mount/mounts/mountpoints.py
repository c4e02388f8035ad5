"""The kernel's table of mounts: checks before mounting, and unmounting after.

A message here is for whoever typed the command: one line, with the remedy.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osxfs_sim.model.escaping import quoted
from osxfs_sim.mount.errors import MountError as MountError

FILE_SYSTEM_TYPE = "fuse.osxfs-sim"
EXPORTS_ROOT_NAME = "osxfs-sim:exports"
"""No profile's: their mounts are called osxfs-sim#NAME."""
FORCE, _MNT_DETACH = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


class SilentError(MountError):
    """The server of a share is there, and does not answer."""


class GoneError(MountError):
    """The server of a share is not there any more."""


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo (proc(5)), as far as we need it."""

    mountpoint: str
    """The path it is mounted at."""
    file_system_type: str
    """Such as ``fuse.osxfs-sim``."""
    user_id: int
    """Who mounted it, as FUSE says."""
    device: str
    """``major:minor``: one per mounted share, so that two at one place are told apart."""
    source: str = ""
    """What was mounted, as the file system says it."""
    mount_id: int = 0
    """One per mount, and given anew once that is gone."""
    root: str = "/"
    """Which directory of the file system is mounted."""
    is_local: bool = False
    """Whether it is a share without requests: a mount as any other, but for a record of ours."""

    @property
    def is_exports_root(self) -> bool:
        """Whether it is the mount point of a share file, whose exports are mounted in it."""
        return self.is_ours and not self.is_local and self.source == EXPORTS_ROOT_NAME

    @property
    def is_ours(self) -> bool:
        """Whether it is a share of ours, with requests or without."""
        return self.is_local or self.file_system_type == FILE_SYSTEM_TYPE

    @property
    def identity(self) -> tuple[str, int, str, str]:
        """Mount point, mount ID, device and root: what tells this mount from all others."""
        return self.mountpoint, self.mount_id, self.device, self.root


def mounts(process: int | str = "self") -> list[MountEntry]:
    """All mounts that *process* (its pid) sees, in the order they were made. Raises OSError."""
    entries = []
    local = {tuple(record["identity"]) for record in local_records()}
    # The kernel escapes line feeds, but not what else Python takes for the end of a line.
    with open(
        f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n"
    ) as file:
        for line in file:
            before, _, after = line.rstrip("\n").partition(" - ")
            options = dict(option.partition("=")[::2] for option in after.split(" ")[2].split(","))
            entries.append(
                MountEntry(
                    unescape(before.split(" ")[4]),
                    after.split(" ")[0],
                    int(options.get("user_id", 0)),
                    before.split(" ")[2],
                    unescape(after.split(" ")[1]),
                    int(before.partition(" ")[0]),
                    unescape(before.split(" ")[3]),
                )
            )
    if not local:
        return entries
    return [
        replace(entry, is_local=True, user_id=0) if entry.identity in local else entry
        for entry in entries
    ]


def local_record_path(mountpoint: str) -> Path:
    """The path of the record that says a mount at *mountpoint* is a share without requests.

    *mountpoint* is a real path. It lies apart from the sockets, which are many: it is looked for
    with each look at the mounts.
    """
    return control_path(runtime_directory(0) / "local", mountpoint).with_suffix(".json")


def local_records() -> list[dict[str, Any]]:
    """The records of all shares without requests, of gone servers too; skips unreadable ones.

    Only root can mount one, and read of it.
    """
    records = []
    with contextlib.suppress(OSError):
        for path in (runtime_directory(0) / "local").iterdir():
            with contextlib.suppress(OSError, ValueError):
                records.append(json.loads(path.read_text(encoding="utf-8")))
    return records


def unescape(text: str) -> str:
    """The path that the table of mounts writes as *text* (proc(5): \\040 and the like)."""
    for code, character in _ESCAPES:
        text = text.replace(code, character)
    return text


def escape(path: str) -> str:
    """*path* as the table of mounts writes it for a mount point, which keeps ``#``."""
    for code, character in reversed(_ESCAPES):
        if character != "#":
            path = path.replace(character, code)
    return path


# Of which the last must be the last.
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\"))


def mount_number_of(fd: int) -> int:
    """The ID of the mount that the descriptor *fd* is in. Raises OSError.

    By proc_pid_fdinfo(5): only the kernel is asked.
    """
    with open(f"/proc/thread-self/fdinfo/{fd}", "rb") as file:
        return int(file.read().partition(b"mnt_id:")[2].split()[0])


def shares_in(directory: str) -> list[MountEntry]:
    """The shares mounted below *directory* (a real path), oldest first. Raises OSError."""
    return [
        entry
        for entry in mounts()
        if entry.is_ours and entry.mountpoint.startswith(directory.rstrip("/") + "/")
    ]


def mount_at(mountpoint: str) -> MountEntry | None:
    """The topmost mount at exactly *mountpoint* (a real path); None: none. Raises OSError."""
    found = [entry for entry in mounts() if entry.mountpoint == mountpoint]
    return found[-1] if found else None


def real_mountpoint(mountpoint: str) -> str:
    """The absolute path without symlinks, of a dead mount too. Raises MountError: no path.

    MountError for what is no path.
    """
    _check_path(mountpoint, "mount point")
    parent, name = os.path.split(os.path.abspath(mountpoint))
    candidate = os.path.join(os.path.realpath(parent), name) if name else "/"
    if mount_at(candidate) is not None:
        return candidate
    return os.path.realpath(mountpoint)


def runtime_directory(uid: int) -> Path:
    """The path of the directory of control sockets and records of user *uid*'s mounts."""
    if uid == 0:
        return Path("/run/osxfs-sim")
    for_user = Path(f"/run/user/{uid}")
    if for_user.is_dir():
        return for_user / "osxfs-sim"
    return Path(f"/tmp/osxfs-sim-{uid}")


def make_runtime_directory(uid: int | None = None) -> Path:
    """The runtime directory of *uid* (None: ours), made if need be. Raises MountError.

    MountError where it is not that user's alone, or cannot be made.
    """
    if uid is None:
        uid = os.geteuid()
    directory = runtime_directory(uid)
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=False)
        os.close(open_runtime_directory(uid))
    except OSError as error:
        raise MountError(f"cannot make {directory}: {error.strerror}") from error
    return directory


def open_runtime_directory(uid: int) -> int:
    """A descriptor of the runtime directory of *uid*. Raises MountError, OSError.

    That user may have put anything in its place: what root does in it, it does by this descriptor.
    MountError if it is not that user's alone.
    """
    directory = runtime_directory(uid)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(directory, flags)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            raise MountError(_NOT_ALONE.format(directory)) from error
        raise
    status = os.fstat(fd)
    if status.st_uid == os.geteuid() != uid and not os.listdir(fd):
        os.fchown(fd, uid, -1)  # we have just made it
        status = os.fstat(fd)
    if status.st_uid != uid or status.st_mode & 0o077:
        os.close(fd)
        raise MountError(_NOT_ALONE.format(directory))
    return fd


_NOT_ALONE = "{} belongs to somebody else or is open to others: remove it"


def control_path(directory: Path, mountpoint: str) -> Path:
    """The path in *directory* of the control socket of the mount at *mountpoint*.

    Paths of sockets are short: its name is a digest.
    """
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:20]
    return directory / f"{digest}.sock"


def log_path(directory: Path, mountpoint: str) -> Path:
    """The path in *directory* of the log of the server of the mount at *mountpoint*."""
    return control_path(directory, mountpoint).with_suffix(".log")


def check_before_mounting(source: str, mountpoint: str) -> tuple[str, str]:
    """The real paths of both, if *source* can be mounted there. Raises MountError.

    A mount of ours whose server has died is taken away first, so that its mount point can be used
    again without help.
    """
    real_source = _check_readable(source)
    target = real_mountpoint(mountpoint)
    _clear_dead_mount(target)
    existing = mount_at(target)
    if existing is not None and existing.is_ours:
        # Nor is it looked at: its server may be stopped.
        raise MountError(
            f"a share is already mounted at {mountpoint}: osxfs-sim umount {quoted(mountpoint)}"
        )
    if not os.path.exists(target):
        raise MountError(
            f"the mount point {mountpoint} does not exist: mkdir -p {quoted(mountpoint)}"
        )
    if not os.path.isdir(target):
        raise MountError(
            f"the mount point {mountpoint} is not a directory (the order is SOURCE MOUNTPOINT)"
        )
    target = os.path.realpath(target)
    _check_apart(source, real_source, mountpoint, target)
    existing = mount_at(target)
    if existing is not None:
        raise MountError(
            f"a {existing.file_system_type} file system is already mounted at {mountpoint}: "
            "choose another"
        )
    return real_source, target


def check_source(source: str, mountpoint: str) -> None:
    """Raise MountError where *source* cannot be shared below *mountpoint*."""
    _check_apart(source, _check_readable(source), mountpoint, real_mountpoint(mountpoint))


def _check_path(path: str, what: str) -> None:
    if not path or "\0" in path:
        # An empty one would be the working directory, which nobody means.
        raise MountError(f"the {what} {path!r} is no path: name a directory")


def _check_readable(source: str) -> str:
    _check_path(source, "source")
    real_source = os.path.realpath(source)
    if not os.path.exists(real_source):
        raise MountError(f"the source {source} does not exist")
    if not os.path.isdir(real_source):
        raise MountError(f"the source {source} is not a directory: only directories can be shared")
    if not os.access(real_source, os.R_OK | os.X_OK, effective_ids=True):
        raise MountError(f"the source {source} cannot be read: permission denied")
    return real_source


def _check_apart(source: str, real_source: str, mountpoint: str, target: str) -> None:
    if target == real_source:
        raise MountError("source and mount point are the same directory: mount it elsewhere")
    if is_below(target, real_source):
        raise MountError(
            f"the mount point {mountpoint} lies inside the source: "
            "the share would contain itself; mount it elsewhere"
        )
    if is_below(real_source, target):
        raise MountError(
            f"the source {source} lies inside the mount point: "
            "the share would hide it; mount it elsewhere"
        )


def is_below(path: str, directory: str) -> bool:
    """Whether *path* is *directory* or lies in it, by their words; both are real paths."""
    return os.path.commonpath((path, directory)) == directory


def lies_in(path: str, directory: str) -> bool:
    """Whether *path* is *directory* or lies in it, also by a bind mount; never fails.

    What is mounted at the one appears at the other too, where mounts propagate. *path* need not be
    there yet.
    """
    if is_below(path, directory):
        return True
    try:
        wanted = os.stat(directory)
    except OSError:
        return False
    while path != os.path.dirname(path):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), wanted):
                return True
        path = os.path.dirname(path)
    return False


def check_fuse() -> None:
    """Raise MountError where this user cannot mount FUSE at all."""
    if not os.path.exists("/dev/fuse"):
        raise MountError(
            "/dev/fuse is missing: load the kernel module (modprobe fuse), or in a container "
            "pass the device (--device /dev/fuse --cap-add SYS_ADMIN)"
        )
    if os.geteuid() == 0:
        try:
            os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise MountError(
                f"/dev/fuse cannot be opened ({error.strerror}): "
                "in a container, allow the device (--device /dev/fuse --cap-add SYS_ADMIN)"
            ) from error
    elif not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise MountError("/dev/fuse is not open to you: as root, chmod 666 /dev/fuse")
    elif shutil.which("fusermount3") is None:
        raise MountError(
            "an ordinary user needs fusermount3 to mount: apt-get install fuse3, or mount as root"
        )


def check_allow_other(wanted: bool | None) -> bool:
    """Whether other users are let in. Raises MountError where *wanted* and not allowed."""
    if os.geteuid() == 0:
        return wanted is not False
    if not wanted:
        return False
    with contextlib.suppress(OSError):
        for line in Path("/etc/fuse.conf").read_text().splitlines():
            if line.strip() == "user_allow_other":
                return True
    raise MountError(
        "--allow-other needs the line user_allow_other in /etc/fuse.conf (only root can add it)"
    )


def is_dead(mountpoint: str) -> bool:
    """Whether the server of the FUSE mount at *mountpoint* is gone (ENOTCONN); never fails."""
    try:
        os.stat(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _clear_dead_mount(mountpoint: str) -> None:
    entry = mount_at(mountpoint)
    if entry is None or not entry.is_ours or _has_server(entry) or not is_dead(mountpoint):
        return
    try:
        unmount(mountpoint, lazily=True)
    except OSError:
        now = mount_at(mountpoint)
        if now is not None and now.identity == entry.identity:
            raise  # nobody else was faster


def _has_server(entry: MountEntry) -> bool:
    """Whether its server listens: it is not dead then, and may be stopped, and must not be met."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        path = control_path(runtime_directory(entry.user_id), entry.mountpoint)
        try:
            client.connect(os.fspath(path))
            said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            with open(f"/proc/{struct.unpack_from('=i', said)[0]}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except TimeoutError:
            return True
        except OSError:
            return False


def unmount(
    mountpoint: str, *, lazily: bool = False, flags: int = 0, timeout_s: float | None = None
) -> None:
    """Unmount, as root or through fusermount3. Raises OSError: EBUSY where it is in use.

    *lazily* takes it out of the tree at once, and lets its users finish. *flags* are of umount2(2),
    and for root only.
    """
    if os.geteuid() == 0:
        if _libc.umount2(os.fsencode(mountpoint), flags | (_MNT_DETACH if lazily else 0)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), mountpoint)
        return
    command = ["fusermount3", "-u", *(["-z"] if lazily else []), "--", mountpoint]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    if result.returncode:
        busy = "busy" in result.stderr
        raise OSError(errno.EBUSY if busy else errno.EPERM, result.stderr.strip(), mountpoint)
