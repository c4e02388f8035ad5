"""Comparisons as a report gets them, made by hand: real receipts, and a small trace."""

from pathlib import Path
from random import Random
from typing import Any

from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.model.documents import document_of
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.mount.latency.receipt import Receipt
from osxfs_sim.trace.format import Header, TraceWriter, columns_of

ARMS = {"native": None, "osxfs": 130_000, "osxfs --latency 65us": 65_000}
# Of each arm in seconds: the centre, and how far runs are apart.
WALLS_S = {"native": 1.3, "osxfs": 16.9, "osxfs --latency 65us": 9.2}


def share(asked_ns: int, seed: int = 0, answers: int = 400) -> dict[str, Any]:
    """The status of a share over a run."""
    random = Random(seed)
    receipt = Receipt()
    for _ in range(answers):
        receipt.add(OperationClass.METADATA, asked_ns, asked_ns + random.randrange(200, 4_000))
    for _ in range(answers // 4):
        receipt.add(
            OperationClass.READ, asked_ns + 8_000, asked_ns + random.randrange(8_000, 9_000)
        )
    return {
        "profile": "osxfs",
        "title": "osxfs of Docker Desktop for Mac",
        "policy": "consistent: nothing cached",
        "latency": {
            "base_ns": {"metadata": asked_ns, "read": asked_ns},
            "bandwidth_bytes_per_s": 250_000_000,
            "distribution": "constant",
        },
        "events": {"watcher": "fanotify", "latency_ns": 10_000_000},
        "write_back": None,
        "calibration": {"floor_ns": 14_510},
        "seed": seed,
        "server_processor_s": 1.25,
        "requests": {"LOOKUP": answers, "READ": answers // 4, "GETATTR": 12},
        "missing_lookups": answers // 2,
        "receipt": document_of(receipt.report()),
        "warnings": [],
    }


def comparison(
    runs: int = 8, arms: dict[str, int | None] | None = None, **others: Any
) -> Comparison:
    """*runs* fresh runs of each arm, on a share that asks for so many ns (None: native)."""
    chosen = ARMS if arms is None else arms
    random = Random(7)
    samples = [
        Sample(
            arm,
            number,
            "fresh",
            WALLS_S.get(arm, 5.0) * random.uniform(0.98, 1.02),
            1.1,
            began_s=20.0 * number,
            drain_s=None if asked_ns is None else 0.01,
            share=None if asked_ns is None else share(asked_ns, number),
        )
        for number in range(runs)
        for arm, asked_ns in chosen.items()
    ]
    values: dict[str, Any] = {
        "case": "rake",
        "title": "rake -T of a Rails application",
        "variant": "mid",
        "quick": False,
        "options": [],
        "arms": list(chosen),
        "baseline": next(iter(chosen)),
        "caches": "warm",
        "seed": 42,
        "dilate": 1.0,
        "started": "2026-11-24T17:00:00+00:00",
        "machine": {"processor": "AMD EPYC", "cores": 2, "kernel": "6.1", "python": "3.11.7"},
        "specs": {
            arm: {"profile": "native" if asked_ns is None else "osxfs", "options": {}}
            for arm, asked_ns in chosen.items()
        },
        "mounted": {arm: share(asked_ns) for arm, asked_ns in chosen.items() if asked_ns},
        "plan": {"runs": runs},
        "claims": [{"text": "Tries 37,000 files.", "source": "https://example.org/osxfs?a=1&b=2"}],
        "samples": samples,
    }
    return Comparison(**values | others)


def write_trace(path: Path, requests: int = 600) -> Path:
    """A trace of lookups of missing names, each name twice, with reads between."""
    rows = [
        {
            "arrival_ns": number * 200_000,
            "target_ns": 130_000,
            "took_ns": 131_000,
            "operation": "READ" if number % 5 == 0 else "LOOKUP",
            "inode": 1 if number % 5 else 2,
            "name": None if number % 5 == 0 else f"missing-{number // 2}",
            "error": None if number % 5 == 0 else "ENOENT",
            "size_bytes": 4096 if number % 5 == 0 else 0,
            "program": "ruby",
            "directory": "/lib",
        }
        for number in range(requests)
    ]
    writer = TraceWriter(path)
    writer.write(columns_of(iter(rows)))
    writer.close(Header(began_ns=0, lasted_ns=requests * 200_000))
    return path
