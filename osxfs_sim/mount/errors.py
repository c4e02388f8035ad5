"""What goes wrong with a share, for its user."""

from osxfs_sim.model.user_error import UserError


class MountError(UserError):
    """The share cannot be mounted, unmounted or found; the message names the remedy."""
