"""What a fault may lie over: the seams of a share, each of which it may leave as it is."""

from collections.abc import Callable
from typing import Any

from osxfs_sim.mount.requests.attributes import Show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.identities import Identify
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings

Evict = Callable[[Inode], None]


class Fault:
    """One bug of one share. Each method is given what is next, and returns what lies over it."""

    def __init__(
        self, limit: int, inodes: InodeTable, backing: Backing, spellings: Spellings
    ) -> None:
        """*limit* is the bug's number, where it takes one."""
        self._limit = limit
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings

    def over_identify(self, below: Identify) -> Identify:
        """*below*, which finds the inode of a name, wrapped by this fault; as it is by default."""
        return below

    def over_show(self, below: Show) -> Show:
        """*below*, which makes replies' attributes, wrapped by this fault; as it is by default."""
        return below

    def over_caching(self, below: Caching) -> Any:
        """*below*, which decides cache timeouts, wrapped by this fault; as it is by default."""
        return below

    def over_entries(self, below: Entries) -> Any:
        """*below*, which makes entries, wrapped by this fault; as it is by default."""
        return below

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, the host's part of requests, wrapped by this fault; as it is by default.

        *evict* is to be called with what was identified, and is not sent to the guest after all.
        """
        del evict
        return below

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, called with evicted inodes, wrapped by this fault; as it is by default."""
        return below

    def over_injected(self, below: Any, injector: Any) -> Any:
        """*below*, which answers *injector*'s requests, wrapped by this fault; else as it is."""
        del injector
        return below

    def on_name_added(self, parent: Inode, requested: bytes) -> None:
        """Note that the guest has made *requested* in *parent*; does nothing by default."""

    def close(self) -> None:
        """Free what the fault holds, at the share's end; does nothing by default."""
