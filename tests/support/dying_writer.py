"""The process of a host writer, killed once, before its n-th step: a call that changes the host.

WRITER_DIES says at which step, and which file tells that it has: the next process goes on.
"""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osxfs_sim.mount import syscalls

from . import writer_process

_STEPS = (
    *("open", "mkdir", "symlink", "link", "unlink", "rmdir", "pwrite", "ftruncate", "chmod"),
    *("utime", "setxattr", "fstat", "dup"),
)
_OWN_STEPS = ("rename", "set_times")


def main() -> None:
    step, _, path = os.environ["WRITER_DIES"].partition(":")
    left, died = int(step), Path(path)
    if died.exists():
        writer_process.main()
        return

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counting(*arguments: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return counting

    def add_layer(_: Any) -> None:
        for name in _STEPS:
            setattr(os, name, counted(getattr(os, name)))
        for name in _OWN_STEPS:
            setattr(syscalls, name, counted(getattr(syscalls, name)))

    writer_process.main(add_layer)
