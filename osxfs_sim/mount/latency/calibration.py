"""The client's overhead, outside the server's own clock, measured when a share is mounted.

Between a client's system call and the server's first look at the request lie
the way through the kernel and a wake-up; between the server's reply and the
client lie the same again. Together about 20 us on the machine this was
developed on, and more in longer waits and after idle times, as processors go
colder. A process of its own asks for a missing name at the latencies in use;
what it sees beyond the target is the overhead that Crossings subtracts.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from osxfs_sim.model.latency import LatencyModel, LatencySpec
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.mount.latency import prober
from osxfs_sim.mount.latency.crossings import ClientOverhead, Crossings
from osxfs_sim.mount.loop.reactor import Patience, Reactor, Wake
from osxfs_sim.mount.mounts.identity import ServerUser

# Whatever else runs on the machine can only add to what a client waits, so the
# round with the least disturbance counts: the lowest median of several.
_ROUNDS = 5
_ROUND_NS = 12_000_000
_FEWEST_PROBES = 5
_MOST_PROBES = 60
_WARM_UP_PROBES = 50
_WAKE_PROBES = 15
_WAKE_PAUSE_NS = 1_200_000
# Latencies nearer to each other than this have the same constant.
_DISTINCT = 1.3
_LONGEST_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """The results, in nanoseconds.

    *floor_ns* is what a client sees when no latency is asked for; no target
    below it can be met. *client_overhead_ns* maps latencies asked for to what lies
    outside the server, *wake_ns* each Wake state to the time of its wake-up.
    """

    floor_ns: int = 0
    """What a client observes at a target of 0: no target below can be met."""
    client_overhead_ns: dict[int, int] = field(default_factory=lambda: {0: 0})
    """By target latency: the client's overhead, outside the server."""
    wake_ns: dict[Wake, int] = field(default_factory=dict)
    """For each state of the loop: how long its wake-up takes."""


NOT_CALIBRATED = Calibration()


class CalibrationError(Exception):
    """The measurement could not be made; the share works without it, less exactly."""


class _Prober:
    """The probing process, and one round with it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = trio.lowlevel.FdStream(os.dup(process.stdin.fileno()))
        self._stdout = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        process.stdin.close()
        process.stdout.close()
        self._received = b""

    async def end(self) -> None:
        """Its input ends, and so does it."""
        await self._stdin.aclose()
        await self._stdout.aclose()

    async def median_ns(self, count: int, pause_ns: int = 0) -> int:
        await self._stdin.send_all(b"%d %d\n" % (count, pause_ns))
        while b"\n" not in self._received:
            chunk = await self._stdout.receive_some()
            if not chunk:
                raise CalibrationError("the probing process ended early")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        taken_ns: list[int] = json.loads(line)
        # A missing name is dearer for the guest's kernel than one it knows: the
        # constant is to serve both, so it is the mean of their medians.
        medians_ns = [statistics.median(taken_ns[start::2]) for start in (0, 1)]
        return round(statistics.mean(medians_ns))


def start_prober(mountpoint: str, user: ServerUser) -> "subprocess.Popen[bytes]":
    """Start the client process for calibrate(), at *mountpoint*, as *user*. Raises OSError."""
    missing = os.path.join(mountpoint, f".osxfs-sim-probe-{os.getpid()}")
    script = str(Path(prober.__file__))
    return subprocess.Popen(
        [sys.executable, "-I", "-S", script, user.as_argument, missing, mountpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the server, which ends it
    )


async def calibrate(
    reactor: Reactor,
    crossings: Crossings,
    process: "subprocess.Popen[bytes]",
    latency: LatencySpec,
) -> Calibration:
    """Measure a share's floor, client overhead, wake-ups, in ns. Raises CalibrationError, OSError.

    The share serves nobody else yet. *process* is the prober, which then ends. The caller has made
    its cache policy keep nothing; its latency, client overhead and patience are changed for each
    round, and left as they were. Raises trio.BrokenResourceError, too, where the prober or the
    share fails.
    """
    kept = crossings.latency, crossings.client_overhead, reactor.patience
    processors = os.sched_getaffinity(0)
    crossings.set_client_overhead(ClientOverhead({0: 0}))
    probe = _Prober(process)
    try:
        _part_processors(process.pid, sorted(processors))
        return await _rounds(reactor, crossings, probe, latency)
    finally:
        await probe.end()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.wait)
        crossings.set_latency(kept[0])
        crossings.set_client_overhead(kept[1])
        reactor.set_patience(kept[2])
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, processors)


def _part_processors(prober_pid: int, processors: list[int]) -> None:
    """Keep the two off each other's processor for as long as the measurement takes.

    A polling server occupies one, so that clients mostly run on others; left
    to itself, the scheduler often puts a lone prober beside the server, where
    an answer takes 4 us longer.
    """
    if len(processors) < 2:
        return
    with contextlib.suppress(OSError):  # where it is forbidden, we measure as we are
        os.sched_setaffinity(0, processors[:1])
        os.sched_setaffinity(prober_pid, processors[1:])


async def _rounds(
    reactor: Reactor, crossings: Crossings, probe: _Prober, latency: LatencySpec
) -> Calibration:
    def ask_for(latency_ns: int) -> None:
        spec = LatencySpec((latency_ns,) * len(OperationClass))
        crossings.set_latency(LatencyModel(spec, seed=0))

    async def outside(latency_ns: int) -> int:
        """The least that a client waited beyond what the server took."""
        ask_for(latency_ns)
        count = min(_MOST_PROBES, max(_FEWEST_PROBES, _ROUND_NS // max(latency_ns, 1)))
        least_ns = _LONGEST_NS
        for _ in range(_ROUNDS):
            crossings.reset_counts()
            client_ns = await probe.median_ns(count)
            # A delayed reply leaves on time; one without a target takes what it takes.
            inside_ns = latency_ns or _median_inside_ns(crossings)
            least_ns = min(least_ns, client_ns - inside_ns)
        return max(0, least_ns)

    async def quietest(count: int, pause_ns: int = 0) -> int:
        return min([await probe.median_ns(count, pause_ns) for _ in range(_ROUNDS)])

    ask_for(0)
    await probe.median_ns(_WARM_UP_PROBES)
    floor_ns = await quietest(_MOST_PROBES)
    client_overhead_ns = {
        latency_ns: await outside(latency_ns) for latency_ns in (0, *_latencies_in_use(latency))
    }
    wake_ns: dict[Wake, int] = {}
    if len(client_overhead_ns) > 1:
        ask_for(0)
        patience = reactor.patience
        for wake, state in (
            (Wake.BLOCKING, replace(patience, spin_ns=0)),
            (Wake.ASLEEP, replace(patience, spin_ns=0, block_ns=0)),
            (Wake.COLD, Patience(spin_ns=0, block_ns=0, awake_ns=0)),
        ):
            reactor.set_patience(state)
            wake_ns[wake] = max(0, await quietest(_WAKE_PROBES, _WAKE_PAUSE_NS) - floor_ns)
        reactor.set_patience(patience)
    return Calibration(floor_ns, client_overhead_ns, wake_ns)


def _median_inside_ns(crossings: Crossings) -> int:
    report = crossings.receipt.report()
    return report[OperationClass.METADATA.label].observed_p50_ns


def _latencies_in_use(latency: LatencySpec) -> list[int]:
    chosen: list[int] = []
    for base_ns in sorted({min(base_ns, _LONGEST_NS) for base_ns in latency.base_ns if base_ns}):
        if not chosen or base_ns > chosen[-1] * _DISTINCT:
            chosen.append(base_ns)
    return chosen
