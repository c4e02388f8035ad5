"""Keeps a tree of inodes true to what was done on the host: applies the writer's effects to it.

The one place where what the host writer has done becomes what a server knows: its table of inodes,
its descriptors, its watch of the host's changes, the overlay of what is pending, its counts.
"""

import os
import time
from typing import assert_never

from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Facts, Inode, InodeTable
from osxfs_sim.mount.watch.watcher import Watcher
from osxfs_sim.mount.writeback.conflicts import Conflicts
from osxfs_sim.mount.writeback.effects import (
    CameBack,
    Changed,
    Created,
    Effect,
    Kept,
    Linked,
    Lost,
    Moved,
    Named,
    NameLost,
    Opened,
    Overruled,
    Seen,
    Stale,
    Unnamed,
)


class EffectApplier:
    """Applies effects to one tree of inodes. The thread of that tree only."""

    def __init__(
        self,
        namespace: Namespace,
        inodes: InodeTable,
        backing: Backing,
        watcher: Watcher | None,
        conflicts: Conflicts,
    ) -> None:
        """*watcher* is who watches the host's directories, for events; *conflicts* counts."""
        self._namespace = namespace
        self._inodes = inodes
        self._backing = backing
        self._watcher = watcher
        self._needs_own_changes = watcher is not None and watcher.needs_own_changes
        self.conflicts = conflicts
        """What the host has changed meanwhile, and became of it."""

    def apply(self, effect: Effect) -> None:
        """Make the tree of inodes know *effect*, done on the host; takes its descriptor over."""
        inodes = self._inodes
        match effect:
            case Changed(number):
                self._changed(inodes[number])
            case Seen(number, like):
                overlay = inodes[number].overlay
                if overlay is not None:
                    overlay.seen = like
            case Named(parent, name, is_moved):
                directory = inodes[parent]
                tell = self._namespace.name_moved_in if is_moved else self._namespace.name_added
                tell(directory, self._own_fd(directory), name, name)
            case Unnamed(parent, name):
                directory = inodes[parent]
                self._namespace.name_removed(directory, self._own_fd(directory), name, name)
            case Opened():
                self._opened(effect)
            case Created():
                self._created(effect)
            case NameLost(parent, name, identity, is_last, fd):
                known = inodes.find(identity)
                if known is None:
                    os.close(fd)
                else:
                    self._namespace.name_lost(known, inodes[parent], name, fd, is_last=is_last)
            case Moved():
                self._moved(effect)
            case Linked(number, parent, name, links):
                inode, directory = inodes[number], inodes[parent]
                inode.add_name(directory, name, links)
                if directory.sent_dentries is not None:
                    directory.sent_dentries[name] = inode
            case Stale(number):
                self._backing.forget(inodes[number])
            case CameBack(number):
                self.came_back(inodes[number])
            case Lost(parent, name):
                self.conflicts.note_lost(inodes[parent] if parent else None, name)
            case Kept(parent, name):
                self.conflicts.note_kept(inodes[parent], name)
            case Overruled(parent, name):
                self.conflicts.on_conflict(inodes[parent], name)
            case _:
                assert_never(effect)

    def _own_fd(self, directory: Inode) -> int:
        """A descriptor of *directory* for who notes own changes; -1 where there is neither."""
        return self._reached(directory) if self._needs_own_changes else -1

    def _reached(self, directory: Inode) -> int:
        """A descriptor of *directory*, good until the next call; -1 where there is none.

        What has happened is known all the same: only its events are then not told from others'.
        """
        try:
            return self._backing.directory_fd(directory)
        except OSError:
            return -1

    def _changed(self, inode: Inode) -> None:
        overlay = inode.overlay
        fd = overlay.fd if overlay is not None else -1
        if fd >= 0 or not self._needs_own_changes:
            self._namespace.record_change(inode, fd)
            return
        try:
            with self._backing.pinned(inode) as fd:
                self._namespace.record_change(inode, fd)
        except OSError:
            self._namespace.record_change(inode, -1)

    def _opened(self, effect: Opened) -> None:
        inode = self._inodes[effect.number]
        if effect.replaces_handles:
            for handle in inode.open_fds or ():
                os.dup2(effect.fd, handle, inheritable=False)
        overlay = inode.overlay
        if overlay is None:
            os.close(effect.fd)
            return
        if overlay.fd >= 0:
            os.close(overlay.fd)
        overlay.fd = effect.fd

    def _created(self, effect: Created) -> None:
        inode, parent = self._inodes[effect.number], self._inodes[effect.parent]
        self._inodes.created_on_host(inode, parent, effect.name, effect.identity)
        above = parent.facts or inode.facts
        inode.facts = Facts(effect.generation, above.mount_id if above is not None else 0, 0)
        self._namespace.name_added(parent, self._own_fd(parent), effect.name, effect.name)
        if inode.overlay is not None:
            inode.overlay.place = parent, effect.name
            inode.overlay.local_only = False
        if effect.shown is not None:
            inode.shown = effect.shown
            if self._watcher is not None:
                inode.handle = effect.handle
                dir_fd = self._reached(parent)
                if dir_fd >= 0:
                    inode.watched = self._watcher.watch(inode, dir_fd, effect.name)
        inode.changed_ns = time.time_ns()

    def _moved(self, effect: Moved) -> None:
        inode = self._inodes.find(effect.identity)
        if inode is None:
            return
        parent, old_parent = self._inodes[effect.parent], self._inodes[effect.old_parent]
        to, was = (parent, effect.name), (old_parent, effect.old_name)
        if effect.is_found:
            inode.moved(*to, *was)
        else:
            self._namespace.has_moved(inode, to, was)
        if inode.overlay is not None:
            inode.overlay.place = to

    def came_back(self, inode: Inode) -> None:
        """Give a directory that the host keeps, though the guest removed it, a new number.

        Who is in it still has the guest's kernel remember that number as a directory that is
        gone (S_DEAD): it would show it as empty, and make nothing in it, whatever we say.
        """
        if not inode.is_directory or inode.device == -1 or inode.is_local_only:
            return
        try:
            with self._backing.pinned(inode) as fd:
                kept = os.dup(fd)
        except OSError:
            return  # it is gone after all
        for parent, name in [*inode.places()]:
            inode.drop_name(parent, name)
        self._inodes.detach_host_number(inode)
        self._backing.keep_orphan(inode, kept)
