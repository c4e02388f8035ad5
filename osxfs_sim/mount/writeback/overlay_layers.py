"""The layers that lay what is pending over the host's part of requests, and of listings."""

from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, ReaddirToken, RequestContext

from osxfs_sim.model.caching import UNCACHED
from osxfs_sim.mount.requests.handle_table import Listing
from osxfs_sim.mount.requests.host_listing import DIRENTPLUS_BYTES, Source
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.writeback.guest_view import GuestView, guest_parent


def merged(names: list[bytes], overlay: dict[bytes, bool]) -> list[bytes]:
    """The host's *names*, changed by *overlay*: name to whether the guest has it."""
    if not overlay:
        return names
    shown = [name for name in names if name not in overlay]
    return shown + [name for name, is_there in overlay.items() if is_there]


class OverlayListing(Layer):
    """A listing with pending names laid over the host's."""

    next: Source

    def __init__(self, below: Source, view: GuestView) -> None:
        super().__init__(below)
        self._view = view

    def names(self, fh: int, listing: Listing) -> list[bytes]:
        """The listing's names as the guest has changed them, in stable order. Raises OSError."""
        names: list[bytes] = self.next.names(fh, listing)
        together = merged(names[2:], listing.pending_names)
        # Positions that were sent before stay what they were, though names have moved from
        # what is pending to the host's own order.
        present = set(together)
        earlier = [name for name in listing.names[2:] if name in present]
        if earlier:
            known = set(earlier)
            together = earlier + [name for name in together if name not in known]
        return names[:2] + together

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add an entry to a READDIRPLUS reply; its bytes, 0: no room. Raises OSError."""
        name = listing.names[position]
        directory = listing.directory
        overlay = directory.overlay
        if overlay is None:
            return self.next.add_entry(token, fh, listing, position)
        if name in (b".", b".."):
            if not overlay.local_only:
                return self.next.add_entry(token, fh, listing, position)
            inode = directory
            if name == b"..":
                inode = guest_parent(directory) or directory
            status = self._view.status(inode)
            entry = self._view.show(inode, status, listing.caller, UNCACHED)
            added = pyfuse3.readdir_reply(token, name, entry, position + 1)
            return DIRENTPLUS_BYTES if added else 0
        known = overlay.name(name)
        if known is None:
            return 1 if overlay.local_only else self.next.add_entry(token, fh, listing, position)
        if known.inode is None:
            return 1  # gone since the listing began: passed over
        caller: Any = listing.caller
        entry = self._view.pending_entry(directory, name, known.inode, caller)
        if not pyfuse3.readdir_reply(token, name, entry, position + 1):
            known.inode.nlookup -= 1
            return 0
        return DIRENTPLUS_BYTES + len(name)


class OverlayOperations(Layer):
    """The host's part of requests, where the host may not have the object yet."""

    next: HostOperations

    def __init__(self, below: HostOperations, inodes: InodeTable, view: GuestView) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._view = view

    def getattr(
        self, number: int, ctx: RequestContext, *, is_cached: bool = True
    ) -> EntryAttributes:
        """The attributes of inode *number*, of the guest alone if local-only. Raises OSError."""
        inode = self._inodes[number]
        if inode.is_local_only:  # what it is open by is nothing of the host's yet
            return self._view.pending_attributes(inode, b"", ctx, is_cached=is_cached)
        return self.next.getattr(number, ctx, is_cached=is_cached)
