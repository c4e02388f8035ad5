"""What a share that ended badly has left in its journal: listed, saved, or given up.

recovery.py writes it to the host.
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Callable
from functools import partial
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.formatting import format_size
from osxfs_sim.model.write_back import Kind
from osxfs_sim.mount.mounts.identity import state_directory, user_of_id
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER
from osxfs_sim.mount.writeback.draining import paths_overlap, wait_until_drained
from osxfs_sim.mount.writeback.journal_directory import (
    all_journals,
    aside_of,
    has_changes,
    is_aside,
    journals_of,
    locked,
    open_file,
    opened,
)
from osxfs_sim.mount.writeback.journal_format import KnownObject, RecordedChange
from osxfs_sim.mount.writeback.journal_reader import (
    UnfinishedJournal,
    discard,
    read_journal,
    unfinished_journals,
)

_SHOWN = 5
_DEEPEST = 4_096
_COPIED_BYTES = 1 << 20
_MOST_OF_A_NAME = 10_000
_DAMAGED = " (and what came after them, which cannot be read: the journal is damaged)"


def is_unwritten(directory: Path) -> bool:
    """Whether the journal has anything that the host lacks; True where it cannot be read."""
    try:
        left = read_journal(directory)
        return bool(left.pending) or left.damaged
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def is_anything_kept(directory: Path) -> bool:
    """Whether a journal in *directory*, or its quarantine beside it, is there."""
    return directory.exists() or aside_of(directory).exists()


def unwritten_error(directory: Path, source: str = "") -> MountError:
    """A MountError (not raised): what is not on the host, where it is kept, the remedy.

    *directory* is that of a share's journal; what was set aside lies beside it.
    """
    parts = []
    try:
        if has_changes(directory):
            left = read_journal(directory)
            source = left.source or source
            if left.pending:
                parts.append(f"{describe(left)}; kept in {directory}; {remedy(source, directory)}")
            elif left.damaged:
                parts.append(f"{directory} is damaged: what it held is not on the host")
        aside = aside_of(directory)
        if has_changes(aside):
            left = read_journal(aside)
            source = left.source or source
            parts.append(f"{describe_aside(left)}; {_remedy_of_aside(source, aside)}")
    except (OSError, ValueError) as error:
        return MountError(f"changes that the host does not have are kept in {directory}: {error}")
    return MountError("; ".join(parts) or f"changes of {source} are not on the host")


def describe(left: UnfinishedJournal) -> str:
    """A line for people: how much of *left* is not on the host, and of which paths."""
    paths = [path for each, path in left.paths() if not left.is_set_aside(each.sequence)]
    return (
        f"{len(left.pending)} changes ({format_size(left.pending_bytes)}) of {left.source} are not "
        f"on the host: {_first(paths)}{_DAMAGED if left.damaged else ''}"
    )


def describe_aside(left: UnfinishedJournal) -> str:
    """A line for people: what the host has refused of *left*, why, and where it is kept."""
    aside = left.aside
    reasons: dict[str, list[str]] = {}
    for each, path in left.paths():
        if left.is_set_aside(each.sequence):
            reasons.setdefault(left.refused[each.sequence].reason, []).append(path)
    listed = "; ".join(f"{_first(paths)}: {reason}" for reason, paths in reasons.items())
    return (
        f"{len(aside)} changes ({format_size(sum(each.length for each in aside))}) of "
        f"{left.source} are set aside, because the host does not take them: {listed}; "
        f"kept in {left.directory}"
    )


def describe_kept(kept: list[UnfinishedJournal]) -> str:
    """A warning for who mounts the source again: what earlier shares *kept* set aside."""
    listed = "; ".join(map(describe_aside, kept[:_SHOWN]))
    return f"of earlier shares {listed}; {_remedy_of_aside(kept[0].source, kept[0].directory)}"


def set_aside_message(reasons: dict[str, str], directory: Path) -> str:
    """A line for people: what was set aside of a living share, by *reasons* of paths."""
    shown = "; ".join(f"{path}: {reason}" for path, reason in list(reasons.items())[:_SHOWN])
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return (
        f"everything else is on the host, but it does not take {shown}{more}: set aside in "
        f"{directory}"
    )


def _first(paths: list[str]) -> str:
    paths = list(dict.fromkeys(paths))
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"


def command_for(source: str, directory: Path) -> str:
    """The command line that lists what the journal in *directory* has of *source*."""
    state = directory.parent.parent
    is_usual = state == state_directory(user_of_id(os.geteuid()))
    return f"osxfs-sim unwritten {quoted(source)}" + (
        "" if is_usual else f" --state {quoted(str(state))}"
    )


def _remedy_of_aside(source: str, directory: Path) -> str:
    return (
        f"{command_for(source, directory)} lists them, and saves them with --save DIR; "
        "mount with --unwritten recover tries them again, with --unwritten discard gives them up"
    )


def remedy(source: str, directory: Path) -> str:
    """A line for people: how to write or give up what is left in the journal *directory*."""
    return (
        f"mount {quoted(source)} with --unwritten recover to write them, or --unwritten "
        f"discard to give them up ({command_for(source, directory)} lists them)"
    )


def left_unwritten(state: Path, source: str) -> list[UnfinishedJournal]:
    """The journals that ended shares of *source* left in *state*. Raises MountError."""
    try:
        return unfinished_journals(state, source)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise MountError(f"cannot read what was left unwritten of {source}: {why}") from error


def check_unwritten(
    state: Path, source: str, wanted: str | None, say: Callable[[str], None]
) -> list[UnfinishedJournal]:
    """The journals of *source* to be recovered, as *wanted* says. Raises MountError.

    *wanted* is recover, discard, or None: then there must be nothing, but for what the host has
    refused already: that is kept, and keeps nobody from mounting. *say* is told what is waited for:
    shares that are unmounted and still write back.
    """
    wait_until_drained(state, source, say)
    check_apart(state, source)
    if wanted == "recover":
        return recoverable(state, source)
    found = left_unwritten(state, source)
    if wanted == "discard":
        for left in found:
            discard(left)
        return []
    for left in found:
        if left.pending:
            raise MountError(f"{describe(left)}; {remedy(source, left.directory)}")
    return []


def recoverable(state: Path, source: str) -> list[UnfinishedJournal]:
    """The journals of *source* to be recovered by us, in order. Raises MountError, OSError."""
    found = left_unwritten(state, source)
    for left in found:
        _check_ours(left)
        _check_whole(left)
    # What is still to come is older than what was done after it had been refused.
    return sorted(found, key=lambda left: is_aside(left.directory))


def _check_ours(left: UnfinishedJournal) -> None:
    """That nobody else can have written it: it would be done with our rights. Raises MountError."""
    with opened(left.directory) as fd:
        uid = os.fstat(fd).st_uid
    if uid != os.geteuid():
        raise MountError(
            f"{left.directory} is user {uid}'s, whose changes are not for user {os.geteuid()} to "
            "make: recover it with --user"
        )


def _check_whole(left: UnfinishedJournal) -> None:
    """That the bytes of what is to be written are there. Raises MountError."""
    try:
        os.close(open_file(left.directory, "data"))
    except OSError as error:
        raise MountError(
            f"{left.directory} is damaged, its data cannot be read: {error.strerror}; mount with "
            "--unwritten discard to give it up"
        ) from error


def check_apart(state: Path, source: str) -> None:
    """Raise MountError where a share above or below *source* left something unwritten.

    What it has left is older than what is about to be written here, and would overwrite it.
    """
    for directory in all_journals(state):
        with locked(directory) as is_free:
            if not is_free:
                continue
            try:
                left = read_journal(directory)
            except (OSError, ValueError):
                continue  # reported when its own source is mounted
        if left.source in ("", source) or not left.pending:
            continue
        if paths_overlap(left.source, source):
            raise MountError(
                f"{describe(left)}, which overlaps {source}; first "
                f"{remedy(left.source, left.directory)}"
            )


def kept_aside(state: Path, source: str) -> list[UnfinishedJournal]:
    """Ended shares' journals with what was set aside of *source*; none where unreadable."""
    try:
        return [left for left in unfinished_journals(state, source) if left.aside]
    except (OSError, ValueError):
        return []  # reported by check_unwritten()


def all_unwritten(state: Path, source: str) -> list[UnfinishedJournal]:
    """The journals of ended shares, and living ones' quarantines. Raises MountError."""
    found = {left.directory: left for left in left_unwritten(state, source)}
    for directory in journals_of(state, source):
        if is_aside(directory) and directory not in found:
            with contextlib.suppress(FileNotFoundError):
                left = read_journal(directory)
                if left.changes:
                    found[directory] = left
    return list(found.values())


def save(left: UnfinishedJournal, top_fd: int, within: tuple[bytes, ...] = ()) -> list[str]:
    """Write the guest's changed files of *left* below *top_fd*; their paths. Raises OSError.

    Each lies where the guest had it, with the guest's bytes laid over what the host has of it.
    Raises OSError.
    """
    files: dict[int, list[RecordedChange]] = {}
    made = set()
    paths = dict[int, str]()
    for each, path in left.paths():
        if each.target_kind != modes.S_IFREG and each.kind is not Kind.MAKE:
            continue
        if each.kind in (Kind.WRITE, Kind.MAKE, Kind.SET):
            files.setdefault(each.target, []).append(each)
        if each.kind is Kind.MAKE:
            made.add(each.target)
        if each.kind not in (Kind.UNLINK, Kind.RMDIR):
            paths[each.target] = path
    saved = []
    data_fd = open_file(left.directory, "data")
    try:
        for number, changes in files.items():
            base = None if number in made else _place_on_host(left, number)
            _save_one(left, changes, paths[number], within, base, data_fd, top_fd)
            saved.append(paths[number])
    finally:
        os.close(data_fd)
    return saved


def _place_on_host(left: UnfinishedJournal, number: int) -> list[bytes] | None:
    """The names that led to it on the host, from the source on."""
    places = {
        each_number: each
        for each_number, each in zip(left.numbers, left.records, strict=True)
        if isinstance(each, KnownObject)
    }
    names: list[bytes] = []
    while number != ROOT_NUMBER:
        place = places.get(number)
        if place is None or len(names) > _DEEPEST:
            return None
        names.append(place.name)
        number = place.parent
    return names[::-1]


def _save_one(
    left: UnfinishedJournal,
    changes: list[RecordedChange],
    path: str,
    within: tuple[bytes, ...],
    base: list[bytes] | None,
    data_fd: int,
    top_fd: int,
) -> None:
    parts = os.fsencode(path).split(b"/")
    names = [*within, *(each for each in parts if each not in (b"", b".", b".."))]
    kind = changes[0].target_kind
    dir_fd = os.dup(top_fd)
    try:
        for name in names if kind == modes.S_IFDIR else names[:-1]:
            below = _under_some_name(name, partial(_directory_in, dir_fd))
            os.close(dir_fd)
            dir_fd = below
        if kind == modes.S_IFDIR:
            return
        if kind == modes.S_IFLNK:
            target = changes[0].detail.link_target
            _under_some_name(names[-1], partial(_link_in, dir_fd, target))
            return
        # Never over what is there: that is somebody's.
        fd = _under_some_name(names[-1], partial(_file_in, dir_fd))
    finally:
        os.close(dir_fd)
    try:
        if base is not None:
            with contextlib.suppress(
                OSError
            ):  # it may be gone; then only what was written is saved
                _copy_from_host(left.source, base, fd)
        for change in changes:
            if change.kind is Kind.WRITE:
                _copy(data_fd, change.position, change.length, fd, change.offset)
            elif change.kind is Kind.SET and change.detail.size is not None:
                os.ftruncate(fd, change.detail.size)
    finally:
        os.close(fd)


def _directory_in(dir_fd: int, name: bytes) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=dir_fd)


def _link_in(dir_fd: int, target: bytes, name: bytes) -> int:
    os.symlink(target, name, dir_fd=dir_fd)
    return dir_fd


def _file_in(dir_fd: int, name: bytes) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=dir_fd)


def _under_some_name(name: bytes, make: Callable[[bytes], int]) -> int:
    """*make* called with *name*, or with NAME.2 and so on: a name may have been refused twice."""
    for number in range(2, _MOST_OF_A_NAME):
        try:
            return make(name)
        except (FileExistsError, NotADirectoryError):
            name = name.removesuffix(b".%d" % (number - 1))[:240] + b".%d" % number
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _copy_from_host(source: str, names: list[bytes], fd: int) -> None:
    here = at.open_place(source, os.O_PATH)
    try:
        for name in names:
            last = name is names[-1]
            flags = os.O_RDONLY | os.O_NONBLOCK if last else os.O_PATH | os.O_DIRECTORY
            below = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        status = os.fstat(here)
        if modes.S_ISREG(status.st_mode):
            _copy(here, 0, status.st_size, fd, 0)
    finally:
        os.close(here)


def _copy(source: int, position: int, length: int, target: int, offset: int) -> None:
    while length > 0:
        data = os.pread(source, min(length, _COPIED_BYTES), position)
        if not data:
            return
        written = os.pwrite(target, data, offset)
        position, offset, length = position + written, offset + written, length - written
