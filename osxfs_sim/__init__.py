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
    lab          cases, arms, runs and their results
    cases        the workloads themselves, a folder each
    report       tables for reading
    cli          the command osxfs-sim; the only place that wires the parts together
    fs           files in trees that others may change meanwhile
    catalogue    finds profiles, distributions and policies by name
    exports      several host trees below one mount point: the share file
    settings     what a user asks of a share, and the system that results
    emulated_shares  the emulated share as the lab wants it handed in: arms become mounts
    sources      which program and which files a result came of

The public names are those below; docs/reference.md describes them.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike, fspath

from osxfs_sim.exports import is_share_file, load_exports
from osxfs_sim.model.caching import CachePolicy, Lifetimes
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.settings import ShareSettings

__all__ = [
    "CachePolicy",
    "Lifetimes",
    "MountError",
    "ProfileError",
    "Share",
    "ShareSettings",
    "__version__",
    "share",
]

__version__ = "0.1.0"


def share(
    source: str | PathLike[str],
    mountpoint: str | PathLike[str],
    *,
    profile: str = "osxfs",
    latency_ns: int | None = None,
    bandwidth: str | None = None,
    distribution: str | None = None,
    served_at_once: int | None = None,
    data_path: tuple[int, int] | None = None,
    lifetime_ns: int | None = None,
    missing_lifetime_ns: int | None = None,
    policy: str | None = None,
    ownership: str | None = None,
    names: str | None = None,
    extended_attributes: str | None = None,
    replaced: str | None = None,
    host_events: str = "auto",
    event_latency_ns: int | None = None,
    write_back_age_ns: int | None = None,
    write_back_changes: int | None = None,
    write_back_bytes: str | None = None,
    kernel_write_back: bool | None = None,
    unwritten: str | None = None,
    dilate: float = 1.0,
    seed: int = 0,
    allow_other: bool | None = None,
    user: str | None = None,
    state_directory: str | PathLike[str] | None = None,
    calibrate: bool = True,
    host_services: Mapping[str, str | PathLike[str]] | None = None,
    volumes: Mapping[str, str | PathLike[str]] | None = None,
    copy: str | PathLike[str] | None = None,
    bugs: Sequence[str] = (),
) -> AbstractContextManager[Share]:
    """Share *source* at *mountpoint* for the time of a ``with`` block.

    The server is a process of its own; the share is unmounted when the block
    ends, however it ends. *source* may be a share file (osxfs_sim.exports): each
    of its exports is then a Share in ``exports``, and the keywords given hold for all
    of them. The keywords are those of ShareSettings, and mean
    what the options of ``osxfs-sim mount`` mean: None leaves a value as the
    profile has it. *host_services* maps names to paths of the host's sockets: each
    is then reached as host-services/NAME.sock in the share. *volumes* maps paths in the
    share to guest-local directories that the guest has there; *copy* is where the guest's copy
    lies, for a profile that has one. *bugs* names bugs of real systems that it shall have, such
    as phantom (docs/museum.md).

    Raises MountError or ProfileError on entering, each with one line that
    names the remedy, and MountError on leaving if the share is still in use.
    """
    if isinstance(bugs, str):
        raise ProfileError(f"bugs = {bugs!r}: give a sequence of names, such as [{bugs!r}]")
    settings = ShareSettings(
        fspath(source),
        fspath(mountpoint),
        profile=profile,
        latency_ns=latency_ns,
        bandwidth=bandwidth,
        distribution=distribution,
        served_at_once=served_at_once,
        data_path=data_path,
        lifetime_ns=lifetime_ns,
        missing_lifetime_ns=missing_lifetime_ns,
        policy=policy,
        ownership=ownership,
        names=names,
        extended_attributes=extended_attributes,
        replaced=replaced,
        host_events=host_events,
        event_latency_ns=event_latency_ns,
        write_back_age_ns=write_back_age_ns,
        write_back_changes=write_back_changes,
        write_back_bytes=write_back_bytes,
        kernel_write_back=kernel_write_back,
        unwritten=unwritten,
        dilate=dilate,
        seed=seed,
        allow_other=allow_other,
        user=user,
        state_directory=None if state_directory is None else fspath(state_directory),
        calibrate=calibrate,
        host_services=tuple((name, fspath(path)) for name, path in (host_services or {}).items()),
        copy=None if copy is None else fspath(copy),
        volumes=tuple((path, fspath(place)) for path, place in (volumes or {}).items()),
        bugs=tuple(bugs),
    )
    if is_share_file(settings.source):
        return mounted(load_exports(settings.source, settings.mountpoint, settings.given()))
    return mounted(settings)
