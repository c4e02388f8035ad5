"""What the figures were measured on: a figure without its machine says nothing."""

import datetime
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from osxfs_sim.lab.machine import describe_machine


def describe() -> dict[str, Any]:
    """The machine, the versions of all that a request passes, and how busy it was."""
    here = str(Path(__file__).parent)
    return describe_machine() | {
        "commit": _first_line("git", "-C", here, "describe", "--always", "--dirty", "--abbrev=12"),
        "libfuse": _first_line("fusermount3", "--version"),
        "bindfs": _first_line("bindfs", "--version"),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def short_name() -> str:
    """A name for directories, such as ``amd-epyc-2-cores``."""
    processor = str(describe()["processor"]).lower()
    words = re.sub(r"\(.*?\)|@.*|\bprocessor\b|\bcpu\b", " ", processor)
    return "-".join([*re.findall(r"[a-z0-9]+", words)[:4], str(os.cpu_count()), "cores"])


def stolen_s() -> float:
    """Processor time that the host of this virtual machine gave to others (proc(5), stat)."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(first[8]) / os.sysconf("SC_CLK_TCK") if len(first) > 8 else 0.0


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.partition("\n")[0].strip() or None
