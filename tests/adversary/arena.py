"""A share between actors: rounds of moves, kills, full disks, and what is judged after them."""

import contextlib
import json
import os
import re
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from random import Random
from typing import Any

from live import LiveShare, is_mounted

from adversary.expected import Expected, Path
from adversary.moves import Move, Mover
from osxfs_sim import MountError
from osxfs_sim.mount.mountpoints import unmount

ANSWERED_WITHIN_S = 120.0
"""Nothing here takes a second; what takes this long hangs."""
_SHOWN = 40
_BALLAST = "ballast"
_DESCRIPTORS_ALLOWED = 64
"""Beyond those at the start: for directories in use, which are kept for a while."""
_MEMORY_ALLOWED_BYTES = 96 << 20
_DEAD = "the server ended"


class ViolationError(AssertionError):
    """An invariant does not hold."""


class Actor:
    """A process that moves below *root*."""

    def __init__(self, root: FilePath, mover: Mover, uid: int | None) -> None:
        self.mover = mover
        self.is_guest = mover.name.startswith("g")
        arguments = [str(root), *([] if uid is None else [str(uid)])]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(FilePath(__file__).with_name("actor.py")), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
        )

    def begin(self, move: Move) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(move).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What came of the move. Raises ViolationError where none comes."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWERED_WITHIN_S)
        if not ready:
            raise ViolationError(f"{self.mover.name} hangs")
        line = self._process.stdout.readline()
        if not line:
            raise ViolationError(f"{self.mover.name} has ended: a fault of the test's own")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, move: Move) -> dict[str, Any]:
        self.begin(move)
        return self.answer()

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()


@dataclass
class Plan:
    """What an adversary does, and to what kind of share."""

    settings: dict[str, Any]
    guests: int = 2
    hosts: int = 2
    kill_rate: float = 0.0
    """Per round."""
    full_rate: float = 0.0
    closes: bool = False
    host_links: bool = True
    names: str = "abcd"
    server_uid: int | None = None
    """Also of all guests; None: root."""
    guest_root: str = ""
    """The directory below the mount point that is shared: of a share file, an export."""
    writes_back: bool = True
    predicts: bool = True
    rounds_between: int = 12
    """Rounds from one comparison to the next."""
    pause_s: float = 0.004


@dataclass
class Arena:
    """One share, its actors, and what is known of both sides."""

    seed: int
    plan: Plan
    source: FilePath
    guest: FilePath
    mount: Callable[[str | None], LiveShare]
    """Mounts the share; told what becomes of what is unwritten."""
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.expected = Expected(strict=not self.plan.closes)
        self.live = self.mount(None)
        self.actors = [
            self._actor(f"g{number}", self.guest / self.plan.guest_root)
            for number in range(self.plan.guests)
        ]
        self.actors += [self._actor(f"h{number}", self.source) for number in range(self.plan.hosts)]
        self._full = False
        self._counters = self._conflicts()
        self._descriptors = self._open_descriptors()
        self._memory_bytes = self._memory()
        self.kills = self.comparisons = self.settled_paths = 0

    def _actor(self, name: str, root: FilePath) -> Actor:
        mover = Mover(
            Random(f"{self.seed} {name}"),
            name,
            closes=self.plan.closes,
            links=self.plan.host_links or name.startswith("g"),
            names=self.plan.names,
        )
        return Actor(root, mover, self.plan.server_uid)

    def close(self) -> None:
        for actor in self.actors:
            actor.end()

    def fail(self, what: str) -> None:
        """Raise ViolationError, with all that is needed to look into it."""
        latest = "\n  ".join(self.log[-_SHOWN:])
        log = self.live.log()[-2_000:]
        raise ViolationError(
            f"seed {self.seed}, after {len(self.log)} moves: {what}\n  {latest}\n"
            f"the server's log ends with:\n{log}"
        )

    # Rounds

    def run(self, until: Callable[[], bool]) -> None:
        """Rounds, and a comparison after some, until *until* says so."""
        try:
            while not until():
                for _ in range(self.plan.rounds_between):
                    self._round()
                self.compare()
        except ViolationError:
            raise
        except (MountError, OSError) as error:
            self.fail(f"{type(error).__name__}: {error}")

    def _round(self) -> None:
        moving = [each for each in self.actors if self.random.random() < 0.5]
        there: dict[str, list[str]] = {}
        for path, node in self.expected.walk():
            there.setdefault(node.kind, []).append("/".join(path))
        moves = [(actor, actor.mover.draw(there)) for actor in moving]
        dies = self.random.random() < self.plan.kill_rate
        if self.random.random() < self.plan.full_rate:
            self._fill_or_free()
        for actor, move in moves:
            if not actor.is_guest:
                self.expected.by_host(move)
        self._contest_what_meets([(a, m) for a, m in moves if a.is_guest])
        if dies:
            for actor, move in moves:
                for path in self.expected.involved(actor.mover.name, move):
                    self.expected.contest(path)
        for actor, move in moves:
            actor.begin(move)
        if dies:
            time.sleep(self.random.random() * 0.003)
            self.live.server.kill()
        answers = [(actor, move, actor.answer()) for actor, move in moves]
        for actor, move, answer in answers:
            self._note(actor, move, answer, dies)
        if dies:
            self._bury_and_mount_again()
        elif self.live.server.poll() is not None:
            self.fail(_DEAD)
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * self.plan.pause_s)

    def _note(self, actor: Actor, move: Move, answer: dict[str, Any], dies: bool) -> None:
        code = answer.get("errno", 0)
        name = actor.mover.name
        actor.mover.answered(move, code == 0)
        what = " ".join(str(value) for value in move.values())
        self.log.append(f"{name} {what}: {os.strerror(code) if code else 'ok'}")
        if not actor.is_guest or dies:
            return
        wrong = self.expected.by_guest(name, move, code)
        if wrong and self.plan.predicts and not self._full:
            self.fail(f"{name} {what}: {wrong}")

    def _contest_what_meets(self, moves: list[tuple[Actor, Move]]) -> None:
        """Of two guests at once nobody knows who was first."""
        involved = [self.expected.involved(actor.mover.name, move) for actor, move in moves]
        for number, mine in enumerate(involved):
            for others in involved[number + 1 :]:
                if any(_related(one, other) for one in mine for other in others):
                    for path in (*mine, *others):
                        self.expected.contest(path)

    def _fill_or_free(self) -> None:
        if self._full:
            self._free()
            return
        spare = self.random.choice((0, 20_000, 200_000))
        with contextlib.suppress(OSError):
            _fill(self.source.parent / _BALLAST, spare)
        self._full = True
        self.log.append(f"the disk is full but for {spare} bytes")

    def _free(self) -> None:
        (self.source.parent / _BALLAST).unlink(missing_ok=True)
        self._full = False
        self.log.append("the disk has room again")

    # The killer

    def _bury_and_mount_again(self) -> None:
        self.kills += 1
        self.log.append("the server is killed")
        self.live.kill()
        self._drop_handles()
        deadline_s = time.monotonic() + ANSWERED_WITHIN_S
        while is_mounted(self.guest) and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                unmount(str(self.guest), lazily=True)
        wrong = self.expected.unsynced(_tree(self.source)[0])
        if wrong:
            self.fail(f"synced, and lost by a kill: {_named(wrong)}")
        if self._full:
            self._free()
        self.live = self.mount("recover" if self.plan.writes_back else None)
        # What was counted before has been counted; a kill takes the counters along.
        self._counters = self._conflicts()
        self._descriptors = self._open_descriptors()
        self._memory_bytes = self._memory()

    def _drop_handles(self) -> None:
        for actor in self.actors:
            actor.do({"do": "drop all"})
            actor.mover.held.clear()
        self.expected.held.clear()

    # Judging

    def compare(self) -> None:
        """Have both sides settle, and demand that they are the same, and what was acknowledged."""
        self._drop_handles()
        if self._full:
            self._free()
        self._flush()
        host, inodes = _tree(self.source)
        wrong = self.expected.missing(host)
        excused = self._excused()
        wrong = [(path, why) for path, why in wrong if not excused(path)]
        if wrong:
            self.fail(f"acknowledged, and not on the host: {_named(wrong)}")
        self._wait_for_agreement()
        host, inodes = _tree(self.source)
        self.settled_paths += len(host)
        self.comparisons += 1
        self.expected.adopt(host, inodes)
        self._counters = self._conflicts()
        self._check_server()

    def _flush(self) -> None:
        """Ends; where something was set aside, it says so once."""
        try:
            self.live.share.flush()
        except MountError as error:
            self.log.append(f"flush: {error}")
            if "set aside" not in str(error):
                # What a full disk has refused is tried again.
                self.live.share.flush()

    def _conflicts(self) -> dict[str, Any]:
        return self.live.status()["write_back"] or {}

    def _excused(self) -> Callable[[Path], bool]:
        """What the share itself counts as conflicts since the last comparison."""
        now, before = self._conflicts(), self._counters
        paths: list[str] = []
        for count, listed in _COUNTED.items():
            new = _number(now, count) - _number(before, count)
            if new > 0:
                paths += _listed(now, listed)[-new:]
                if new > len(_listed(now, listed)):
                    return lambda _: True  # more than it tells of
        excused = [tuple(path.split("/")) for path in paths]
        return lambda path: any(_related(_before_aside(path), each) for each in excused)

    def _wait_for_agreement(self) -> None:
        """Both sides show the same: the host's changes are told within a while."""
        self.live.settle()
        deadline_s = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            host, guest = _tree(self.source)[0], _tree(self.guest / self.plan.guest_root)[0]
            if host == guest:
                return
            if time.monotonic() > deadline_s:
                different = {path for path in {*host, *guest} if host.get(path) != guest.get(path)}
                self.fail(
                    "the guest is not shown what the host has: "
                    + _named([(path, "differs") for path in sorted(different)])
                )
            time.sleep(0.05)

    def _check_server(self) -> None:
        trouble = self.live.trouble()
        if any("bug:" in line or "Traceback" in line for line in trouble):
            self.fail(f"the server logged {trouble[0]}")
        status = self.live.status()
        if status["open_handles"]:
            self.fail(f"{status['open_handles']} handles are open, and no actor has one")
        grown = self._open_descriptors() - self._descriptors
        if grown > _DESCRIPTORS_ALLOWED:
            self.fail(f"{grown} descriptors more than at the start")
        grown_bytes = self._memory() - self._memory_bytes
        if grown_bytes > _MEMORY_ALLOWED_BYTES:
            self.fail(f"{grown_bytes >> 20} MiB more than at the start")

    def _open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.live.pid}/fd"))

    def _memory(self) -> int:
        with open(f"/proc/{self.live.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_COUNTED = {
    "lost_host_changes": "lost_paths",
    "kept_host_changes": "kept_paths",
    "set_aside": "set_aside_paths",
}


def _number(report: dict[str, Any], key: str) -> int:
    value = report.get(key, 0)
    return int(value["count"] if isinstance(value, dict) else value)


def _listed(report: dict[str, Any], key: str) -> list[str]:
    if key in report:
        return list(report[key])
    aside = report.get("set_aside")
    return [each["path"] for each in aside["latest"]] if isinstance(aside, dict) else []


def _before_aside(path: Path) -> Path:
    """Where what was moved aside (NAME.host-1) was before."""
    return tuple(re.sub(r"\.host-\d+$", "", name) for name in path)


def _related(one: Path, other: Path) -> bool:
    """Whether one is the other, or lies in it."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _named(wrong: list[tuple[Path, str]]) -> str:
    return "; ".join(f"{'/'.join(path)} {why}" for path, why in wrong[:8])


def _fill(path: FilePath, spare: int) -> None:
    disk = os.statvfs(path.parent)
    size = disk.f_bavail * disk.f_frsize - spare
    if size > 0:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _tree(top: FilePath) -> tuple[dict[Path, tuple[str, bytes]], dict[Path, int]]:
    """By path kind and content, and inode number. What cannot be read has no content."""
    found: dict[Path, tuple[str, bytes]] = {}
    inodes: dict[Path, int] = {}
    for path, status in _walk(str(top), ()):
        where = os.path.join(top, *path)
        inodes[path] = status.st_ino
        try:
            if stat.S_ISDIR(status.st_mode):
                found[path] = "directory", b"%o" % stat.S_IMODE(status.st_mode)
            elif stat.S_ISLNK(status.st_mode):
                found[path] = "symlink", os.readlink(os.fsencode(where))
            else:
                with open(where, "rb") as file:
                    found[path] = "file", file.read()
        except FileNotFoundError:
            inodes.pop(path)
        except PermissionError:
            found[path] = "file", b"?"
    return found, inodes


def _walk(top: str, path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(os.path.join(top, *path)) as listed:
            entries = sorted(listed, key=lambda each: each.name)
    except (FileNotFoundError, PermissionError):
        return
    for entry in entries:
        if entry.name == ".settled":
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield (*path, entry.name), status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(top, (*path, entry.name))
