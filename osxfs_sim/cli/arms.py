"""The words of an arm, understood by the same options as a share's own commands."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.catalogue import load_profile
from osxfs_sim.cli.options import ProfileName, share_options
from osxfs_sim.lab.arms import Arm, words_of
from osxfs_sim.lab.caches import is_in_memory
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.model.profile import Profile, Transport
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.mount.mounts.mountpoints import unmount
from osxfs_sim.settings import ShareSettings


@click.command(add_help_option=False)
@click.argument("profile", type=ProfileName())
@share_options
def _arm(**_: Any) -> None:
    """Never called: it is here for its parameters."""


def parse_arm(text: str) -> Arm:
    """The arm that *text* stands for. Raises UserError, ProfileError or click's UsageError."""
    label, words = words_of(text)
    try:
        context = _arm.make_context("arm", words)
    except click.UsageError as error:
        message = error.format_message().rstrip(".")
        raise click.UsageError(f"the arm {text!r}: {message}") from error
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    arm = Arm(label, given.pop("profile"), given)
    if arm.is_native and given:
        raise click.UsageError(
            f"the arm {text!r}: options of a share have no effect natively: name a profile"
        )
    if not arm.is_native:
        settings_of(arm).system()  # a mistake is found before anything has run
    return arm


def parse_arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    """Each of *texts* as an arm."""
    return tuple(parse_arm(text) for text in texts)


def settings_of(
    arm: Arm, source: str = "", mountpoint: str = "", *, dilate: float = 1.0
) -> ShareSettings:
    """The share that *arm* asks for; *dilate* is for an arm that does not say so itself."""
    options = dict(arm.options)
    if not load_profile(arm.profile).is_local:
        options = {"dilate": dilate, **options}  # else there is no time to dilate
    return ShareSettings(source, mountpoint, profile=arm.profile, **options)


def check_traceable(arms: Iterable[tuple[str, Profile]]) -> None:
    """That each of *arms*, a label and its profile, makes requests. Raises CaseError."""
    for label, profile in arms:
        if profile.is_local:
            raise CaseError(
                f"--trace has nothing to record of the arm {label!r}, whose work makes no "
                "requests: trace the others without it"
            )


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
    """The share of a run: what of it is the guest's alone is fresh, and gone afterwards.

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
