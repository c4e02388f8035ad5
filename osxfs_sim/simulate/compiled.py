"""Functions that are compiled to machine code: once, and kept beside their sources.

What is kept is of exactly these sources: numba itself looks at the file of a function alone, and
not at what that takes from others, such as constants. Whatever imports this needs numba; who can do
without asks for it and takes an ImportError for a no.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")
_NUMBA: Any = numba


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """*function*, compiled when it is called first; loops over arrays of integers alone."""
    return _compiled(function)


def compiled_without_allocation(function: Callable[P, R]) -> Callable[P, R]:
    """As compiled(), of a function that makes no arrays, nor does what it calls.

    It does not count references to those it is given. Of tens of arrays that are passed from
    function to function for each question that took thirty times as long as everything else.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Callable[P, R], **options: bool) -> Callable[P, R]:
    before, _NUMBA.config.CACHE_DIR = _NUMBA.config.CACHE_DIR, _kept_in()
    try:
        return cast(Callable[P, R], _NUMBA.njit(cache=True, **options)(function))
    finally:
        _NUMBA.config.CACHE_DIR = before


@functools.cache
def _kept_in() -> str:
    """A directory for what is compiled of the sources of today: of this package, and the model."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for directory in (here, here.parent / "model"):
        for source in sorted(directory.glob("*.py")):
            digest.update(source.read_bytes())
    beside = here / "__pycache__"
    place = _NUMBA.config.CACHE_DIR
    if not place and os.access(beside if beside.exists() else here, os.W_OK):
        place = str(beside)
    elif not place:
        place = os.path.join(os.path.expanduser("~"), ".cache", "osxfs-sim")
    return os.path.join(place, f"compiled-{digest.hexdigest()[:16]}")
