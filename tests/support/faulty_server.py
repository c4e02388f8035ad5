"""The server of a share with bugs made here: in a request, in an idle task, in a call of its own.

STATFS fails at once and READLINK in a thread, always; the idle task
of host events does the first few times.
"""

from typing import Any

from osxfs_sim.mount.events.host_events import HostEvents
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.server.main import main

_FAILURES = 3
_failed = 0
_own_work = HostEvents._work


def _statfs(*_: Any) -> Any:
    raise KeyError("statfs")


async def _readlink(*_: Any) -> bytes:
    await in_thread(lambda: 1 / 0)
    return b""


def _work(self: HostEvents, until_ns: int) -> int | None:
    global _failed
    if _failed < _FAILURES:
        _failed += 1
        raise KeyError("events")
    return _own_work(self, until_ns)


if __name__ == "__main__":
    Handlers.statfs = _statfs  # type: ignore[method-assign]
    Handlers.readlink = _readlink  # type: ignore[method-assign, assignment]
    HostEvents._work = _work  # type: ignore[method-assign]
    main()
