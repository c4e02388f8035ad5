"""Who answered a request. Known without the library that traces are written with."""

import enum


class AnsweredBy(enum.IntEnum):
    """By the names that they have in a trace."""

    HOST = 0
    """It crossed."""
    NAMES = 1
    """A complete set of names knew that there is none."""
    HELD = 2
    """Write-back knew, or took the change."""
    GUEST = 3
    """It never crosses: FORGET, RELEASE, RELEASEDIR."""

    @property
    def label(self) -> str:
        """Its name as tables have it."""
        return self.name.lower()
