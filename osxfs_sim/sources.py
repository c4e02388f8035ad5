"""Digests of source code: a result is of the code that made it, and of no other.

A version number tells commits apart only if somebody counts it up. So results hold a digest of
this program's own files, and of the files in which a policy of the user's own is written.
"""

import functools
import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).resolve().parent
_DIGITS = 16
# A case's recipe has a digest of its own, and reports measure nothing.
_NOT_MEASURING = ("cases", "report")
_CODE = (".py", ".toml")
_GIT_WITHIN_S = 5.0


def digest_of_program(package: Path = _PACKAGE) -> str:
    """16 hex digits of all code that a measurement may rest upon; unreadable files are empty."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        within = path.relative_to(package)
        if path.suffix not in _CODE or within.parts[0] in _NOT_MEASURING:
            continue
        _add(digest, within.as_posix(), path)
    return digest.hexdigest()[:_DIGITS]


def digest_of_module(module: ModuleType) -> str:
    """16 hex digits of *module*'s file and of the user's modules it uses; unreadable is empty.

    It is of the files as they lie there now, which are what a server is going to load.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_files_of(module)):
        _add(digest, name, path)
    return digest.hexdigest()[:_DIGITS]


def _add(digest: "hashlib._Hash", name: str, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError:
        content = b""  # it is gone, which is another source, too
    digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
    digest.update(content)


def _files_of(module: ModuleType) -> Iterator[tuple[str, Path]]:
    """The name and the file of *module*, and of those of the user's own that it can be seen to use.

    What it uses are modules among its names, and the modules that its names come from.
    """
    waiting, seen = [module], {module.__name__}
    while waiting:
        one = waiting.pop()
        if one.__file__:
            yield one.__name__, Path(one.__file__)
        used = {package for value in vars(one).values() if (package := _module_name(value))}
        # A module in a package is not without it.
        used |= {one.__name__.rpartition(".")[0]}
        for name in used - seen:
            other = sys.modules.get(name)
            if other is not None and _is_own(other):
                seen.add(name)
                waiting.append(other)


def _module_name(value: object) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return name if isinstance(name, str) else ""


def _is_own(module: ModuleType) -> bool:
    """Whether it is the user's: not of Python's library, of an installed package, or of ours."""
    file = getattr(module, "__file__", None)
    if not file:
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(directory) for directory in _installed())


@functools.cache
def _installed() -> tuple[Path, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return (_PACKAGE, *(Path(sysconfig.get_path(kind)).resolve() for kind in kinds))


@functools.cache
def commit() -> str | None:
    """What git calls the checkout that we run from. None where installed, or git fails."""
    if not (_PACKAGE.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            [
                *("git", "--no-optional-locks", "-C", os.fspath(_PACKAGE.parent)),
                *("describe", "--always", "--dirty", "--tags"),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_WITHIN_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
