"""As whom the server works: started by root, it can become a named user for good.

Mounting needs root; serving does not. Everything that could be refused on the
host is done after the change, by a process that has no way back.
"""

import contextlib
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.mount.mounts.mountpoints import MountError

_NO_GROUP = 65_534
_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user that the server works as, with all groups of that user."""

    uid: int
    """The user's number."""
    gid: int
    """The number of the user's own group."""
    groups: tuple[int, ...]
    """All groups."""
    home: str
    """The home directory."""
    drops: bool
    """Whether the server is root and becomes this user once it has mounted."""

    def __str__(self) -> str:
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(self.uid).pw_name
        return str(self.uid)

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Within the block, act as this user (effective ids; one thread only). Raises OSError."""
        if not self.drops or os.geteuid() == self.uid:
            yield
            return
        groups = os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    @contextlib.contextmanager
    def mounting(self) -> Iterator[None]:
        """Within the block, have root's rights and this user's real ids. Raises OSError.

        The kernel notes whose mount it is by the real user id. It lets that user in, also without
        allow_other, and fusermount3 lets that user unmount it.
        """
        if not self.drops:
            yield
            return
        os.setresgid(self.gid, 0, 0)
        os.setresuid(self.uid, 0, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)

    @property
    def as_argument(self) -> str:
        """``uid:gid:group,group`` for a helper that is to become this user; ``-``: it need not."""
        if not self.drops:
            return "-"
        return f"{self.uid}:{self.gid}:{','.join(map(str, self.groups))}"

    def become(self) -> None:
        """Be this user from now on, in every thread, without a way back. Raises OSError."""
        if not self.drops:
            return
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        os.environ["HOME"] = self.home


def server_user(name: str | None) -> ServerUser:
    """The user *name* (or number), or the one we are (None). Raises MountError."""
    uid = os.geteuid()
    if name is None:
        home = os.path.expanduser("~")
        return ServerUser(uid, os.getegid(), tuple(os.getgroups()), home, drops=False)
    if uid != 0:
        raise MountError("--user needs root: only root can become somebody else")
    try:
        entry = pwd.getpwuid(int(name)) if _NUMBER.fullmatch(name) else pwd.getpwnam(name)
    except (KeyError, ValueError, OverflowError):
        raise MountError(f"there is no user {name!r}: see getent passwd") from None
    if entry.pw_uid == 0:
        raise MountError("the server is root already: leave --user out, or name another user")
    if shutil.which("fusermount3") is None:
        raise MountError("--user needs fusermount3, to unmount without root: apt-get install fuse3")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return ServerUser(entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, drops=True)


def user_of_id(uid: int) -> ServerUser:
    """The user *uid*, known to this machine or not, to act as where we are root; never fails."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return ServerUser(uid, _NO_GROUP, (), "/", drops=os.geteuid() == 0)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return ServerUser(uid, entry.pw_gid, groups, entry.pw_dir, drops=os.geteuid() == 0)


def state_directory(user: ServerUser) -> Path:
    """The path where a server of *user* keeps what outlives a mount; never fails.

    For a user without a home of its own, such as nobody, root makes a place; so call it before
    becoming that user.
    """
    if user.uid == 0:
        return _ROOTS
    chosen = os.environ.get("XDG_STATE_HOME") if not user.drops else None
    if not chosen and user.drops and not _lives_in(user):
        directory = _ROOTS.with_name(f"{_ROOTS.name}-{user.uid}")
        with contextlib.suppress(OSError), at.new_place(directory, 0o700) as fd:
            at.set_owner(fd, user.uid, user.gid)
        return directory
    return Path(chosen or os.path.join(user.home, ".local", "state")) / "osxfs-sim"


def check_state_apart(state: Path, source: str) -> None:
    """Raise MountError where *state* lies in *source*, and the guest could reach it.

    Compared by what the directories are, so that a bind mount makes no difference.
    """
    root = os.stat(source)
    here = os.path.realpath(state)
    while True:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(here), root):
                raise MountError(
                    f"the state directory {state} lies in the source {source}, where the guest "
                    "could change and remove what is kept for it: let --state name a directory "
                    "outside of it"
                )
        if here == "/":
            return
        here = os.path.dirname(here)


_ROOTS = Path("/var/lib/osxfs-sim")


def _lives_in(user: ServerUser) -> bool:
    """Whether the user's home is one: there, and that user's to write in."""
    with user.acting(), contextlib.suppress(OSError):
        status = os.stat(user.home)
        return status.st_uid == user.uid and os.access(user.home, os.W_OK, effective_ids=True)
    return False
