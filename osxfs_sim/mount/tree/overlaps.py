"""The parts of a share that obey a stronger mode, because another export has them too.

Which parts these are is decided in model/consistency.py, by paths. Here they
are recognised: by what the directory is (device and inode number) when the share
is mounted, so that the part stays the other export's wherever the host moves it.
A share without overlaps has no such object, and pays for a look at None.
"""

import os
from collections.abc import Iterable

from osxfs_sim.model.caching import CachePolicy, Consistent
from osxfs_sim.model.consistency import Mode
from osxfs_sim.mount.tree.inodes import Inode, InodeTable

_CONSISTENT = Consistent()


class Overlaps:
    """The modes within one share: *mode* where nothing else is said, stronger ones in *parts*.

    *parts* are paths below the directory *root_fd*, and their modes.
    """

    def __init__(
        self, mode: Mode, parts: Iterable[tuple[str, Mode]], inodes: InodeTable, root_fd: int
    ) -> None:
        self._mode = mode
        self._inodes = inodes
        self._parts: dict[tuple[int, int], Mode] = {}
        for path, stronger in parts:
            status = _nearest(root_fd, path)
            key = status.st_dev, status.st_ino
            self._parts[key] = max(stronger, self._parts.get(key, mode))
        self._strongest = max(self._parts.values(), default=mode)

    def mode_of(self, inode: Inode) -> Mode:
        """The consistency mode that *inode* obeys: of all its names the strongest.

        What has lost its names may have lost them in any part: the strongest there is.
        """
        mode = self._mode
        places, seen = [inode], set[Inode]()
        while places and mode < self._strongest:
            here = places.pop()
            if here in seen:
                continue  # two renames of the host, heard of in the wrong order, make a circle
            seen.add(here)
            mode = max(mode, self._parts.get((here.device, here.host_number), mode))
            if here.parent is not None:
                places.append(here.parent)
            elif here is not self._inodes.root:
                return self._strongest
            places += (parent for parent, _ in here.other_names or ())
        return mode

    def is_stronger(self, inode: Inode) -> bool:
        """Whether *inode* obeys a stronger mode than the share as a whole."""
        return self.mode_of(inode) > self._mode

    def mode_at(self, place: Inode, status: os.stat_result) -> Mode:
        """The consistency mode of what has *status*: *place*, or an object in directory *place*."""
        mode = max(self.mode_of(place), self._parts.get((status.st_dev, status.st_ino), self._mode))
        if mode < self._strongest and status.st_nlink > 1:
            known = self._inodes.find(status)
            if known is not None and known is not place and not known.is_directory:
                mode = max(mode, self.mode_of(known))
        return mode

    def policy_at(
        self, place: Inode, policy: CachePolicy, status: os.stat_result | None = None
    ) -> CachePolicy:
        """The cache policy at *place*, or of *status* in it: *policy*, or a stronger Consistent."""
        mode = self.mode_of(place) if status is None else self.mode_at(place, status)
        return _CONSISTENT if mode is Mode.CONSISTENT else policy


def _nearest(root_fd: int, path: str) -> os.stat_result:
    """The directory *path*, or where it cannot be seen now the one above it that can.

    More than has to then obeys the stronger mode, and nothing less.
    """
    while path not in ("", "."):
        try:
            return os.stat(path, dir_fd=root_fd, follow_symlinks=False)
        except OSError:
            path = os.path.dirname(path)
    return os.fstat(root_fd)
