"""The changes of the scorecard, each performed on the host by plain system calls.

Every change has names of its own, made beforehand where it needs them, so that
what is heard belongs to one change. A change is timed around the system calls
that the guest can see; opening and closing lie outside where they can.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.coherence.scorecard.expectations import Kind
from osxfs_sim.coherence.scorecard.signals import Role, Shown, Step

A, B = Role.A, Role.B
_BEFORE = "before\n"
_AFTER = "AFTER.\n"  # as long: only its content tells it from what was there
_MORE = "more\n"
_MTIME_NS = 1_000_000_000 * 10**9
_GONE = Shown(exists=False)
_NAME = re.compile(r"([0-9]{6,})\.([ab])")


@dataclass(frozen=True, slots=True)
class Names:
    """The two names of change *number* in *directory*."""

    directory: Path
    number: int

    def path(self, role: Role) -> str:
        """Where the name of this *role* is."""
        return os.path.join(self.directory, self.name(role))

    def name(self, role: Role) -> str:
        """The name itself; ``parse_name`` undoes it."""
        return f"{self.number:06}.{role}"


def parse_name(name: str) -> tuple[int, Role] | None:
    """Number and role of a name that Names gave; None for any other."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), Role(match[2]))


@dataclass(frozen=True, slots=True)
class Performed:
    """When a change began, its steps, and what is to be closed when all has been heard."""

    began_ns: int
    steps: tuple[Step, ...]
    kept_open: int | None = None


@dataclass(frozen=True, slots=True)
class HostChange:
    """How to make what a change needs, and how to perform it.

    *roles* are its names; with *watched* the object itself is listened to as well.
    """

    prepare: Callable[[Names], None]
    perform: Callable[[Names], Performed]
    roles: tuple[Role, ...] = (A,)
    watched: bool = False


def _nothing(names: Names) -> None:
    del names


def _make_file(names: Names, role: Role = A, content: str = _BEFORE) -> None:
    fd = os.open(names.path(role), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)


def _make_files(names: Names) -> None:
    _make_file(names)
    _make_file(names, B, "replaced\n")


def _make_directory(names: Names) -> None:
    os.mkdir(names.path(A))


def _once(call: Callable[[], object], shown: Mapping[Role, Shown]) -> Performed:
    """A change that is one system call."""
    began_ns = time.monotonic_ns()
    call()
    return Performed(began_ns, (Step(time.monotonic_ns(), shown),))


def _create(names: Names) -> Performed:
    began_ns = time.monotonic_ns()
    fd = os.open(names.path(A), os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
    done_ns = time.monotonic_ns()
    os.close(fd)
    return Performed(began_ns, (Step(done_ns, {A: Shown(size_bytes=0, content="")}),))


def _write(names: Names) -> Performed:
    began_ns = time.monotonic_ns()
    fd = os.open(names.path(A), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    created = Step(time.monotonic_ns(), {A: Shown()})
    try:
        os.write(fd, _BEFORE.encode())
        written = Step(time.monotonic_ns(), {A: _file(_BEFORE)})
    finally:
        os.close(fd)
    return Performed(began_ns, (created, written))


def _file(content: str) -> Shown:
    return Shown(size_bytes=len(content), content=content)


def _through_descriptor(
    names: Names,
    call: Callable[[int], object],
    content: str,
    *,
    flags: int = 0,
    keep_open: bool = False,
) -> Performed:
    fd = os.open(names.path(A), os.O_WRONLY | flags)
    try:
        performed = _once(lambda: call(fd), {A: _file(content)})
    except BaseException:
        os.close(fd)
        raise
    if keep_open:
        return Performed(performed.began_ns, performed.steps, kept_open=fd)
    os.close(fd)
    return performed


def _modify(names: Names) -> Performed:
    return _through_descriptor(names, lambda fd: os.write(fd, _AFTER.encode()), _AFTER)


def _modify_open(names: Names) -> Performed:
    return _through_descriptor(
        names, lambda fd: os.write(fd, _AFTER.encode()), _AFTER, keep_open=True
    )


def _append(names: Names) -> Performed:
    return _through_descriptor(
        names, lambda fd: os.write(fd, _MORE.encode()), _BEFORE + _MORE, flags=os.O_APPEND
    )


def _truncate(names: Names) -> Performed:
    # By descriptor, so that a writer closes: some systems tell of nothing before that.
    return _through_descriptor(names, lambda fd: os.ftruncate(fd, 3), _BEFORE[:3])


def _chmod(names: Names) -> Performed:
    return _once(lambda: os.chmod(names.path(A), 0o600), {A: Shown(mode=0o600)})


def _utimes(names: Names) -> Performed:
    times_ns = (_MTIME_NS, _MTIME_NS)
    return _once(lambda: os.utime(names.path(A), ns=times_ns), {A: Shown(mtime_ns=_MTIME_NS)})


def _delete(names: Names) -> Performed:
    return _once(lambda: os.unlink(names.path(A)), {A: _GONE})


def _mkdir(names: Names) -> Performed:
    return _once(lambda: os.mkdir(names.path(A)), {A: Shown()})


def _rmdir(names: Names) -> Performed:
    return _once(lambda: os.rmdir(names.path(A)), {A: _GONE})


def _rename(names: Names) -> Performed:
    return _once(lambda: os.rename(names.path(A), names.path(B)), {A: _GONE, B: _file(_BEFORE)})


def _rename_directory(names: Names) -> Performed:
    return _once(lambda: os.rename(names.path(A), names.path(B)), {A: _GONE, B: Shown()})


def _symlink(names: Names) -> Performed:
    return _once(lambda: os.symlink("nowhere", names.path(A)), {A: Shown()})


def _link(names: Names) -> Performed:
    shown = _file(_BEFORE)
    return _once(lambda: os.link(names.path(A), names.path(B)), {A: shown, B: shown})


def _read(names: Names) -> Performed:
    def read() -> None:
        with open(names.path(A), "rb") as file:
            file.read()

    return _once(read, {A: _file(_BEFORE)})


CHANGES: Mapping[Kind, HostChange] = {
    Kind.CREATE: HostChange(_nothing, _create),
    Kind.WRITE: HostChange(_nothing, _write),
    Kind.MODIFY: HostChange(_make_file, _modify),
    Kind.MODIFY_OPEN: HostChange(_make_file, _modify_open),
    Kind.APPEND: HostChange(_make_file, _append),
    Kind.TRUNCATE: HostChange(_make_file, _truncate),
    Kind.CHMOD: HostChange(_make_file, _chmod),
    Kind.UTIMES: HostChange(_make_file, _utimes),
    Kind.DELETE: HostChange(_make_file, _delete, watched=True),
    Kind.MKDIR: HostChange(_nothing, _mkdir),
    Kind.RMDIR: HostChange(_make_directory, _rmdir, watched=True),
    Kind.RENAME: HostChange(_make_file, _rename, (A, B)),
    Kind.REPLACE: HostChange(_make_files, _rename, (A, B)),
    Kind.RENAME_DIRECTORY: HostChange(_make_directory, _rename_directory, (A, B)),
    Kind.SYMLINK: HostChange(_nothing, _symlink),
    Kind.LINK: HostChange(_make_file, _link, (A, B)),
    Kind.READ: HostChange(_make_file, _read),
}
