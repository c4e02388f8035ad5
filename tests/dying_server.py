"""The server of a share, killed before its n-th step: a call that changes the host or its journal.

DIES_IN names what is counted in: serving (from the first change on that is held), recovery,
discarding. Nothing that outlives a process happens between two steps, so these are all the
moments at which a kill can make a difference; and they come again with the same number.
"""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.server import session
from osxfs_sim.mount.server.main import main
from osxfs_sim.mount.writeback import unwritten
from osxfs_sim.mount.writeback.journal import Journal

_STEPS = (
    *("open", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "replace"),
    *("pwrite", "ftruncate", "truncate", "chmod", "utime", "chown", "setxattr", "removexattr"),
)
_OWN_STEPS = ("rename", "set_times", "fallocate")

_left = -1  # not counting


def _step() -> None:
    global _left
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if _left > 0:
        _left -= 1


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def counted(*arguments: Any, **keywords: Any) -> Any:
        _step()
        return call(*arguments, **keywords)

    return counted


def _count_from(call: Callable[..., Any], *, to_its_end: bool) -> Callable[..., Any]:
    """*call*, at whose beginning counting begins; and ends with it, perhaps."""
    step = int(os.environ["DIES_BEFORE_STEP"])

    @functools.wraps(call)
    def counting(*arguments: Any, **keywords: Any) -> Any:
        global _left
        if _left < 0:
            _left = step
        try:
            return call(*arguments, **keywords)
        finally:
            if to_its_end:
                _left = -1

    return counting


def _prepare(dies_in: str) -> None:
    for name in _STEPS:
        setattr(os, name, _counted(getattr(os, name)))
    for name in _OWN_STEPS:
        setattr(syscalls, name, _counted(getattr(syscalls, name)))
    for name in ("started", "done"):
        setattr(Journal, name, _counted(getattr(Journal, name)))
    if dies_in == "serving":
        Journal.note = _count_from(Journal.note, to_its_end=False)  # type: ignore[method-assign]
    elif dies_in == "recovery":
        session.recover = _count_from(session.recover, to_its_end=True)
    elif dies_in == "discarding":
        unwritten.discard = _count_from(unwritten.discard, to_its_end=True)


if __name__ == "__main__":
    _prepare(os.environ["DIES_IN"])
    main()
