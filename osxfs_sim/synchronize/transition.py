"""Makes one side's changes, never over anything that the scan did not see.

Something new comes by a rename that refuses a name that is taken. Something else in
an old place comes by an exchange: what comes out is checked, and goes back unless
it is what the scan saw. A deletion is a move away, a check, and only then the end.
Directories go from the bottom up, and only empty ones: the kernel checks that.
What is refused stays as it is, and the next cycle sees what it has become.

The window that remains, since the kernel has no "rename if unchanged": who holds
the old file open, or opens it between our check and the exchange, and writes after
the second check, writes into a file without a name, as with any program that
replaces files by a rename. And for the moment between an exchange and its taking
back, a reader finds the other side's version.

Owners: what is new belongs to whom the directory belongs that it is put into, a
file that takes another's place to whom that one belonged, if the synchronizer may
decide (root). What is private to somebody else than its own directory's owner stays
that user's. Modes: what the other side's object grants, and no more than 644 and 755
(permissions.py); a file that takes another's place keeps its permissions, as far as
the other side's grants them. Nothing is ever in place with another owner or mode than
it is to have: both are set in the staging, where nobody else looks, the mode last.
"""

import contextlib
import errno
import functools
import os
import stat as modes
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace

from osxfs_sim.fs.at import set_owner
from osxfs_sim.synchronize.archive import Intent, Step
from osxfs_sim.synchronize.permissions import created, replacing
from osxfs_sim.synchronize.reconcile import Side, SyncChange
from osxfs_sim.synchronize.roots import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    birth_of,
    directory_at,
    open_directory,
    open_file,
    rename,
    stamp_of,
)
from osxfs_sim.synchronize.scan import grants_of
from osxfs_sim.synchronize.snapshot import (
    EMPTY,
    Child,
    Entry,
    File,
    Known,
    Knowns,
    Link,
    Path,
    Put,
    Subtree,
    agreed,
    at,
    identity_apart_from_its_name,
    is_alike,
    is_tracked,
    known_of,
    of_fingerprint,
    owner_of,
)
from osxfs_sim.synchronize.stage import Staging, fingerprint, is_as_seen, is_the_same

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_RACED = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EXDEV}
"""What a side's own changes since the scan make of a change; the next cycle sees them."""


_PRIVATE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WAITING: dict[type[Entry], int] = {
    File: os.O_RDONLY | _PRIVATE,
    Subtree: os.O_RDONLY | os.O_DIRECTORY | _PRIVATE,
    Link: os.O_PATH | _PRIVATE,
}


class _RefusedError(Exception):
    """Something is not as the scan saw it."""


@dataclass(slots=True)
class Outcome:
    """What became of one side's changes; mutable while they are made."""

    made: int = 0
    """How many changes were made."""
    raced: int = 0
    """How many were not made, because the side itself has changed what they were about."""
    problems: list[tuple[Path, str]] = field(default_factory=list)
    """Where something failed, and why."""
    kept: list[tuple[Path, str]] = field(default_factory=list)
    """Versions that gave way and may be the newer ones, and where they are."""


class Transition:
    """Applies planned changes below one root, each only where the object is as it was scanned."""

    def __init__(
        self,
        side: Side,
        root_fd: int,
        staging: Staging,
        intend: Callable[[Intent], None],
        withdraw: Callable[[], None],
        put: Callable[[Path, Entry | None], None],
        step: Step,
        *,
        then: Subtree,
        source: Subtree,
    ) -> None:
        """*put* is told of every object that has come into place or gone.

        *then* is what was agreed upon, *source* what the other side holds.
        """
        self._side: Side = side
        self._then = then
        self._source = source
        self._root = root_fd
        self._staging = staging
        self._intend = intend
        self._withdraw = withdraw
        self._put = put
        self._step = step
        self._is_root = os.geteuid() == 0
        self._keeps_old = False
        self.outcome = Outcome()

    def apply(self, change: SyncChange, staged: dict[Path, str]) -> None:
        """Make *change* from what is *staged*; what fails goes to *outcome*, nothing is raised."""
        self._keeps_old = change.keeps_old
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

    def _change(self, change: SyncChange, staged: dict[Path, str]) -> None:
        path, old, new = change.path, change.old, change.new
        if isinstance(old, Subtree):
            self._remove_directory(path, old)
            old = None
        if old is not None and new is not None and not isinstance(new, Subtree):
            if isinstance(old, File) and isinstance(new, File) and old.digest == new.digest:
                self._set_executable(path, old, new)
            else:
                self._replace(path, old, new, staged)
            return
        if old is not None:
            self._remove(path, old)
        if isinstance(new, Subtree):
            self._make_directory(path, new, staged)
        elif new is not None:
            self._place(path, new, staged)

    # Away

    def _remove_directory(self, path: Path, old: Subtree) -> None:
        for name, child in sorted(old.children.items()):
            below = (*path, name)
            if isinstance(child, Subtree):
                self._attempt(below, functools.partial(self._remove_directory, below, child))
            elif isinstance(child, (File, Link)):
                self._attempt(below, functools.partial(self._remove, below, child))
        with directory_at(self._root, path[:-1]) as parent:
            try:
                if not is_the_same(parent, path[-1], old):
                    raise _RefusedError
                if not _holds_others(old):
                    self._intend(Intent("", self._side, path, old.fingerprint, b""))
                self._step("remove directory")
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
            self._step("removed directory")
        self._done(path, None)

    def _remove(self, path: Path, old: File | Link) -> None:
        with directory_at(self._root, path[:-1]) as parent:
            name = path[-1]
            try:
                if not is_the_same(parent, name, old):
                    raise _RefusedError
            except FileNotFoundError:
                self._done(path, None)
                return
            away = self._staging.next_name()
            assert old.stamp is not None
            identity = identity_apart_from_its_name(old.birth, old.stamp)
            self._intend(Intent(away, self._side, path, self._was(old), b"", identity))
            self._step("move away")
            self._rename(parent, name, self._staging.old, os.fsencode(away))
            self._step("moved away")
            if not is_the_same(self._staging.old, os.fsencode(away), old, moved=True):
                self._give_back(parent, name, away)
                raise _RefusedError
            self._done(path, None)
            self._retire(path, away)

    def _retire(self, path: Path, away: str) -> None:
        """What was moved away is the version that gives way."""
        self._step("drop")
        if self._keeps_old:
            self.outcome.kept.append((path, self._staging.keep(away, path[-1])))
        else:
            self._staging.drop(self._staging.old, away)

    def _was(self, old: File | Link) -> bytes:
        """For an intent: what is to be kept is nothing that a crash could make worthless."""
        return b"" if self._keeps_old else old.fingerprint

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

    def _make_directory(self, path: Path, new: Subtree, staged: dict[Path, str]) -> None:
        made = None
        with directory_at(self._root, path[:-1]) as parent:
            waiting = os.fsencode(self._staging.next_name())
            os.mkdir(waiting, 0o700, dir_fd=self._staging.new)
            try:
                # Owner and mode first: in place, its users can use it at once.
                with self._own(waiting, parent, path, new) as fd:
                    self._step("place directory")
                    self._rename(self._staging.new, waiting, parent, path[-1])
                    made = _known(fd, is_image=True, is_new=True)
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
        self._done(path, EMPTY, made)
        for name, child in sorted(new.children.items()):
            if is_tracked(child):
                below = (*path, name)
                self._attempt(below, functools.partial(self._make, below, child, staged))

    def _make(self, path: Path, new: Child, staged: dict[Path, str]) -> None:
        if isinstance(new, Subtree):
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
        with (
            directory_at(self._root, path[:-1]) as parent,
            self._own(waiting, parent, path, new) as fd,
        ):
            name = os.fsdecode(waiting)
            self._intend(Intent(name, self._side, path, b"", new.fingerprint, is_made=True))
            self._step("place")
            try:
                self._rename(self._staging.new, waiting, parent, path[-1])
            except OSError:
                self._withdraw()
                raise
            made = _known(fd, is_image=True, is_new=True)
        self._done(path, new, made)

    def _replace(
        self, path: Path, old: File | Link, new: File | Link, staged: dict[Path, str]
    ) -> None:
        ready = self._ready(path, new, staged)
        if ready is None:
            return
        with directory_at(self._root, path[:-1]) as parent, contextlib.ExitStack() as holding:
            name = path[-1]
            if not is_as_seen(parent, name, old):
                raise _RefusedError
            away = os.fsdecode(ready)
            fd = holding.enter_context(self._own(ready, parent, path, new, old))
            self._intend(Intent(away, self._side, path, self._was(old), new.fingerprint))
            # From here on a crash leaves in *old* what is to be checked.
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
                self._done(path, new, _known(fd, is_image=self._was_image(path)))
                return
            self._step("exchanged")
            if not is_as_seen(self._staging.old, ready, old, moved=True):
                self._take_back(parent, name, away, new)
                raise _RefusedError
            # First the record: what a crash leaves without one is not known to be done.
            self._done(path, new, _known(fd, is_image=self._was_image(path)))
            self._retire(path, away)

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
            fd = open_file(parent, path[-1])
            try:
                status = os.fstat(fd)
                if old.stamp is not None and stamp_of(status) != old.stamp:
                    raise _RefusedError
                self._intend(Intent("", self._side, path, old.fingerprint, new.fingerprint))
                self._step("set mode")
                mode = modes.S_IMODE(status.st_mode)
                os.fchmod(fd, replacing(mode, new.grants, runs=new.executable))
                made = _known(fd, is_image=self._was_image(path))
            finally:
                os.close(fd)
        self._done(path, new, made)

    # Owners and modes

    @contextlib.contextmanager
    def _own(
        self,
        waiting: bytes,
        parent: int,
        path: Path,
        new: Entry,
        old: File | Link | None = None,
    ) -> Iterator[int]:
        """Give what waits the owner and mode that it is to have at *path*; its descriptor.

        By that, so that no name is followed. The mode last: what one may not read yet, no
        new owner may either.
        """
        before = None
        if old is not None:
            before = os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
        flags = _WAITING[type(new)] | os.O_NOFOLLOW
        fd = os.open(waiting, flags, dir_fd=self._staging.new)
        try:
            uid, gid, grants = self._owner(path, before or os.fstat(parent), new)
            status = os.fstat(fd)
            if self._is_root and (status.st_uid, status.st_gid) != (uid, gid):
                set_owner(fd, uid, gid)
            if isinstance(new, Subtree):
                os.fchmod(fd, created(grants, runs=True))
            elif isinstance(new, File):
                if before is not None and isinstance(old, File):
                    mode = replacing(modes.S_IMODE(before.st_mode), grants, runs=new.executable)
                else:
                    mode = created(grants, runs=new.executable)
                os.fchmod(fd, mode)
            yield fd
        finally:
            os.close(fd)

    def _owner(self, path: Path, into: os.stat_result, new: Entry) -> tuple[int, int, int]:
        """User and group of what is put where *into* is or was, and what it may grant.

        Who owns a directory on one side stands for who owns it on the other. What is
        private to another user, or to another group, than its directory's is theirs.
        """
        uid, gid = into.st_uid, into.st_gid
        source = at(self._source, path)
        owner, above = owner_of(source), owner_of(at(self._source, path[:-1]))
        grants = source.grants if isinstance(source, (File, Subtree)) else new.grants
        needed = 0o005 if isinstance(new, Subtree) else 0o004
        if owner is None or above is None or isinstance(new, Link) or grants & needed == needed:
            return uid, gid, grants
        if owner[0] != above[0]:
            uid = owner[0]
        if owner[1] != above[1]:
            gid = owner[1]
            if not self._is_root:
                grants &= 0o007 | (grants & 0o007) << 3  # the group would be another
        return uid, gid, grants

    def adjust(self, path: Path, seen: File | Subtree, grants: int) -> None:
        """Give *path* the permission bits *grants*, if it is as *seen*; *outcome* has failures."""
        self._attempt(path, functools.partial(self._adjust, path, seen, grants))

    def _adjust(self, path: Path, seen: File | Subtree, grants: int) -> None:
        fd = self._open_to_adjust(path, seen)
        try:
            status = os.fstat(fd)
            if isinstance(seen, File):
                is_same = stamp_of(status) == seen.stamp
            else:
                is_same = (status.st_dev, status.st_ino) == seen.inode
            if not is_same or birth_of(fd) != seen.birth:
                raise _RefusedError
            self._step("set grants")
            uid, gid, _ = self._owner(path, status, seen)
            if self._is_root and path and (uid, gid) != (status.st_uid, status.st_gid):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, modes.S_IMODE(status.st_mode) & ~0o077 | grants)
            made = _known(fd, is_image=self._was_image(path))
        finally:
            os.close(fd)
        then = at(self._then, path)
        if isinstance(then, (File, Subtree)):
            self._done(path, then, made)

    def _open_to_adjust(self, path: Path, seen: File | Subtree) -> int:
        if not path:
            return os.dup(self._root)
        with directory_at(self._root, path[:-1]) as parent:
            if isinstance(seen, Subtree):
                return open_directory(parent, path[-1])
            return open_file(parent, path[-1])

    def _was_image(self, path: Path) -> bool:
        then = at(self._then, path)
        if not isinstance(then, (File, Link, Subtree)):
            return False
        known = then.known[0 if self._side == "host" else 1]
        return known is not None and known.is_image

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

    def _done(self, path: Path, entry: Entry | None, here: Known | None = None) -> None:
        self.outcome.made += 1
        self._step("done")
        if entry is not None:
            entry = agreed(entry, self._knowns(path, entry, here))
        self._put(path, entry)

    def _knowns(self, path: Path, entry: Entry, here: Known | None) -> Knowns:
        source = at(self._source, path)
        there = None
        if isinstance(source, (File, Link, Subtree)) and is_alike(source, entry):
            known = known_of(source, is_image=False)
            there = known if known.identity else None
        return (here, there) if self._side == "host" else (there, here)


def _known(fd: int, *, is_image: bool, is_new: bool = False) -> Known | None:
    """Of the object that *fd* is of, which has just come into place; None where one cannot tell.

    *is_new*: it has come from the staging, and has no access list.
    """
    with contextlib.suppress(OSError):
        status, birth = os.fstat(fd), birth_of(fd)
        if modes.S_ISDIR(status.st_mode):
            identity = status.st_dev, status.st_ino
            seen: Entry = replace(EMPTY, inode=identity, birth=birth, change_ns=status.st_ctime_ns)
        else:
            seen = Link(b"", stamp_of(status), birth=birth)
        if modes.S_ISLNK(status.st_mode):
            grants = 0
        else:
            grants = status.st_mode & 0o077 if is_new else grants_of(fd, status)
        return known_of(seen, is_image=is_image)._replace(grants=grants)
    return None


def _holds_others(directory: Subtree) -> bool:
    return bool(directory.totals.ignored or directory.totals.blocked)


def recover(
    intents: list[Intent],
    root_fd: int,
    side: Side,
    staging: Staging,
    recorded: Container[Intent] = (),
) -> list[tuple[Path, str]]:
    """Put back what a crash left moved away; returns what is kept instead. Raises OSError.

    With each path below the root, where it is kept, as text. What has taken the place of one
    that is *recorded* is agreed upon: back there, the old one would be taken for an edit of that,
    and travel over it. Every name of the staging's *old*
    is checked; of one that no intent speaks of, nothing is known, and it is kept.
    """
    by_name = {intent.name: intent for intent in intents if intent.side == side}
    kept: list[tuple[Path, str]] = []
    for name in sorted(os.listdir(staging.old)):
        intent = by_name.get(name)
        if intent is None:
            kept.append(((), staging.keep(name, b"unknown")))
            continue
        found = staging.fingerprint(name)
        is_known = bool(found) and found in (intent.old, intent.new)
        if is_known and not intent.new:
            # A deletion is of one object: its own side may just have made it again.
            is_known = staging.identity(name) == intent.identity
        if is_known:
            staging.drop(staging.old, name)
            continue
        try:
            if intent in recorded:
                raise FileExistsError
            with directory_at(root_fd, intent.path[:-1]) as parent:
                _put_back(parent, intent, staging)
        except OSError:
            kept.append((intent.path, staging.keep(name, intent.path[-1])))
    return kept


def exchanged(unfinished: list[Intent], side: Side, staging: Staging) -> set[str]:
    """The names of those intents that were carried out before a crash. Raises OSError.

    What was replaced lies in the staging, and what was to be made waits there no more.
    """
    there = {os.fsdecode(name) for name in os.listdir(staging.old)}
    waiting = {os.fsdecode(name) for name in os.listdir(staging.new)}
    replaced = {
        intent.name
        for intent in unfinished
        if intent.side == side
        and intent.name in there
        and intent.old
        and staging.fingerprint(intent.name) == intent.old
    }
    return replaced | {
        intent.name
        for intent in unfinished
        if intent.side == side and intent.is_made and intent.name not in waiting
    }


def not_begun(unfinished: list[Intent], side: Side, staging: Staging) -> set[Path]:
    """The paths where a crash came before any change: new content waits. Raises OSError."""
    places = {
        os.fsdecode(name): folder
        for folder in (staging.new, staging.old)
        for name in os.listdir(folder)
    }
    return {
        intent.path
        for intent in unfinished
        if intent.side == side
        and intent.new
        and intent.name in places
        and fingerprint(places[intent.name], os.fsencode(intent.name)) == intent.new
    }


def finished(
    unfinished: list[Intent], root_fd: int, side: Side, done: Container[str] = ()
) -> Iterator[Put]:
    """Yield the records that a crash has prevented: what is in place already; never fails.

    Without that, an edit that the other side makes after the crash would look like one
    of two that contradict each other, and what was deleted, and is made again there, like
    one that this side has deleted. *done*: names of intents which are known to be.
    """
    for intent in unfinished:
        if intent.side != side:
            continue
        found = None
        try:
            with directory_at(root_fd, intent.path[:-1]) as parent:
                os.stat(intent.path[-1], dir_fd=parent, follow_symlinks=False)
                if intent.new:
                    found = fingerprint(parent, intent.path[-1])
        except (FileNotFoundError, NotADirectoryError):
            if not intent.new:
                yield intent.path, None
        except OSError:
            pass
        if intent.new and (intent.name in done or found == intent.new):
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
