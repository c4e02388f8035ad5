"""The server of a share whose slow writes wait in their thread until the test lets them go on.

The test's directory is named by OSXFS_SIM_TEST_GATE: a write that waits makes ``begun`` there,
and goes on once there is ``go``. Where there is ``disorder`` when the server starts, no request
waits for another, as it was before there was an order.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osxfs_sim.model import request_order
from osxfs_sim.mount.requests.handlers import WRITE_IN_THREAD_BYTES
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.server.main import main
from osxfs_sim.mount.writeback.journal_data import JournalData

GATE = "OSXFS_SIM_TEST_GATE"
_LONGEST_S = 200.0


def _wait() -> None:
    gate = Path(os.environ[GATE])
    (gate / "begun").touch()
    until_s = time.monotonic() + _LONGEST_S
    while not (gate / "go").exists() and time.monotonic() < until_s:
        time.sleep(0.001)


def _waiting_write(own: Callable[..., int]) -> Callable[..., int]:
    def write(self: Any, fd: int, offset: int, data: bytes) -> int:
        if len(data) >= WRITE_IN_THREAD_BYTES or fd in self._handles.synchronous:
            _wait()
        return own(self, fd, offset, data)

    return write


def _waiting_put(own: Callable[..., None]) -> Callable[..., None]:
    def put(self: Any, position: int, data: bytes) -> None:
        if len(data) >= WRITE_IN_THREAD_BYTES:
            _wait()
        own(self, position, data)

    return put


if __name__ == "__main__":
    HostOperations.write = _waiting_write(HostOperations.write)  # type: ignore[method-assign]
    JournalData.put = _waiting_put(JournalData.put)  # type: ignore[method-assign]
    if (Path(os.environ[GATE]) / "disorder").exists():
        request_order._waits = lambda *_: False
    main()
