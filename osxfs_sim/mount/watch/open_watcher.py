"""Chooses by what the host's changes are seen."""

from osxfs_sim.mount.errors import MountError
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.watch.fanotify import FanotifyWatcher
from osxfs_sim.mount.watch.inotify import InotifyWatcher
from osxfs_sim.mount.watch.watcher import Watcher


def open_watcher(choice: str, root: Inode, root_fd: int) -> Watcher:
    """A watcher for the tree at *root_fd*, which watches no directory yet. Raises MountError.

    *choice* is one of CHOICES; "auto" is fanotify where it can be had, since it names the process
    that made a change, else inotify.
    """
    if choice == "fanotify":
        return FanotifyWatcher(root, root_fd)
    if choice == "auto":
        try:
            return FanotifyWatcher(root, root_fd)
        except MountError:
            pass
    return InotifyWatcher(root, root_fd)
