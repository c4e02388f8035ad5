"""Mounts of tests' own, taken away again."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def bound(what: Path, place: Path) -> Iterator[None]:
    """*what* is seen at *place*, too."""
    if os.geteuid():
        pytest.skip("only root can bind")
    subprocess.run(["mount", "--bind", what, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)
