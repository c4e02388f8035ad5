"""Whom an object belongs to, as the guest's processes see it.

Two policies. Under ``osxfs`` an object belongs to the process that asks, until its owner
is changed; the change is kept with the host's object, in an extended
attribute whose value is ``0:<uid>:<gid>``: a version, then the two ids, either
of which may be empty. (Vendor's page on osxfs; the attribute's name and format
are public in its OCaml sources.) Under ``host`` it belongs to its owner on the
host, and the guest's kernel checks permissions, as when a Linux virtiofsd
shares a tree.

Knows no file system: reading and writing the attribute is the mount's business.
"""

import enum
import re
from typing import NamedTuple


class Ownership(enum.StrEnum):
    """The policy that a profile chooses."""

    OSXFS = "osxfs"
    HOST = "host"


OWNER_ATTRIBUTE = b"user.com.docker.owner"
"""``com.docker.owner`` on macOS; Linux keeps users' attributes in ``user.``."""

LONGEST_OWNER_BYTES = 64
"""No well-formed value is longer: two ids of ten digits, a version, two colons."""

_VALUE = re.compile(rb"0:([0-9]{0,10}):([0-9]{0,10})")
# The largest 32-bit number stands for "leave it as it is" in chown(2).
_HIGHEST_ID = (1 << 32) - 2


class MalformedOwnerError(ValueError):
    """The attribute's value is none that we would write; treat the owner as unset."""


class Owner(NamedTuple):
    """The stored owner of an object; an id that is None was not set: it is the caller's."""

    uid: int | None
    """The user id that was set; None: the caller's."""
    gid: int | None
    """The group id that was set; None: the caller's."""

    def reported_to(self, uid: int, gid: int) -> tuple[int, int]:
        """The (uid, gid) that a process of *uid* and *gid* sees: its own ids where none was set."""
        return (uid if self.uid is None else self.uid, gid if self.gid is None else self.gid)

    def overlaid(self, uid: int | None, gid: int | None) -> "Owner":
        """The owner after a chown to *uid* and *gid*; an id that is None stays as it was."""
        return Owner(self.uid if uid is None else uid, self.gid if gid is None else gid)


UNSET = Owner(None, None)


def format_owner(owner: Owner) -> bytes:
    """The bytes of OWNER_ATTRIBUTE that store *owner*, such as b"0:1000:"; an unset id is empty."""
    uid, gid = ("" if value is None else value for value in owner)
    return f"0:{uid}:{gid}".encode("ascii")


def parse_owner(value: bytes) -> Owner:
    """The owner that *value* of OWNER_ATTRIBUTE stores. Raises MalformedOwnerError (ValueError)."""
    match = _VALUE.fullmatch(value)
    if match is None:
        raise MalformedOwnerError(f"{value[:LONGEST_OWNER_BYTES]!r} is not 0:<uid>:<gid>")
    uid, gid = (int(digits) if digits else None for digits in match.groups())
    for number in (uid, gid):
        if number is not None and number > _HIGHEST_ID:
            raise MalformedOwnerError(f"{number} is no user or group id")
    return Owner(uid, gid)
