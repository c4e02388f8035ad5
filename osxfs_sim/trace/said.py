"""What one answer said, and what was opened by it: the part of a row that few requests have."""

from typing import NamedTuple


class Said(NamedTuple):
    """Of one answered request; the fields are the columns of a trace (schema.py)."""

    mode: int = 0
    """As st_mode; 0: nothing was said of an object."""
    object_bytes: int = 0
    """As st_size."""
    mtime_ns: int = 0
    """As st_mtime_ns."""
    links: int = 0
    """As st_nlink."""
    flags: int = 0
    """Of open(2), where something was opened."""
    handle: int = -1
    """What was opened, or gone by; -1: none."""
    new_name: bytes | None = None
    """Where a rename went."""
    call: str | None = None
    """The system call that its thread waited in; None: it was not looked at."""


NOTHING_SAID = Said()
