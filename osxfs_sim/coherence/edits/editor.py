"""The process that makes the edits on the host, and logs what the host had when.

Started as a script with nothing but the standard library (see applying.py). It is told what
to do by a file of JSON, says ``ready``, begins when it is told ``go``, and ends when its
standard input does: an edit that has begun is completed then, without its pauses, so that
no file is left half written. Then it writes all that it has done to another file:

    {"made": N, "skipped": N, "began_ns": N,
     "names": {PATH: [[began_ns, done_ns, OBJECT or null], ...]},
     "objects": {OBJECT: [[began_ns, done_ns, size, mtime_ns, CONTENT], ...]},  (of a directory: [])
     "contents": {CONTENT: text, one character a byte}}

Times are those of time.monotonic_ns(). Each system call is a change of its own.
"""

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


class Editor:
    """Makes edits below *root*, and keeps the history of every name that it may touch."""

    def __init__(self, root: str, told: dict[str, Any]) -> None:
        self.root = root
        self.targets: list[dict[str, Any]] = told["targets"]
        self.steps: list[dict[str, Any]] = told["steps"]
        self.made = self.skipped = 0
        self.names: dict[str, list[list[int | None]]] = {}
        self.objects: dict[int, list[list[int | str]]] = {}
        self.contents: dict[str, bytes] = {}
        self._keys: dict[bytes, str] = {}
        self._base: dict[str, bytes] = {}
        self._edits_of: dict[str, int] = {}
        for target in self.targets:
            for name in told["names"]:
                path = beside(target["path"], name)
                if path not in self.names:
                    self._read_initial(path)
            path = target["path"]
            number = self._object(path)
            self._base[path] = b"" if number is None else self._content(number)

    def _read_initial(self, path: str) -> None:
        try:
            with open(self._real(path), "rb") as file:
                status, content = os.fstat(file.fileno()), file.read()
        except OSError:
            self.names[path] = [[0, 0, None]]
            return
        number = len(self.objects) + 1
        self.names[path] = [[0, 0, number]]
        self.objects[number] = [[0, 0, status.st_size, status.st_mtime_ns, self._key(content)]]

    def edit(self, index: int, wait: Callable[[int], None]) -> None:
        """Make all steps of an edit on target *index*; where one raises OSError, counts it skipped.

        A target that the workload has removed is counted as skipped.
        """
        target = self.targets[index]
        path = target["path"]
        count = self._edits_of[path] = self._edits_of.get(path, 0) + 1
        new = altered(self._base[path], target["comment"], count)
        try:
            for step in self.steps:
                wait(step["at_ns"])
                self._perform(path, step, new)
        except OSError:
            # The workload has removed what there was to edit.
            self.skipped += 1
        else:
            self.made += 1

    def _perform(self, target: str, step: dict[str, Any], new: bytes) -> None:
        path = beside(target, step["path"])
        real = self._real(path)
        match step["act"]:
            case "create":
                self._create(path, target)
            case "truncate":
                began_ns = time.monotonic_ns()
                os.truncate(real, 0)
                self._changed(path, began_ns, time.monotonic_ns(), b"")
            case "write":
                old = self._base[target]
                what = {"new": new, "old": old}.get(step["what"])
                self._write(path, b"\0" * step["size"] if what is None else what)
            case "rename":
                to = beside(target, step["to"])
                began_ns = time.monotonic_ns()
                os.rename(real, self._real(to))
                done_ns = time.monotonic_ns()
                number = self._object(path)
                self.names[to].append([began_ns, done_ns, number])
                self.names[path].append([began_ns, done_ns, None])
            case "mkdir":
                began_ns = time.monotonic_ns()
                os.mkdir(real)
                self._made_directory(path, began_ns, time.monotonic_ns())
            case "rmdir":
                began_ns = time.monotonic_ns()
                os.rmdir(real)
                self.names[path].append([began_ns, time.monotonic_ns(), None])
            case "unlink":
                began_ns = time.monotonic_ns()
                os.unlink(real)
                self.names[path].append([began_ns, time.monotonic_ns(), None])

    def _made_directory(self, path: str, began_ns: int, done_ns: int) -> None:
        """Log that it exists; its attributes are not logged, and so not judged."""
        number = len(self.objects) + 1
        self.objects[number] = []
        self.names[path].append([began_ns, done_ns, number])

    def _create(self, path: str, target: str) -> None:
        real = self._real(path)
        began_ns = time.monotonic_ns()
        fd = os.open(real, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            done_ns = time.monotonic_ns()
            status = os.fstat(fd)
            if self._object(path) is not None:
                return  # it was there, and is as it was
            number = len(self.objects) + 1
            self.objects[number] = [[0, 0, status.st_size, status.st_mtime_ns, self._key(b"")]]
            self.names[path].append([began_ns, done_ns, number])
            # Its name may become the target's: tools take care of that, too.
            mode, owner, group = self._owner_of(target)
            os.fchmod(fd, mode)
            if (owner, group) != (status.st_uid, status.st_gid):
                os.fchown(fd, owner, group)
        finally:
            os.close(fd)

    def _owner_of(self, target: str) -> tuple[int, int, int]:
        found: dict[str, Any] = next(one for one in self.targets if one["path"] == target)
        return found["mode"], found["owner"], found["group"]

    def _write(self, path: str, data: bytes) -> None:
        number = self._object(path)
        fd = os.open(self._real(path), os.O_WRONLY)
        try:
            began_ns = time.monotonic_ns()
            left = memoryview(data)
            offset = 0
            while left:
                count = os.pwrite(fd, left, offset)
                left, offset = left[count:], offset + count
            done_ns = time.monotonic_ns()
        finally:
            os.close(fd)
        if number is not None:
            before = self._content(number)
            self._changed(path, began_ns, done_ns, data + before[len(data) :])

    def _changed(self, path: str, began_ns: int, done_ns: int, content: bytes) -> None:
        number = self._object(path)
        if number is not None:
            mtime_ns = os.stat(self._real(path)).st_mtime_ns
            key = self._key(content)
            self.objects[number].append([began_ns, done_ns, len(content), mtime_ns, key])

    def _object(self, path: str) -> int | None:
        return self.names[path][-1][2]

    def _content(self, number: int) -> bytes:
        return self.contents[str(self.objects[number][-1][4])]

    def _key(self, content: bytes) -> str:
        if content not in self._keys:
            self._keys[content] = f"{len(self._keys)}"
            self.contents[self._keys[content]] = content
        return self._keys[content]

    def _real(self, path: str) -> str:
        return os.path.join(self.root, path)

    def told(self) -> dict[str, Any]:
        """The log of all edits so far, as a dictionary for JSON: see the head of this file."""
        return {
            "made": self.made,
            "skipped": self.skipped,
            "names": self.names,
            "objects": self.objects,
            "contents": {key: text.decode("latin-1") for key, text in self.contents.items()},
        }


def beside(target: str, template: str) -> str:
    """The path in *target*'s directory that *template* gives with {name} as *target*'s own name."""
    directory, slash, name = target.rpartition("/")
    return f"{directory}{slash}{template.replace('{name}', name)}"


def altered(content: bytes, comment: list[str] | None, number: int) -> bytes:
    """*content* with a comment line that tells edit *number* apart; unchanged if *comment* is None.

    *comment* is what stands before and after a comment; None: *content* as it is.
    """
    if comment is None:
        return content
    line = "" if comment == ["", ""] else f"edit {number}".join(comment)
    # Blank lines are told apart by how many there are; they are few, so that nothing grows.
    ends = "\n" if line else "\n" * (number % 8 + 1)
    return (
        content
        + (b"" if content.endswith(b"\n") or not content else b"\n")
        + (line + ends).encode()
    )


def _waiting(edits: list[list[int]], began_ns: int) -> Iterator[tuple[int, Callable[[int], None]]]:
    """Each edit when it is due, until standard input ends; with what waits for its steps."""
    ended = False

    def pause_until(due_ns: int) -> bool:
        nonlocal ended
        while not ended and (left_ns := due_ns - time.monotonic_ns()) > 0:
            ended = bool(select.select([sys.stdin], [], [], left_ns / 1e9)[0])
        return not ended

    for at_ns, index in edits:
        if not pause_until(began_ns + at_ns):
            return
        if select.select([sys.stdin], [], [], 0)[0]:
            return
        first_ns = time.monotonic_ns()
        yield index, _waiter(pause_until, first_ns)


def _waiter(pause_until: Callable[[int], bool], first_ns: int) -> Callable[[int], None]:
    def wait(step_ns: int) -> None:
        pause_until(first_ns + step_ns)

    return wait


def main() -> None:
    """Run the editor's process by its arguments ROOT EDITS LOG (JSON files). Raises OSError."""
    root, told, tell = sys.argv[1:]
    with open(told, encoding="utf-8") as file:
        document = json.load(file)
    editor = Editor(root, document)
    # Past the buffer of sys.stdout, which would complain at exit if the reader has gone.
    os.write(sys.stdout.fileno(), b"ready\n")
    began_ns = 0
    if os.read(0, 3) == b"go\n":
        began_ns = time.monotonic_ns()
        for index, wait in _waiting(document["edits"], began_ns):
            editor.edit(index, wait)
    with open(tell, "w", encoding="utf-8") as file:
        json.dump({"began_ns": began_ns} | editor.told(), file)


if __name__ == "__main__":
    # Whoever started it may have ended, and needs no answer.
    with contextlib.suppress(BrokenPipeError):
        main()
