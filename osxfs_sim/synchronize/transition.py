"""Makes one side's changes, never over anything that the scan did not see.

Something new comes by a rename that refuses a name that is taken. Something else in
an old place comes by an exchange: what comes out is looked at, and goes back unless
it is what the scan saw. A deletion is a move away, a look, and only then the end.
Directories go from the bottom up, and only empty ones: the kernel checks that.
What is refused stays as it is, and the next cycle sees what it has become.

The window that remains, since the kernel has no "rename if unchanged": who holds
the old file open, or opens it between our look and the exchange, and writes after
the second look, writes into a file without a name, as with any program that
replaces files by a rename. And for the moment between an exchange and its taking
back, a reader finds the other side's version.

Owners: what is new belongs to whom the directory belongs that it is put into, a
file that takes another's place to whom that one belonged, if the synchronizer may
decide (root). Modes: 644 and 755; a file that takes another's place keeps its
permissions, but for executability. Nothing is ever in place with another owner or
mode than it is to have.
"""

import contextlib
import errno
import functools
import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from osxfs_sim.synchronize.archive import Intent, Step
from osxfs_sim.synchronize.reconcile import Change, Side
from osxfs_sim.synchronize.roots import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    directory_at,
    rename,
    stamp_of,
)
from osxfs_sim.synchronize.snapshot import (
    EMPTY,
    Child,
    Directory,
    Entry,
    File,
    Link,
    Path,
    Put,
    is_tracked,
    of_fingerprint,
)
from osxfs_sim.synchronize.stage import Staging, fingerprint, is_as_seen

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_RACED = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EXDEV}
"""What a side's own changes since the scan make of a change; the next cycle sees them."""


class _RefusedError(Exception):
    """Something is not as the scan saw it."""


@dataclass(slots=True)
class Outcome:
    """Of one side's changes."""

    made: int = 0
    raced: int = 0
    """Not made, because the side itself has changed what they were about."""
    problems: list[tuple[Path, str]] = field(default_factory=list)


class Transition:
    """Makes changes below one root."""

    def __init__(
        self,
        side: Side,
        root_fd: int,
        staging: Staging,
        intend: Callable[[Intent], None],
        put: Callable[[Path, Entry | None], None],
        step: Step,
    ) -> None:
        """*put* is told of every object that has come into place or gone."""
        self._side: Side = side
        self._root = root_fd
        self._staging = staging
        self._intend = intend
        self._put = put
        self._step = step
        self._is_root = os.geteuid() == 0
        self.outcome = Outcome()

    def apply(self, change: Change, staged: dict[Path, str]) -> None:
        """Make *change*; the content of its new files lies in *staged*."""
        self._attempt(change.path, lambda: self._change(change, staged))

    def _attempt(self, path: Path, action: Callable[[], None]) -> bool:
        try:
            action()
        except _RefusedError:
            self.outcome.raced += 1
        except OSError as error:
            if error.errno in _RACED:
                self.outcome.raced += 1
            else:
                self.outcome.problems.append((path, error.strerror or str(error)))
        else:
            return True
        return False

    def _change(self, change: Change, staged: dict[Path, str]) -> None:
        path, old, new = change.path, change.old, change.new
        if isinstance(old, Directory):
            self._remove_directory(path, old)
            old = None
        if old is not None and new is not None and not isinstance(new, Directory):
            if isinstance(old, File) and isinstance(new, File) and old.digest == new.digest:
                self._set_executable(path, old, new)
            else:
                self._replace(path, old, new, staged)
            return
        if old is not None:
            self._remove(path, old)
        if isinstance(new, Directory):
            self._make_directory(path, new, staged)
        elif new is not None:
            self._place(path, new, staged)

    # Away

    def _remove_directory(self, path: Path, old: Directory) -> None:
        for name, child in sorted(old.children.items()):
            below = (*path, name)
            if isinstance(child, Directory):
                self._attempt(below, functools.partial(self._remove_directory, below, child))
            elif isinstance(child, (File, Link)):
                self._attempt(below, functools.partial(self._remove, below, child))
        with directory_at(self._root, path[:-1]) as parent:
            self._step("remove directory")
            try:
                os.rmdir(path[-1], dir_fd=parent)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.ENOTEMPTY and _holds_others(old):
                    why = "the other side has deleted it: it stays for what it holds that is "
                    what = "ignored" if old.totals.ignored else "not synchronized"
                    self.outcome.problems.append((path, why + what))
                    raise _RefusedError from None
                raise
        self._done(path, None)

    def _remove(self, path: Path, old: File | Link) -> None:
        with directory_at(self._root, path[:-1]) as parent:
            name = path[-1]
            try:
                if not is_as_seen(parent, name, old):
                    raise _RefusedError
            except FileNotFoundError:
                self._done(path, None)
                return
            away = self._staging.next_name()
            self._intend(Intent(away, self._side, path, old.fingerprint, b""))
            self._step("move away")
            self._rename(parent, name, self._staging.old, os.fsencode(away))
            self._step("moved away")
            if not is_as_seen(self._staging.old, os.fsencode(away), old, moved=True):
                self._give_back(parent, name, away)
                raise _RefusedError
            self._done(path, None)
            self._step("drop")
            self._staging.drop(self._staging.old, away)

    def _give_back(self, parent: int, name: bytes, away: str) -> None:
        """What was moved away is no version that anybody has seen."""
        try:
            self._rename(self._staging.old, os.fsencode(away), parent, name)
        except FileExistsError:
            self._keep(name, away)

    def _keep(self, name: bytes, away: str) -> None:
        self._step("keep")
        self._staging.keep(away, name)

    # Into place

    def _make_directory(self, path: Path, new: Directory, staged: dict[Path, str]) -> None:
        with directory_at(self._root, path[:-1]) as parent:
            waiting = os.fsencode(self._staging.next_name())
            os.mkdir(waiting, 0o700, dir_fd=self._staging.new)
            try:
                # Owner and mode first: in place, its users can use it at once.
                self._own(waiting, parent, 0o755)
                self._step("place directory")
                self._rename(self._staging.new, waiting, parent, path[-1])
            except FileExistsError:
                os.rmdir(waiting, dir_fd=self._staging.new)
                status = os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
                if not modes.S_ISDIR(status.st_mode):
                    raise
                # Its own side has made it too: what belongs in it can still come.
            except OSError:
                with contextlib.suppress(OSError):
                    os.rmdir(waiting, dir_fd=self._staging.new)
                raise
        self._done(path, EMPTY)
        for name, child in sorted(new.children.items()):
            if is_tracked(child):
                below = (*path, name)
                self._attempt(below, functools.partial(self._make, below, child, staged))

    def _make(self, path: Path, new: Child, staged: dict[Path, str]) -> None:
        if isinstance(new, Directory):
            self._make_directory(path, new, staged)
        elif isinstance(new, (File, Link)):
            self._place(path, new, staged)

    def _ready(self, path: Path, new: File | Link, staged: dict[Path, str]) -> bytes | None:
        """The name in the staging where *new* waits; None where it could not be staged."""
        if isinstance(new, Link):
            waiting = os.fsencode(self._staging.next_name())
            os.symlink(new.target, waiting, dir_fd=self._staging.new)
            return waiting
        name = staged.get(path)
        return None if name is None else os.fsencode(name)

    def _place(self, path: Path, new: File | Link, staged: dict[Path, str]) -> None:
        waiting = self._ready(path, new, staged)
        if waiting is None:
            return
        with directory_at(self._root, path[:-1]) as parent:
            mode = 0o755 if isinstance(new, File) and new.executable else 0o644
            self._own(waiting, parent, mode)
            self._intend(Intent(os.fsdecode(waiting), self._side, path, b"", new.fingerprint))
            self._step("place")
            self._rename(self._staging.new, waiting, parent, path[-1])
        self._done(path, new)

    def _replace(
        self, path: Path, old: File | Link, new: File | Link, staged: dict[Path, str]
    ) -> None:
        ready = self._ready(path, new, staged)
        if ready is None:
            return
        with directory_at(self._root, path[:-1]) as parent:
            name = path[-1]
            if not is_as_seen(parent, name, old):
                raise _RefusedError
            self._own_like(ready, parent, name, old, new)
            away = os.fsdecode(ready)
            self._intend(Intent(away, self._side, path, old.fingerprint, new.fingerprint))
            # From here on a crash leaves in *old* what is to be looked at.
            os.rename(ready, ready, src_dir_fd=self._staging.new, dst_dir_fd=self._staging.old)
            self._step("exchange")
            try:
                rename(self._staging.old, ready, parent, name, RENAME_EXCHANGE)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    self._staging.drop(self._staging.old, away)
                    raise
                # For a moment there is nothing: these file systems offer no better.
                os.rename(ready, ready, src_dir_fd=self._staging.old, dst_dir_fd=self._staging.new)
                self._remove(path, old)
                self._rename(self._staging.new, ready, parent, name)
                self._done(path, new)
                return
            self._step("exchanged")
            if not is_as_seen(self._staging.old, ready, old, moved=True):
                self._take_back(parent, name, away, new)
                raise _RefusedError
            # First the record: what a crash leaves without one is not known to be done.
            self._done(path, new)
            self._step("drop")
            self._staging.drop(self._staging.old, away)

    def _take_back(self, parent: int, name: bytes, away: str, new: File | Link) -> None:
        """What came out is its side's own new version: it goes back where it was."""
        try:
            rename(self._staging.old, os.fsencode(away), parent, name, RENAME_EXCHANGE)
        except FileNotFoundError:
            self._give_back(parent, name, away)
            return
        if self._staging.fingerprint(away) == new.fingerprint:
            self._staging.drop(self._staging.old, away)
        else:
            self._keep(name, away)  # somebody wrote into ours while it was there

    def _set_executable(self, path: Path, old: File, new: File) -> None:
        with directory_at(self._root, path[:-1]) as parent:
            fd = os.open(
                path[-1],
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=parent,
            )
            try:
                status = os.fstat(fd)
                if old.stamp is not None and stamp_of(status) != old.stamp:
                    raise _RefusedError
                self._intend(Intent("", self._side, path, old.fingerprint, new.fingerprint))
                self._step("set mode")
                os.fchmod(fd, _with_executable(modes.S_IMODE(status.st_mode), new.executable))
            finally:
                os.close(fd)
        self._done(path, new)

    def _own(self, waiting: bytes, parent: int, mode: int) -> None:
        """Give what waits the owner of the directory it goes into, and *mode*."""
        if self._is_root:
            owner = os.fstat(parent)
            self._chown(waiting, owner)
        status = os.stat(waiting, dir_fd=self._staging.new, follow_symlinks=False)
        if not modes.S_ISLNK(status.st_mode):
            os.chmod(waiting, mode, dir_fd=self._staging.new)

    def _own_like(
        self, waiting: bytes, parent: int, name: bytes, old: File | Link, new: File | Link
    ) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if self._is_root:
            self._chown(waiting, status)
        if isinstance(new, File):
            mode = modes.S_IMODE(status.st_mode) & 0o777 if isinstance(old, File) else 0o644
            os.chmod(waiting, _with_executable(mode, new.executable), dir_fd=self._staging.new)

    def _chown(self, waiting: bytes, owner: os.stat_result) -> None:
        os.chown(
            waiting,
            owner.st_uid,
            owner.st_gid,
            dir_fd=self._staging.new,
            follow_symlinks=False,
        )

    def _rename(self, old_fd: int, old: bytes, new_fd: int, new: bytes) -> None:
        try:
            rename(old_fd, old, new_fd, new, RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            # A link refuses a name that is taken; a directory can only take an empty one's.
            try:
                os.link(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd, follow_symlinks=False)
            except PermissionError:
                os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)
            else:
                os.unlink(old, dir_fd=old_fd)

    def _done(self, path: Path, entry: Entry | None) -> None:
        self.outcome.made += 1
        self._step("done")
        self._put(path, entry)


def _with_executable(mode: int, executable: bool) -> int:
    """*mode* with execution for whom may read, or for nobody."""
    return mode | (mode & 0o444) >> 2 | 0o100 if executable else mode & ~0o111


def _holds_others(directory: Directory) -> bool:
    return bool(directory.totals.ignored or directory.totals.blocked)


def recover(
    intents: list[Intent], root_fd: int, side: Side, staging: Staging
) -> list[tuple[Path, str]]:
    """Look at what a crash left moved away: what nobody has seen goes back, or is kept.

    Returns what could not go back, and where it is. Every name of the staging's *old*
    is looked at; of one that no intent speaks of, nothing is known, and it is kept.
    """
    by_name = {intent.name: intent for intent in intents if intent.side == side}
    kept: list[tuple[Path, str]] = []
    for name in sorted(os.listdir(staging.old)):
        intent = by_name.get(name)
        if intent is None:
            kept.append(((), staging.keep(name, b"unknown")))
            continue
        found = staging.fingerprint(name)
        if found and found in (intent.old, intent.new):
            staging.drop(staging.old, name)
            continue
        try:
            with directory_at(root_fd, intent.path[:-1]) as parent:
                _put_back(parent, intent, staging)
        except OSError:
            kept.append((intent.path, staging.keep(name, intent.path[-1])))
    return kept


def finished(unfinished: list[Intent], root_fd: int, side: Side) -> Iterator[Put]:
    """What a crash has kept from being recorded: it is in place, and the other side had it.

    Without that, an edit that the other side makes after the crash would look like one
    of two that contradict each other.
    """
    for intent in unfinished:
        if intent.side != side or not intent.new:
            continue
        with contextlib.suppress(OSError), directory_at(root_fd, intent.path[:-1]) as parent:
            if fingerprint(parent, intent.path[-1]) == intent.new:
                yield intent.path, of_fingerprint(intent.new)


def _put_back(parent: int, intent: Intent, staging: Staging) -> None:
    away, name = os.fsencode(intent.name), intent.path[-1]
    try:
        rename(staging.old, away, parent, name, RENAME_NOREPLACE)
    except FileExistsError:
        if not intent.new or fingerprint(parent, name) != intent.new:
            raise
        rename(staging.old, away, parent, name, RENAME_EXCHANGE)
        if staging.fingerprint(intent.name) != intent.new:
            raise
        staging.drop(staging.old, intent.name)
