"""Processes of the package that answer whoever started them, over a pipe.

Whoever that is may end first: a server in the foreground, say, that gets a SIGINT while it
calibrates. Then nobody is left to be told, and a traceback on a terminal is of no use.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from osxfs_sim.coherence.actors import operations
from osxfs_sim.coherence.edits import editor
from osxfs_sim.coherence.scorecard import listener
from osxfs_sim.coherence.staleness import load
from osxfs_sim.mount.latency import prober

# Of each its arguments, and what it is asked before it answers.
ASKED = {
    prober: (("-", "."), b"3 0\n"),
    load: ((".", "0.5"), b""),
    editor: ((".", "edits.json", "log.json"), b""),
    listener: ((), b""),
    operations: ((".",), b"[]\n"),
}


def ended(script: str, arguments: tuple[str, ...], asked: bytes, where: Path) -> tuple[int, bytes]:
    """How *script* ends, and what it complains of, when nobody reads what it answers."""
    readable, writable = os.pipe()
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        stdin=subprocess.PIPE,
        stdout=writable,
        stderr=subprocess.PIPE,
        cwd=where,
    ) as process:
        os.close(writable)
        os.close(readable)
        _, complaint = process.communicate(asked)
    return process.returncode, complaint


@pytest.mark.starts_processes
@pytest.mark.parametrize("module", ASKED, ids=lambda module: module.__name__.rpartition(".")[2])
def test_whoever_started_it_may_end_first(module, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "edits.json").write_text(json.dumps({"targets": [], "steps": [], "edits": []}))
    arguments, asked = ASKED[module]
    assert ended(module.__file__, arguments, asked, tmp_path) == (0, b"")


@pytest.mark.starts_processes
def test_a_script_that_prints_to_nobody_would_be_caught(tmp_path):
    (tmp_path / "script.py").write_text("input(); print('answer')")
    code, complaint = ended(str(tmp_path / "script.py"), (), b"\n", tmp_path)
    assert code != 0
    assert b"BrokenPipeError" in complaint
