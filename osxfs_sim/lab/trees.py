"""The trees that cases work in: set up once and kept, and copied afresh for each mount."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osxfs_sim.lab.cases import Case, CaseError
from osxfs_sim.lab.originals import difference, save_state, saved_state, state_of
from osxfs_sim.lab.workload import Say, Workload, reset_tree


def default_directory() -> Path:
    """Where host trees lie by default: /dev/shm, or the temporary directory if not writable.

    The disk's own cost would hide the latency that is injected, and the
    published latencies already include the published machine's disk.
    """
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def default_cache() -> Path:
    """The directory where set-up trees are kept, in the user's cache; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "osxfs-sim"


def recipe_of(case: Case) -> str:
    """The hex SHA-256 of all files in the case's folder but its .md files. Raises OSError."""
    recipe = hashlib.sha256()
    for path in sorted(case.folder.rglob("*")):
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            recipe.update(str(path.relative_to(case.folder)).encode())
            recipe.update(path.read_bytes())
    return recipe.hexdigest()


def prepare_tree(case: Case, variant: str, cache: Path, say: Say) -> Path:
    """The path of the case's set-up tree, made in *cache* unless it is there. Raises CaseError.

    Raises CaseError if set-up fails; what it said goes to standard error.
    """
    name = case.tree_name(variant)
    tree = cache / "cases" / case.name / f"{name}-{recipe_of(case)[:12]}"
    original = tree.with_name(f"{tree.name}.original")
    if tree.is_dir():
        _tell_of_changes(case, original, say)
        return tree
    what = f" ({variant})" if name == variant else ""
    say(f"setting up the case {case.name}{what}; this is done once")
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(
            f"cannot keep the set-up tree in {cache}: {error.strerror}; "
            "let XDG_CACHE_HOME name another directory"
        ) from error
    # Before it is copied: what changes meanwhile may be in the copy, or not.
    state = None if case.copied_from is None else state_of(case.copied_from)
    command = case.command(case.setup, tree=tree, variant=variant)
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CaseError(f"setting up the case {case.name} failed: its last lines above say why")
    if not tree.is_dir():
        raise CaseError(f"setting up the case {case.name} made no {tree}: its recipe is wrong")
    if state is not None:
        save_state(state, original)
    return tree


def _tell_of_changes(case: Case, original: Path, say: Say) -> None:
    """Where the tree is the copy of a folder that has changed since."""
    then = saved_state(original)
    if case.copied_from is None or then is None:
        return
    if not case.copied_from.is_dir():
        say(f"note: {case.copied_from} is not there any more: what runs is a copy of it")
        return
    found = difference(then, state_of(case.copied_from))
    if found:
        say(
            f"note: {case.copied_from} has changed since it was copied ({found}): what runs is the "
            f"copy; to have it copied anew, change copy=1 in {case.folder}/scripts/setup.sh to "
            "another number"
        )


@contextlib.contextmanager
def fresh_tree(workload: Workload, tree: Path, work: Path) -> Iterator[Path]:
    """Context manager: a copy of *tree* in *work*, reset for a run, then gone. Raises CaseError.

    Owners, times and links are as they are in *tree*. It is reset before anything is mounted,
    because the guest of a fresh run knows nothing of it. Raises CaseError.
    """
    host = work / "host"
    try:
        _copy(tree, host)
        reset_tree(workload, host)
        yield host
    finally:
        shutil.rmtree(host, ignore_errors=not host.exists())


def _copy(tree: Path, to: Path) -> None:
    """As fast as the disk can."""
    done = subprocess.run(
        ["cp", "-a", "--reflink=auto", str(tree), str(to)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise CaseError(f"the tree {tree} cannot be copied to {to.parent}: {' '.join(said)}")
