"""Starts a module in a process that cannot import pyfuse3, nor what comes with it.

What writes to the host needs no mount: so it runs where none can be had, and a mistake that
would tie it to one again is found by the first process that is started.

Its arguments are the name of the module, whose main() is called, and what that takes.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from osxfs_sim.mount import syscalls

BLOCKED = ("pyfuse3", "trio")


def block(names: Sequence[str] = BLOCKED) -> None:
    """Have imports of modules of these *names* raise ImportError in this process from now on."""
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs main() of *module* in a process without pyfuse3 and trio."""
    # -P: a file of the caller's directory must not stand in for a library.
    return [sys.executable, "-P", "-m", __name__, module, *arguments]


def become(user: str) -> None:
    """Be the share's user (ServerUser.as_argument) from now on. Raises OSError.

    So call it when all is imported. Raises OSError.
    """
    if user == "-":
        return
    uid, gid, groups = user.split(":")
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))


def end_with(parent_pid: int) -> None:
    """Be killed when the parent, process *parent_pid*, ends; exits with 1 if it has.

    Call it after become(), which undoes it.
    """
    syscalls.signal_when_parent_ends(signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)


def main() -> None:
    """Run the process: block imports, then run main() of the module named first."""
    block()
    module = sys.argv[1]
    del sys.argv[1]
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
