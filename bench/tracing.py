"""What it costs to record a request: one client asks a share without latency, traced and not.

Rounds take turns on one mount, so that both see the same machine; the cost is
the median over neighbouring rounds. The server's own processor time is there
too, because Parquet is made in a thread, beside the requests.
"""

import os
import tempfile
from statistics import median
from typing import Any

import numpy as np

import osxfs_sim
from bench import clients
from bench.figures import histogram, per_request
from bench.scratch import EXISTING, MISSING, scratch


def measure(quick: bool) -> dict[str, Any]:
    """What recording a request costs, by kind of name; *quick* is shorter."""
    rounds, calls = (2, 500) if quick else (9, 20_000)
    rows = [_row(name, rounds, calls) for name in (MISSING, EXISTING)]
    return {"quick": quick, "rounds": rounds, "rows": rows}


def _row(name: str, rounds: int, calls: int) -> dict[str, Any]:
    requests_per_call = 1 if name == MISSING else 2  # EXISTING: LOOKUP and GETATTR
    taken: dict[bool, list[np.ndarray]] = {False: [], True: []}
    processor_s: dict[bool, list[float]] = {False: [], True: []}
    lost = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        scratch() as place,
        osxfs_sim.share(place.source, place.mountpoint, profile="none") as share,
    ):
        paths = place.paths(name, 1)
        clients.run("stat", calls // 10, paths)
        for number in range(rounds):
            for traced in (False, True) if number % 2 else (True, False):
                if traced:
                    share.start_trace(os.path.join(directory, f"{number}.parquet"))
                share.reset()
                taken[traced].append(clients.run("stat", calls, paths).taken_ns)
                status = share.status()
                processor_s[traced].append(status.server_processor_s)
                assert sum(status.requests.values()) >= calls * requests_per_call
                if traced:
                    told = share.stop_trace()
                    assert told["rows"] + told["lost"] >= calls * requests_per_call
                    lost += told["lost"]
    costs_ns = [
        (float(np.median(with_trace)) - float(np.median(without))) / requests_per_call
        for without, with_trace in zip(taken[False], taken[True], strict=True)
    ]
    processor_ns = [
        (with_trace - without) * 1e9 / (calls * requests_per_call)
        for without, with_trace in zip(processor_s[False], processor_s[True], strict=True)
    ]
    every = {traced: np.concatenate(samples) for traced, samples in taken.items()}
    return {
        "name": name,
        "requests": calls * rounds * requests_per_call,
        "cost_us": round(median(costs_ns) / 1_000, 3),
        "processor_us": round(median(processor_ns) / 1_000, 3),
        "lost": lost,
        "untraced_p50_us": per_request(every[False], requests_per_call)["p50_us"],
        "traced_p50_us": per_request(every[True], requests_per_call)["p50_us"],
        "untraced_p99_us": per_request(every[False], requests_per_call)["p99_us"],
        "traced_p99_us": per_request(every[True], requests_per_call)["p99_us"],
        "untraced_histogram": histogram(every[False]),
        "traced_histogram": histogram(every[True]),
    }
