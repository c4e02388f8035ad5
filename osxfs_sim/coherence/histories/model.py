"""The sequential model: a small file system as a state machine, with the steps of each operation.

Pure, and a value throughout: a search may go back to any state. An operation is not one
step. ``read`` is open, read and close, and between them another process may come: each step
here is one moment at which the operation touches the tree. What these steps are depends on the
grain (history.py): a system call on a directory looks a name up and acts under one lock where it
changes names, and through a share these are two requests.

An operation whose outcome is not known (UNKNOWN_OUTCOMES) may have taken any of its steps, or
none, and ends at any moment: Herlihy and Wing's pending invocation.

What is compared: errors; type, permissions, number of links and size (of a file); content;
names. Not compared, for no rule makes them the same everywhere: times, inode numbers, the
size and links of a directory.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from osxfs_sim.coherence.actors.operations import MOST_READ_BYTES
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import Grain

ROOT = 0

OBSERVERS = frozenset(
    {"stat", "read", "list", "fsync", "map", "mread", "unmap", "entry", "opendir", "sync"}
)
"""Acts that change nothing that another process can read."""

MUTATORS = frozenset(
    {"create", "write", "overwrite", "append", "truncate", "unlink", "rename", "link"}
    | {"mkdir", "rmdir", "chmod"}
)


UNKNOWN_OUTCOMES = frozenset(
    {"EINTR", "EIO", "ENOSPC", "EDQUOT", "ETIMEDOUT", "ENOTCONN", "ECONNABORTED"}
)
"""Errors that say nothing of the tree: the call was interrupted, or the share failed to apply it.
What a change has done then is not known; a read has returned no state."""

_AT_ITS_END = frozenset({"ENOSPC", "EDQUOT"})
"""Of these, errors of a call that has ended: none of it takes effect afterwards."""


def is_pending(interval: OperationInterval) -> bool:
    """Whether the outcome of *interval* is unknown, by its error, such as EINTR or EIO."""
    return interval.outcome.error in UNKNOWN_OUTCOMES


def may_happen_later(interval: OperationInterval) -> bool:
    """Whether *interval*, of unknown outcome, may still take effect after it has returned."""
    return is_pending(interval) and interval.outcome.error not in _AT_ITS_END


class Object(NamedTuple):
    """A file or a directory, as far as the model compares it."""

    content: str | None
    """The file's content, one character a byte; None for a directory."""
    mode: int
    """Its permission bits."""

    @property
    def is_directory(self) -> bool:
        """Whether the object is a directory, and not a file."""
        return self.content is None


@dataclass(frozen=True, slots=True)
class State:
    """Names and what they lead to; a value. The root, "", is no object that changes.

    Objects are told apart by the number of the operation that made them, from 1 on; negative for
    those that were there before.
    """

    names: tuple[tuple[str, int], ...] = ()
    """Paths and the numbers of the objects that they lead to, sorted."""
    objects: tuple[tuple[int, Object], ...] = ()
    """Numbers and their objects, sorted."""
    mappings: tuple[tuple[str, tuple[int, int]], ...] = ()
    """``actor:handle`` and what it has mapped: the object's number, and how many bytes."""

    @classmethod
    def of(cls, initial: Mapping[str, str], umask: int) -> "State":
        """The model's state of files alone: *initial* maps path to content; 644 less *umask*."""
        paths = sorted(initial)
        return cls(
            tuple((path, -number) for number, path in enumerate(paths, 1)),
            tuple(
                sorted(
                    (-number, Object(initial[path], 0o644 & ~umask))
                    for number, path in enumerate(paths, 1)
                )
            ),
        )

    def links(self, number: int) -> int:
        """How many names lead to the object with this *number*; 0 for an unknown one."""
        return sum(each == number for _, each in self.names)

    def object(self, number: int) -> Object:
        """The object with this *number*, a directory for the root. Raises KeyError if gone."""
        if number == ROOT:
            return Object(None, 0o755)
        return dict(self.objects)[number]

    def changed(
        self,
        names: Mapping[str, int | None] | None = None,
        objects: Mapping[int, Object] | None = None,
        mappings: Mapping[str, tuple[int, int] | None] | None = None,
    ) -> "State":
        """A copy with these names, objects, mappings set; one whose value is None is removed."""
        return State(
            _merged(self.names, names),
            _merged(self.objects, objects),
            _merged(self.mappings, mappings),
        )

    def without_lost(self, held: Iterable[int]) -> "State":
        """A copy without the objects that no name, mapping or number of *held* leads to."""
        needed = {number for _, number in self.names}
        needed |= {number for _, (number, _) in self.mappings} | set(held)
        if all(number in needed for number, _ in self.objects):
            return self
        return replace(self, objects=tuple(each for each in self.objects if each[0] in needed))


def _merged(pairs: tuple[Any, ...], changes: Mapping[Any, Any] | None) -> tuple[Any, ...]:
    if not changes:
        return pairs
    merged = {key: value for key, value in {**dict(pairs), **changes}.items() if value is not None}
    return tuple(sorted(merged.items()))


class AnswerSource(enum.Enum):
    """Where a step's answer may come from: a cache of the guest's kernel, or the host alone."""

    ENTRY = "entry"
    """What a name leads to: the dentry cache may answer."""
    CONTENT = "content"
    """What an object is like: the inode's cached attributes and pages may answer."""
    HOST = "host"
    """A change, or an answer that only the host can give."""


class OperationProgress(NamedTuple):
    """How far an operation has come between two of its steps."""

    phase: str
    """What it has done so far: "start", "done", or a name that the act's method gives."""
    object: int
    """The number of the object that it has resolved its name to; ROOT until then."""
    seen: int = 0
    """A number that a later step needs: the size it was told, or whether it is a directory."""


_NOT_MAPPED = "EBADF"

SAME = "same"
"""The phase of a rename that finds two names of one object, and so does nothing and says so."""

START = OperationProgress("start", ROOT)
DONE = OperationProgress("done", ROOT)


class ModelStep(NamedTuple):
    """One step that an operation may take, and the state and progress after it."""

    source: AnswerSource
    """What the step's answer may come from."""
    state: State
    """The state after it."""
    progress: OperationProgress
    """How far the operation is after it; DONE at its end."""


def resolve(state: State, path: str) -> int | str:
    """The number of the object at *path*, or as a str, not raised, the errno ENOENT or ENOTDIR."""
    names = dict(state.names)
    parts = path.split("/") if path else []
    for depth in range(1, len(parts)):
        number = names.get("/".join(parts[:depth]))
        if number is None:
            return "ENOENT"
        if not state.object(number).is_directory:
            return "ENOTDIR"
    return names.get(path, "ENOENT") if path else ROOT


def steps(
    state: State,
    interval: OperationInterval,
    number: int,
    progress: OperationProgress,
    grain: Grain,
    umask: int,
) -> Iterator[ModelStep]:
    """Yield the steps by which *interval* may get to its result from *state*; nothing if none can.

    Nothing is yielded where no step from *state* on leads to the result that it returned.
    """
    machine = _Machine(state, interval, number, progress, grain, umask)
    yield from getattr(machine, interval.operation.act)()
    if is_pending(interval):
        yield ModelStep(AnswerSource.HOST, state, DONE)  # nothing more of it happens


class _Machine:
    """One operation in one state. Each act is a method, that yields its next steps."""

    def __init__(
        self,
        state: State,
        interval: OperationInterval,
        number: int,
        progress: OperationProgress,
        grain: Grain,
        umask: int,
    ) -> None:
        self._state = state
        self._operation = interval.operation
        self._actor = interval.actor
        self._value, self._error = interval.outcome.value, interval.outcome.error
        self._number = number
        self._local = progress
        self._grain = grain
        self._umask = umask
        self._is_pending = is_pending(interval)

    # What the acts are made of

    def _found(self) -> int | str:
        return resolve(self._state, self._operation.path)

    def _parent_error(self, path: str) -> str | None:
        """The error of the path walk to *path*'s directory; None if it leads there."""
        parent = path.rpartition("/")[0]
        found = resolve(self._state, parent)
        if isinstance(found, str):
            return found
        return None if self._state.object(found).is_directory else "ENOTDIR"

    def _told(
        self, error: str | None, source: AnswerSource, state: State | None = None
    ) -> Iterator[ModelStep]:
        """The end of the operation, if *error* is what it returned."""
        if error == self._error or (self._is_pending and error is None):
            yield ModelStep(source, state or self._state, DONE)

    def _bind(self, phase: str = "bound", *, only_files: str | None = None) -> Iterator[ModelStep]:
        """Look the name up; the error *only_files* if it is a directory."""
        found = self._found()
        if isinstance(found, str):
            yield from self._told(found, AnswerSource.ENTRY)
        elif only_files and self._state.object(found).is_directory:
            yield from self._told(only_files, AnswerSource.ENTRY)
        else:
            yield ModelStep(AnswerSource.ENTRY, self._state, OperationProgress(phase, found))

    def _gone(self) -> Iterator[ModelStep]:
        """Through a share, an operation whose object is then removed may fail by that."""
        number = self._local.object
        if self._grain is Grain.SHARE and number != ROOT and not self._state.links(number):
            for error in ("ENOENT", "ESTALE"):
                yield from self._told(error, AnswerSource.HOST)

    def _refused(self, error: str | None) -> Iterator[ModelStep]:
        """An error by the dentries that the guest's kernel caches, before any request."""
        if error is not None:
            yield from self._told(error, AnswerSource.ENTRY)

    def _with_content(self, content: str) -> State:
        number = self._local.object
        return self._state.changed(
            objects={number: self._state.object(number)._replace(content=content)}
        )

    def _content(self) -> str:
        content = self._state.object(self._local.object).content
        assert content is not None
        return content

    # Acts that make and take away names

    def _new(self, content: str | None, mode: int) -> tuple[str | None, State]:
        """The error, or None and the state with a new object at the path."""
        error = self._parent_error(self._operation.path)
        if error is None and not isinstance(self._found(), str):
            error = "EEXIST"
        if error is not None:
            return error, self._state
        return None, self._state.changed(
            names={self._operation.path: self._number},
            objects={self._number: Object(content, mode & ~self._umask)},
        )

    def create(self) -> Iterator[ModelStep]:
        if self._local.phase == "made":
            yield from self._written()
            return
        error, state = self._new("", self._operation.mode)
        yield from self._refused(error)
        if error is not None:
            yield from self._told(error, AnswerSource.HOST)
        elif self._operation.content:
            yield ModelStep(AnswerSource.HOST, state, OperationProgress("made", self._number))
        else:
            yield from self._told(None, AnswerSource.HOST, state)

    def mkdir(self) -> Iterator[ModelStep]:
        error, state = self._new(None, 0o777)
        yield from self._refused(error)
        yield from self._told(error, AnswerSource.HOST, state)

    def unlink(self) -> Iterator[ModelStep]:
        found = self._found()
        error = found if isinstance(found, str) else None
        if not isinstance(found, str) and self._state.object(found).is_directory:
            error = "EISDIR"
        yield from self._refused(error)
        state = self._state
        if error is None:
            state = state.changed(names={self._operation.path: None})
        yield from self._told(error, AnswerSource.HOST, state)

    def rmdir(self) -> Iterator[ModelStep]:
        found = self._found()
        error = found if isinstance(found, str) else None
        if not isinstance(found, str) and not self._state.object(found).is_directory:
            error = "ENOTDIR"
        yield from self._refused(error)
        if error is None and self._inside(self._operation.path):
            error = "ENOTEMPTY"
        state = self._state
        if error is None:
            state = state.changed(names={self._operation.path: None})
        yield from self._told(error, AnswerSource.HOST, state)

    def _inside(self, path: str) -> list[str]:
        return [name for name, _ in self._state.names if name.startswith(f"{path}/")]

    def rename(self) -> Iterator[ModelStep]:
        path, to = self._operation.path, self._operation.to
        old, new = self._found(), resolve(self._state, to)
        if self._local.phase == SAME:
            if new == self._local.object:
                yield from self._told(None, AnswerSource.ENTRY)
            return
        if self._local.phase == "resolved":
            # The kernel has the old name's dentry from one moment and looks the new one up now.
            was_directory = bool(self._local.seen)
            if not isinstance(new, str):
                is_directory = self._state.object(new).is_directory
                if is_directory != was_directory:
                    yield from self._told(
                        "EISDIR" if is_directory else "ENOTDIR", AnswerSource.ENTRY
                    )
            yield from self._gone()
        elif self._grain is Grain.SHARE and not isinstance(old, str):
            kind = int(self._state.object(old).is_directory)
            yield ModelStep(
                AnswerSource.ENTRY, self._state, OperationProgress("resolved", old, kind)
            )
            if self._error is None:
                yield ModelStep(AnswerSource.ENTRY, self._state, OperationProgress(SAME, old))
        error = self._parent_error(path) or self._parent_error(to)
        if error is None and isinstance(old, str):
            error = old
        state = self._state
        if error is None:
            assert not isinstance(old, str)
            error, state = self._renamed(old, new)
        if error != "ENOTEMPTY" and self._local.phase == "start":
            yield from self._refused(error)
        yield from self._told(error, AnswerSource.HOST, state)

    def _renamed(self, old: int, new: int | str) -> tuple[str | None, State]:
        path, to = self._operation.path, self._operation.to
        if to.startswith(f"{path}/"):
            return "EINVAL", self._state
        if path.startswith(f"{to}/"):
            return "ENOTEMPTY", self._state
        if old == new:
            return None, self._state
        is_directory = self._state.object(old).is_directory
        if not isinstance(new, str):
            if self._state.object(new).is_directory != is_directory:
                return ("ENOTDIR" if is_directory else "EISDIR"), self._state
            if self._inside(to):
                return "ENOTEMPTY", self._state
        moved: dict[str, int | None] = {path: None, to: old}
        for name in self._inside(path):
            moved[name] = None
            moved[to + name.removeprefix(path)] = dict(self._state.names)[name]
        return None, self._state.changed(names=moved)

    def link(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind()
            return
        to = self._operation.to
        error = self._parent_error(to)
        if error is None and not isinstance(resolve(self._state, to), str):
            error = "EEXIST"
        if error is None and self._state.object(self._local.object).is_directory:
            error = "EPERM"
        yield from self._refused(error)
        if error is None and not self._state.links(self._local.object):
            error = "ENOENT"
        state = self._state
        if error is None:
            state = state.changed(names={to: self._local.object})
        yield from self._told(error, AnswerSource.HOST, state)
        yield from self._gone()

    # Acts that change an object

    def write(self) -> Iterator[ModelStep]:
        match self._local.phase:
            case "start":
                yield from self._opened()
            case "bound":
                yield from self._then_written(self._with_content(""), self._local.object)
                yield from self._gone()
            case _:
                yield from self._written()

    def _then_written(self, state: State, number: int) -> Iterator[ModelStep]:
        """The file is empty in *state*: what is left is the write(2), if there is anything."""
        if self._operation.content:
            yield ModelStep(AnswerSource.HOST, state, OperationProgress("cut", number))
        else:
            yield from self._told(None, AnswerSource.HOST, state)

    def _written(self, offset: int = 0) -> Iterator[ModelStep]:
        """One write(2) at *offset*: another may have written meanwhile, and be longer."""
        data, before = self._operation.content, self._content()
        state = self._state
        if data:  # else nothing is written: the file does not even grow up to the offset
            before = before.ljust(offset, "\0")
            written = before[:offset] + data + before[offset + len(data) :]
            state = self._with_content(written)
        yield from self._told(None, AnswerSource.HOST, state)
        yield from self._gone()

    def _opened(self) -> Iterator[ModelStep]:
        found = self._found()
        if not isinstance(found, str):
            if self._state.object(found).is_directory:
                yield from self._told("EISDIR", AnswerSource.ENTRY)
                yield from self._told("EISDIR", AnswerSource.HOST)
                return
            for source in (AnswerSource.ENTRY, AnswerSource.HOST):
                yield ModelStep(source, self._state, OperationProgress("bound", found))
            return
        error, state = self._new("", self._operation.mode)
        yield from self._refused(error)
        if error is not None:
            yield from self._told(error, AnswerSource.HOST)
        else:
            yield from self._then_written(state, self._number)

    def overwrite(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind(only_files="EISDIR")
            return
        yield from self._written(self._operation.offset)

    def append(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind(only_files="EISDIR")
            return
        yield from self._written(len(self._content()))

    def truncate(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind(only_files="EISDIR")
            return
        size = self._operation.size
        cut = self._content()[:size].ljust(size, "\0")
        yield from self._told(None, AnswerSource.HOST, self._with_content(cut))
        yield from self._gone()

    def chmod(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind()
            return
        number = self._local.object
        changed = self._state.object(number)._replace(mode=self._operation.mode)
        yield from self._told(
            None, AnswerSource.HOST, self._state.changed(objects={number: changed})
        )
        yield from self._gone()

    # Acts that only read

    def stat(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind()
            return
        number = self._local.object
        there = self._state.object(number)
        if self._value is not None:
            seen = (self._value["type"], self._value["mode"])
            told = seen == ("directory" if there.is_directory else "file", there.mode)
            if there.content is not None:
                links, size = self._value.get("links"), self._value.get("size")
                told &= links == self._state.links(number) and size == len(there.content)
            if told or number == ROOT:
                yield from self._told(None, AnswerSource.CONTENT)
        yield from self._gone()

    def read(self) -> Iterator[ModelStep]:
        match self._local.phase:
            case "start":
                yield from self._bind(only_files="EISDIR")
            case "bound" if self._grain is Grain.SHARE:
                # The kernel asks how long the file is, and then for its content: what has grown
                # in between is cut.
                number = self._local.object
                yield ModelStep(
                    AnswerSource.CONTENT,
                    self._state,
                    OperationProgress("measured", number, len(self._content())),
                )
                yield from self._gone()
            case phase:
                content = self._content()
                if phase == "measured":
                    seen = self._local.seen
                    # A truncation clears the page behind the cut: that may be read as well.
                    cleared = content.ljust(seen, "\0")
                    if content and len(content) < seen and cleared == self._value:
                        yield from self._told(None, AnswerSource.CONTENT)
                    content = content[:seen]
                if content[:MOST_READ_BYTES] == self._value:
                    yield from self._told(None, AnswerSource.CONTENT)
                yield from self._gone()

    def entry(self) -> Iterator[ModelStep]:
        """One name of a listing: it was there (True), or not."""
        if (not isinstance(self._found(), str)) == self._value:
            yield from self._told(None, AnswerSource.ENTRY)

    def opendir(self) -> Iterator[ModelStep]:
        """What a listing says of the directory itself, by opendir(3)."""
        found = self._found()
        if isinstance(found, str):
            yield from self._told(found, AnswerSource.ENTRY)
        else:
            error = None if self._state.object(found).is_directory else "ENOTDIR"
            yield from self._told(error, AnswerSource.ENTRY)

    def fsync(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind()
            return
        yield from self._told(None, AnswerSource.HOST)
        yield from self._gone()

    def sync(self) -> Iterator[ModelStep]:
        yield from self._told(None, AnswerSource.HOST)

    def map(self) -> Iterator[ModelStep]:
        if self._local.phase == "start":
            yield from self._bind(only_files="ENODEV")
            return
        number = self._local.object
        if len(self._content()) < self._operation.size:
            yield from self._told("EINVAL", AnswerSource.CONTENT)
        else:
            size = self._operation.size or len(self._content())
            mapped = self._state.changed(mappings={self._mapping: (number, size)})
            yield from self._told(None, AnswerSource.CONTENT, mapped)
        yield from self._gone()

    @property
    def _mapping(self) -> str:
        return f"{self._actor}:{self._operation.handle}"

    def mread(self) -> Iterator[ModelStep]:
        mapped = dict(self._state.mappings).get(self._mapping)
        if mapped is None:
            yield from self._told(_NOT_MAPPED, AnswerSource.HOST)  # the map was refused
            return
        number, size = mapped
        content = self._state.object(number).content
        # What lies beyond the end is zero, up to the end of its page; beyond that is SIGBUS.
        if content and content[:size].ljust(size, "\0") == self._value:
            yield from self._told(None, AnswerSource.CONTENT)

    def unmap(self) -> Iterator[ModelStep]:
        if self._mapping not in dict(self._state.mappings):
            yield from self._told(_NOT_MAPPED, AnswerSource.HOST)
            return
        yield from self._told(
            None, AnswerSource.HOST, self._state.changed(mappings={self._mapping: None})
        )
