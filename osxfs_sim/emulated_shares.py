"""The emulator's shares, as the lab wants them handed in: arms become mounts.

The lab may not know how anything is mounted, and mount nothing of the lab. This module is the
only one, besides the commands, that knows both.
"""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from osxfs_sim.catalogue import load_profile
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.caches import is_in_memory
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.shares import Identity, MountedShare
from osxfs_sim.model.profile import Transport
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.mount.mounts.mountpoints import unmount
from osxfs_sim.settings import ShareSettings


class EmulatedShares:
    """Mounts arms as shares of this package (lab.shares.ArmMounter)."""

    def check(self, arm: Arm, *, traced: bool) -> None:
        """Raise ProfileError for bad options, CaseError if *traced* without any requests."""
        settings_of(arm).system()
        if traced and load_profile(arm.profile).is_local:
            raise CaseError(
                f"--trace has nothing to record of the arm {arm.label!r}, whose work makes no "
                "requests: trace the others without it"
            )

    def identity(self, arm: Arm, *, dilate: float) -> Identity:
        """Digests of *arm*'s system and of its own policy, if any. Raises ProfileError."""
        system = settings_of(arm, dilate=dilate).system()
        values = (system.profile, system.latency, system.files, system.events, system.write_back)
        own = system.own_policy
        digest = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
        return Identity(digest, None if own is None else own.digest)

    def mount(
        self, arm: Arm, source: Path, mountpoint: Path, *, seed: int, dilate: float
    ) -> AbstractContextManager[MountedShare]:
        """A context manager that shares *source* at *mountpoint* as *arm*. It raises MountError.

        On entering, and on leaving if the share is still in use.
        """
        settings = settings_of(arm, str(source), str(mountpoint), dilate=dilate)
        return mounted_for_a_run(
            settings if "seed" in arm.options else replace(settings, seed=seed)
        )


def settings_of(
    arm: Arm, source: str = "", mountpoint: str = "", *, dilate: float = 1.0
) -> ShareSettings:
    """The ShareSettings that *arm* asks for. Raises ProfileError for an unknown profile.

    *dilate* is for an arm that does not say so itself.
    """
    options = dict(arm.options)
    if not load_profile(arm.profile).is_local:
        options = {"dilate": dilate, **options}  # else there is no time to dilate
    return ShareSettings(source, mountpoint, profile=arm.profile, **options)


@contextlib.contextmanager
def _own_file_system(directory: Path) -> Iterator[None]:
    """Within it, *directory* is one, where that is possible: memory, and root.

    For volumes: the guest has a disk of its own. A watch of the host's whole file system
    (fanotify) would else be told of all that is done in the guest's volumes, and the server
    would be busy with passing it over.
    """
    if os.geteuid() != 0 or not is_in_memory(directory):
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "guest", directory], check=True)
    try:
        yield
    finally:
        unmount(str(directory), lazily=True)  # also where a share could not be ended


@contextlib.contextmanager
def mounted_for_a_run(settings: ShareSettings) -> Iterator[Share]:
    """Context manager: a share, its volumes and copy new. Raises MountError or ProfileError.

    A volume without a directory gets an empty one, and a guest that works on a copy a new one.
    They lie beside the source, which is in the run's own directory, and so on the same kind of
    file system.
    """
    with (
        tempfile.TemporaryDirectory(prefix="guest-", dir=Path(settings.source).parent) as made,
        contextlib.ExitStack() as own,
    ):
        disk = Path(made) / "disk"
        disk.mkdir()
        if any(not directory for _, directory in settings.volumes):
            own.enter_context(_own_file_system(disk))
        volumes = []
        for number, (path, directory) in enumerate(settings.volumes):
            if not directory:
                fresh = disk / f"volume-{number}"
                fresh.mkdir()
                fresh.chmod(0o755)
                directory = str(fresh)
            volumes.append((path, directory))
        settings = replace(settings, volumes=tuple(volumes))
        if settings.system().profile.transport is Transport.COPY:
            settings = replace(
                settings, copy=str(Path(made) / "copy"), state_directory=str(Path(made) / "state")
            )
        with mounted(settings) as share:
            yield share
