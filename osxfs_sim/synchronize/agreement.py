"""Keeps up to date what is known of the objects that both sides have agreed upon.

Pure, and only where a side's snapshot is another than when it was last compared: what
scans have found unchanged is the same value as before. On the way it finds whose
permissions the other side's object does not keep yet.
"""

from dataclasses import dataclass, field, replace

from osxfs_sim.synchronize import permissions
from osxfs_sim.synchronize.reconcile import Side
from osxfs_sim.synchronize.snapshot import (
    Entry,
    File,
    Known,
    Knowns,
    Link,
    Path,
    Subtree,
    agreed,
    is_alike,
    known_of,
)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What *seen* is to grant to its group and others from now on."""

    side: Side
    """On which side the object is."""
    path: Path
    """Where it lies, relative to the root."""
    seen: File | Subtree
    """What the scan found there."""
    grants: int
    """Permission bits for group and others."""


@dataclass(slots=True)
class Agreement:
    """What keeping the agreed state up to date has found; mutable while it is being found."""

    to_host: bool
    """Whether the host's permissions follow the guest's, too."""
    adjustments: list[Adjustment] = field(default_factory=list)
    """What has to be changed on either side."""
    is_news: bool = False
    """Whether more is known than before."""

    def brought_up_to_date(self, then: Entry, host: Entry, guest: Entry, path: Path = ()) -> Entry:
        """The agreed *then* with the identities and permissions of what both sides have alike."""
        if not isinstance(then, Subtree):
            known = self._known(then, host, guest, path)
            return then if known == then.known else agreed(then, known)
        assert isinstance(host, Subtree)
        assert isinstance(guest, Subtree)
        if (
            then.compared_with is not None
            and then.compared_with[0] is host
            and then.compared_with[1] is guest
        ):
            return then
        before = len(self.adjustments)
        children = dict(then.children)
        for name, child in then.children.items():
            on_host, on_guest = host.children.get(name), guest.children.get(name)
            if (
                isinstance(child, (File, Link, Subtree))
                and isinstance(on_host, (File, Link, Subtree))
                and isinstance(on_guest, (File, Link, Subtree))
                and is_alike(child, on_host)
                and is_alike(child, on_guest)
            ):
                children[name] = self.brought_up_to_date(child, on_host, on_guest, (*path, name))
        known = self._known(then, host, guest, path)
        compared_with = (host, guest) if len(self.adjustments) == before else None
        return replace(then, children=children, known=known, compared_with=compared_with)

    def _known(self, then: Entry, host: Entry, guest: Entry, path: Path) -> Knowns:
        if _grant_the_same(host, then.known[0]) and _grant_the_same(guest, then.known[1]):
            pass  # mostly
        elif not isinstance(host, Link) and not isinstance(guest, Link):
            runs = isinstance(host, Subtree) or host.executable
            wanted = permissions.merged(then.known, host.grants, guest.grants, runs=runs)
            before = len(self.adjustments)
            # The root of the host is its user's own; the guest's is an image of it.
            if wanted[0] != host.grants and self.to_host and path:
                self.adjustments.append(Adjustment("host", path, host, wanted[0]))
            if wanted[1] != guest.grants:
                self.adjustments.append(Adjustment("guest", path, guest, wanted[1]))
            if len(self.adjustments) > before:
                return then.known
        of_host, of_guest = then.known
        known = (
            known_of(host, is_image=of_host is not None and of_host.is_image),
            known_of(guest, is_image=not path or (of_guest is not None and of_guest.is_image)),
        )
        if known != then.known:
            self.is_news = True
        return known


def _grant_the_same(entry: Entry, known: Known | None) -> bool:
    return known is not None and known.grants == entry.grants
