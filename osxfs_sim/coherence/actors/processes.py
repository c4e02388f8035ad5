"""Processes of the host and of the guest that perform operations on command, and time each.

An actor is a process of its own (operations.py), so that guest and host share neither an
interpreter nor what it remembers. Its times are those of time.monotonic_ns(), which
all processes of a machine have in common.
"""

import json
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors import operations
from osxfs_sim.coherence.actors.helper import Helper
from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.model.user_error import UserError

_STARTS_WITHIN_S = 30.0
_ANSWERS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class OperationInterval:
    """One operation of an actor as it was observed: its call, its return, and its result."""

    actor: str
    """The process that made the call: host, guest, guest-2 ..."""
    operation: ActorOperation
    """What was called."""
    call_ns: int
    """Just before the call, by CLOCK_MONOTONIC."""
    return_ns: int
    """Just after it had returned, by the same clock."""
    outcome: OperationResult
    """What it returned."""

    def __str__(self) -> str:
        return f"{self.actor}: {self.operation} -> {self.outcome}"


class Actor(Helper):
    """A process that performs operations below *root*, for the time of a ``with`` block.

    Raises UserError where it cannot be started, or does not answer.
    """

    def __init__(self, name: str, root: str | Path) -> None:
        self.name = name
        # By path, alone: it shall find the standard library, and nothing else.
        arguments = ["-I", "-S", str(Path(operations.__file__)), str(root)]
        super().__init__(arguments, _ENDS_WITHIN_S)
        self._batch: Sequence[ActorOperation] = ()

    def do(self, operation: ActorOperation) -> OperationInterval:
        """Have the process perform *operation*, and wait for its interval. Raises UserError."""
        return self.play([operation])[0]

    def play(self, batch: Sequence[ActorOperation]) -> list[OperationInterval]:
        """Have the process perform *batch* in order; returns an interval each. Raises UserError."""
        self.start(batch)
        return self.finish()

    def start(self, batch: Sequence[ActorOperation]) -> None:
        """Hand *batch* to the process, without waiting. Raises UserError, AssertionError if busy.

        Raises AssertionError where the batch before is not finished.
        """
        assert not self._batch, f"{self.name} is at work"
        assert self._process.stdin is not None
        line = json.dumps([operation.to_json() for operation in batch]).encode() + b"\n"
        self._batch = tuple(batch)
        try:
            while line:
                line = line[self._process.stdin.write(line) or 0 :]
        except BrokenPipeError:
            raise UserError(f"the process of the {self.name} has ended") from None

    def finish(self, within_s: float = _ANSWERS_WITHIN_S) -> list[OperationInterval]:
        """Wait for the started batch, *within_s* plus pauses; an interval each. Raises UserError.

        Raises UserError where the process does not answer, or has ended.
        """
        batch, self._batch = self._batch, ()
        pauses_s = sum(operation.pause_ns for operation in batch) / 1e9
        told = self._line(within_s + pauses_s)
        return [
            OperationInterval(self.name, operation, call_ns, return_ns, OperationResult(**outcome))
            for operation, (call_ns, return_ns, outcome) in zip(batch, told, strict=True)
        ]

    def _wait_ready(self) -> None:
        self._line(_STARTS_WITHIN_S)

    def _line(self, within_s: float) -> Any:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        deadline_s = time.monotonic() + within_s
        while b"\n" not in self._partial:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not poller.poll(left_s * 1000):
                raise UserError(f"the process of the {self.name} does not answer")
            piece = os.read(fd, 1 << 20)
            if not piece:
                raise UserError(f"the process of the {self.name} has ended")
            self._partial += piece
        line, _, self._partial = self._partial.partition(b"\n")
        return json.loads(line)
