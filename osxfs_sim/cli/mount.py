"""``mount``: a share, or all that a share file exports."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.options import PlainPath, mount_options
from osxfs_sim.cli.saying import tell
from osxfs_sim.cli.trust import check_file, modules_named, trust_option
from osxfs_sim.exports import is_share_file, load_exports
from osxfs_sim.model.profile import Transport
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.launch import launch, launch_exports
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.settings import Exports, ShareSettings

_WORTH_TELLING_S = 2.0


@click.command()
@click.argument("source", type=PlainPath())
@click.argument("mountpoint", type=PlainPath())
@mount_options
@trust_option
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.pass_context
def mount(
    ctx: click.Context,
    /,
    source: str,
    mountpoint: str,
    foreground: bool,
    trust: bool,
    **options: Any,
) -> None:
    """Share the directory SOURCE at MOUNTPOINT.

    Returns once the share can be used, and serves it in the background until it
    is unmounted (osxfs-sim umount, umount, fusermount3 -u) or gets a signal.

    SOURCE may be a share file (.toml), which exports several directories below
    MOUNTPOINT, each with options of its own; options given here hold for all.

    \b
    osxfs-sim mount ~/project /mnt/share --profile osxfs
    osxfs-sim mount ~/project /mnt/share --profile osxfs-cached --latency 65us --seed 7
    osxfs-sim mount share.toml /mnt/share
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # so that nothing half mounted is left
    if is_share_file(source):
        if options["trace"] is not None:
            raise MountError("a trace is of one share: mount the export by itself, or trace a run")
        if options["volumes"]:
            raise MountError(
                "a volume is in one share: in a share file, write such as "
                'volumes = { "node_modules" = "volume" } in the table of its export'
            )
        given = {
            key: value
            for key, value in options.items()
            if ctx.get_parameter_source(key) is not ParameterSource.DEFAULT
        }

        def say_first(policies: Sequence[str]) -> None:
            check_file(source, modules_named(policies), trusted=trust)

        _mount_exports(load_exports(source, mountpoint, given, say_first), foreground)
        return
    settings = ShareSettings(source, mountpoint, **options)
    if not foreground:
        with _telling_of_a_copy(settings):
            share = launch(settings, _say_waiting)
        share.detach()
        _say_ready(share.first_status)
        _say_alone(settings)
        return
    if settings.system().profile.is_local:
        from osxfs_sim.mount.server.local import serve_local as serve
    else:
        from osxfs_sim.mount.server.session import serve
    _say_alone(settings)
    serve(settings, _say_ready, _say_waiting)


@contextlib.contextmanager
def _telling_of_a_copy(settings: ShareSettings) -> Iterator[None]:
    """Say what takes so long, once somebody may wonder."""
    if settings.system().profile.transport is not Transport.COPY:
        yield
        return
    words = f"osxfs-sim: copying {settings.source} for the guest ..."
    timer = threading.Timer(_WORTH_TELLING_S, lambda: tell(words))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _mount_exports(exports: Exports, foreground: bool) -> None:
    share = launch_exports(exports, _say_waiting)
    try:
        for each in (share, *share.exports):
            _say_ready(each.first_status)
        _say_alone(exports.root)
        if foreground:
            share.wait()
    except (KeyboardInterrupt, SystemExit):
        share.end()
        return
    share.detach()


def _say_waiting(what: str) -> None:
    tell(f"osxfs-sim: {what} ...")


def _interrupt(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _say_ready(status: ShareStatus) -> None:
    for warning in status.warnings:
        tell(f"osxfs-sim: warning: {warning}")


def _say_alone(settings: ShareSettings) -> None:
    if os.geteuid() != 0 and not settings.allow_other:
        tell(
            "osxfs-sim: note: only you can use this share; to let others in, mount as root, or "
            "with --allow-other"
        )
