"""A layer over something of the same shape: it holds the next, and does some of it otherwise.

What a layer does not do itself is the next one's own method, bound once when the layer is made.
So a call passes through those layers only that have something to do with it.
"""

from typing import Any


class Layer:
    """A decorator of *next*: what its class does not define is *next*'s own method, bound once."""

    next: Any

    def __init__(self, below: Any) -> None:
        """*below* is what it lies over: handlers, host operations, a decision, a listing. It must
        have nothing public but methods: what else it has would be what it was then.
        """
        self.next = below
        own = type(self)
        for name in dir(below):
            if not name.startswith("_") and name != "next" and not hasattr(own, name):
                setattr(self, name, getattr(below, name))
