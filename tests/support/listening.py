"""Programs that people watch files with, and what they report."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from support.guests import PATIENCE_S, eventually

HERE = Path(__file__).parents[1] / "listeners"
NODE_MODULES = HERE / "js" / "node_modules"

R = TypeVar("R")


class Listener(Generic[R]):
    """A running program; *parse* makes a report of a line that it says, or None of chatter.

    Nobody's clock decides that something was not reported: the story ends with a
    change that must be, and what was said before it is all there was.
    """

    def __init__(
        self, process: "subprocess.Popen[str]", parse: Callable[[str], R | None], name: str
    ) -> None:
        self.process = process
        self.name = name
        self._parse = parse
        self.lines: list[str] = []
        self.reports: list[R] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            report = self._parse(line.rstrip("\n"))
            if report is not None:
                self.reports.append(report)

    def until(self, *wanted: R | Callable[[R], bool]) -> list[R]:
        """Wait until each of *wanted* was reported; everything that was, in order."""

        def missing() -> list[R | Callable[[R], bool]]:
            reports = list(self.reports)
            return [
                want
                for want in wanted
                if not (any(map(want, reports)) if callable(want) else want in reports)
            ]

        def all_heard_or_ended() -> bool:
            return not missing() or not self._reader.is_alive()

        try:
            eventually(all_heard_or_ended)
        except AssertionError as error:
            raise AssertionError(
                f"{self._story()}\n{self.name} did not report {missing()}"
            ) from error
        assert not missing(), f"{self._story()}\n{self.name} ended before it reported {missing()}"
        return list(self.reports)

    def until_it_says(self, wanted: Callable[[str], bool]) -> str:
        """Wait for a line, report or chatter."""

        def said() -> str | None:
            return next(filter(wanted, list(self.lines)), None)

        eventually(lambda: said() is not None or not self._reader.is_alive())
        line = said()
        assert line is not None, f"{self._story()}\n{self.name} ended"
        return line

    def forget(self) -> None:
        """Begin a new story."""
        self.reports.clear()

    def end(self) -> None:
        """End it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def _story(self) -> str:
        return "\n".join([f"{self.name} said:", *self.lines])


@contextlib.contextmanager
def listener(
    command: list[str | Path],
    directory: Path,
    parse: Callable[[str], R | None],
    ready: Callable[[str], bool],
    environment: dict[str, str] | None = None,
) -> Iterator[Listener[R]]:
    """*command*, run in *directory*, from when it says a line that is *ready* on."""
    name = Path(command[0] if command[0] not in ("node", sys.executable) else command[1]).name
    assert shutil.which(command[0]), f"{command[0]} is missing: run scripts/setup"
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    listener = Listener(process, parse, name)
    try:
        listener.until_it_says(ready)
        listener.forget()
        yield listener
    finally:
        listener.end()


def from_json(line: str) -> tuple[Any, ...] | None:
    """The report that our own small listeners print."""
    return tuple(json.loads(line)) if line.startswith("[") else None


def is_ready(line: str) -> bool:
    """Whether one of our own small listeners has begun to watch."""
    return line.startswith('["ready"')


def javascript(name: str) -> list[str | Path]:
    """The command that runs a program of listeners/js."""
    assert NODE_MODULES.is_dir(), f"{NODE_MODULES} is missing: run scripts/setup"
    return ["node", HERE / "js" / name]


def once(reports: list[R]) -> list[R]:
    """*reports* without repetitions: the vendor allows that an event is told more than once."""
    return list(dict.fromkeys(reports))


# What the host does. Each takes one system call that can be noticed, so that no report
# can honestly show a file half made.


def create(path: Path, content: str, aside: Path) -> None:
    """A new file that has its content at once; it is written in *aside* before."""
    prepared = aside / "prepared"
    prepared.write_text(content)
    os.link(prepared, path)
    prepared.unlink()


def edit_in_place(path: Path, content: str) -> None:
    """Write over what is there, as much as was there."""
    assert path.stat().st_size == len(content)
    with path.open("r+") as file:
        file.write(content)


def edit_as_editors_do(path: Path, content: str) -> None:
    """Write it under another name beside it, and rename that over it."""
    temporary = path.with_name(f".{path.name}.swp")
    temporary.write_text(content)
    temporary.replace(path)
