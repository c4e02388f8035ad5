"""Functions that are compiled to machine code: once, and kept beside their sources.

Whatever imports this needs numba; who can do without asks for it and takes an ImportError for a no.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """*function*, compiled when it is called first; loops over arrays of integers alone."""
    return cast(Callable[P, R], numba.njit(cache=True)(function))
