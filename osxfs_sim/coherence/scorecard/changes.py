"""The changes of the scorecard, each performed on the host by plain system calls.

Every change has names of its own, made beforehand where it needs them, so that
an event belongs to one change. A change is timed around the system calls
that the guest can see; opening and closing lie outside where they can.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.coherence.scorecard.expectations import ChangeKind
from osxfs_sim.coherence.scorecard.signals import ChangeStep, ExpectedState, Role

A, B = Role.A, Role.B
_BEFORE = "before\n"
_AFTER = "AFTER.\n"  # as long: only its content tells it from what was there
_MORE = "more\n"
_MTIME_NS = 1_000_000_000 * 10**9
_GONE = ExpectedState(exists=False)
_NAME = re.compile(r"([0-9]{6,})\.([ab])")


@dataclass(frozen=True, slots=True)
class ChangeNames:
    """The two names of change *number* in *directory*."""

    directory: Path
    """The directory, as the process that uses the names sees it."""
    number: int
    """Which change, from 0 on."""

    def path(self, role: Role) -> str:
        """The path of the change's name that has this *role*, A or B, in its directory."""
        return os.path.join(self.directory, self.name(role))

    def name(self, role: Role) -> str:
        """The change's name of this *role*, such as 000012.a; parse_name() is the inverse."""
        return f"{self.number:06}.{role}"


def parse_name(name: str) -> tuple[int, Role] | None:
    """The number of the change, and the role, of a *name* of ChangeNames; None for any other."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), Role(match[2]))


@dataclass(frozen=True, slots=True)
class PerformedChange:
    """A change that was made: when, and what it makes visible."""

    began_ns: int
    """Before its first system call, by CLOCK_MONOTONIC."""
    steps: tuple[ChangeStep, ...]
    """Its system calls that a guest can see."""
    open_fd: int | None = None
    """A descriptor to be closed once everything has been received; None: none is open."""


@dataclass(frozen=True, slots=True)
class ScorecardChange:
    """How to make what a change needs, and how to perform it. Both raise OSError."""

    prepare: Callable[[ChangeNames], None]
    """Makes what the change needs, on the host."""
    perform: Callable[[ChangeNames], PerformedChange]
    """Performs it, on the host."""
    roles: tuple[Role, ...] = (A,)
    """Which of the two names it is about."""
    watched: bool = False
    """Whether the object itself is watched as well (IN_DELETE_SELF)."""


def _nothing(names: ChangeNames) -> None:
    del names


def _make_file(names: ChangeNames, role: Role = A, content: str = _BEFORE) -> None:
    fd = os.open(names.path(role), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)


def _make_files(names: ChangeNames) -> None:
    _make_file(names)
    _make_file(names, B, "replaced\n")


def _make_directory(names: ChangeNames) -> None:
    os.mkdir(names.path(A))


def _once(call: Callable[[], object], expected: Mapping[Role, ExpectedState]) -> PerformedChange:
    """A change that is one system call."""
    began_ns = time.monotonic_ns()
    call()
    return PerformedChange(began_ns, (ChangeStep(time.monotonic_ns(), expected),))


def _create(names: ChangeNames) -> PerformedChange:
    began_ns = time.monotonic_ns()
    fd = os.open(names.path(A), os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
    done_ns = time.monotonic_ns()
    os.close(fd)
    return PerformedChange(
        began_ns, (ChangeStep(done_ns, {A: ExpectedState(size_bytes=0, content="")}),)
    )


def _write(names: ChangeNames) -> PerformedChange:
    began_ns = time.monotonic_ns()
    fd = os.open(names.path(A), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    created = ChangeStep(time.monotonic_ns(), {A: ExpectedState()})
    try:
        os.write(fd, _BEFORE.encode())
        written = ChangeStep(time.monotonic_ns(), {A: _file(_BEFORE)})
    finally:
        os.close(fd)
    return PerformedChange(began_ns, (created, written))


def _file(content: str) -> ExpectedState:
    return ExpectedState(size_bytes=len(content), content=content)


def _through_descriptor(
    names: ChangeNames,
    call: Callable[[int], object],
    content: str,
    *,
    flags: int = 0,
    keep_open: bool = False,
) -> PerformedChange:
    fd = os.open(names.path(A), os.O_WRONLY | flags)
    try:
        performed = _once(lambda: call(fd), {A: _file(content)})
    except BaseException:
        os.close(fd)
        raise
    if keep_open:
        return PerformedChange(performed.began_ns, performed.steps, open_fd=fd)
    os.close(fd)
    return performed


def _modify(names: ChangeNames) -> PerformedChange:
    return _through_descriptor(names, lambda fd: os.write(fd, _AFTER.encode()), _AFTER)


def _modify_open(names: ChangeNames) -> PerformedChange:
    return _through_descriptor(
        names, lambda fd: os.write(fd, _AFTER.encode()), _AFTER, keep_open=True
    )


def _append(names: ChangeNames) -> PerformedChange:
    return _through_descriptor(
        names, lambda fd: os.write(fd, _MORE.encode()), _BEFORE + _MORE, flags=os.O_APPEND
    )


def _truncate(names: ChangeNames) -> PerformedChange:
    # By descriptor, so that a writer closes: some systems tell of nothing before that.
    return _through_descriptor(names, lambda fd: os.ftruncate(fd, 3), _BEFORE[:3])


def _chmod(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.chmod(names.path(A), 0o600), {A: ExpectedState(mode=0o600)})


def _utimes(names: ChangeNames) -> PerformedChange:
    times_ns = (_MTIME_NS, _MTIME_NS)
    return _once(
        lambda: os.utime(names.path(A), ns=times_ns), {A: ExpectedState(mtime_ns=_MTIME_NS)}
    )


def _delete(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.unlink(names.path(A)), {A: _GONE})


def _mkdir(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.mkdir(names.path(A)), {A: ExpectedState()})


def _rmdir(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.rmdir(names.path(A)), {A: _GONE})


def _rename(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.rename(names.path(A), names.path(B)), {A: _GONE, B: _file(_BEFORE)})


def _rename_directory(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.rename(names.path(A), names.path(B)), {A: _GONE, B: ExpectedState()})


def _symlink(names: ChangeNames) -> PerformedChange:
    return _once(lambda: os.symlink("nowhere", names.path(A)), {A: ExpectedState()})


def _link(names: ChangeNames) -> PerformedChange:
    expected = _file(_BEFORE)
    return _once(lambda: os.link(names.path(A), names.path(B)), {A: expected, B: expected})


def _read(names: ChangeNames) -> PerformedChange:
    def read() -> None:
        with open(names.path(A), "rb") as file:
            file.read()

    return _once(read, {A: _file(_BEFORE)})


CHANGES: Mapping[ChangeKind, ScorecardChange] = {
    ChangeKind.CREATE: ScorecardChange(_nothing, _create),
    ChangeKind.WRITE: ScorecardChange(_nothing, _write),
    ChangeKind.MODIFY: ScorecardChange(_make_file, _modify),
    ChangeKind.MODIFY_OPEN: ScorecardChange(_make_file, _modify_open),
    ChangeKind.APPEND: ScorecardChange(_make_file, _append),
    ChangeKind.TRUNCATE: ScorecardChange(_make_file, _truncate),
    ChangeKind.CHMOD: ScorecardChange(_make_file, _chmod),
    ChangeKind.UTIMES: ScorecardChange(_make_file, _utimes),
    ChangeKind.DELETE: ScorecardChange(_make_file, _delete, watched=True),
    ChangeKind.MKDIR: ScorecardChange(_nothing, _mkdir),
    ChangeKind.RMDIR: ScorecardChange(_make_directory, _rmdir, watched=True),
    ChangeKind.RENAME: ScorecardChange(_make_file, _rename, (A, B)),
    ChangeKind.REPLACE: ScorecardChange(_make_files, _rename, (A, B)),
    ChangeKind.RENAME_DIRECTORY: ScorecardChange(_make_directory, _rename_directory, (A, B)),
    ChangeKind.SYMLINK: ScorecardChange(_nothing, _symlink),
    ChangeKind.LINK: ScorecardChange(_make_file, _link, (A, B)),
    ChangeKind.READ: ScorecardChange(_make_file, _read),
}
