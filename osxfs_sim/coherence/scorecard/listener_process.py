"""Starts a listener in the guest and records its reports."""

import json
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors.helper import Helper
from osxfs_sim.coherence.scorecard import listener
from osxfs_sim.coherence.scorecard.signals import Event, ObservedState
from osxfs_sim.model.user_error import UserError

_ANSWERS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Report:
    """One event as the listener reports it."""

    event: Event
    """Which event it was."""
    directory: bool
    """Whether it had IN_ISDIR."""
    path: str
    """The object's path in the guest."""
    at_ns: int
    """When the listener had read it, by CLOCK_MONOTONIC."""
    observed: ObservedState
    """What a read of the name returned at once."""


class ListenerProcess(Helper):
    """The process of a listener, for a ``with`` block. Raises UserError where it fails."""

    def __init__(self) -> None:
        # By path and with -P: it shall find the standard library, not its neighbours.
        super().__init__(["-P", str(Path(listener.__file__))], _ANSWERS_WITHIN_S)
        self._reports: list[Report] = []
        self._answers: list[dict[str, Any]] = []

    def watch(self, path: str, *, itself: bool = False) -> None:
        """Watch the names in directory *path*, or *itself* its removal. Raises UserError.

        Returns when the watch is there. Raises UserError where it cannot be.
        """
        assert self._process.stdin is not None
        words = json.dumps({"watch": path, "object": itself})
        try:
            self._process.stdin.write(words.encode() + b"\n")
        except BrokenPipeError:
            raise UserError("the listener in the guest has ended") from None
        self._answer()

    def take(self, within_ns: int) -> list[Report]:
        """Events since the last call, waiting *within_ns* for the first. Raises UserError.

        Raises UserError where the listener has ended or failed.
        """
        deadline_ns = time.monotonic_ns() + within_ns
        while True:
            left_ns = max(0, deadline_ns - time.monotonic_ns())
            self._read(0 if self._reports else left_ns)
            if self._reports or not left_ns:
                reports, self._reports = self._reports, []
                return reports

    def _wait_ready(self) -> None:
        self._answer()

    def _answer(self) -> None:
        deadline_ns = time.monotonic_ns() + round(_ANSWERS_WITHIN_S * 1e9)
        while not self._answers:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0:
                raise UserError("the listener in the guest does not answer")
            self._read(left_ns)
        self._answers.pop(0)

    def _read(self, within_ns: int) -> None:
        """Read the listener's lines; waits *within_ns* at most for one."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(-(-within_ns // 1_000_000)):
            return
        piece = os.read(fd, 1 << 20)
        if not piece:
            raise UserError("the listener in the guest has ended")
        *lines, self._partial = (self._partial + piece).split(b"\n")
        for line in lines:
            self._take_down(json.loads(line))

    def _take_down(self, words: dict[str, Any]) -> None:
        if "trouble" in words:
            raise UserError(words["trouble"])
        if "received" not in words:
            self._answers.append(words)
            return
        self._reports.append(
            Report(
                Event(words["received"]),
                words["directory"],
                words["path"],
                words["at_ns"],
                ObservedState(**words["observed"]),
            )
        )
