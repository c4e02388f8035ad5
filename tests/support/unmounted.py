"""A share with write-back, all but the mount: a guest that calls what the kernel would.

Some milliseconds each, so that every kind of refusal can be tried with every kind of change.
"""

import contextlib
import errno
import functools
import os
import stat as modes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pyfuse3

from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.mounts.identity import server_user
from osxfs_sim.mount.server.assembly import build
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.owners import KnownCaller
from osxfs_sim.mount.writeback.handlers import WriteBackHandlers
from osxfs_sim.mount.writeback.invariant import breaches
from osxfs_sim.mount.writeback.journal_format import MakeDetail, SetDetail
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal, unfinished_journals
from osxfs_sim.mount.writeback.overlay_layers import merged
from osxfs_sim.mount.writeback.recovery import HostTree, open_host_tree, recover
from osxfs_sim.settings import ShareSettings

GUEST: Any = KnownCaller(0, 0)


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _checked(method: _Method) -> _Method:
    """After *method*, and after what it has refused, the state of what is pending is sound."""

    @functools.wraps(method)
    def checked(self: "Unmounted", *arguments: Any, **keywords: Any) -> Any:
        try:
            answer = method(self, *arguments, **keywords)
        except OSError:
            self.check()
            raise
        self.check()
        return answer

    return cast(_Method, checked)


class Unmounted:
    """One share of *source*, whose journal lies in *state*."""

    def __init__(self, source: Path, state: Path, **settings: Any) -> None:
        self.source, self.state = source, state
        wanted = ShareSettings(
            *(str(source), str(source.parent / "guest")),
            **{
                "profile": "osxfs-delegated",
                "host_events": "none",
                "state_directory": str(state),
                "write_back_age_ns": 3_600 * 10**9,
            }
            | settings,
        )
        before = pyfuse3.trio
        user = server_user(None)
        self.components = build(wanted, wanted.system(), user, str(source), "/nowhere", None)
        pyfuse3.trio = before
        assert isinstance(self.components.handlers, WriteBackHandlers)
        self.handlers = self.components.handlers
        assert self.components.write_back is not None
        self.write_back = self.components.write_back
        self._umask = os.umask(0)
        self._opened: list[tuple[Inode, int]] = []

    def check(self) -> None:
        """The five places where a pending change lives say the same: writeback/__init__.py."""
        wrong = breaches(self.write_back, self.components.inodes)
        assert not wrong, wrong

    # What the host refuses

    def refuse(self, refuses: Callable[[Change[Inode]], Exception | None]) -> None:
        """From now on the host says *refuses* to a change, where that is anything."""
        apply = self.write_back.writer.apply

        def refusing(change: Change[Inode]) -> None:
            error = refuses(change)
            if error is not None:
                raise error
            apply(change)

        self.write_back.writer.apply = refusing  # type: ignore[method-assign]

    # The guest

    def inode(self, path: str) -> Inode:
        """What the guest has at *path*. Raises OSError."""
        here = self.components.inodes.root
        for name in filter(None, path.split("/")):
            inode, status = self.handlers._view.named(here, name.encode())
            if inode is None:
                inode = self.components.inodes.find_or_add(here, name.encode(), status)  # type: ignore[arg-type]
            inode.nlookup = max(inode.nlookup, 1)
            here = inode
        return here

    def _place(self, path: str) -> tuple[Inode, bytes]:
        above, _, name = path.rpartition("/")
        directory = self.inode(above)
        if not directory.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, above)  # the kernel's word
        return directory, name.encode()

    @_checked
    def make(self, path: str, mode: int = modes.S_IFREG | 0o644, target: bytes = b"") -> Inode:
        made = self.handlers._making.defer_make(*self._place(path), mode, GUEST, target)
        made.nlookup = 1
        return made

    def mkdir(self, path: str) -> Inode:
        return self.make(path, modes.S_IFDIR | 0o755)

    def symlink(self, path: str, target: str) -> Inode:
        return self.make(path, modes.S_IFLNK, target.encode())

    def open(self, path: str) -> int:
        """A handle that stays open until close()."""
        inode = self.inode(path)
        fd = os.open(os.devnull, os.O_RDWR)
        if not inode.is_local_only:
            real = self.components.backing.open(inode, os.O_RDWR)
            os.dup2(real, fd)
            os.close(real)
        inode.open_fds = [*(inode.open_fds or []), fd]
        self.components.handles.files[fd] = inode
        self._opened.append((inode, fd))
        return fd

    @_checked
    def write(self, path: str, data: bytes, offset: int = 0, handle: int | None = None) -> None:
        inode = self.components.handles.files[handle] if handle is not None else self.inode(path)
        if inode.is_directory:
            raise IsADirectoryError(errno.EISDIR, path)  # the kernel's word
        kept = self.write_back.journal.data
        fd = handle if handle is not None else os.open(os.devnull, os.O_RDONLY)
        if handle is None and not inode.is_local_only:
            real = self.components.backing.open(inode, os.O_RDWR)
            os.dup2(real, fd)
            os.close(real)
        place = kept.reserve(len(data))
        kept.put(place, data)
        try:
            self.handlers._files.defer_write(inode, fd, offset, len(data), place)
        except OSError:
            kept.free(place, len(data))
            raise
        finally:
            if handle is None:
                os.close(fd)

    @_checked
    def set(self, path: str, *, size: int | None = None, mode: int | None = None) -> None:
        if size is not None and self.inode(path).is_directory:
            raise IsADirectoryError(errno.EISDIR, path)  # the kernel's word
        detail = SetDetail(size, mode, None, None, None, None, 10**18)
        self.handlers._attributes.defer_set(self.inode(path), detail)

    @_checked
    def link(self, old: str, new: str) -> None:
        if self.inode(old).is_directory:
            raise PermissionError(errno.EPERM, old)  # the kernel's word
        entry = self.handlers._making.defer_link(self.inode(old), *self._place(new), GUEST)
        del entry

    @_checked
    def unlink(self, path: str) -> None:
        self.inode(path)
        self.handlers._removing.defer_removal(Kind.UNLINK, *self._place(path))

    @_checked
    def rmdir(self, path: str) -> None:
        self.inode(path)
        self.handlers._removing.defer_removal(Kind.RMDIR, *self._place(path))

    @_checked
    def rename(self, old: str, new: str) -> None:
        moving = self.inode(old)
        with contextlib.suppress(FileNotFoundError):
            self.inode(new)
        self.handlers._renaming.defer_rename(moving, *self._place(old), *self._place(new), 0)

    def tree(self) -> dict[str, str | None]:
        """Every path that the guest has, and what is in it: None for a directory."""
        found: dict[str, str | None] = {}
        waiting = [("", self.components.inodes.root)]
        while waiting:
            above, directory = waiting.pop()
            for name in sorted(self._names(directory)):
                path = f"{above}{name.decode()}"
                inode = self.inode(path)
                found[path] = None
                if inode.is_directory:
                    waiting.append((f"{path}/", inode))
                else:
                    found[path] = self.read(inode)
        return dict(sorted(found.items()))

    def _names(self, directory: Inode) -> list[bytes]:
        overlay = directory.overlay
        names: list[bytes] = []
        if not directory.is_local_only:
            fd = self.components.backing.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            names = [os.fsencode(name) for name in os.listdir(fd)]
            os.close(fd)
        known = (overlay.names if overlay is not None else None) or {}
        return merged(names, {n: h.inode is not None for n, h in known.items()})

    def read(self, inode: Inode, handle: int = -1) -> str:
        if inode.kind == modes.S_IFLNK:
            if inode.is_local_only:
                return self.handlers._attributes.pending_link_target(inode).decode()
            fd, name, _ = self.components.backing.find(inode)
            return os.readlink(name, dir_fd=fd).decode()  # type: ignore[return-value]
        overlay = inode.overlay
        fd = handle
        if handle < 0:
            fd = -1 if inode.is_local_only else self.components.backing.open(inode, os.O_RDONLY)
        try:
            if overlay is not None and (overlay.local_only or overlay.content):
                return bytes(self.handlers._files.read_dirty(inode, fd, 0, 1 << 20)[0]).decode()
            return os.pread(fd, 1 << 20, 0).decode()
        finally:
            if handle < 0 and fd >= 0:
                os.close(fd)

    # Its end

    @_checked
    def finish(self) -> int:
        return self.write_back.finish()

    @_checked
    def work_until_something_is_set_aside(self) -> None:
        """As its worker does, with the guest to look on in between."""
        write_back = self.write_back
        before = write_back.aside.count
        while write_back.aside.count == before:
            change = write_back.changes.take()
            if change is None:
                return
            try:
                write_back.writer.apply(change)
            except Exception as error:
                write_back._refused(change, error, ends=True)
            else:
                write_back._applied(change)

    def close(self) -> None:
        """As at the end of a mount."""
        left = self.finish()
        self._release()
        self.write_back.close(keep=left > 0)
        self.components.close()

    def crash(self) -> None:
        """Its server is killed: what it has not written nobody writes."""
        self._release()
        self.write_back.close(keep=True)
        self.components.close()

    def _release(self) -> None:
        for inode, fd in self._opened:
            os.close(fd)
            self.components.handles.files.pop(fd, None)
            inode.open_fds = None
        self._opened.clear()
        os.umask(self._umask)


@contextlib.contextmanager
def unmounted(source: Path, state: Path, **settings: Any) -> Iterator[Unmounted]:
    """A share that ends with the block: whatever was refused, everything else is on the host."""
    share = Unmounted(source, state, **settings)
    try:
        yield share
    finally:
        share.close()


def left(source: Path, state: Path) -> list[UnfinishedJournal]:
    return unfinished_journals(state, str(source))


def recovered(source: Path, state: Path) -> int:
    """Have what is left of *source* written to the host; how many changes that was."""
    with recovering(source, state) as tree:
        return recover(left(source, state), tree)


@contextlib.contextmanager
def recovering(source: Path, state: Path) -> Iterator[HostTree]:
    """The host's *source*, as the process that recovers has it."""
    umask = os.umask(0)
    try:
        with open_host_tree(str(source), state, Ownership.OSXFS) as tree:
            yield tree
    finally:
        os.umask(umask)


def tree_of(top: Path) -> dict[str, str | None]:
    """The host's, to be compared with that of the guest."""
    found: dict[str, str | None] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_text()
    return found


__all__ = ["MakeDetail", "Unmounted", "left", "recovered", "recovering", "tree_of", "unmounted"]
