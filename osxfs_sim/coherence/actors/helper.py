"""A process beside us that takes commands as lines, for the time of a ``with`` block."""

import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class Helper:
    """A Python process, started with *arguments*, its standard input and output ours.

    Its own programme ends with its input. One that hangs, in a share that does not answer, is
    killed *ends_within_s* later.
    """

    def __init__(self, arguments: Sequence[str], ends_within_s: float) -> None:
        self._ends_within_s = ends_within_s
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, and our end is its end
        )
        self._partial = b""

    def _wait_ready(self) -> None:
        """Wait for its first line; a subclass says how. Raises UserError."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process by closing its input, and wait; kills it if it does not end in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(self._ends_within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
