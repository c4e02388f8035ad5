"""A share for the time of a measurement, and what the commands that measure one have in common."""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.saying import tell
from osxfs_sim.lab.machine import describe_machine
from osxfs_sim.lab.trees import default_directory
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.model.formatting import format_duration
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.settings import ShareSettings

SCHEMA = 1
"""Of the documents of ``events`` and ``staleness``; it grows when a field changes its meaning."""


def start() -> str:
    """Let SIGTERM and SIGHUP end the command cleanly; returns the present ISO date and time."""
    end_on_signals()
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def shared(settings: ShareSettings) -> Iterator[tuple[Path, Path, Share]]:
    """Context manager: host, guest, share of an empty tree. Raises ProfileError or MountError."""
    if settings.system().profile.is_local:
        raise ProfileError(
            f"the work with the profile {settings.profile} makes no requests: there are no "
            "answers to believe, and events are the kernel's own"
        )
    with work_directory("events", default_directory()) as work:
        # Its real path: by that one the listener names what it hears of.
        host, guest = work.resolve() / "host", work.resolve() / "share"
        host.mkdir()
        guest.mkdir()
        with mounted(replace(settings, source=str(host), mountpoint=str(guest))) as share:
            for warning in share.first_status.warnings:
                tell(f"osxfs-sim: warning: {warning}")
            yield host, guest, share


def settling(share: Share, remedy: str) -> Callable[[], None]:
    """A function that waits until the guest knows of all host changes. It raises UserError.

    Where that takes too long *remedy* is for the user.
    """

    def settle() -> None:
        try:
            share.settle()
        except MountError as error:
            raise UserError(f"{error}; or {remedy}") from error

    return settle


# Of what is changed, that says nothing of the system.
_NO_CIRCUMSTANCE = frozenset({"profile", "seed", "state_directory", "calibrate", "allow_other"})


def circumstances(profile: str, changed: Mapping[str, Any]) -> str:
    """The *profile* and each value *changed* of it in words, parted by ``;``, for a title."""
    said = [profile]
    for key, value in changed.items():
        if key in _NO_CIRCUMSTANCE:
            continue
        if key.endswith("_ns"):
            said.append(f"{key.removesuffix('_ns').replace('_', ' ')} {format_duration(value)}")
        else:
            each = value if isinstance(value, list | tuple) else [value]
            said.append(f"{key.replace('_', ' ')} {', '.join(map(_word, each))}")
    return "; ".join(said)


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"


def head(settings: ShareSettings, started: str) -> dict[str, Any]:
    """The keys that documents of events and staleness begin with: what was measured, and when."""
    return {
        "schema": SCHEMA,
        "profile": settings.profile,
        "changed": settings.given(),
        "policy_digest": settings.policy_digest(),
        "seed": settings.seed,
        "dilate": settings.dilate,
        "started": started,
        "machine": describe_machine(),
    }
