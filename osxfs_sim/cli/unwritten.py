"""``unwritten``: what shares have changed and the host does not have."""

import os
from pathlib import Path

import click

from osxfs_sim.cli.options import PlainPath, json_option
from osxfs_sim.cli.saying import say_json, tell
from osxfs_sim.fs import at
from osxfs_sim.mount.mounts.identity import ServerUser, server_user
from osxfs_sim.mount.mounts.identity import state_directory as default_state
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal
from osxfs_sim.mount.writeback.unwritten import all_unwritten, save


@click.command()
@click.argument("source", type=PlainPath())
@json_option
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
    """List what shares of SOURCE have changed and the host does not have. Raises UserError.

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


def _save(found: list[UnfinishedJournal], directory: str, server: ServerUser) -> None:
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
