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
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """*function*, compiled when it is called first; loops over arrays of integers alone."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, _kept_in()
    try:
        return cast(Callable[P, R], numba.njit(cache=True)(function))
    finally:
        numba.config.CACHE_DIR = before


@functools.cache
def _kept_in() -> str:
    """A directory for what is compiled of the sources of today: of this package, and the model."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for directory in (here, here.parent / "model"):
        for source in sorted(directory.glob("*.py")):
            digest.update(source.read_bytes())
    beside = here / "__pycache__"
    place = numba.config.CACHE_DIR
    if not place and os.access(beside if beside.exists() else here, os.W_OK):
        place = str(beside)
    elif not place:
        place = os.path.join(os.path.expanduser("~"), ".cache", "osxfs-sim")
    return os.path.join(place, f"compiled-{digest.hexdigest()[:16]}")
