"""How tests are somebody else: other users of the guest, in this very process."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ALICE = 1_201
BOB = 1_202
STAFF = 1_300
"""A group; none of these need exist on the machine."""


@contextlib.contextmanager
def acting_as(uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> Iterator[None]:
    """The block is done by this user, with no rights of root (no test runs threads meanwhile)."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def owner(path: Path | int) -> tuple[int, int]:
    """Whom an object belongs to, as this process is told; a symlink's own."""
    status = os.fstat(path) if isinstance(path, int) else os.lstat(path)
    return status.st_uid, status.st_gid


def owner_told(path: Path | int, uid: int, gid: int | None = None) -> tuple[int, int]:
    """Whom an object belongs to, as user *uid* is told."""
    with acting_as(uid, gid):
        return owner(path)


@pytest.fixture
def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")
