"""What a share costs when nobody uses it: five seconds from the last request on, and five more.

The first five contain the polling that ends, the garbage collection and the
release of PM QoS; the second nothing at all.
"""

import time
from typing import Any

import osxfs_sim
from bench import clients
from bench.scratch import EXISTING, pid_of, processor_ns, scratch


def measure(quick: bool) -> dict[str, Any]:
    """Processor time of an idle share, just after work and later; *quick* is shorter."""
    idle_s = 2.0 if quick else 5.0
    with (
        scratch() as place,
        osxfs_sim.share(place.source, place.mountpoint, profile="osxfs") as share,
    ):
        pid = pid_of(share)
        clients.run("stat", 500, place.paths(EXISTING, 1))
        held_at_work = share.status().pm_qos_held
        rows = []
        for phase in ("right after the last request", "after that"):
            before_ns, start_ns = processor_ns(pid), time.monotonic_ns()
            time.sleep(idle_s)
            used_ns, taken_ns = processor_ns(pid) - before_ns, time.monotonic_ns() - start_ns
            # Asked only now: an answer costs processor time as well.
            held = share.status().pm_qos_held
            rows.append(
                {
                    "phase": phase,
                    "seconds": round(taken_ns / 1e9, 2),
                    "processor_ms": round(used_ns / 1e6, 3),
                    "share_of_core": round(used_ns / taken_ns, 5),
                    "pm_qos_held_afterwards": held,
                }
            )
    return {"quick": quick, "pm_qos_held_at_work": held_at_work, "rows": rows}
