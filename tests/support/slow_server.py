"""The server of a share that answers in an hour, once it was reset; with UNSUPERVISED in the
environment one that nobody looks after, with HOLDS_DEVICE one whose threads wait in the share
with all its descriptors in hand.
"""

import os
from dataclasses import replace
from typing import Any

import trio

from osxfs_sim.model.latency import LatencyModel
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.loop import fd_tables
from osxfs_sim.mount.server import session
from osxfs_sim.mount.server.main import main

_HOUR_NS = 3_600 * 10**9


class Nobody:
    """Stands where the supervisor would be."""

    sync_waits = False

    def __init__(self, *_: object) -> None: ...

    def mounted(self, *_: object, **__: object) -> None: ...

    async def serve(self, *_: object) -> None:
        await trio.sleep_forever()

    def at_work(self) -> None: ...

    def ending(self) -> None: ...

    has_cut = False

    def end(self, **_: object) -> None: ...


def _become_slow(self: session.Session) -> ShareStatus:
    slow = replace(self.system.latency, base_ns=(_HOUR_NS,) * len(OperationClass))
    self.crossings.latency = LatencyModel(slow, seed=0)
    return self.status()


if __name__ == "__main__":
    session.Session.reset = _become_slow  # type: ignore[method-assign]
    if "UNSUPERVISED" in os.environ:
        nobody: Any = Nobody
        session.Supervision = nobody
    if "HOLDS_DEVICE" in os.environ:
        fd_tables._unshare = lambda: False
    main()
