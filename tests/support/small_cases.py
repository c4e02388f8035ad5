"""A small case of a test's own: a folder with a case.toml and scripts, as a user writes them."""

from collections.abc import Mapping
from pathlib import Path


def write_script(folder: Path, name: str, text: str) -> None:
    """A script of sh, unless *text* says what else it is of."""
    (folder / name).write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def write_case(folder: Path, text: str, scripts: Mapping[str, str]) -> Path:
    """Make *folder*, with *text* as its case.toml and *scripts* by their names."""
    folder.mkdir()
    (folder / "case.toml").write_text(text)
    for name, script in scripts.items():
        write_script(folder, name, script)
    return folder
