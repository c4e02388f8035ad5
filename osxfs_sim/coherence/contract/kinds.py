"""The kinds of change that the rules are tried with, and what a read returns before and after.

A kind is the same whichever actor changes and whichever reads: schedules put the actors in. Names
are relative to an empty directory: *a* is changed, *b* is a second name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.staging import ScheduleStep
from osxfs_sim.coherence.contract.schedules import State

_ABSENT: State = ("error", "ENOENT")
_OLD, _NEW, _MORE = "old\n", "NEW\n", "more\n"  # as long, so that only the content tells them apart
_MTIME_NS = 1_000_000_000 * 10**9
_MAPPED = len(_OLD)


@dataclass(frozen=True, slots=True)
class ObservableChange:
    """A change, and a read that tells the state before it from the one after it."""

    name: str
    """What a schedule of it is called after."""
    change: ActorOperation
    """What changes *a*."""
    read: ActorOperation
    """What tells the two states apart."""
    before: State
    """What *read* returns before the change."""
    after: State
    """What *read* returns after the change."""
    prepare: tuple[ActorOperation, ...] = ()
    """What makes the object that is changed."""
    reader_setup: tuple[ActorOperation, ...] = ()
    """What the reading actor does first: it opens or maps the file."""
    reader_teardown: tuple[ActorOperation, ...] = ()
    """What the reading actor does last: it closes or unmaps the file."""
    synced: str = "a"
    """The path that fsync(2) is given to have the change on the host: the object, or the directory
    ("")."""


def _file(data: str = _OLD) -> tuple[ActorOperation, ...]:
    return (ActorOperation("create", "a", data=data, mode=0o644),)


_STAT, _READ, _LIST = (
    ActorOperation("stat", "a"),
    ActorOperation("read", "a"),
    ActorOperation("list", ""),
)
_OPEN, _CLOSE = (
    (ActorOperation("open", "a", handle="h", size=-1),),
    (ActorOperation("close", handle="h"),),
)

LARGE_BYTES = 320 * 1024
"""More than a page, than a kernel reads ahead, and than is written without a thread."""

_ALL_LARGE = f"o*{LARGE_BYTES}"
_OUTLINE = ActorOperation("outline", "a")


def _large(
    name: str, change: ActorOperation, after: str, read: ActorOperation = _OUTLINE
) -> ObservableChange:
    """A change of a file that is large, whose whole content is read."""
    return ObservableChange(
        *(f"{name}, of {LARGE_BYTES // 1024} KiB", change, read),
        *(("value", _ALL_LARGE), ("value", after)),
        prepare=(ActorOperation("create", "a", data="o", size=LARGE_BYTES),),
        reader_setup=_OPEN if read.handle else (),
        reader_teardown=_CLOSE if read.handle else (),
    )


_CUT_BYTES = 200_001  # in the middle of a page, beyond what was read ahead at first
_LEFT_BYTES = LARGE_BYTES - _CUT_BYTES - 3

LARGE_KINDS: tuple[ObservableChange, ...] = (
    ObservableChange(
        f"create, of {LARGE_BYTES // 1024} KiB",
        change=ActorOperation("create", "a", data="N", size=LARGE_BYTES),
        read=_OUTLINE,
        before=_ABSENT,
        after=("value", f"N*{LARGE_BYTES}"),
    ),
    _large(
        "overwrite",
        ActorOperation("overwrite", "a", data="N", size=LARGE_BYTES),
        f"N*{LARGE_BYTES}",
    ),
    _large(
        "overwrite in the middle",
        ActorOperation("overwrite", "a", data="NEW", offset=_CUT_BYTES),
        f"o*{_CUT_BYTES} N*1 E*1 W*1 o*{_LEFT_BYTES}",
    ),
    _large(
        "append",
        ActorOperation("append", "a", data="N", size=LARGE_BYTES),
        f"{_ALL_LARGE} N*{LARGE_BYTES}",
    ),
    _large("truncate", ActorOperation("truncate", "a", size=_CUT_BYTES), f"o*{_CUT_BYTES}"),
    _large(
        "overwrite, by an open handle",
        ActorOperation("overwrite", "a", data="NEW", offset=_CUT_BYTES),
        f"o*{_CUT_BYTES} N*1 E*1 W*1 o*{_LEFT_BYTES}",
        ActorOperation("outline", handle="h"),
    ),
)
"""What is true of a page need not be of all of them."""

_BELOW = ActorOperation("mkdir", "d", mode=0o755)
_FILE_BELOW = ActorOperation("create", "d/a", data=_OLD, mode=0o644)

KINDS_BELOW: tuple[ObservableChange, ...] = (
    ObservableChange(
        *("overwrite, in a directory", ActorOperation("overwrite", "d/a", data=_NEW)),
        read=ActorOperation("read", "d/a"),
        before=("value", _OLD),
        after=("value", _NEW),
        prepare=(_BELOW, _FILE_BELOW),
        synced="d/a",
    ),
    ObservableChange(
        *("chmod, in a directory", ActorOperation("chmod", "d/a", mode=0o600)),
        read=ActorOperation("stat", "d/a"),
        before=("mode", 0o644),
        after=("mode", 0o600),
        prepare=(_BELOW, _FILE_BELOW, ActorOperation("chmod", "d/a", mode=0o644)),
        synced="d/a",
    ),
    ObservableChange(
        *("unlink, in a directory", ActorOperation("unlink", "d/a")),
        read=ActorOperation("stat", "d/a"),
        before=("type", "file"),
        after=_ABSENT,
        prepare=(_BELOW, _FILE_BELOW),
        synced="d",
    ),
    ObservableChange(
        *("rename out of a directory", ActorOperation("rename", "d/a", "b")),
        read=ActorOperation("stat", "d/a"),
        before=("type", "file"),
        after=_ABSENT,
        prepare=(_BELOW, _FILE_BELOW),
        synced="d",
    ),
    ObservableChange(
        *("create, in a directory", ActorOperation("create", "d/a", data=_NEW)),
        read=ActorOperation("read", "d/a"),
        before=_ABSENT,
        after=("value", _NEW),
        prepare=(_BELOW,),
        synced="d/a",
    ),
)
"""A watcher that hears of one directory need not hear of those in it."""

KINDS: tuple[ObservableChange, ...] = (
    ObservableChange(
        "create", ActorOperation("create", "a", data=_NEW), _STAT, _ABSENT, ("type", "file")
    ),
    ObservableChange(
        *("create, by listing", ActorOperation("create", "a", data=_NEW), _LIST),
        *(("lacks", "a"), ("lists", "a")),
        synced="",
    ),
    ObservableChange(
        "create, by content",
        ActorOperation("create", "a", data=_NEW),
        _READ,
        _ABSENT,
        ("value", _NEW),
    ),
    ObservableChange(
        "mkdir", ActorOperation("mkdir", "a", mode=0o755), _STAT, _ABSENT, ("type", "directory")
    ),
    ObservableChange(
        *("symlink", ActorOperation("symlink", "a", "target"), ActorOperation("readlink", "a")),
        *(_ABSENT, ("value", "target")),
        synced="",  # nothing can be opened there
    ),
    ObservableChange(
        *(
            "write",
            ActorOperation("write", "a", data=_MORE),
            _READ,
            ("value", _OLD),
            ("value", _MORE),
        ),
        prepare=_file(),
    ),
    ObservableChange(
        *("overwrite", ActorOperation("overwrite", "a", data=_NEW), _READ),
        *(("value", _OLD), ("value", _NEW)),
        prepare=_file(),
    ),
    ObservableChange(
        *("append", ActorOperation("append", "a", data=_MORE), _STAT),
        *(("size", len(_OLD)), ("size", len(_OLD + _MORE))),
        prepare=_file(),
    ),
    ObservableChange(
        *("append, by content", ActorOperation("append", "a", data=_MORE), _READ),
        *(("value", _OLD), ("value", _OLD + _MORE)),
        prepare=_file(),
    ),
    ObservableChange(
        *(
            "truncate",
            ActorOperation("truncate", "a", size=1),
            _STAT,
            ("size", len(_OLD)),
            ("size", 1),
        ),
        prepare=_file(),
    ),
    ObservableChange(
        *(
            "chmod",
            ActorOperation("chmod", "a", mode=0o600),
            _STAT,
            ("mode", 0o644),
            ("mode", 0o600),
        ),
        prepare=(*_file(), ActorOperation("chmod", "a", mode=0o644)),
    ),
    ObservableChange(
        *("utimes", ActorOperation("utimes", "a", offset=2 * _MTIME_NS), _STAT),
        *(("mtime_ns", _MTIME_NS), ("mtime_ns", 2 * _MTIME_NS)),
        prepare=(*_file(), ActorOperation("utimes", "a", offset=_MTIME_NS)),
    ),
    ObservableChange(
        *("unlink", ActorOperation("unlink", "a"), _STAT, ("type", "file"), _ABSENT),
        prepare=_file(),
        synced="",
    ),
    ObservableChange(
        *("rmdir", ActorOperation("rmdir", "a"), _STAT, ("type", "directory"), _ABSENT),
        prepare=(ActorOperation("mkdir", "a", mode=0o755),),
        synced="",
    ),
    ObservableChange(
        *("rename, by the old name", ActorOperation("rename", "a", "b"), _STAT),
        *(("type", "file"), _ABSENT),
        prepare=_file(),
        synced="",
    ),
    ObservableChange(
        *(
            "rename, by the new name",
            ActorOperation("rename", "a", "b"),
            ActorOperation("read", "b"),
        ),
        *(_ABSENT, ("value", _OLD)),
        prepare=_file(),
        synced="",
    ),
    ObservableChange(
        *("rename onto another", ActorOperation("rename", "b", "a"), _READ),
        *(("value", _OLD), ("value", _NEW)),
        prepare=(*_file(), ActorOperation("create", "b", data=_NEW)),
        synced="",
    ),
    ObservableChange(
        *(
            "link",
            ActorOperation("link", "a", "b"),
            ActorOperation("read", "b"),
            _ABSENT,
            ("value", _OLD),
        ),
        prepare=_file(),
        synced="",
    ),
    ObservableChange(
        *(
            "link, by the count",
            ActorOperation("link", "a", "b"),
            _STAT,
            ("links", 1),
            ("links", 2),
        ),
        prepare=_file(),
        synced="",
    ),
    ObservableChange(
        "overwrite, by an open handle",
        change=ActorOperation("overwrite", "a", data=_NEW),
        read=ActorOperation("pread", handle="h"),
        before=("value", _OLD),
        after=("value", _NEW),
        prepare=_file(),
        reader_setup=_OPEN,
        reader_teardown=_CLOSE,
    ),
    *LARGE_KINDS,
    *KINDS_BELOW,
    ObservableChange(
        "chmod, by an open handle",
        change=ActorOperation("chmod", "a", mode=0o600),
        read=ActorOperation("fstat", handle="h"),
        before=("mode", 0o644),
        after=("mode", 0o600),
        prepare=(*_file(), ActorOperation("chmod", "a", mode=0o644)),
        reader_setup=_OPEN,
        reader_teardown=_CLOSE,
    ),
)
"""All but what is in a mapping."""

MAPPING = ObservableChange(
    "overwrite, by a mapping",
    change=ActorOperation("overwrite", "a", data=_NEW),
    read=ActorOperation("mread", handle="m"),
    before=("value", _OLD),
    after=("value", _NEW),
    prepare=_file(),
    reader_setup=(ActorOperation("map", "a", handle="m", size=_MAPPED),),
    reader_teardown=(ActorOperation("unmap", handle="m"),),
)
"""The one read that makes no request: the pages are mapped already."""

_MADE_BY = {"fifo": "mkfifo", "socket": "mksock", "device": "mkdev"}


def _of_special(what: str) -> tuple[ObservableChange, ...]:
    make = _MADE_BY[what]
    return (
        ObservableChange(
            *(f"{what}: chmod", ActorOperation("chmod", "a", mode=0o600), _STAT),
            *(("mode", 0o644), ("mode", 0o600)),
            prepare=(ActorOperation(make, "a"), ActorOperation("chmod", "a", mode=0o644)),
        ),
        ObservableChange(
            *(f"{what}: unlink", ActorOperation("unlink", "a"), _STAT, ("type", what), _ABSENT),
            prepare=(ActorOperation(make, "a"),),
            synced="",
        ),
        ObservableChange(
            *(
                f"{what}: rename",
                ActorOperation("rename", "a", "b"),
                _STAT,
                ("type", what),
                _ABSENT,
            ),
            prepare=(ActorOperation(make, "a"),),
            synced="",
        ),
    )


SPECIAL: tuple[ObservableChange, ...] = (*_of_special("fifo"), *_of_special("socket"))
"""What is done to FIFOs and sockets that are there."""

DEVICES: tuple[ObservableChange, ...] = _of_special("device")
"""What is done to devices. Only root of the host can make any."""

MADE_SPECIAL: tuple[ObservableChange, ...] = tuple(
    ObservableChange(
        f"{what}: made", ActorOperation(_MADE_BY[what], "a"), _STAT, _ABSENT, ("type", what)
    )
    for what in ("fifo", "socket")
)
"""That there are any. A negative entry is cached as for any other name, so these are for
directions where no process has looked the name up before."""


def within(directory: str, operations: Iterable[ActorOperation]) -> tuple[ActorOperation, ...]:
    """Copies of *operations* with their paths in *directory*; those by an open handle have none."""
    return tuple(
        replace(
            operation,
            path=_joined(directory, operation.path) if not _of_handle(operation) else "",
            to=operation.to
            if operation.act == "symlink" or not operation.to
            else _joined(directory, operation.to),
        )
        for operation in operations
    )


def steps_within(directory: str, steps: Iterable[ScheduleStep]) -> tuple[ScheduleStep, ...]:
    """Copies of *steps*, of any actor, whose paths lie in *directory*; those by handle stay."""
    return tuple((actor, within(directory, [operation])[0]) for actor, operation in steps)


def _joined(directory: str, path: str) -> str:
    return "/".join(filter(None, (directory, path)))


def _of_handle(operation: ActorOperation) -> bool:
    """Whether it needs no name: it goes by an open handle, or is about the whole share."""
    return not operation.path and (bool(operation.handle) or operation.act in _OF_NO_NAME)


_OF_NO_NAME = frozenset({"wait", "sync", "settle", "flush", "unmount", "refuse", "accept"})
