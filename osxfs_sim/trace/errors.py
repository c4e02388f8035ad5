"""What can be wrong with a trace; by itself, because commands that read none start faster so."""


class TraceError(Exception):
    """A file that is no trace, or a trace that cannot be used so; the message is one line."""
