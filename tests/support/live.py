"""A share under test: its two sides, its server, and what it must leave behind: nothing."""

import contextlib
import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import osxfs_sim
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.mountpoints import log_path, mounts, runtime_directory, unmount
from osxfs_sim.mount.mounts.runtime_records import record_path
from support.guests import eventually

# A share that hangs would hang its test. After this long its server is killed:
# the test then fails with ENOTCONN instead.
WATCHDOG_S = 300.0
# Many events, on a slow machine with more to do.
SETTLES_WITHIN_S = 240.0

_places = itertools.count()
# mount(2): the flags that every share is mounted with, and the one that mounts it again.
_NOSUID, _NODEV, _REMOUNT, _RELATIME = 2, 4, 32, 1 << 21
_TROUBLE = ("bug:", "Traceback", "ERROR", "CRITICAL")


@dataclass
class LiveShare:
    """A mounted share: *source* is its host side, *guest* its guest side."""

    source: Path
    guest: Path
    share: osxfs_sim.Share
    server: "subprocess.Popen[bytes]"
    expected_end: int | None = 0
    """The exit code that the server must end with; None for one that the test kills."""
    expected_trouble: bool = False
    """Whether its log may speak of a bug, because the test made one."""
    _watchdog: threading.Timer = field(init=False)

    def __post_init__(self) -> None:
        self._set_watchdog()

    def _set_watchdog(self) -> None:
        self._watchdog = threading.Timer(WATCHDOG_S, self.server.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def reset_watchdog(self) -> None:
        """A test begins that uses a share of others, too: it has all of the time again."""
        self._watchdog.cancel()
        if self.server.poll() is None:
            self._set_watchdog()

    @classmethod
    def mount(cls, source: Path, guest: Path, **settings: Any) -> "LiveShare":
        """Mount it, by default without latency and without measuring the machine first."""
        settings = {"profile": "none", "calibrate": False} | settings
        share = launch(osxfs_sim.ShareSettings(str(source), str(guest), **settings))
        return cls(source, guest, share, share._server)

    @property
    def pid(self) -> int:
        return self.server.pid

    def status(self) -> ShareStatus:
        return self.share.status()

    def requests(self) -> Mapping[str, int]:
        """Requests by kind since the last call of reset()."""
        return self.status().requests

    def reset(self) -> None:
        self.share.reset()

    def settle(self) -> None:
        """Wait until the guest has been told of everything that the host has done so far."""
        self.share.settle(SETTLES_WITHIN_S)

    def drop_dentries(self) -> None:
        """Have the guest's kernel forget what nobody uses of this share, as if memory were short.

        A remount shrinks the caches of one superblock. Those that /proc/sys/vm/drop_caches
        empties are everybody's, and tests beside this one count what they are asked.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        flags = _REMOUNT | _NOSUID | _NODEV | _RELATIME
        if libc.mount(b"none", os.fsencode(self.guest), None, ctypes.c_ulong(flags), None):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.guest))

    def unmount(self) -> None:
        self.share.unmount()

    def kill(self) -> None:
        """Kill the server as the kernel's out-of-memory killer would."""
        self.expected_end = None
        self.server.kill()
        self.wait_for_end()
        if self.share.first_status.transport == "requests":  # any other mount outlives it
            self._wait_until_taken_away()

    def _wait_until_taken_away(self) -> None:
        """Its supervisor takes the mount away."""
        eventually(lambda: not is_mounted(self.guest))

    @property
    def log_file(self) -> Path:
        return log_path(runtime_directory(os.geteuid()), str(self.guest))

    def log(self) -> str:
        """What the server wrote; it takes an empty log away when it ends well."""
        try:
            return self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def trouble(self) -> list[str]:
        """What the server logged that no server should."""
        return [line for line in self.log().splitlines() if any(t in line for t in _TROUBLE)]

    def wait_for_end(self) -> int:
        """Wait for the server to end, and return its exit code."""
        code = self.server.wait(180)
        self._watchdog.cancel()
        return code

    def _threads(self) -> str:
        """Where the server's threads are just now: of a server that does not end."""
        lines = []
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                told = Path(f"/proc/{self.pid}/task/{thread}")
                name = (told / "comm").read_text().strip()
                words = (told / "stat").read_text().rpartition(")")[2].split()[:1]
                with contextlib.suppress(OSError):  # only root may look into the kernel
                    words += (told / "stack").read_text().split()
                lines.append(f"\n  {name}: {' '.join(words)}")
        return "".join(lines)

    def finish(self) -> list[str]:
        """End it however it is, and return what was wrong with it, a line each."""
        wrong = []
        if is_mounted(self.guest):
            try:
                self.unmount()
            except osxfs_sim.MountError as error:
                wrong.append(f"not unmounted at the end of the test: {error}{self._threads()}")
                self.server.kill()
                with contextlib.suppress(OSError):
                    unmount(str(self.guest), lazily=True)
        code = self.wait_for_end()
        if not is_mounted(self.guest):
            record_path(os.geteuid(), str(self.guest)).unlink(missing_ok=True)
        if not wrong and self.expected_end is not None and code != self.expected_end:
            wrong.append(f"the server ended with {code}, not {self.expected_end}:\n{self.log()}")
        if not self.expected_trouble:
            wrong += [f"the server logged: {line}" for line in self.trouble()]
        return wrong


@dataclass(frozen=True)
class Place:
    """A new directory of a share that a module's tests use one after the other.

    It stands for a share of a test's own where the directory is all that the test is about:
    one that is mounted for it would be half a second of starting Python. Requests and events
    are the whole share's: a test resets or compares them, as it does on its own.
    """

    live: LiveShare
    name: str

    @classmethod
    def on(cls, live: LiveShare) -> "Place":
        place = cls(live, f"place-{next(_places)}")
        place.source.mkdir()
        return place

    @property
    def source(self) -> Path:
        return self.live.source / self.name

    @property
    def guest(self) -> Path:
        return self.live.guest / self.name

    def status(self) -> ShareStatus:
        return self.live.status()

    def requests(self) -> Mapping[str, int]:
        return self.live.requests()

    def reset(self) -> None:
        self.live.reset()

    def settle(self) -> None:
        self.live.settle()


def is_mounted(guest: Path) -> bool:
    """Whether anything is mounted at *guest*; does not touch it."""
    return any(entry.mountpoint == str(guest) for entry in mounts())


def shares_below(ground: Path) -> list[str]:
    """Mount points of shares below *ground*."""
    return [
        entry.mountpoint
        for entry in mounts()
        if entry.is_ours and entry.mountpoint.startswith(f"{ground}/")
    ]


def servers_below(ground: Path) -> list[int]:
    """Processes that serve, or are about to serve, a mount below *ground*."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read()  # empty for a process that has ended
        except OSError:
            continue
        serves = b"osxfs_sim.mount.server.main" in command and os.fsencode(f'"{ground}/') in command
        if serves or (b"supervisor.py\0" in command and os.fsencode(f"\0{ground}/") in command):
            found.append(int(entry))
    return found
