"""What goes wrong with a synchronization as a whole, in one line with its remedy."""


class SyncError(Exception):
    """The synchronization cannot start, or has halted: the message says what to do."""
