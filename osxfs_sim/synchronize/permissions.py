"""What group and others may do on the other side: never more than on this one.

Pure, on the bits of a mode. A side's own user may always grant more on that side;
what is taken away on one side is taken away on the other. What is granted later on
the side where an object was made is granted to its image on the other too, and never
the other way round: who chmods a copy does not open the original.
"""

from osxfs_sim.synchronize.snapshot import USUAL_GRANTS, Knowns

_READ, _WRITE = 0o044, 0o022


def created(grants: int, *, runs: bool) -> int:
    """The mode bits for a new file (*runs*: directory) whose counterpart grants *grants*."""
    return (0o755 if runs else 0o644) & (0o700 | _tidy(grants))


def replacing(mode: int, grants: int, *, runs: bool) -> int:
    """The new mode bits of a file of *mode* whose content comes from one that grants *grants*."""
    owner = mode & 0o700 | 0o400
    owner = owner | 0o100 if runs else owner & ~0o100
    may_run = (mode & _READ) >> 2 & grants if runs else 0  # for each who may read
    return owner | _tidy(mode & (grants | _WRITE) & (_READ | _WRITE) | may_run)


def merged(then: Knowns, host: int, guest: int, *, runs: bool) -> tuple[int, int]:
    """The permission bits of group and others that the (host's, guest's) object shall have."""
    limit = USUAL_GRANTS if runs else _READ
    host_then, guest_then = then
    if host_then is None or guest_then is None:
        both = host & guest | ~limit
        return _without(host, ~both), _without(guest, ~both)
    taken_by_host = host_then.grants & ~host & limit
    taken_by_guest = guest_then.grants & ~guest & limit
    new_host = _without(host, taken_by_guest)
    new_guest = _without(guest, taken_by_host)
    if host_then.is_image:
        new_host |= guest & ~guest_then.grants & limit & ~taken_by_host
    if guest_then.is_image:
        new_guest |= host & ~host_then.grants & limit & ~taken_by_guest
    return new_host, new_guest


def _without(grants: int, taken: int) -> int:
    """*grants* without *taken*: who may no longer read may not write either."""
    return grants & ~(taken | (grants & taken & _READ) >> 1)


def _tidy(grants: int) -> int:
    """Who may not read may not write either."""
    return grants & ~((~grants & _READ) >> 1) & 0o077
