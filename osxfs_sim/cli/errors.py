"""A user's mistake becomes one line with its remedy and a non-zero exit."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from osxfs_sim.cli.saying import write_what_can_be_written
from osxfs_sim.model.escaping import printable, printable_lines
from osxfs_sim.model.user_error import UserError
from osxfs_sim.mount.server.log import OF_A_COMMAND, log_to


def run_and_end(command: Callable[[], object]) -> NoReturn:
    """Run click's *command*, end the process with its exit code; a mistake is a line, not raised.

    Whatever is a user's mistake, or of the surroundings, is said in one line.
    """
    _fill_standard_descriptors()
    write_what_can_be_written()
    log_to(logging.WARNING, form=OF_A_COMMAND)
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk is noticed here, or never
    except UserError as error:
        _end(1, str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(printable_lines(error.format_message()), file=sys.stderr)
        sys.exit(2)
    except click.NoSuchOption as error:
        message = renamed_option(error.option_name) or error.format_message()
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


def renamed_option(flag: str) -> str:
    """How *flag*, of an earlier version, is called now, in words; empty where it was none."""
    from osxfs_sim.settings import OPTIONS

    for each in OPTIONS:
        if each.was and flag == f"--{each.was.replace('_', '-')}":
            return f"{flag} is called {each.flags[0]} now"
    return ""


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
