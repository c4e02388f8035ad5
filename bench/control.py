"""A busy share still answers, and ends when told: under the load of eight clients at 130 us.

``status`` is asked again and again while they go on; then the server gets a
SIGTERM, and is timed until it is gone from the table of mounts and from that
of processes. The end is clean if its exit status is 0 and its log reports no
trouble.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import clients
from bench.scratch import CLIENTS_AT_MOST, EXISTING, Scratch, pid_of, scratch
from osxfs_sim import MountError, Share, ShareSettings
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.mountpoints import log_path, mount_at, runtime_directory

_LATENCY_NS = 130_000
_ENDED_WITHIN_S = 20.0
_TROUBLE = ("Traceback", " ERROR ", " CRITICAL ")


def measure(quick: bool) -> dict[str, Any]:
    """Times of status and of an end, under load; *quick* is shorter."""
    rounds, questions = (1, 5) if quick else (5, 20)
    answered_ns: list[int] = []
    ends = []
    for _ in range(rounds):
        with scratch() as place, _share_to_be_ended(place) as share:
            with clients.loading(place.own_paths(EXISTING, CLIENTS_AT_MOST)):
                for _ in range(questions):
                    start_ns = time.perf_counter_ns()
                    status = share.status()
                    answered_ns.append(time.perf_counter_ns() - start_ns)
                    time.sleep(0.02)
                ends.append(_end(share))
            ends[-1]["requests_before"] = sum(status.requests.values())
    answered_ms = np.asarray(answered_ns) / 1e6
    status_row = {
        "what": "status answers",
        "times": len(answered_ns),
        "p50_ms": round(float(np.median(answered_ms)), 2),
        "worst_ms": round(float(answered_ms.max()), 2),
    }
    end_row = {
        "what": "SIGTERM to gone",
        "times": len(ends),
        "p50_ms": round(float(np.median([end["gone_ms"] for end in ends])), 2),
        "worst_ms": max(end["gone_ms"] for end in ends),
        "clean": sum(end["clean"] for end in ends),
    }
    return {
        "quick": quick,
        "clients": CLIENTS_AT_MOST,
        "latency_us": _LATENCY_NS / 1_000,
        "status_ms": [round(float(ms), 2) for ms in answered_ms],
        "ends": ends,
        "rows": [status_row, end_row],
    }


@contextlib.contextmanager
def _share_to_be_ended(place: Scratch) -> Iterator[Share]:
    """A share that is expected to be gone at the end of the block, and is ended if it is not."""
    share = launch(ShareSettings(place.source, place.mountpoint, latency_ns=_LATENCY_NS))
    try:
        yield share
    finally:
        if mount_at(share.mountpoint) is not None:
            with contextlib.suppress(MountError):
                share.unmount()


def _end(share: Share) -> dict[str, Any]:
    """Ask the server to end, and time it."""
    pid = pid_of(share)
    start_ns = time.perf_counter_ns()
    os.kill(pid, signal.SIGTERM)
    unmounted_ns = exited_ns = 0
    exit_status: int | None = None
    deadline_s = time.monotonic() + _ENDED_WITHIN_S
    while not (unmounted_ns and exited_ns) and time.monotonic() < deadline_s:
        now_ns = time.perf_counter_ns() - start_ns
        if not unmounted_ns and mount_at(share.mountpoint) is None:
            unmounted_ns = now_ns
        if not exited_ns:
            # It is our child, and launch() waits for nobody.
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                exited_ns, exit_status = now_ns, os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    gone_ns = max(unmounted_ns, exited_ns) if unmounted_ns and exited_ns else None
    trouble = _trouble_in_log(share.mountpoint)
    return {
        "unmounted_ms": round(unmounted_ns / 1e6, 2) if unmounted_ns else None,
        "exited_ms": round(exited_ns / 1e6, 2) if exited_ns else None,
        "gone_ms": round((_ENDED_WITHIN_S * 1e9 if gone_ns is None else gone_ns) / 1e6, 2),
        "exit_status": exit_status,
        "trouble_in_log": trouble,
        "clean": gone_ns is not None and exit_status == 0 and not trouble,
    }


def _trouble_in_log(mountpoint: str) -> list[str]:
    log = log_path(runtime_directory(os.geteuid()), mountpoint)
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if any(sign in line for sign in _TROUBLE)][:20]
