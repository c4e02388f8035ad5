"""Behaves like the file sharing between a Mac and its containers, on a real kernel.

    with osxfs_sim.share(source, mountpoint, profile="osxfs-cached", latency_ns=65_000) as share:
        ...                       # work in share.mountpoint
        print(share.status())

A map of the code:

    model        what is emulated: pure decisions, no I/O and no clock
    mount        the emulated share on a real kernel (FUSE)
    synchronize  two-way synchronization of a host's directory with a copy in the guest
    coherence    whether and when the guest hears of the host's changes, and sees them
    trace        what was asked of a share, request by request, and where the time went
    simulate     what a recorded workload would ask of another system, in virtual time
    lab          cases, arms, runs and their results
    cases        the workloads themselves, a folder each
    report       tables for reading
    cli          the command osxfs-sim; the only place that wires the parts together
    fs           files in trees that others may change meanwhile
    catalogue    finds profiles, distributions and policies by name
    profile_file  a profile as it is written
    exports      several host trees below one mount point: the share file
    share_options  what an option of a share is: how it is written, and where
    sharing      osxfs_sim.share(): a share for the time of a with block
    settings     what a user asks of a share, and the system that results
    measuring_machine  what this machine adds to a share, for predictions of live runs
    predicted_systems  arms as the systems that predictions are of
    predicting   record and predict: cases, profiles and simulate brought together
    verifying    predictions beside live runs of the recorded case
    emulated_shares  the emulated share as the lab wants it handed in: arms become mounts
    toml_files   files that people write: read, checked, and their mistakes told
    sources      which program and which files a result came of

The public names are those below; docs/reference.md describes them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osxfs_sim.model.caching import CachePolicy, CacheTimeouts
    from osxfs_sim.model.profile import ProfileError
    from osxfs_sim.model.status import ShareStatus
    from osxfs_sim.model.user_error import UserError
    from osxfs_sim.mount.launch import Share
    from osxfs_sim.mount.mounts.mountpoints import MountError
    from osxfs_sim.settings import ShareSettings
    from osxfs_sim.sharing import share

__all__ = [
    "CachePolicy",
    "CacheTimeouts",
    "MountError",
    "ProfileError",
    "Share",
    "ShareSettings",
    "ShareStatus",
    "UserError",
    "__version__",
    "predict",
    "record",
    "share",
    "verify",
]

__version__ = "0.1.0"

# Where they are. They are imported when somebody asks for them: the command line takes no longer
# to start for what it does not use, and what interrupts it meanwhile meets code of ours.
_HOMES = {
    "CachePolicy": "model.caching",
    "CacheTimeouts": "model.caching",
    "MountError": "mount.mounts.mountpoints",
    "ProfileError": "model.profile",
    "Share": "mount.launch",
    "ShareSettings": "settings",
    "ShareStatus": "model.status",
    "UserError": "model.user_error",
    "predict": "predicting",
    "record": "predicting",
    "share": "sharing",
    "verify": "verifying",
}


_RENAMED = {"Lifetimes": "CacheTimeouts"}


def __getattr__(name: str) -> Any:
    if new := _RENAMED.get(name):
        raise ImportError(f"{__name__}.{name} is called {new} now")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"osxfs_sim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
