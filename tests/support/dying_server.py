"""The server of a share, killed before its n-th step: a call that changes the host or its journal.

DIES_IN names what is counted in: serving (from the first change on that is held), recovery,
discarding. A recovery is a process of its own, and is killed together with the server.
Nothing that outlives a process happens between two steps, so these are all the
moments at which a kill can make a difference; and they come again with the same number.
"""

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.server import main as server
from osxfs_sim.mount.server import recovery_process
from osxfs_sim.mount.writeback import unwritten
from osxfs_sim.mount.writeback.journal import Journal

_STEPS = (
    *("open", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "replace"),
    *("pwrite", "ftruncate", "truncate", "chmod", "utime", "chown", "setxattr", "removexattr"),
)
_OWN_STEPS = ("rename", "set_times", "fallocate")

_left = -1  # not counting
_server_pid = 0
"""That of the server, in the process of a recovery."""


def _step() -> None:
    global _left
    if _left == 0:
        if _server_pid:
            os.kill(_server_pid, signal.SIGKILL)
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


def _count() -> None:
    for name in _STEPS:
        setattr(os, name, _counted(getattr(os, name)))
    for name in _OWN_STEPS:
        setattr(syscalls, name, _counted(getattr(syscalls, name)))
    for name in ("started", "done"):
        setattr(Journal, name, _counted(getattr(Journal, name)))


def main() -> None:
    """The process of a recovery."""
    global _server_pid
    _server_pid = os.getppid()
    _count()
    recovery_process.recover = _count_from(recovery_process.recover, to_its_end=True)
    recovery_process.main()


if __name__ == "__main__":
    match os.environ["DIES_IN"]:
        case "serving":
            _count()
            Journal.append = _count_from(Journal.append, to_its_end=False)  # type: ignore[method-assign]
        case "discarding":
            _count()
            unwritten.discard = _count_from(unwritten.discard, to_its_end=True)
        case "recovery":
            assert __spec__ is not None
            recovery_process.MODULE = __spec__.name
    server.main()
