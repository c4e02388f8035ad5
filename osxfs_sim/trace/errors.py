"""What is wrong with a trace. Known without the library that traces are written with."""


class TraceError(Exception):
    """A file that is no trace, or a trace that cannot be used so; the message is one line."""
