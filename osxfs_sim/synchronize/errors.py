"""What goes wrong with a synchronization as a whole, in one line with its remedy."""

from osxfs_sim.model.user_error import UserError


class SyncError(UserError):
    """The synchronization cannot start, or has halted: the message names the remedy."""
