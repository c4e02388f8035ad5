"""A user's mistake becomes one line with its remedy and a non-zero exit."""

import importlib
import logging
import os
import signal
import sys
from typing import Any, NoReturn

import click

from osxfs_sim.cli.saying import write_what_can_be_written
from osxfs_sim.model.escaping import printable
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.mount.server.log import OF_A_COMMAND, log_to
from osxfs_sim.sources import commit, digest_of_program

_COMMANDS = {
    **dict.fromkeys(("mount", "umount", "status"), "share"),
    "top": "top",
    **dict.fromkeys(("flush", "unwritten", "drop-events"), "share"),
    "sync": "sync",
    "profiles": "profiles",
    **dict.fromkeys(("cases", "run"), "run"),
    "new-case": "new_case",
    "compare": "compare",
    "frontier": "frontier",
    "reproduce": "reproduce",
    "report": "report",
    **dict.fromkeys(("analyze", "import-strace"), "analyze"),
    "events": "events",
    "staleness": "staleness",
    "contract": "contract",
    "museum": "museum",
    "edits": "edits",
    **dict.fromkeys(("histories", "check-history"), "histories"),
    "clean": "clean",
    "completion": "completion",
}
"""The commands, in the order of the help, and the module of this package that each is in."""


class _Commands(click.Group):
    """Imports a command when it is asked for, and words errors as its neighbours do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"osxfs_sim.cli.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS:
            ctx.fail(f"no such command {name!r}{nearest(name, _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        _fill_standard_descriptors()
        write_what_can_be_written()
        log_to(logging.WARNING, form=OF_A_COMMAND)
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is noticed here, or never
        except UserError as error:
            _end(1, str(error))
        except click.NoSuchOption as error:
            message = error.format_message()
            if error.ctx is not None and error.ctx.parent is None:
                message = f"no such option {error.option_name}: options come after the command"
            _end(2, f"{message} (see --help)")
        except click.UsageError as error:
            _end(2, f"{error.format_message().rstrip('.')} (see --help)")
        except click.ClickException as error:
            _end(1, error.format_message())
        except (click.Abort, KeyboardInterrupt):
            _end(128 + signal.SIGINT, "interrupted")
        except BrokenPipeError:
            sys.stdout = None  # whoever read the output has seen enough
            sys.exit(1)
        except OSError as error:
            # Of the surroundings: a full disk, a working directory that is gone.
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            why = f"{where}{error.strerror or error}"
            if isinstance(error, FileNotFoundError) and _is_directory_gone():
                why = "the working directory does not exist any more: cd to another"
            sys.stdout = None  # what it still holds cannot be written either
            _end(1, why)
        sys.exit(code if isinstance(code, int) else 0)


def _end(code: int, message: str) -> NoReturn:
    print(f"osxfs-sim: {printable(message.rstrip())}", file=sys.stderr)
    sys.exit(code)


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: mounts and trees go with it."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def _fill_standard_descriptors() -> None:
    """Where one of the three is closed, the next file opened would take its place."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: *fd*
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (for good)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _is_directory_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _say_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    import importlib.metadata  # no other command needs it, and it takes a while to load

    version = importlib.metadata.version("osxfs-sim")
    made_from = commit()
    known = [*([f"commit {made_from}"] if made_from else []), f"code {digest_of_program()}"]
    click.echo(f"osxfs-sim, version {version} ({', '.join(known)})")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version, and what tells commits apart, and exit.",
)
def main() -> None:
    """A lab for shared file systems: osxfs and its successors, emulated on a real kernel.

    \b
    osxfs-sim mount ~/project /mnt/share --profile osxfs
    osxfs-sim status /mnt/share
    osxfs-sim umount /mnt/share
    osxfs-sim run rake --quick

    Completion: osxfs-sim completion bash --install (or zsh, fish).
    """
