"""Errors of our own: recorded, counted, logged once per kind, and survived.

A bug in the answer to one request is that request's EIO, and one in what the server does beside
them costs what it was about. Neither takes the share away from everybody else.
"""

import logging
import traceback

from osxfs_sim.model.status import InternalErrorsStatus

log = logging.getLogger(__name__)

_MOST_KINDS = 64
"""From then on they are counted only: a log on a full disk helps nobody."""


class InternalErrors:
    """The errors of our own that one server has met and survived, counted. Any thread."""

    def __init__(self) -> None:
        self.count = 0
        self.latest = ""
        self._known: set[tuple[str, type[BaseException], str]] = set()

    def record(self, what: str, error: BaseException, details: object = "") -> None:
        """Count *error*, a bug met in *what*; log it once per kind. Never fails.

        *details* are for the log alone.
        """
        self.count += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        kind = what, type(error), place
        self.latest = f"{what}: {type(error).__name__}: {error}"[:500]
        if kind in self._known or len(self._known) >= _MOST_KINDS:
            return
        self._known.add(kind)
        log.error("bug: %s%s failed", what, details, exc_info=error)

    def report(self) -> InternalErrorsStatus:
        """The number of internal errors and the latest as a line, for the share's status."""
        return InternalErrorsStatus(count=self.count, latest=self.latest or None)
