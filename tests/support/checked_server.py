"""The server of a share that ends as soon as the state of what is pending contradicts itself.

What ties that together (writeback/__init__.py) is looked at after each step of the event loop in
which a change was held or the host got one; the journal, which has to be read for it, now and then.
"""

import logging
import os
from typing import Any

from osxfs_sim.mount.server.main import main
from osxfs_sim.mount.writeback import invariant
from osxfs_sim.mount.writeback.writeback import WriteBack

log = logging.getLogger(__name__)

JOURNAL_READ_EVERY = 64
"""Steps."""


def install() -> None:
    """From now on the state of each share of this process is checked."""
    for name in ("defer", "_applied", "_set_aside"):
        setattr(WriteBack, name, _checked(getattr(WriteBack, name)))


def _checked(method: Any) -> Any:
    steps, is_due = 0, False

    def checked(self: WriteBack, *arguments: Any, **keywords: Any) -> Any:
        nonlocal is_due

        def check() -> None:
            nonlocal steps, is_due
            steps, is_due = steps + 1, False
            _check(self, with_journal=steps % JOURNAL_READ_EVERY == 1)

        answer = method(self, *arguments, **keywords)
        if not is_due:
            is_due = True
            self._reactor.call_soon(check)  # when the request is done with it
        return answer

    return checked


def _check(write_back: WriteBack, *, with_journal: bool) -> None:
    inodes = write_back._inodes
    wrong = [
        *invariant.list_and_overlay(write_back, inodes),
        # Requests that wait for a thread have their bytes kept already.
        *invariant.overlay_and_data(write_back, inodes, exactly=False),
        *invariant.pending_and_table(write_back, inodes),
        *invariant.overlay_and_descriptors(write_back, inodes),
    ]
    if with_journal:
        wrong += invariant.list_and_journal(write_back)
    if wrong:
        log.error("the state of what is pending contradicts itself: %s", wrong)
        os._exit(3)


if __name__ == "__main__":
    install()
    main()
