"""The server of a share with one bug, named by ADVERSARY_BUG, which the judge must find."""

import errno
import os
from typing import Any

from support import checked_server

from osxfs_sim.model.write_back import Kind
from osxfs_sim.mount.server.main import main
from osxfs_sim.mount.writeback import overlay_layers, pending_state
from osxfs_sim.mount.writeback.files import FileHandlers
from osxfs_sim.mount.writeback.fsync import FsyncHandlers
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.removing import RemovalHandlers


def forget() -> None:
    """Each third removal, renaming or write is taken for done, and never reaches the host."""
    apply, count = HostWriter.apply, 0

    def forgetful(self: Any, change: Any) -> None:
        nonlocal count
        count += change.kind in (Kind.UNLINK, Kind.RENAME, Kind.WRITE)
        if change.kind not in (Kind.UNLINK, Kind.RENAME, Kind.WRITE) or count % 3:
            apply(self, change)

    HostWriter.apply = forgetful  # type: ignore[method-assign]


def end() -> None:
    """An unforeseen exception ends it."""
    unlink, count = RemovalHandlers.unlink, 0

    def ending(self: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            os._exit(1)
        return unlink(self, *arguments)

    RemovalHandlers.unlink = ending  # type: ignore[method-assign]


def unsync() -> None:
    """fsync is answered at once: what was synced is lost by a kill of the server."""

    async def answered(*_: Any) -> None:
        return

    FsyncHandlers.fsync = answered  # type: ignore[method-assign]


def leak() -> None:
    """A descriptor stays open for each file that is opened."""
    release = FileHandlers.release

    async def leaking(self: Any, request: Any, fh: int) -> None:
        os.dup(fh)
        await release(self, request, fh)

    FileHandlers.release = leaking  # type: ignore[method-assign]


def wedge() -> None:
    """A change that the host does not take is tried for ever, and flush waits for it."""
    apply = HostWriter.apply

    def refusing(self: Any, change: Any) -> None:
        if change.kind is Kind.RENAME:
            raise OSError(errno.ENOSPC, "seeded")
        apply(self, change)

    HostWriter.apply = refusing  # type: ignore[method-assign]


def lie() -> None:
    """A listing forgets what is held."""
    overlay_layers.merged = lambda names, _: names


def forget_attributes() -> None:
    """What the guest sets never reaches the host."""
    apply = HostWriter.apply

    def forgetful(self: Any, change: Any) -> None:
        if change.kind is not Kind.SET or change.detail.size is not None:
            apply(self, change)

    HostWriter.apply = forgetful  # type: ignore[method-assign]


def count() -> None:
    """The guest's own removals count as conflicts with the host."""
    remove = HostWriter._remove

    def counting(self: Any, change: Any, how: Any) -> None:
        self.conflicts.lose(change.parent, change.name)
        remove(self, change, how)

    HostWriter._remove = counting  # type: ignore[method-assign]


def miscount() -> None:
    """Links of pending changes are not counted, and whoever checks that state is told of it."""
    checked_server.install()
    pending_state.link_effects = lambda _: []  # type: ignore[assignment]


BUGS = {
    "miscount": miscount,
    "forget": forget,
    "end": end,
    "unsync": unsync,
    "leak": leak,
    "wedge": wedge,
    "lie": lie,
    "forget attributes": forget_attributes,
    "count": count,
}

if __name__ == "__main__":
    BUGS[os.environ["ADVERSARY_BUG"]]()
    main()
