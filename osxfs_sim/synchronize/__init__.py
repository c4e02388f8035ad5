"""Two-way synchronization of a host's directory with a copy in the guest.

snapshot      what a side holds, as values
scan          reads it from the disk, without leaving the root
ignore        what does not take part
reconcile     what each side must change: pure
stage         brings new content near the place where it goes
transition    makes the changes, never over what was not seen
agreement     which objects that was on both sides, and what they grant
permissions   what one side's object may grant for the other's: pure
archive       the last agreed state, and what has been done since
roots         the two directories, opened so that nothing else is reached
claims        what other shares of this machine have
watch         hears of changes
engine        one cycle after the other, without threads
synchronizer  the same in a thread, as a share runs it
errors        what a user can do something about
"""

from osxfs_sim.synchronize.claims import Claim
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.permissions import created
from osxfs_sim.synchronize.synchronizer import Synchronizer

__all__ = ["Claim", "SyncError", "Synchronizer", "created"]
