"""What a guest and the host do at random with a small tree, and how the host gets the guest's part.

The tree begins with a file ``a`` and a directory ``d``.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from .unmounted import Unmounted

NAMES = ("a", "b", "d", "d/a", "d/b", "d/d")


def host_interferes(source: Path, draw: Random) -> None:
    """One change on the host, if it can be made."""
    one, other = (source / draw.choice(NAMES) for _ in "12")
    steps: tuple[Callable[[], object], ...] = (
        lambda: one.write_text("by the host"),
        one.unlink,
        one.mkdir,
        one.rmdir,
        lambda: one.rename(other),
        lambda: os.link(one, other),
    )
    with contextlib.suppress(OSError):
        draw.choice(steps)()


def guest_steps(guest: Unmounted, draw: Random, opened: list[int]) -> None:
    """One change in the guest, if it can be made; *opened* are the handles it has."""
    one, other = draw.choice(NAMES), draw.choice(NAMES)
    steps: tuple[Callable[[], object], ...] = (
        lambda: guest.make(one),
        lambda: guest.mkdir(one),
        lambda: guest.write(one, b"x" * draw.randrange(1, 2_000_000), draw.randrange(10)),
        lambda: guest.write(one, b"more", 4),
        lambda: guest.set(one, size=draw.randrange(20)),
        lambda: guest.set(one, mode=0o600),
        lambda: guest.link(one, other),
        lambda: guest.unlink(one),
        lambda: guest.rmdir(one),
        lambda: one == other or other.startswith(f"{one}/") or guest.rename(one, other),
        lambda: opened.append(guest.open(one)),
        lambda: guest.write(one, b"by handle", 2, draw.choice(opened)) if opened else None,
    )
    with contextlib.suppress(OSError):  # natively, too
        draw.choice(steps)()


def is_applied(guest: Unmounted) -> None:
    """The oldest change, as the worker would."""
    write_back = guest.write_back
    change = write_back.changes.take()
    if change is None:
        return
    write_back.journal.started(change.sequence)
    try:
        write_back.writer.apply(change)
    except OSError as error:
        write_back._refused(change, error, ends=True)
    else:
        write_back._applied(change)
