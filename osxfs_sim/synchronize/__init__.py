"""Two-way synchronization of a host's directory with a copy in the guest.

snapshot     what a side holds, as values
scan         reads it from the disk, without leaving the root
ignore       what does not take part
reconcile    what each side must change: pure
stage        brings new content near the place where it goes
transition   makes the changes, never over what was not seen
archive      the last agreed state, and what has been done since
roots        the two directories, opened so that nothing else is reached
watch        hears of changes
engine       one cycle after the other, without threads
synchronizer the same in a thread, as a share runs it
"""

from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.synchronizer import Synchronizer

__all__ = ["SyncError", "Synchronizer"]
