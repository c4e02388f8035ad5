"""Saves results where the next reader finds them.

One folder for a day and a machine, in it one file for a benchmark.
"""

import json
from pathlib import Path
from typing import Any


def folder(output: Path, date: str, machine: str) -> Path:
    """The folder of a day's results of one machine, below *output*."""
    return output / f"{date}-{machine}"


def save(directory: Path, name: str, result: dict[str, Any], machine: dict[str, Any]) -> Path:
    """Write NAME.json, replacing an older one of the same day."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    text = json.dumps({"benchmark": name, "machine": machine, "result": result}, indent=1)
    path.write_text(text + "\n")
    return path
