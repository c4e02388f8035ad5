"""The process of a host writer that tries to import what it should not be able to."""

import importlib
import sys
from pathlib import Path

from osxfs_sim.mount.server.without_fuse import BLOCKED

from . import writer_process


def main() -> None:
    refused = []
    for name in BLOCKED:
        try:
            importlib.import_module(name)
        except ImportError:
            refused.append(name)
    (Path(sys.argv[3]) / "refused").write_text(" ".join(refused))
    writer_process.main()
