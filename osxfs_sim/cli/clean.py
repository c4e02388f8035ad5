"""``clean``: what osxfs-sim keeps and leaves on this machine, and what of it can go."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from osxfs_sim.cli.saying import say, tell
from osxfs_sim.fs import at
from osxfs_sim.lab.trees import default_cache, default_directory
from osxfs_sim.lab.work_directories import left_over, remove
from osxfs_sim.model.formatting import format_size
from osxfs_sim.mount.launch import unmount_and_wait
from osxfs_sim.mount.mounts.identity import server_user, state_directory
from osxfs_sim.mount.mounts.mountpoints import runtime_directory, shares_in


@dataclass(frozen=True, slots=True)
class _Found:
    """Something that lies there: *what* it is, and *take* takes it away, or None: it stays."""

    path: Path
    what: str
    take: Callable[[], bool] | None = None


@click.command()
@click.option("--yes", is_flag=True, help="Remove it, and do not only say what would be.")
def clean(yes: bool) -> None:
    """Say what osxfs-sim keeps for you on this machine; --yes removes what can be made again.

    \b
    osxfs-sim clean
    osxfs-sim clean --yes

    Set-up trees of cases, what labs that were killed have left, and logs of servers that are
    gone can go. Copies, volumes and journals may hold what is nowhere else: they are named, and
    never touched.
    """
    found = [*_what_is_left(), *_caches(), *_logs()]
    kept = list(_kept())
    gone = 0
    for each in found:
        size = _size(each.path)
        if yes and each.take is not None and not each.take():
            tell(f"could not be removed: {each.path} ({each.what})")
            continue
        gone += size
        say(f"{'removed' if yes else 'would remove'}  {_shown(size)}  {_line(each)}")
    for each in kept:
        say(f"kept  {_shown(_size(each.path))}  {_line(each)}")
    if not found:
        say("nothing can be removed")
    elif not yes:
        say(f"{_shown(gone)} in all: osxfs-sim clean --yes removes it")


def sweep(directory: Path, told: Callable[[str], None]) -> None:
    """Remove what killed labs left in *directory*, call *told* for each; skips what it cannot."""
    for each in _left_in(directory):
        if each.take is not None and each.take():
            told(f"removed {each.path}: {each.what}")


def _line(found: _Found) -> str:
    return f"{found.path}  {found.what}"


def _shown(size_bytes: int) -> str:
    return f"{format_size(size_bytes):>9}"


def _what_is_left() -> Iterator[_Found]:
    for directory in dict.fromkeys((default_directory(), Path(tempfile.gettempdir()))):
        yield from _left_in(directory)


def _left_in(directory: Path) -> Iterator[_Found]:
    for path in left_over(directory):
        yield _Found(path, "left by a lab that was killed", functools.partial(_remove, path))


def _remove(path: Path) -> bool:
    return remove(
        path,
        functools.partial(unmount_and_wait, force=True),
        lambda below: [entry.mountpoint for entry in shares_in(below)],
    )


def _caches() -> Iterator[_Found]:
    cache = default_cache()
    if cache.is_dir() and not cache.is_symlink():
        for path in sorted(cache.iterdir()):
            what = (
                "trees of cases, made again when needed" if path.name == "cases" else "made again"
            )
            yield _Found(path, what, functools.partial(_delete, path))


def _logs() -> Iterator[_Found]:
    """Those that no server writes to any more."""
    runtime = runtime_directory(os.geteuid())
    if not runtime.is_dir() or runtime.stat().st_uid != os.geteuid():
        return
    open_files = _open_files()
    for path in sorted(runtime.glob("*.log")):
        if str(path) not in open_files and path.is_file() and not path.is_symlink():
            yield _Found(path, "log of a server that is gone", functools.partial(_delete, path))


def _kept() -> Iterator[_Found]:
    state = state_directory(server_user(None))
    for name, what in (
        ("copied", "copies of shares, which may hold what the host has not"),
        ("write-back", "changes that the host has not: osxfs-sim unwritten SOURCE"),
        ("synchronized", "copies of shares, and what their two sides have agreed upon"),
    ):
        if (state / name).is_dir() and any((state / name).iterdir()):
            yield _Found(state / name, what)


def _open_files() -> set[str]:
    """What processes have open, as far as we may see."""
    found = set()
    for process in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError), os.scandir(process) as descriptors:
            for each in descriptors:
                with contextlib.suppress(OSError):  # closed meanwhile
                    found.add(os.readlink(each.path))
    return found


def _delete(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            at.remove_all(path)
        else:
            at.remove(path)
    except OSError:
        return False
    return not os.path.lexists(path)


def _size(path: Path) -> int:
    """What it takes on the disk, without following links or entering other file systems."""
    try:
        status = path.lstat()
        total = status.st_blocks * 512
        if path.is_dir() and not path.is_symlink():
            for above, names, files in os.walk(path):
                names[:] = [name for name in names if _device(above, name) == status.st_dev]
                total += sum(_blocks(os.path.join(above, name)) for name in (*names, *files))
    except OSError:
        return 0
    return total


def _device(above: str, name: str) -> int:
    try:
        return os.lstat(os.path.join(above, name)).st_dev
    except OSError:
        return -1


def _blocks(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0
