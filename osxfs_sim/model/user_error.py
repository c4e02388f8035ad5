"""How a user's mistake is reported: one line that names the remedy.

Every exception that carries one is a UserError, so that the command line, the server of a
share and a program that uses the package each catch one class. One that is derived from it
exists only where some caller tells it apart.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was asked for cannot be; the message is one line for the user, with the remedy."""


def nearest(word: str, known: Iterable[str]) -> str:
    """How a message about an unknown *word* ends: ``; did you mean 'X'?``, or all *known* words."""
    known = sorted(known)
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else f": there are {', '.join(known)}"
