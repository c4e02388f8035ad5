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
        """What lies over *below*, which finds the inode of a name; *below* itself: nothing."""
        return below

    def over_show(self, below: Show) -> Show:
        """What lies over *below*, which makes attributes; *below* itself: nothing."""
        return below

    def over_caching(self, below: Caching) -> Any:
        """What lies over *below*, which decides timeouts; *below* itself: nothing."""
        return below

    def over_entries(self, below: Entries) -> Any:
        """What lies over *below*, which makes entries; *below* itself: nothing."""
        return below

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """What lies over *below*, the host's part of requests; *below* itself: nothing.

        *evict* is to be called with what was identified, and is not sent to the guest after all.
        """
        del evict
        return below

    def over_eviction(self, below: Evict) -> Evict:
        """What lies over *below*, which is called with evicted inodes; *below* itself: nothing."""
        return below

    def over_injected(self, below: Any, injector: Any) -> Any:
        """What lies over *below*, which answers the injected requests of *injector*."""
        del injector
        return below

    def on_name_added(self, parent: Inode, requested: bytes) -> None:
        """The guest has made a name in *parent*, by asking for *requested*."""

    def close(self) -> None:
        """Free what it holds: the share has ended."""
