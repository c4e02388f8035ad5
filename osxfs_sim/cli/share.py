"""``umount``, ``status``, ``flush`` and ``drop-events``: one share that is mounted."""

import os
import time
from typing import Any

import click

from osxfs_sim.cli.options import DurationType, PlainPath, json_option
from osxfs_sim.cli.saying import say, say_json, tell
from osxfs_sim.model.formatting import format_plain
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.force import started_s
from osxfs_sim.mount.launch import SETTLES_WITHIN_S, unmount_and_wait
from osxfs_sim.mount.launch import drop_events as lose_events
from osxfs_sim.mount.launch import settle as wait_settled
from osxfs_sim.mount.mounts.control import ask, ask_status, understanding
from osxfs_sim.mount.mounts.mountpoints import MountEntry, MountError, mounts

# What prints tables is imported where it is used: to load it takes longer than `umount --force`.
_LIST_OTHERS_WITHIN_S = 2.0
_LONGEST_SHOWN = 8_192
_MOST_EXPORTS_SHOWN = 64  # as a share file may have


@click.command()
@click.argument("mountpoint", type=PlainPath())
@click.option(
    "--force",
    is_flag=True,
    help="Within two seconds, whatever state server and guests are in: who is inside gets "
    "ENOTCONN. Says what is not on the host.",
)
def umount(mountpoint: str, force: bool) -> None:
    """Unmount the share at MOUNTPOINT, and wait until its server has ended.

    A share whose server was killed is unmounted too.
    """
    left = unmount_and_wait(mountpoint, force=force, started_s=started_s() if force else None)
    if left:
        tell(f"osxfs-sim: its server was killed: {left}")


@click.command()
@click.argument("mountpoint", type=PlainPath(), required=False)
@json_option
@click.option("--reset", is_flag=True, help="Then start counting anew.")
def status(mountpoint: str | None, as_json: bool, reset: bool) -> None:
    """Say what the share at MOUNTPOINT is, its target and observed latency.

    Of the mount point of a share file: all its exports. Without MOUNTPOINT, list
    the shares of this machine.
    """
    if mountpoint is None:
        if reset:
            raise click.UsageError("--reset needs a MOUNTPOINT")
        _list([entry for entry in mounts() if entry.is_ours], as_json=as_json)
        return
    question = "reset" if reset else "status"
    answer = ask(mountpoint, question)
    with understanding(mountpoint):
        told = ShareStatus.from_dict(answer)
    exports = {
        name: _status_of_export(os.path.join(mountpoint, name), question)
        for name in told.exports[:_MOST_EXPORTS_SHOWN]
    }
    if as_json:
        say_json({**answer, "exports": exports}, indent=2)
        return
    from osxfs_sim.report.status import services_report, status_report

    with understanding(mountpoint):
        for export in exports.values():
            if "error" in export:
                tell(f"osxfs-sim: {export['error']}")
            else:
                status_report(ShareStatus.from_dict(export))
        if exports:
            services_report(told)
        else:
            status_report(told)


def _list(entries: list[MountEntry], *, as_json: bool) -> None:
    """The shares of this machine. Their servers are asked, which costs the shares nothing.

    Those of other users have some time all together: what they say of their shares is theirs.
    """
    if as_json:
        say_json([entry.mountpoint for entry in entries])
        return
    left_s = _LIST_OTHERS_WITHIN_S
    for entry in entries:
        is_own = entry.user_id == os.geteuid()
        whose = "" if is_own else f"  (of user {entry.user_id})"
        if not is_own and left_s <= 0:
            say(f"{entry.mountpoint}{whose}  (not asked: others have taken their time)")
            continue
        since_s = time.monotonic()
        try:
            status = ask_status(entry.mountpoint, timeout_s=2.0 if is_own else left_s)
            what = ", ".join(status.exports) or f"{status.source}  {status.profile}"
        except MountError as error:
            say(f"{entry.mountpoint}{whose}  ({error})")
        else:
            say(f"{entry.mountpoint}  {what[:_LONGEST_SHOWN]}{whose}")
        if not is_own:
            left_s -= time.monotonic() - since_s
    if not entries:
        say("no share is mounted")


def _status_of_export(mountpoint: str, question: str) -> dict[str, Any]:
    """Its status; or, where it has ended before the others, an ``error``."""
    try:
        return ask(mountpoint, question)
    except MountError as error:
        return {"error": str(error)}


@click.command()
@click.argument("mountpoint", type=PlainPath())
def flush(mountpoint: str) -> None:
    """Have the host get all that the guest has changed, and wait until it has.

    For the share at MOUNTPOINT; of the mount point of a share file, for all its exports.
    Only a share with write-back holds anything. Fails where the host has no room, and tells once
    what it has refused since the last time.
    """
    failures = []
    for name in ask_status(mountpoint, "flush", timeout_s=None).exports[:_MOST_EXPORTS_SHOWN]:
        try:
            ask(os.path.join(mountpoint, name), "flush", timeout_s=None)
        except MountError as error:
            failures.append(str(error))  # the others are flushed all the same
    if failures:
        raise MountError("; ".join(failures))


@click.command()
@click.argument("mountpoint", type=PlainPath())
@click.option(
    "--timeout",
    "timeout_ns",
    type=DurationType(),
    default=f"{format_plain(SETTLES_WITHIN_S)}s",
    help=f"How long to wait. [{format_plain(SETTLES_WITHIN_S)}s]",
)
def settle(mountpoint: str, timeout_ns: int) -> None:
    """Wait until the guest has been told of all the host has done up to now.

    For the share at MOUNTPOINT; of the mount point of a share file, for all its exports. A share
    without host events tells the guest nothing: there it returns at once. Fails where it takes
    longer than the timeout, as where the host never pauses.
    """
    wait_settled(mountpoint, timeout_s=timeout_ns / 1e9)


@click.command("drop-events")
@click.argument("mountpoint", type=PlainPath())
@click.option(
    "--number",
    type=click.IntRange(min=0),
    metavar="N",
    help="The next N events; 0 ends an earlier wish.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="From now on each event with probability R, from 0 to 1; 0 ends it.",
)
def drop_events(mountpoint: str, number: int | None, rate: float | None) -> None:
    """Lose changes of the host on their way to the share at MOUNTPOINT.

    As when FSEvents drops events: the share is told where something was lost,
    and has to look for itself. Replaces what an earlier drop-events asked for.

    \b
    osxfs-sim drop-events /mnt/share --number 3
    osxfs-sim drop-events /mnt/share --rate 0.1
    """
    if (number is None) == (rate is None):
        raise click.UsageError("give one of --number and --rate")
    lose_events(mountpoint, count=number or 0, rate=rate or 0.0)
