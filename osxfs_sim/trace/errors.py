"""What is wrong with a trace. Known without the library that traces are written with."""

from osxfs_sim.model.user_error import UserError


class TraceError(UserError):
    """A file that is no trace, or a trace that cannot be used so; the message is one line."""
