"""Chooses the faults of a share by the names of its bugs."""

from collections.abc import Callable, Iterator

from osxfs_sim.model.bugs import Bug, FaultSpec, heard
from osxfs_sim.mount.events.inject import Injection
from osxfs_sim.mount.faults.descriptors import Descriptors
from osxfs_sim.mount.faults.false_create import FalseCreate, with_false_creations
from osxfs_sim.mount.faults.fault import Fault
from osxfs_sim.mount.faults.lost_by_link import LostByLink
from osxfs_sim.mount.faults.one_spelling import OneSpelling
from osxfs_sim.mount.faults.phantom import Phantom
from osxfs_sim.mount.faults.stale_content import StaleContent
from osxfs_sim.mount.faults.stale_size import StaleSize
from osxfs_sim.mount.faults.still_missing import StillMissing
from osxfs_sim.mount.faults.two_locks import TwoLocks
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.spellings import Spellings
from osxfs_sim.mount.watch.watcher import HostChange

FAULTS: dict[Bug, type[Fault]] = {
    Bug.STALE_SIZE: StaleSize,
    Bug.LOST_BY_LINK: LostByLink,
    Bug.ONE_SPELLING: OneSpelling,
    Bug.TWO_LOCKS: TwoLocks,
    Bug.PHANTOM: Phantom,
    Bug.STALE_CONTENT: StaleContent,
    Bug.STILL_MISSING: StillMissing,
    Bug.FALSE_CREATE: FalseCreate,
    Bug.DESCRIPTORS: Descriptors,
}
"""What makes each bug."""

ChangeFilter = Callable[[HostChange], HostChange | None]
"""What is heard of a change of the host's, if anything is."""
InjectionMapper = Callable[[Injection], Iterator[Injection]]
"""What is raised in the guest in place of an event."""


def faults_of(
    faults: tuple[FaultSpec, ...], inodes: InodeTable, backing: Backing, spellings: Spellings
) -> list[Fault]:
    """The Fault objects of these specs, in the order in which they wrap. Raises MountError."""
    return [FAULTS[each.bug](each.limit, inodes, backing, spellings) for each in reversed(faults)]


def change_filter(faults: tuple[FaultSpec, ...]) -> ChangeFilter | None:
    """A function that says what is left of a host change with *faults*; None: all is, always."""
    if not faults:
        return None

    def hear(change: HostChange) -> HostChange | None:
        what = heard(faults, change.what)
        if not what:
            return None
        return HostChange(change.directory, change.name, what, change.at_ns, change.moved_to)

    return hear


def injection_mapper(faults: tuple[FaultSpec, ...]) -> InjectionMapper | None:
    """A function from an event to those raised instead by *faults*; None: each as it is."""
    if any(each.bug is Bug.FALSE_CREATE for each in faults):
        return with_false_creations
    return None
