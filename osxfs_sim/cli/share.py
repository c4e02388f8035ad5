"""``mount``, ``umount``, ``status`` and so on: one share from its beginning to its end."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.options import HostService, PlainPath, ProfileName, share_options
from osxfs_sim.cli.saying import say, say_json, tell
from osxfs_sim.cli.trust import check_file, modules_named, trust_option
from osxfs_sim.exports import is_share_file, load_exports
from osxfs_sim.fs import at
from osxfs_sim.model.profile import Transport
from osxfs_sim.mount.force import started_s
from osxfs_sim.mount.launch import drop_events as lose_events
from osxfs_sim.mount.launch import launch, launch_exports, unmount_and_wait
from osxfs_sim.mount.mounts.control import ask, understanding
from osxfs_sim.mount.mounts.identity import ServerUser, server_user
from osxfs_sim.mount.mounts.identity import state_directory as default_state
from osxfs_sim.mount.mounts.mountpoints import MountEntry, MountError, mounts
from osxfs_sim.mount.writeback.journal_reader import Leftover
from osxfs_sim.mount.writeback.unwritten import all_unwritten, save
from osxfs_sim.settings import Exports, ShareSettings

# What prints tables is imported where it is used: to load it takes longer than `umount --force`.
_WORTH_TELLING_S = 2.0
_LIST_OTHERS_WITHIN_S = 2.0
_LONGEST_SHOWN = 8_192
_MOST_EXPORTS_SHOWN = 64  # as a share file may have


@click.command()
@click.argument("source", type=PlainPath())
@click.argument("mountpoint", type=PlainPath())
@click.option(
    "--profile",
    "-p",
    type=ProfileName(),
    default="osxfs",
    help="The system to be; 'osxfs-sim profiles' lists them. [osxfs]",
)
@share_options
@click.option(
    "--allow-other/--no-allow-other",
    default=None,
    help="Let other users in, with the server's rights. [yes for root, no for others]",
)
@click.option(
    "--user",
    metavar="NAME",
    help="Once mounted, let the server be this user: all access is then that user's. [root only]",
)
@click.option(
    "--state",
    "state_directory",
    type=click.Path(file_okay=False, resolve_path=True),
    help="Where owners are kept that no attribute can hold. [/var/lib/osxfs-sim for root, "
    "~/.local/state/osxfs-sim for others; /var/lib/osxfs-sim-UID for a --user without a home]",
)
@click.option(
    "--copy",
    type=click.Path(file_okay=False, resolve_path=True),
    help="Where the guest's copy of SOURCE lies, for a profile that has one. [below --state]",
)
@click.option(
    "--host-service",
    "host_services",
    type=HostService(),
    multiple=True,
    metavar="NAME=SOCKET",
    help="A socket of the host that the guest reaches as MOUNTPOINT/host-services/NAME.sock, such "
    "as ssh-auth=$SSH_AUTH_SOCK. Whoever may use the share may use it.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, resolve_path=True),
    help="Record every request in this file (Parquet), until the share ends; see analyze.",
)
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
        _say_alone(exports.hub)
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


def _say_ready(status: dict[str, Any]) -> None:
    for warning in status["warnings"]:
        tell(f"osxfs-sim: warning: {warning}")


def _say_alone(settings: ShareSettings) -> None:
    if os.geteuid() != 0 and not settings.allow_other:
        tell(
            "osxfs-sim: note: only you can use this share; to let others in, mount as root, or "
            "with --allow-other"
        )


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
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@click.option("--reset", is_flag=True, help="Then start counting anew.")
def status(mountpoint: str | None, as_json: bool, reset: bool) -> None:
    """What the share at MOUNTPOINT is, and asked-for against achieved latency.

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
    from osxfs_sim.report.status import services_report, status_report

    with understanding(mountpoint):
        names = answer["exports"][:_MOST_EXPORTS_SHOWN]
        answer["exports"] = {
            name: _status_of_export(os.path.join(mountpoint, name), question) for name in names
        }
        if as_json:
            say_json(answer, indent=2)
            return
        for export in answer["exports"].values():
            if "error" in export:
                tell(f"osxfs-sim: {export['error']}")
            else:
                status_report(export)
        if names:
            services_report(answer)
        else:
            status_report(answer)


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
            status = ask(entry.mountpoint, "status", timeout_s=2.0 if is_own else left_s)
            with understanding(entry.mountpoint):
                what = ", ".join(status["exports"]) or f"{status['source']}  {status['profile']}"
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
    """Have the host get everything that the guest has changed, and wait until it has.

    For the share at MOUNTPOINT; of the mount point of a share file, for all its exports.
    Only a share with write-back holds anything. Fails where the host has no room, and tells once
    what it has refused since the last time.
    """
    answer = ask(mountpoint, "flush", timeout_s=None)
    failures = []
    with understanding(mountpoint):
        names = [str(name) for name in answer["exports"]][:_MOST_EXPORTS_SHOWN]
    for name in names:
        try:
            ask(os.path.join(mountpoint, name), "flush", timeout_s=None)
        except MountError as error:
            failures.append(str(error))  # the others are flushed all the same
    if failures:
        raise MountError("; ".join(failures))


@click.command()
@click.argument("source", type=PlainPath())
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
@click.option(
    "--state",
    "state_directory",
    type=click.Path(file_okay=False, resolve_path=True),
    help="Where the share kept its state. [as for mount]",
)
@click.option("--user", metavar="NAME", help="The user that the share's server was. [you]")
@click.option(
    "--save",
    "save_directory",
    metavar="DIR",
    type=PlainPath(),
    help="Write the guest's files to the new directory DIR, as the guest had them.",
)
def unwritten(
    source: str,
    as_json: bool,
    state_directory: str | None,
    user: str | None,
    save_directory: str | None,
) -> None:
    """What shares of SOURCE have changed and the host does not have.

    Left by a server that was killed, or set aside because the host refused it, of a share that is
    mounted too. Mount SOURCE again with --unwritten recover to write it to the host, or
    --unwritten discard to give it up.
    """
    server = server_user(user)
    state = Path(state_directory) if state_directory else default_state(server)
    with server.acting():  # what that user has put there leads no further than that user may go
        found = all_unwritten(state, os.path.realpath(source))
    journals = [
        {
            "source": left.source,
            "journal": str(left.directory),
            "bytes": sum(each.length for each in left.changes),
            "changes": [
                {
                    "change": each.kind.value,
                    "path": path,
                    "refused": left.refused[each.sequence].reason
                    if left.is_set_aside(each.sequence)
                    else None,
                }
                for each, path in left.paths()
            ],
        }
        for left in found
    ]
    if save_directory is not None:
        _save(found, save_directory, server)
    if as_json:
        say_json(journals, indent=2)
    else:
        from osxfs_sim.report.status import unwritten_report

        unwritten_report(journals)


def _save(found: list[Leftover], directory: str, server: ServerUser) -> None:
    """The files of each journal below *directory*, which must be new: nothing is written over.

    Read and written as *server*, whose journals they are: they say which files of the host to add.
    """
    try:
        with at.new_place(directory, 0o700) as top_fd:
            if server.drops:
                os.fchown(top_fd, server.uid, server.gid)
            with server.acting():
                for number, left in enumerate(found, 1):
                    within = () if len(found) == 1 else (str(number).encode(),)
                    for path in save(left, top_fd, within):
                        shown = os.path.join(directory, *map(os.fsdecode, within), path)
                        tell(shown)
    except OSError as error:
        raise MountError(f"cannot save to {directory}: {error.strerror}") from error


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
