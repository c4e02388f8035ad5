"""Small trees on the disk, and what lies in them, as plain values."""

import contextlib
import os
from pathlib import Path

Tree = dict[str, object]
"""By path from the root: None a directory, a str a symlink, (content, executable) a file."""


def read_tree(root: Path) -> Tree:
    found: Tree = {}
    for folder, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = Path(folder, name)
            within = str(path.relative_to(root))
            if within.startswith(".osxfs-sim-staging-"):
                continue  # no side's
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # others are at work
                if path.is_symlink():
                    found[within] = str(path.readlink())
                elif path.is_dir():
                    found[within] = None
                else:
                    found[within] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def write_tree(root: Path, tree: dict[str, str | None]) -> None:
    """Files by their content; None: a directory."""
    for within, content in tree.items():
        path = root / within
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
