"""The command osxfs-sim, run as a user runs it: the fixture ``cli``."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import osxfs_sim

_PACKAGE = str(Path(osxfs_sim.__file__).parents[1])
_WITHIN_S = 300.0
"""What is not done by then hangs: generous, as all that tests wait for."""


class Command:
    """The command of this package, wherever it is run: what it says, and how it ends."""

    def line(self, *words: object, python: tuple[str, ...] = ()) -> list[str]:
        """The command line, for who starts it in a way of its own; *python*: its options."""
        return [sys.executable, *python, "-m", "osxfs_sim", *map(str, words)]

    def environment(
        self, env: Mapping[str, str] | None = None, cache: Path | None = None
    ) -> dict[str, str]:
        """Ours, with *env*; what the command sets up and keeps is kept in *cache*."""
        kept = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
        path = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path, **kept, **(env or {})}

    def __call__(
        self,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        cache: Path | None = None,
        python: tuple[str, ...] = (),
        within_s: float = _WITHIN_S,
    ) -> "subprocess.CompletedProcess[str]":
        """Run it to its end: stdout, stderr and returncode are the result's."""
        return subprocess.run(
            self.line(*words, python=python),
            cwd=cwd,
            env=self.environment(env, cache),
            capture_output=True,
            text=True,
            timeout=within_s,
        )

    def start(
        self,
        *words: object,
        env: Mapping[str, str] | None = None,
        cache: Path | None = None,
        **options: Any,
    ) -> "subprocess.Popen[str]":
        """Start it, for who interrupts it; *options* are Popen's."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = self.environment(env, cache)
        return subprocess.Popen(self.line(*words), env=environment, **pipes | options)
