"""``osxfs-sim umount --force`` ends in two seconds, whatever state server and guests are in.

The whole command is timed, from its start to its end, and what it is for: the share is gone from
the table of mounts, its server from that of processes, and every guest that was inside has been
told. The states:

    idle              nobody asks for anything
    stopped           the server has a SIGSTOP; guests wait
    killed            the server is killed, and its supervisor stopped, so that nobody cleaned up
    stuck in own mount    the server's threads wait in the share for a lock that a guest holds
    stuck guests      eight guests wait for answers that take an hour
    3 s latency       eight guests at work, each of whose requests takes three seconds
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.clients import CannotMeasureError
from bench.figures import histogram
from bench.scratch import CLIENTS_AT_MOST, Scratch, pid_of, scratch
from osxfs_sim import MountError, Share, ShareSettings
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.mountpoints import mount_at

_HOUR_NS, _SLOW_NS = 3_600 * 10**9, 3 * 10**9
_COMMAND = (sys.executable, "-m", "osxfs_sim", "umount", "--force")
_SET_UP_WITHIN_S = 60.0
_GONE_WITHIN_S = 20.0
_LOOK_AGAIN_S = 0.001
_TOLD = "told"

# Says that it is there, and once it is told to, looks for names until the share ends.
_GUEST = """
import errno, os, sys
root, number = sys.argv[1:]
root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)  # which asks the share nothing
print("there", flush=True)
sys.stdin.readline()
while True:
    try: os.stat(f"missing-{number}", dir_fd=root_fd)
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
            print("told")
            break
"""

Guests = list["subprocess.Popen[str]"]


@dataclass(frozen=True, slots=True)
class _State:
    latency_ns: int
    guests: int
    bring_about: Callable[[Share, Scratch, Guests], None]


def measure(quick: bool) -> dict[str, Any]:
    """Times of umount --force in each state of server and guests; *quick* is shorter."""
    rounds = 1 if quick else 20
    rows = []
    for name, state in _STATES.items():
        ends = [_once(state) for _ in range(rounds)]
        taken_ns = np.asarray([end["command_ns"] for end in ends], dtype=np.int64)
        gone_ms = [end["gone_ms"] for end in ends]
        rows.append(
            {
                "state": name,
                "times": rounds,
                "p50_ms": round(float(np.median(taken_ns)) / 1e6, 1),
                "worst_ms": round(float(taken_ns.max()) / 1e6, 1),
                "gone_p50_ms": round(float(np.median(gone_ms)), 1),
                "gone_worst_ms": max(gone_ms),
                "guests_told": all(end["guests_told"] for end in ends),
                "exit_codes": " ".join(map(str, sorted({end["exit_code"] for end in ends}))),
                "ends": ends,
                "histogram": histogram(taken_ns),
            }
        )
    return {"quick": quick, "rows": rows}


def _once(state: _State) -> dict[str, Any]:
    with scratch() as place, _share(place, state) as share, _guests(place, state.guests) as guests:
        state.bring_about(share, place, guests)
        pid = pid_of(share)
        start_ns = time.perf_counter_ns()
        command = subprocess.Popen(
            [*_COMMAND, place.mountpoint], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        waiting = {"command", "mount", "server", *map(str, range(len(guests)))}
        done_ns: dict[str, int] = {}
        ended: dict[str, Callable[[], bool]] = {
            "command": lambda: command.poll() is not None,
            "mount": lambda: mount_at(place.mountpoint) is None,
            "server": lambda: _has_ended(share, pid),
            **{str(number): _ended(guest) for number, guest in enumerate(guests)},
        }
        while waiting and time.perf_counter_ns() - start_ns < _GONE_WITHIN_S * 1e9:
            for what in sorted(waiting):
                if ended[what]():
                    done_ns[what] = time.perf_counter_ns() - start_ns
            waiting -= done_ns.keys()
            time.sleep(_LOOK_AGAIN_S)
        never_ns = int(_GONE_WITHIN_S * 1e9)
        told = [guest.poll() is not None and _said(guest) == _TOLD for guest in guests]
    return {
        "command_ns": done_ns.get("command", never_ns),
        "gone_ms": round(max(done_ns.values()) / 1e6 if not waiting else never_ns / 1e6, 1),
        "exit_code": command.poll(),
        "guests_told": all(told),
    }


def _ended(process: "subprocess.Popen[str]") -> Callable[[], bool]:
    return lambda: process.poll() is not None


def _said(guest: "subprocess.Popen[str]") -> str:
    assert guest.stdout is not None
    return guest.stdout.read().strip()


def _has_ended(share: Share, pid: int) -> bool:
    """Our child, and nothing left of it: waiting for it takes a zombie away."""
    share._server.poll()
    return not os.path.exists(f"/proc/{pid}")


@contextlib.contextmanager
def _share(place: Scratch, state: _State) -> Iterator[Share]:
    """Ended at the end of the block, whatever has become of it."""
    share = launch(
        ShareSettings(
            place.source,
            place.mountpoint,
            profile="osxfs-cached",
            latency_ns=state.latency_ns,
            event_latency_ns=0,
            calibrate=False,
        )
    )
    try:
        yield share
    finally:
        if mount_at(place.mountpoint) is not None:
            with contextlib.suppress(MountError):
                share.unmount(force=True)


@contextlib.contextmanager
def _guests(place: Scratch, number: int) -> Iterator[Guests]:
    """So many, which wait in the share until they are told to go."""
    guests: Guests = []
    try:
        for each in range(number):
            guests.append(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _GUEST, place.mountpoint, str(each)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for guest in guests:
            assert guest.stdout is not None
            guest.stdout.readline()
        yield guests
    finally:
        for guest in guests:
            guest.kill()
            guest.communicate()


def _go(guests: Guests) -> None:
    for guest in guests:
        assert guest.stdin is not None
        guest.stdin.write("\n")
        guest.stdin.flush()


def _until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + _SET_UP_WITHIN_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise CannotMeasureError(f"the state cannot be brought about: {what}")
        time.sleep(_LOOK_AGAIN_S)


def _nothing(_share: Share, _place: Scratch, _guests: Guests) -> None:
    """As it is."""


def _stop(share: Share, _place: Scratch, guests: Guests) -> None:
    os.kill(pid_of(share), signal.SIGSTOP)
    _go(guests)


def _kill(share: Share, _place: Scratch, guests: Guests) -> None:
    _go(guests)
    pid = pid_of(share)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    share._server.wait(_SET_UP_WITHIN_S)


def _wait_inside(share: Share, place: Scratch, guests: Guests) -> None:
    """A guest holds the root's lock, and the thread that ends answers waits for it."""
    _ask(share, place, guests)
    Path(place.source, "new").touch()
    pid = pid_of(share)
    _until(lambda: _threads_in_the_kernel(pid), "no thread of the server waits in the share")


def _ask(share: Share, _place: Scratch, guests: Guests) -> None:
    _go(guests)
    _until(lambda: share.status().in_flight, "no guest asks for anything")


def _threads_in_the_kernel(pid: int) -> bool:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if task.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "D":
            return True
    return False


_STATES = {
    "idle": _State(0, 0, _nothing),
    "stopped": _State(0, CLIENTS_AT_MOST, _stop),
    "killed": _State(0, CLIENTS_AT_MOST, _kill),
    "stuck in own mount": _State(_HOUR_NS, CLIENTS_AT_MOST, _wait_inside),
    "stuck guests": _State(_HOUR_NS, CLIENTS_AT_MOST, _ask),
    "3 s latency": _State(_SLOW_NS, CLIENTS_AT_MOST, _ask),
}
