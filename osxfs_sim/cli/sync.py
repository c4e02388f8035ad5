"""``sync``: how the two sides of a synchronized share stand, and going on after a halt."""

import click

from osxfs_sim.cli import Group
from osxfs_sim.cli.options import PlainPath, json_option
from osxfs_sim.cli.saying import say_json
from osxfs_sim.model.documents import document_of
from osxfs_sim.model.status import SynchronizationStatus
from osxfs_sim.mount.mounts.control import ask, ask_status, understanding
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.report.synchronization import synchronization_report


@click.group(cls=Group)
def sync() -> None:
    """See how a synchronized share stands, and let it go on after a halt.

    \b
    osxfs-sim sync status /mnt/share
    osxfs-sim sync resume /mnt/share
    """


@sync.command()
@click.argument("mountpoint", type=PlainPath())
@json_option
def status(mountpoint: str, as_json: bool) -> None:
    """Say what both sides of the share hold, conflicts, and what cannot move."""
    found = _synchronization(mountpoint)
    if as_json:
        say_json(document_of(found), indent=2)
        return
    with understanding(mountpoint):
        synchronization_report(mountpoint, found)


@sync.command()
@click.argument("mountpoint", type=PlainPath())
def resume(mountpoint: str) -> None:
    """Let the share at MOUNTPOINT go on with its two directories as they are.

    After a halt, which `osxfs-sim sync status` explains. If one side was emptied and
    you resume, the other side is emptied too.
    """
    if _synchronization(mountpoint).halted is None:
        raise MountError(f"the share at {mountpoint} has not halted: there is nothing to resume")
    ask(mountpoint, "sync-resume")


def _synchronization(mountpoint: str) -> SynchronizationStatus:
    found = ask_status(mountpoint).synchronization
    if found is None:
        raise MountError(
            f"the share at {mountpoint} is not synchronized: "
            "mount it with a profile of synchronized shares (osxfs-sim profiles)"
        )
    return found
