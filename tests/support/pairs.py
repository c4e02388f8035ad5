"""A pair of directories to synchronize, and what lies in them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.synchronize.archive import no_step
from osxfs_sim.synchronize.engine import Engine


class Pair:
    """Two directories, and the engine between them, which may be started again."""

    def __init__(self, base: Path, **spec: Any) -> None:
        self.host, self.guest, self.state = (base / name for name in ("host", "guest", "state"))
        for path in (self.host, self.guest, self.state):
            path.mkdir(exist_ok=True)
        self.spec = SyncSpec(**spec)
        self.at_step: Callable[[str], None] = no_step
        self.steps: list[str] = []
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        def step(name: str) -> None:
            self.steps.append(name)
            self.at_step(name)

        return Engine(*map(os.fsencode, (self.host, self.guest, self.state)), self.spec, step=step)

    def start_anew(self) -> None:
        self.engine.close()
        self.at_step = no_step
        self.engine = self.new_engine()

    def once_at(self, name: str, action: Callable[[], Any]) -> None:
        """Do *action* the next time that the step *name* is about to be taken."""

        def step(reached: str) -> None:
            if reached == name:
                self.at_step = no_step
                action()

        self.at_step = step
