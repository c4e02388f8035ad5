"""What answered a request. Known without the library that traces are written with."""

import enum


class AnsweredBy(enum.IntEnum):
    """What answered a request, by the name that it has in a trace."""

    HOST = 0
    """It crossed."""
    NAMES = 1
    """A complete directory cache knew that the name is absent."""
    HELD = 2
    """Write-back's overlay knew, or took the change."""
    GUEST = 3
    """It never crosses: FORGET, RELEASE, RELEASEDIR."""

    @property
    def label(self) -> str:
        """What answered a request, as tables name it: in lower case, such as host."""
        return self.name.lower()
