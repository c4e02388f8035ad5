"""The requests of a share whose guest keeps its changes for a while: the contract's ``delegated``.

A change is checked against what the guest is shown, recorded (writeback.py), and answered
without a crossing. What the guest asks is answered from what is pending where that says it
all, and else by the host, with what is pending laid over it. So every process of the guest
sees the guest's changes at once and in every way.

Not deferred, but made on the host at once, after what they depend on: sockets, FIFOs and
devices (DEL-8), extended attributes, exchanges of two names, objects without a name on the host,
whatever lies where an overlapping export is stronger (DEL-5), in another mount below, or is
immutable, and what only the host can judge (host_limits.py): so it is refused at once, if it is.
"""

import os

from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import Source
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.xattrs import GuestAttributes
from osxfs_sim.mount.writeback.attributes import AttributeHandlers
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.directories import DirectoryHandlers
from osxfs_sim.mount.writeback.files import FileHandlers
from osxfs_sim.mount.writeback.fsync import FsyncHandlers
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.lookup import LookupHandler
from osxfs_sim.mount.writeback.making import MakingHandlers
from osxfs_sim.mount.writeback.removing import RemovalHandlers
from osxfs_sim.mount.writeback.renaming import RenameHandler
from osxfs_sim.mount.writeback.room import HostRoom
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack


class WriteBackHandlers(Layer):
    """The layer of requests that defers changes; *next* does at once what has to be."""

    next: Handlers

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        view: GuestView,
        side: GuestSide,
        deferral: Deferral,
        *,
        calls: HostCalls,
        crossings: Crossings,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        caching: Caching,
        handles: HandleTable,
        operations: HostOperations,
        listing: Source,
        guest_attributes: GuestAttributes,
        overlaps: Overlaps | None,
        server_is_root: bool,
        kernel_writes_back: bool,
    ) -> None:
        """*operations* and *listing* are those with what is pending laid over them."""
        super().__init__(below)
        self._null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._view, self._side, self._deferral = view, side, deferral
        root = server_is_root
        room = HostRoom(
            *(inodes.root.path_fd, deferral.limits, write_back.changes, deferral.check_mounts)
        )
        deferring = Deferring(write_back, calls, backing)
        write_through = WriteThrough(write_back)
        rights = ServerRights(calls, backing, write_through, server_is_root=root)
        fsync = FsyncHandlers(below, calls, backing, handles, deferral, write_through, side)
        self.flush, self.fsync, self.fsyncdir = fsync.flush, fsync.fsync, fsync.fsyncdir

        lookup = LookupHandler(
            *(below, calls, inodes, deferral.limits, view, rights, write_through),
            server_is_root=root,
        )
        self.lookup, self.inode_called = lookup.lookup, lookup.inode_called

        self._making = making = MakingHandlers(
            *(below, write_back, calls, inodes, owners, deferral, room, view, side, rights),
            *(deferring, write_through),
        )
        self.mknod, self.mkdir, self.symlink = making.mknod, making.mkdir, making.symlink
        self.link = making.link

        self._removing = removing = RemovalHandlers(
            *(below, write_back, calls, crossings, inodes, deferral, view, rights, deferring),
            write_through,
            server_is_root=root,
        )
        self.unlink, self.rmdir = removing.unlink, removing.rmdir

        self._renaming = renaming = RenameHandler(
            *(below, write_back, calls, crossings, inodes, deferral, view, side, rights),
            *(deferring, write_through),
            has_overlaps=overlaps is not None,
            server_is_root=root,
        )
        self.rename = renaming.rename

        self._attributes = attributes = AttributeHandlers(
            *(below, write_back, calls, inodes, owners, handles, guest_attributes, deferral),
            *(room, view, rights, deferring, write_through),
            server_is_root=root,
        )
        self.getattr, self.setattr = attributes.getattr, attributes.setattr
        self.readlink, self.access = attributes.readlink, attributes.access
        self.setxattr, self.removexattr = attributes.setxattr, attributes.removexattr
        self.getxattr, self.listxattr = attributes.getxattr, attributes.listxattr

        self._files = files = FileHandlers(
            *(below, write_back, calls, crossings, inodes, caching, handles, operations),
            *(deferral, room, view, side, rights, deferring, write_through),
            *(making, attributes, fsync, self._null_fd),
            server_is_root=root,
            kernel_writes_back=kernel_writes_back,
        )
        self.open, self.create, self.release = files.open, files.create, files.release
        self.read, self.write = files.read, files.write

        directories = DirectoryHandlers(
            *(below, calls, inodes, handles, listing, side, rights, write_through),
            self._null_fd,
            server_is_root=root,
        )
        self.opendir, self.readdir = directories.opendir, directories.readdir
        self.releasedir = directories.releasedir

    def close(self) -> None:
        """Free its descriptors."""
        os.close(self._null_fd)
        self._deferral.close()
