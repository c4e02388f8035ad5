"""Decides what becomes of a change that the host has refused when it was applied.

It was acknowledged to the guest long ago. So a refusal ends in one of two ways, and always
does: the host takes the change after all, or the change is set aside by itself, with what
depends on it and nothing else (the closure is write_back.depending()).

    room      no space, no quota, read-only: the host may have room again. As long as it says itself
              that it has none, the change waits, and all behind it: it would fare no better. But
              where something behind it would make room, it does not wait for ever.
    later     may be different in a moment: tried again for a while, then set aside
    never     anything else, an errno that is not named here included

Each change is tried twice at once: the first attempt may have got half way, which the second
then finds, or may have failed for want of what the server can free itself (descriptors).
"""

import enum
import errno

PATIENCE_NS = 5_000_000_000
"""How long a change is tried that the host may take in a moment."""

OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

PERHAPS_LATER = OF_ROOM | {
    *(errno.EIO, errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ETXTBSY, errno.ESTALE),
    *(errno.ENOMEM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.ENOLCK, errno.EDEADLK),
    *(errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
    *(errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNREFUSED),
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO, errno.ESHUTDOWN),
}
"""What may be different in a moment."""


class Verdict(enum.Enum):
    """What becomes of a change that the host has refused."""

    AGAIN = "again"
    """Try it again at once."""
    WAIT = "wait"
    """It stays the oldest; try it again in a while."""
    ASIDE = "aside"
    """The host will not take it."""


def judge(
    code: int,
    refused: int,
    waited_ns: int,
    *,
    has_room: bool,
    makes_room: bool = False,
    ends: bool = False,
) -> Verdict:
    """Decide about a change refused with errno *code*, the *refused*-th time: again, wait or aside.

    *waited_ns* is since the first time. *has_room* is whether the host says that it has room,
    *makes_room* whether something that waits behind it, and does not depend on it, would make
    some. *ends*: the share ends, and waiting is no longer possible.
    """
    is_out_of_patience = ends or waited_ns >= PATIENCE_NS
    if code in OF_ROOM and not has_room:
        return Verdict.ASIDE if makes_room and is_out_of_patience else Verdict.WAIT
    if refused < 2:
        return Verdict.AGAIN
    if code in PERHAPS_LATER and not is_out_of_patience:
        return Verdict.WAIT
    return Verdict.ASIDE
