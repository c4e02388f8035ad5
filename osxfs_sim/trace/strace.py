"""Makes a trace of a log of strace, so that a run on the real system can be analyzed.

System calls are not requests. One can be several requests (a lookup for each
part of its path), or none (what the guest's kernel had in a cache), and what a
program reads through a mapping is no call at all. So the trace has a row per
call, named after the request that it comes to in the end, with the time that
the call took. An object has no number in a log: each path is given one.

Paths are taken as they are written: a symbolic link on the way is not followed.
"""

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from osxfs_sim.fs.reading import open_regular
from osxfs_sim.model.operations import Operation
from osxfs_sim.trace.format import Header, TraceError, TraceWriter, columns_of
from osxfs_sim.trace.strace_lines import (
    Begun,
    Call,
    LineReader,
    UnreadableLineError,
    descriptor_of,
    string_of,
)
from osxfs_sim.trace.strace_state import Objects, OpenFile, Process

HOW_TO_RECORD = "strace -f -ttt -T -y -o LOG COMMAND"
_ROWS_AT_ONCE = 50_000
_LONGEST_LINE = 1 << 20


class StraceImport:
    """Converts a log to the rows of a trace: calls below *root*; the rest is counted."""

    def __init__(self, root: str, directory: str | None = None) -> None:
        """*directory*: where the command was started, if the log does not say it (-y does).

        Raises TraceError where *root* is no absolute path.
        """
        self.root = posixpath.normpath(root)
        if not self.root.startswith("/"):
            raise TraceError(f"{root} is not an absolute path: give the share's as the log has it")
        self.lines = LineReader()
        self.elsewhere = 0
        """Calls about a path that is not below the root."""
        self.nowhere: Counter[str] = Counter()
        """Calls whose path is not known, by why."""
        self.untimed = 0
        self.began_ns: int | None = None
        self.lasted_ns = 0
        self.operations: Counter[str] = Counter()
        self._objects = Objects()
        self._processes: dict[int, Process] = {}
        self._first_directory = directory
        self._forking: list[int] = []
        self._early: set[int] = set()

    def rows(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield a trace's row (a dictionary) per call below the root; unreadable lines only count.

        Lines that cannot be read are counted and left out.
        """
        for line in lines:
            for event in self.lines.read(line):
                if self.began_ns is None:
                    self.began_ns = event.at_ns
                self.lasted_ns = max(self.lasted_ns, event.at_ns - self.began_ns)
                if isinstance(event, Begun):
                    if event.name in _FORKS:
                        self._forking.append(event.process)
                    self._process(event.process)
                    continue
                try:
                    row = self._row(event)
                except (UnreadableLineError, IndexError, ValueError):
                    self.lines.unreadable += 1
                    self.lines.first_unreadable = self.lines.first_unreadable or line[:100].rstrip()
                    continue
                if row is not None:
                    self.operations[row["operation"]] += 1
                    yield row

    def warnings(self) -> list[str]:
        """What makes an analysis doubtful, a sentence each; call it once all rows are taken."""
        said = [
            "made of a strace log: a row is a system call, which can be several requests or, "
            "answered by a cache of the guest's kernel, none; times are those of the calls, "
            "with what strace itself adds"
        ]
        lines = self.lines
        if lines.unreadable:
            said.append(
                f"{lines.unreadable:,} of {lines.lines:,} lines could not be read, "
                f"the first: {lines.first_unreadable}"
            )
        for why, count in sorted(self.nowhere.items()):
            said.append(f"{count:,} calls are left out, {why}")
        if lines.unfinished:
            said.append(f"{lines.unfinished:,} calls had not returned when the log ended")
        if self.untimed:
            said.append(f"{self.untimed:,} calls have no duration and are left out: record with -T")
        return said

    def header(self, notes: dict[str, Any] | None = None) -> Header:
        """The trace's Header, to make once all rows are taken; *notes* are added to its own."""
        return Header(
            began_ns=self.began_ns or 0,
            lasted_ns=self.lasted_ns,
            source="strace",
            notes={
                "root": self.root,
                "lines": self.lines.lines,
                "unreadable_lines": self.lines.unreadable,
                "calls_elsewhere": self.elsewhere,
                "warnings": self.warnings(),
                **(notes or {}),
            },
        )

    # One call

    def _row(self, call: Call) -> dict[str, Any] | None:
        process = self._process(call.process)
        handler = _HANDLERS.get(call.name)
        if handler is None:
            return None
        if call.error in _UNTOLD:
            return None
        about = handler(self, process, call)
        if about is None:
            return None
        if call.took_ns is None:
            self.untimed += 1
            return None
        assert self.began_ns is not None
        arrival_ns = max(call.at_ns - self.began_ns, 0)
        self.lasted_ns = max(self.lasted_ns, arrival_ns + call.took_ns)
        return {
            "arrival_ns": arrival_ns,
            "took_ns": call.took_ns,
            "error": call.error,
            "process": call.process,
            "program": process.program,
            **about,
        }

    def _process(self, number: int) -> Process:
        known = self._processes.get(number)
        if known is not None:
            return known
        if self._forking:
            # It runs before its parent has been told its number.
            made = self._processes[self._forking[-1]].child()
            self._early.add(number)
        else:
            made = Process([self._first_directory])
        self._processes[number] = made
        return made

    # Paths

    def _place(self, path: str | None) -> str | None:
        """*path* from the root of the share, "/" being itself; None where it lies elsewhere."""
        if path is None:
            return None
        path = posixpath.normpath(path)
        if path.startswith("//"):
            path = path[1:]
        if self.root == "/":
            return path
        if path == self.root:
            return "/"
        if path.startswith(self.root + "/"):
            return path[len(self.root) :]
        self.elsewhere += 1
        return None

    def _named(self, process: Process, path: str, at: str | None = None) -> str | None:
        """The place of *path*, relative to *at* (an argument, or None: the working directory)."""
        text = string_of(path)
        if text is None:
            return None  # a null pointer, say
        if text.startswith("/"):
            return self._place(text)
        base = process.directory[0]
        if at is not None:
            number, shown = descriptor_of(at)
            if shown is not None:
                base = shown
                if number is None:
                    process.directory[0] = shown
            elif number is not None:
                file = process.files.get(number)
                if file is None:
                    self.nowhere["because it is not known what their descriptor stands for"] += 1
                    return None
                base = file.path
        if base is None:
            self.nowhere[
                "because it is not known where their process was: record with -y, or give --cwd"
            ] += 1
            return None
        return self._place(posixpath.join(base, text))

    def _full(self, place: str) -> str:
        return place if self.root == "/" else self.root + place.rstrip("/")

    def _described(self, process: Process, argument: str) -> OpenFile | None:
        """What a descriptor stands for, in the share or not; None where that is unknown."""
        number, shown = descriptor_of(argument)
        if number is None:
            path = shown or process.directory[0]
            return None if path is None else OpenFile(path, is_directory=True)
        file = process.files.get(number)
        if shown is not None and (file is None or file.path != shown):
            file = process.files[number] = OpenFile(shown)
        return file

    def _object(self, operation: Operation, place: str, **others: Any) -> dict[str, Any]:
        """A row about an object itself."""
        is_directory = others.pop("is_directory", False)
        return {
            "operation": operation.name,
            "inode": self._objects.inode(place),
            "directory": place if is_directory else posixpath.dirname(place),
            **others,
        }

    def _name(self, operation: Operation, place: str, found: int = 0) -> dict[str, Any]:
        """A row about a name in a directory."""
        directory = posixpath.dirname(place)
        return {
            "operation": operation.name,
            "inode": self._objects.inode(directory),
            "name": posixpath.basename(place),
            "directory": directory,
            "found": found,
        }

    def _looked_up(self, place: str, call: Call) -> dict[str, Any]:
        """A row for a call that did not get beyond the name."""
        if call.error is None:
            self._objects.exists[place] = True
            return self._name(Operation.LOOKUP, place, self._objects.inode(place))
        if call.error == "ENOENT":
            self._objects.removed(place)
        return self._name(Operation.LOOKUP, place)

    def _about(
        self, operation: Operation, place: str | None, call: Call, **others: Any
    ) -> dict[str, Any] | None:
        """A row about an object by its path: a lookup where there is none."""
        if place is None:
            return None
        if call.error == "ENOENT":
            return self._looked_up(place, call)
        if call.error is None:
            self._objects.exists[place] = True
        return self._object(operation, place, **others)

    def _file_place(self, process: Process, argument: str) -> tuple[OpenFile, str] | None:
        file = self._described(process, argument)
        place = None if file is None else self._place(file.path)
        return None if file is None or place is None else (file, place)


_Handler = Callable[[StraceImport, Process, Call], "dict[str, Any] | None"]
_HANDLERS: dict[str, _Handler] = {}
_UNTOLD = frozenset({"EINTR", "ERESTARTSYS", "ERESTARTNOINTR", "ERESTARTNOHAND", "EFAULT", "EBADF"})
"""Errors of calls that reached no file system, or are begun again in another line."""


def _handles(*names: str) -> Callable[[_Handler], _Handler]:
    def note(handler: _Handler) -> _Handler:
        for name in names:
            _HANDLERS[name] = handler
        return handler

    return note


def _flags(argument: str) -> set[str]:
    return set(argument.replace(" ", "").split("|"))


# Processes

_FORKS = frozenset({"fork", "vfork", "clone", "clone3"})


@_handles(*_FORKS)
def _fork(log: StraceImport, process: Process, call: Call) -> None:
    if call.process in log._forking:
        log._forking.remove(call.process)
    if call.result <= 0:
        return
    text = " ".join(call.arguments)
    shares_files, shares_directory = "CLONE_FILES" in text, "CLONE_FS" in text
    child = process.child(same_files=shares_files, same_directory=shares_directory)
    if call.result in log._early:
        # It has run before its parent was told its number: what it did meanwhile counts.
        log._early.discard(call.result)
        early = log._processes[call.result]
        child.program = early.program
        if shares_files:
            process.files.update(early.files)
        else:
            child.files, child.closed_by_exec = early.files, early.closed_by_exec
        if not shares_directory:
            child.directory = early.directory
    log._processes[call.result] = child


@_handles("execve", "execveat")
def _execute(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    has_directory = call.name == "execveat"
    path = call.arguments[1 if has_directory else 0]
    place = log._named(process, path, call.arguments[0] if has_directory else None)
    if call.error is None:
        process.program = posixpath.basename(string_of(path) or "")[:15] or process.program
        process.files = {
            number: file
            for number, file in process.files.items()
            if number not in process.closed_by_exec
        }
        process.closed_by_exec = set()
    return log._about(Operation.OPEN, place, call)


@_handles("chdir")
def _change_directory(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    path = call.arguments[0]
    place = log._named(process, path)
    if call.error is None:
        text = string_of(path) or ""
        base = process.directory[0]
        if text.startswith("/") or base is not None:
            process.directory[0] = posixpath.normpath(posixpath.join(base or "/", text))
    return None if place is None else _root_or_name(log, place, call)


@_handles("fchdir")
def _change_to_descriptor(log: StraceImport, process: Process, call: Call) -> None:
    file = log._described(process, call.arguments[0])
    if call.error is None:
        process.directory[0] = None if file is None else file.path


@_handles("getcwd")
def _tell_directory(log: StraceImport, process: Process, call: Call) -> None:
    del log
    told = string_of(call.arguments[0])
    if call.error is None and told is not None and told.startswith("/"):
        process.directory[0] = told


# Descriptors


@_handles("dup", "dup2", "dup3", "fcntl", "fcntl64")
def _duplicate(log: StraceImport, process: Process, call: Call) -> None:
    if call.error is not None:
        return
    number, _ = descriptor_of(call.arguments[0])
    command = call.arguments[1] if call.name.startswith("fcntl") else "F_DUPFD"
    flags = " ".join(call.arguments[1:])
    if command == "F_SETFD" and number is not None:
        (process.closed_by_exec.add if "CLOEXEC" in flags else process.closed_by_exec.discard)(
            number
        )
    if not command.startswith("F_DUPFD"):
        return
    file = log._described(process, call.arguments[0])
    process.files.pop(call.result, None)
    process.closed_by_exec.discard(call.result)
    if file is not None:
        process.files[call.result] = file
        if "CLOEXEC" in flags:
            process.closed_by_exec.add(call.result)


@_handles("close")
def _close(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    number, _ = descriptor_of(call.arguments[0])
    known = log._file_place(process, call.arguments[0])
    if number is not None:
        process.files.pop(number, None)
        process.closed_by_exec.discard(number)
    if known is None:
        return None
    file, place = known
    operation = Operation.RELEASEDIR if file.is_directory else Operation.FLUSH
    return log._object(operation, place, is_directory=file.is_directory)


@_handles("close_range")
def _close_range(log: StraceImport, process: Process, call: Call) -> None:
    del log
    if call.error is None and "CLOEXEC" not in call.arguments[2]:
        first, last = (int(each, 0) for each in call.arguments[:2])
        for number in [each for each in process.files if first <= each <= last]:
            del process.files[number]


@_handles("lseek", "_llseek")
def _seek(log: StraceImport, process: Process, call: Call) -> None:
    file = log._described(process, call.arguments[0])
    if file is not None and call.error is None and call.name == "lseek":
        file.position = _within_a_file(call.result)


# Opening


@_handles("open", "openat", "openat2", "creat")
def _open(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    has_directory = call.name.startswith("openat")
    arguments = call.arguments[1:] if has_directory else call.arguments
    at = call.arguments[0] if has_directory else None
    place = log._named(process, arguments[0], at)
    text = "O_CREAT|O_TRUNC" if call.name == "creat" else arguments[1]
    flags = _flags(text.removeprefix("{flags=").rstrip("}"))
    path = log._full(place) if place is not None else None
    if call.result_path is not None and call.result_path.startswith("/") and path is None:
        path = call.result_path
    elif path is None and (text := string_of(arguments[0]) or "").startswith("/"):
        path = text
    if call.error is None and call.result >= 0:
        process.files.pop(call.result, None)
        process.closed_by_exec.discard(call.result)
        if path is not None:
            is_directory = "O_DIRECTORY" in flags
            process.files[call.result] = OpenFile(path, is_directory=is_directory)
        if "O_CLOEXEC" in flags:
            process.closed_by_exec.add(call.result)
    if place is None:
        return None
    # A log does not tell whether it was made now.
    makes = "O_CREAT" in flags and ("O_EXCL" in flags or not log._objects.exists.get(place))
    if call.error is None and makes:
        return log._name(Operation.CREATE, place, log._objects.made(place))
    if call.error is None and "O_PATH" in flags:
        return _root_or_name(log, place, call)
    if "O_DIRECTORY" in flags:
        return log._about(Operation.OPENDIR, place, call, is_directory=True)
    return log._about(Operation.OPEN, place, call)


def _root_or_name(log: StraceImport, place: str, call: Call) -> "dict[str, Any]":
    """A lookup; of the root, which has no name, its attributes."""
    if place == "/":
        return log._object(Operation.GETATTR, place, is_directory=True)
    return log._looked_up(place, call)


# Attributes and names


def _path_arguments(call: Call) -> tuple[str | None, str]:
    """The directory's descriptor, if the call takes one, and the path."""
    if call.name in _WITH_DIRECTORY:
        return call.arguments[0], call.arguments[1]
    return None, call.arguments[0]


_WITH_DIRECTORY = frozenset(
    (
        *("newfstatat", "fstatat64", "statx", "faccessat", "faccessat2", "readlinkat", "mkdirat"),
        *("mknodat", "unlinkat", "fchmodat", "fchmodat2", "fchownat", "utimensat", "futimesat"),
    )
)


def _by_path_or_descriptor(
    log: StraceImport, process: Process, call: Call, operation: Operation
) -> "dict[str, Any] | None":
    at, path = _path_arguments(call)
    if at is not None and (path == '""' or path == "NULL"):
        return _by_descriptor(log, process, operation, at)
    place = log._named(process, path, at)
    return log._about(operation, place, call)


def _by_descriptor(
    log: StraceImport, process: Process, operation: Operation, argument: str
) -> "dict[str, Any] | None":
    known = log._file_place(process, argument)
    if known is None:
        return None
    file, place = known
    return log._object(operation, place, is_directory=file.is_directory)


@_handles(
    *("stat", "lstat", "stat64", "lstat64", "oldstat", "oldlstat", "newfstatat", "fstatat64"),
    *("statx", "access", "faccessat", "faccessat2"),
)
def _status(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _by_path_or_descriptor(log, process, call, Operation.GETATTR)


@_handles("fstat", "fstat64", "oldfstat")
def _status_of_open(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _by_descriptor(log, process, Operation.GETATTR, call.arguments[0])


@_handles("readlink", "readlinkat")
def _read_link(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    if call.error == "EINVAL":  # it is there, and no link: known from its attributes
        about = _by_path_or_descriptor(log, process, call, Operation.GETATTR)
        return None if about is None else {**about, "error": None}
    return _by_path_or_descriptor(log, process, call, Operation.READLINK)


@_handles(
    *("chmod", "chown", "lchown", "chown32", "lchown32", "fchmodat", "fchmodat2", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat", "truncate", "truncate64"),
)
def _set_by_path(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _by_path_or_descriptor(log, process, call, Operation.SETATTR)


@_handles("fchmod", "fchown", "fchown32", "ftruncate", "ftruncate64", "fallocate")
def _set_by_descriptor(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _by_descriptor(log, process, Operation.SETATTR, call.arguments[0])


@_handles("statfs", "statfs64")
def _file_system(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _by_path_or_descriptor(log, process, call, Operation.STATFS)


_EXTENDED = {
    "getxattr": Operation.GETXATTR,
    "setxattr": Operation.SETXATTR,
    "listxattr": Operation.LISTXATTR,
    "removexattr": Operation.REMOVEXATTR,
}


@_handles(*(f"{kind}{name}" for kind in ("", "l", "f") for name in _EXTENDED))
def _extended(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    name = call.name if call.name in _EXTENDED else call.name[1:]
    if call.name.startswith("f"):
        return _by_descriptor(log, process, _EXTENDED[name], call.arguments[0])
    return log._about(_EXTENDED[name], log._named(process, call.arguments[0]), call)


# Changes of names


@_handles("mkdir", "mkdirat", "mknod", "mknodat")
def _make(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    at, path = _path_arguments(call)
    place = log._named(process, path, at)
    if place is None:
        return None
    operation = Operation.MKDIR if call.name.startswith("mkdir") else Operation.MKNOD
    return _made(log, operation, place, call)


def _made(log: StraceImport, operation: Operation, place: str, call: Call) -> "dict[str, Any]":
    return log._name(operation, place, log._objects.made(place) if call.error is None else 0)


@_handles("symlink", "symlinkat")
def _symbolic_link(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    at = call.arguments[1] if call.name == "symlinkat" else None
    place = log._named(process, call.arguments[-1], at)
    return None if place is None else _made(log, Operation.SYMLINK, place, call)


@_handles("unlink", "unlinkat", "rmdir")
def _remove(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    at, path = _path_arguments(call)
    place = log._named(process, path, at)
    if place is None:
        return None
    of_directory = call.name == "rmdir" or "AT_REMOVEDIR" in call.arguments[-1]
    row = log._name(Operation.RMDIR if of_directory else Operation.UNLINK, place)
    if call.error is None:
        row["found"] = log._objects.inode(place)
        log._objects.removed(place)
    return row


def _two_paths(log: StraceImport, process: Process, call: Call) -> tuple[str | None, str | None]:
    if call.name in ("renameat", "renameat2", "linkat"):
        return (
            log._named(process, call.arguments[1], call.arguments[0]),
            log._named(process, call.arguments[3], call.arguments[2]),
        )
    return log._named(process, call.arguments[0]), log._named(process, call.arguments[1])


@_handles("rename", "renameat", "renameat2")
def _rename(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    old, new = _two_paths(log, process, call)
    if old is None and new is None:
        return None
    if old is None or new is None:
        # In or out of the share: refused with EXDEV, if the share is a mount of its own.
        return None if (place := old or new) is None else log._name(Operation.RENAME, place)
    row = log._name(Operation.RENAME, old)
    if call.error is None:
        row["found"] = log._objects.inode(posixpath.dirname(new))
        log._objects.moved(old, new)
    return row


@_handles("link", "linkat")
def _link(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    old, new = _two_paths(log, process, call)
    if new is None:
        return None
    if call.error is not None or old is None:
        return log._name(Operation.LINK, new)
    return log._name(Operation.LINK, new, log._objects.linked(new, old))


# Contents


@_handles("getdents", "getdents64")
def _list(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    known = log._file_place(process, call.arguments[0])
    if known is None:
        return None
    known[0].is_directory = True
    size_bytes = _size(call)
    row = log._object(Operation.READDIRPLUS, known[1], is_directory=True)
    return {**row, "size_bytes": size_bytes}


_MOST_BYTES = 1 << 62


def _size(call: Call) -> int:
    return _within_a_file(call.result)


def _within_a_file(offset_bytes: int) -> int:
    return min(max(offset_bytes, 0), _MOST_BYTES)


_AT_AN_OFFSET = frozenset({"pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2"})


@_handles("read", "readv", "pread64", "preadv", "preadv2")
def _read(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _transfer(log, process, call, Operation.READ)


@_handles("write", "writev", "pwrite64", "pwritev", "pwritev2")
def _write(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    return _transfer(log, process, call, Operation.WRITE)


def _transfer(
    log: StraceImport, process: Process, call: Call, operation: Operation
) -> "dict[str, Any] | None":
    known = log._file_place(process, call.arguments[0])
    if known is None:
        return None
    file, place = known
    size_bytes = _size(call)
    if call.name in _AT_AN_OFFSET:
        offset_bytes = _within_a_file(int(call.arguments[3], 0))
    else:
        offset_bytes = file.position
        file.position = _within_a_file(file.position + size_bytes)
    row = log._object(operation, place)
    return {**row, "size_bytes": size_bytes, "offset_bytes": offset_bytes}


@_handles("copy_file_range", "sendfile", "sendfile64")
def _copy(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    """Counted where it writes; what it read there is in the same call."""
    is_range = call.name == "copy_file_range"
    target, source = (2, 0) if is_range else (0, 1)
    known = log._file_place(process, call.arguments[target])
    operation = Operation.WRITE
    if known is None:
        known = log._file_place(process, call.arguments[source])
        operation = Operation.READ
    if known is None:
        return None
    file, place = known
    size_bytes = _size(call)
    row = {**log._object(operation, place), "size_bytes": size_bytes}
    row["offset_bytes"] = file.position
    file.position = _within_a_file(file.position + size_bytes)
    return row


@_handles("fsync", "fdatasync", "sync_file_range")
def _sync(log: StraceImport, process: Process, call: Call) -> "dict[str, Any] | None":
    known = log._file_place(process, call.arguments[0])
    if known is None:
        return None
    file, place = known
    operation = Operation.FSYNCDIR if file.is_directory else Operation.FSYNC
    return log._object(operation, place, is_directory=file.is_directory)


def import_strace(log: Path, output: Path, root: str, directory: str | None = None) -> StraceImport:
    """Convert the strace *log*'s calls below *root* to a trace file *output*. Raises TraceError.

    *directory* is where the command was started, if the log does not say it.
    Raises TraceError for a log that has nothing to say.
    """
    made = StraceImport(root, directory)
    if not output.absolute().parent.is_dir():
        raise TraceError(f"{output} cannot be written: its directory does not exist")
    try:
        lines = open(  # noqa: SIM115 (closed below)
            open_regular(log), encoding="utf-8", errors="backslashreplace", newline="\n"
        )
    except OSError as error:
        raise TraceError(f"{log} cannot be read: {error.strerror}") from error
    with lines:
        writer = TraceWriter(output)  # what was there stays until this is whole
        try:
            batch: list[dict[str, Any]] = []
            for row in made.rows(_bounded(lines)):
                batch.append(row)
                if len(batch) == _ROWS_AT_ONCE:
                    writer.write(columns_of(iter(batch)))
                    batch = []
            writer.write(columns_of(iter(batch)))
            problem = _nothing_to_say(made, log)
            if problem is not None:
                raise TraceError(problem)
            writer.close(made.header())
        except OSError as error:
            raise TraceError(f"{output} cannot be written: {error.strerror or error}") from error
        finally:
            writer.discard()
    return made


def _bounded(lines: TextIO) -> Iterator[str]:
    """Each line, of one that strace cannot have written its first part only."""
    while line := lines.readline(_LONGEST_LINE):
        is_whole = line.endswith("\n")
        yield line
        while not is_whole and (rest := lines.readline(_LONGEST_LINE)):
            is_whole = rest.endswith("\n")


def _nothing_to_say(made: StraceImport, log: Path) -> str | None:
    """Why no analysis can be made of it, if so."""
    if made.operations:
        return None
    if not made.lines.calls:
        return f"no line of {log} could be read: record with {HOW_TO_RECORD}"
    if made.untimed:
        return f"{log} has no durations: record with {HOW_TO_RECORD}"
    for why in made.nowhere:
        return f"{log} has no call below {made.root}; {made.nowhere[why]:,} are left out, {why}"
    return f"{log} has no call below {made.root}: give --root as the command saw it"
