"""``new-case``: a case of one's own, from a command."""

import os
import shutil
from pathlib import Path, PurePosixPath

import click

from osxfs_sim.cli.saying import say
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.new_case import NewCase, files_of, name_from, path_into
from osxfs_sim.model.escaping import quoted


@click.command("new-case")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--tree", metavar="FOLDER", help="What the command works on: it runs in a copy. [empty]"
)
@click.option("--title", help="A phrase for the tables. [the command]")
def new_case(folder: str, command: tuple[str, ...], tree: str | None, title: str | None) -> None:
    """Make in DIR a case of your own from a command.

    \b
    osxfs-sim new-case my-build --tree ~/project -- make -j2
    osxfs-sim run ./my-build --arm native --arm osxfs

    The command runs with the tree as its working directory.
    """
    place = Path(folder)
    name = name_from(place.resolve().name)
    if not name:
        raise CaseError(f"{folder} gives no name for a case: use a letter or a digit in it")
    source = _source(tree)
    needed = _program_needed(command[0], source)
    if source is not None and (word := path_into(PurePosixPath(source), command)) is not None:
        raise CaseError(
            f"{word} leads into {source} itself, and a run works on a copy: "
            "write it relative to the tree"
        )
    files = files_of(
        NewCase(name, command, PurePosixPath(source) if source else None, title, needed)
    )
    for text in files.values():
        _check_is_text(text)
    _make_room(place)
    for path, text in files.items():
        file = place / path
        make_output_directory(file.parent)
        write_output(file, text, mode=0o777 if path.startswith("scripts/") else 0o666)
    load_case(str(place.resolve()))
    said = folder if "/" in folder else f"./{folder}"
    say(f"made {folder}; now: osxfs-sim run {quoted(said)} --arm native --arm osxfs")


def _source(tree: str | None) -> Path | None:
    if tree is None:
        return None
    if not Path(tree).is_dir():
        what = "is no folder" if os.path.lexists(tree) else "does not exist"
        raise CaseError(f"--tree {tree} {what}: name the folder that the command works on")
    return Path(tree).resolve()


def _program_needed(program: str, source: Path | None) -> str:
    """*program*, where it is the machine's; empty where it is the tree's. CaseError if neither."""
    if "/" not in program:
        if shutil.which(program) is None:
            hint = "; for shell syntax, write: -- sh -c '...'" if " " in program else ""
            raise CaseError(f"there is no command {program!r} here: install it first{hint}")
        return program
    if program.startswith("/"):
        found = Path(program)
    elif source is not None:
        found = source / program
    else:
        raise CaseError(f"{program} is not in the tree, which is empty: add --tree FOLDER")
    if not found.is_file() or not os.access(found, os.X_OK):
        raise CaseError(f"{found} is no program: it must exist and be executable")
    return program if program.startswith("/") else ""


def _check_is_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CaseError("the command or a path is not UTF-8: put it into a script") from error


def _make_room(place: Path) -> None:
    if place.is_dir():
        if any(place.iterdir()):
            raise CaseError(f"{place} is not empty: choose another folder, or empty it")
        return
    if os.path.lexists(place):
        raise CaseError(f"{place} exists and is no folder: choose another")
    make_output_directory(place)
