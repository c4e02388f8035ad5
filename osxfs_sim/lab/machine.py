"""What a result was obtained on: a number without its machine says little."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osxfs_sim.sources import commit, digest_of_program

_PACKAGES = ("osxfs-sim", "pyfuse3", "trio", "numpy")


def describe_machine() -> dict[str, object]:
    """The processor, kernel, Python, packages and code that matter to a latency, as a dict."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "virtual": "hypervisor" in _first_line("/proc/cpuinfo", "flags").split(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "code": digest_of_program(),
        "commit": commit(),
        "load_average": os.getloadavg()[0],
        "pm_qos": os.access("/dev/cpu_dma_latency", os.W_OK),
        "root": os.geteuid() == 0,
    }


def describe_machine_shortly(machine: Mapping[str, Any] | None = None) -> str:
    """Processor, cores, Linux, Python of *machine* (None: this) in a phrase; ? where unknown."""
    machine = machine or describe_machine()
    kind = "virtual, " if machine.get("virtual") else ""
    known = {key: machine.get(key) or "?" for key in ("processor", "cores", "kernel", "python")}
    return (
        f"{known['processor']}, {kind}{known['cores']} cores, Linux {known['kernel']}, "
        f"Python {known['python']}"
    )


def busy_s() -> float | None:
    """Processor seconds used on this machine since its start, stolen ones too. None if unknown."""
    words = _first_line("/proc/stat", "cpu ", separator=" ").split()
    if len(words) < 8:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    return _first_line("/proc/cpuinfo", "model name") or platform.machine()


def _first_line(path: str, key: str, separator: str = ":") -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if line.startswith(key):
                return line.partition(separator)[2].strip()
    except OSError:
        pass
    return ""
