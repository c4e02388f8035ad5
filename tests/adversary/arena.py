"""A share between actors: rounds of moves, kills, full disks, and what is judged after them."""

import contextlib
import errno
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from random import Random
from typing import Any
from unittest import mock

from support.guests import eventually
from support.live import LiveShare, is_mounted

from adversary.expected import Expected, Path, Seen, exactly, without_case
from adversary.moves import LOOKS, NAMES, Move, Mover
from adversary.sides import differences, tree
from osxfs_sim import MountError
from osxfs_sim.mount import launch
from osxfs_sim.mount.mounts.mountpoints import unmount

ANSWERED_WITHIN_S = 120.0
"""Nothing here takes a second; what takes this long hangs."""
_SHOWN = 40
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
        below = f"{self.mover.below}/"
        its = {k: v.removeprefix(below) if k in ("path", "to") else v for k, v in move.items()}
        self._process.stdin.write(json.dumps(its if self.mover.below else move).encode() + b"\n")
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
    host_rate: float = 0.25
    """How often each host moves in a round; guests do in half of them."""
    kill_rate: float = 0.0
    """Per round, as all that follow."""
    ending_kill_rate: float = 0.0
    """Of kills and of unmounts: how many recoveries, and ends, are killed, too."""
    remount_rate: float = 0.0
    """How often the share is unmounted, and mounted again."""
    full_rate: float = 0.0
    flush_rate: float = 0.0
    """How often somebody else has everything flushed meanwhile."""
    full_state: bool = False
    """Whether what is full is the disk of the state directory, not the host's."""
    closes: bool = False
    host_links: bool = True
    names: Sequence[str] = NAMES
    folds: bool = False
    """Whether names that differ in case, or in how they are composed, are one."""
    apart: int = 2
    """How many of the names at the top are only the guests', and how many only the hosts'."""
    without: tuple[str, ...] = ()
    """Moves that are not made."""
    has_attributes: bool = False
    """Whether the guest has the extended attributes that its objects have on the host."""
    forgets: bool = False
    """Nobody tells the guest what the host does: it drops what it believes to see it."""
    kernel_holds: bool = False
    """Whether the guest's kernel keeps what was written to files, and their sizes and times.

    Its times are its own then: docs/write-back.md says so, and they are not compared.
    """
    server_uid: int | None = None
    """Also of all guests; None: root."""
    stays: str = ""
    """A directory that nobody takes away. Of the guests every other moves only below it."""
    writes_back: bool = True
    rounds_between: int = 16
    """Rounds from one comparison to the next, on average."""
    pause_s: float = 0.004


@dataclass
class Arena:
    """One share, its actors, and what is known of both sides."""

    seed: str
    plan: Plan
    source: FilePath
    guest: FilePath
    """Where the share is mounted."""
    full: FilePath
    """A file on the disk that is filled."""
    mount: Callable[[str | None], LiveShare]
    """Mounts the share; told what becomes of what is unwritten. Raises MountError."""
    views: tuple[tuple[FilePath, FilePath], ...] = ()
    """Further directories of the guest's, and the host's that they show."""
    again: str = ""
    """How to have it again."""
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.fold = without_case if self.plan.folds else exactly
        self.expected = Expected(
            strict=not self.plan.closes,
            fold=self.fold,
            excused=self._excused(),
            has_attributes=self.plan.has_attributes,
        )
        self.live = self.mount(None)
        self.actors = [
            self._actor(f"g{number}", self.guest, number) for number in range(self.plan.guests)
        ]
        self.actors += [
            self._actor(f"h{number}", self.source, 0) for number in range(self.plan.hosts)
        ]
        self._full = False
        self._pages_are_old = False
        """Whether pages may be in the guest's cache that are not the host's, as documented.

        Of a page whose write was refused Linux keeps what was written to it, on any file system,
        until memory is short; and nobody hears of what the host stores through a mapping.
        """
        self._flusher: threading.Thread | None = None
        self.kills = self.remounts = self.comparisons = 0
        self.checked = self.expected.checked
        self._begin()

    def _begin(self) -> None:
        """A server is new, and has what it has."""
        self._counters = self._conflicts()
        self._descriptors = self._open_descriptors()
        self._memory_bytes = self._memory()

    def _excused(self) -> set[int]:
        """What a guest may be answered without anybody's having touched what it asks for."""
        if self.plan.full_rate:
            return {errno.ENOSPC, errno.EIO, errno.EFAULT}
        return {errno.EIO, errno.ESTALE} if self.plan.closes else set()

    def _actor(self, name: str, root: FilePath, number: int) -> Actor:
        mover = Mover(
            Random(f"{self.seed} {name}"),
            name,
            closes=self.plan.closes,
            links=self.plan.host_links or name.startswith("g"),
            names=self.plan.names[: -self.plan.apart or None]
            if name.startswith("g")
            else self.plan.names[self.plan.apart :],
            fold=self.fold,
            without=self.plan.without,
            stays=self.plan.stays,
            below=self.plan.stays if number % 2 else "",
        )
        if mover.below:
            root = self.views[0][0]
        return Actor(root, mover, self.plan.server_uid)

    def close(self) -> None:
        self._wait_for_flusher()
        for actor in self.actors:
            actor.end()

    def unmount(self) -> None:
        """As far as it is mounted. It says what the host does not take any more, and goes."""
        if self.live.server.poll() is not None or not is_mounted(self.guest):
            return
        try:
            self.live.unmount()
        except MountError as error:
            if not self.plan.closes or "set aside" not in str(error):
                raise
            self.log.append(f"unmounted: {error}")
            self.live.expected_end = 1

    def fail(self, what: str) -> None:
        """Raise ViolationError, with all that is needed to look into it."""
        latest = "\n  ".join(self.log[-_SHOWN:])
        log = self.live.log()[-2_000:]
        raise ViolationError(
            f"seed {self.seed}, after {len(self.log)} moves: {what}\n  {latest}\n"
            f"again, perhaps after some tries: {self.again}\n"
            f"the server's log ends with:\n{log}"
        )

    # Rounds

    def run(self, until: Callable[[], bool]) -> None:
        """Rounds, and a comparison after some, until *until* says so."""
        try:
            while not until():
                for _ in range(int((0.5 + self.random.random()) * self.plan.rounds_between)):
                    self._round()
                self.compare()
        except ViolationError:
            raise
        except (MountError, OSError, subprocess.SubprocessError) as error:
            self.fail(f"{type(error).__name__}: {error}")

    def _round(self) -> None:
        rates = {True: 0.5, False: self.plan.host_rate}
        moving = [each for each in self.actors if self.random.random() < rates[each.is_guest]]
        there: dict[str, list[str]] = {}
        for path, node in self.expected.walk():
            there.setdefault(node.kind, []).append("/".join(path))
        moves = [(actor, actor.mover.draw(there)) for actor in moving]
        dies = self.random.random() < self.plan.kill_rate
        if dies:
            self._sync_something(there.get("file", []))
        if self.random.random() < self.plan.full_rate:
            self._fill_or_free()
        if self.random.random() < self.plan.flush_rate:
            self._begin_to_flush()
        for actor, move in moves:
            if not actor.is_guest:
                self.expected.by_host(actor.mover.name, move)
        self._contest_what_meets([(a, m) for a, m in moves if a.is_guest])
        if dies:
            for actor, move in moves:
                if move["do"] not in LOOKS:
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
        if self.random.random() < self.plan.remount_rate:
            self._mount_again()
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * self.plan.pause_s)

    def _sync_something(self, paths: list[str]) -> None:
        """So that a kill has something to lose that must not be."""
        for path in self.random.sample(paths, min(3, len(paths))):
            guest = self.actors[0]
            move = {"do": "fsync", "path": path}
            if path.startswith(guest.mover.below):
                self._note(guest, move, guest.do(move), dies=False)

    def _note(self, actor: Actor, move: Move, answer: dict[str, Any], dies: bool) -> None:
        code = answer.get("errno", 0)
        name = actor.mover.name
        actor.mover.answered(move, code == 0)
        what = " ".join(str(value) for value in move.values())
        self.log.append(f"{name} {what}: {os.strerror(code) if code else 'ok'}")
        if move["do"] == "map":
            self._pages_are_old |= bool(code) if actor.is_guest else not code
        if not actor.is_guest or dies:
            return
        if code in (errno.ECONNABORTED, errno.ENOTCONN):  # what the kernel says in its place
            self.fail(f"{_DEAD} before {name} {what} was answered")
        if code == errno.EIO and code not in self.expected.excused and not self._set_aside():
            self.fail(f"{name} {what}: {os.strerror(code)}, and nothing is set aside")
        wrong = self.expected.by_guest(name, move, code, answer.get("ok"))
        if wrong:
            self.fail(f"{name} {what}: {wrong}")

    def _set_aside(self) -> int:
        return _number(self._conflicts(), "set_aside")

    def _contest_what_meets(self, moves: list[tuple[Actor, Move]]) -> None:
        """Of two guests at once nobody knows who was first."""
        involved = [
            (move["do"] in LOOKS, self.expected.involved(actor.mover.name, move))
            for actor, move in moves
        ]
        for number, (looks, mine) in enumerate(involved):
            for others_look, others in involved[number + 1 :]:
                if looks and others_look:
                    continue
                if any(_related(one, other) for one in mine for other in others):
                    for path in (*mine, *others):
                        self.expected.contest(path)

    def _fill_or_free(self) -> None:
        if self._full:
            self._free()
            return
        spare = self.random.choice((0, 20_000, 200_000))
        with contextlib.suppress(OSError):
            _fill(self.full, spare)
        self._full = True
        self.log.append(f"the disk is full but for {spare} bytes")

    def _free(self) -> None:
        self.full.unlink(missing_ok=True)
        self._full = False
        self.log.append("the disk has room again")

    def _begin_to_flush(self) -> None:
        if self._flusher is not None and self._flusher.is_alive():
            return

        def flush() -> None:
            with contextlib.suppress(MountError, OSError):  # killed, full: others judge
                self.live.share.flush()

        self.log.append("somebody has everything flushed")
        self._flusher = threading.Thread(target=flush, daemon=True)
        self._flusher.start()

    def _wait_for_flusher(self) -> None:
        if self._flusher is not None:
            self._flusher.join(ANSWERED_WITHIN_S)
            if self._flusher.is_alive():
                self.live.kill()
                self.fail("flush does not end")
            self._flusher = None

    # The killer

    def _bury_and_mount_again(self) -> None:
        self.kills += 1
        self.log.append("the server is killed")
        self.live.kill()
        self._wait_for_flusher()
        self._drop_handles()
        self._take_mount_away()
        self._demand_what_was_synced()
        if self._full:
            self._free()
        self._recover()

    def _demand_what_was_synced(self) -> None:
        wrong = self.expected.unsynced(tree(self.source)[0])
        if wrong:
            self.fail(f"synced, and lost by a kill: {_named(wrong)}")
        if self.plan.kernel_holds:
            for path, node in list(self.expected.walk()):
                if node.kind == "file" and path not in self.expected.synced:
                    self.expected.contest(path)  # what was written may have been its kernel's alone

    def _recover(self) -> None:
        """Mount it again; now and then the server is killed while it recovers."""
        while self.random.random() < self.plan.ending_kill_rate:
            step = int(2 ** (self.random.random() * 9))
            try:
                with _dying_in_recovery(step):
                    self.live = self.mount("recover")
            except MountError as error:
                if "before the share was ready" not in str(error):
                    raise
                self.log.append(f"killed in step {step} of its recovery")
                self.checked["killed recoveries"] = self.checked.get("killed recoveries", 0) + 1
                self._take_mount_away()
                self._demand_what_was_synced()
                continue
            self._begin()
            return
        self.live = self.mount("recover" if self.plan.writes_back else None)
        self._begin()

    def _take_mount_away(self) -> None:
        deadline_s = time.monotonic() + ANSWERED_WITHIN_S
        while is_mounted(self.guest) and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                unmount(str(self.guest), lazily=True)

    def _mount_again(self) -> None:
        """By our umount, which has everything written back, or by umount(8) and a new mount."""
        self._wait_for_flusher()
        if self._full:
            self._free()
        self._drop_handles()
        self.remounts += 1
        if self.random.random() < self.plan.ending_kill_rate:
            if self._unmount_and_kill():
                return
        elif self.random.random() < 0.5:
            self.log.append("unmounted, and mounted again")
            self.unmount()
            self._demand_what_was_acknowledged(tree(self.source)[0])
        else:
            self.log.append("unmounted by umount(8), and mounted again")
            self._plain_umount()
        left = self.live
        self.live = self.mount(None)
        code = left.wait_for_end()
        if code != (left.expected_end or 0):
            self.fail(f"unmounted, the server ended with {code}")
        self._begin()

    def _unmount_and_kill(self) -> bool:
        """Unmounted, and killed meanwhile; if it was, it is mounted again."""
        killer = threading.Timer(self.random.random() * 0.03, self.live.server.kill)
        self.live.expected_end = None
        killer.start()
        with contextlib.suppress(MountError):
            self.live.share.unmount()
        killer.join()
        code = self.live.wait_for_end()
        self.log.append(f"unmounted and killed meanwhile: ended with {code}")
        if not code:
            self.live.expected_end = 0
            self._demand_what_was_acknowledged(tree(self.source)[0])
            return False
        self.checked["killed ends"] = self.checked.get("killed ends", 0) + 1
        self._take_mount_away()
        self._demand_what_was_synced()
        self._recover()
        return True

    def _plain_umount(self) -> None:
        """It is in use while the host's events are told to the guest's programs."""

        def is_unmounted() -> bool:
            done = subprocess.run(["umount", str(self.guest)], capture_output=True, check=False)
            if done.returncode and b"busy" not in done.stderr:
                self.fail(f"umount(8) says {done.stderr.decode()}")
            return not done.returncode

        eventually(is_unmounted)

    def _drop_handles(self, *, of_guests: bool = True) -> None:
        for actor in self.actors:
            if of_guests or not actor.is_guest:
                actor.do({"do": "drop all"})
                actor.mover.held.clear()
        if of_guests:
            self.expected.held.clear()

    def _drop_unknown_handles(self) -> None:
        """Nobody could say what is written through them once names are no more contested."""
        for actor in self.actors:
            for number in list(actor.mover.held):
                if (actor.mover.name, number) in self.expected.unknown_handles():
                    actor.do({"do": "drop", "number": number})
                    actor.mover.held.remove(number)
                    del self.expected.held[actor.mover.name, number]

    # Judging

    def compare(self) -> None:
        """Have both sides settle, and demand that they are the same, and what was acknowledged."""
        # Of what is open the guest's kernel may go on believing what it does.
        # What was open when the host changed it, its write-back in the kernel keeps as it was.
        forgets = self.plan.forgets or self.plan.kernel_holds or self._pages_are_old
        drops = self.random.random() < 0.5 or forgets
        self._drop_handles(of_guests=drops)
        self._drop_unknown_handles()
        self._wait_for_flusher()
        if self._full:
            self._free()
        self._flush()
        host, inodes = tree(self.source)
        self._demand_what_was_acknowledged(host)
        self._demand_that_conflicts_are_contested()
        self._wait_for_agreement(forgets=forgets)
        self._pages_are_old = False
        host, inodes = tree(self.source)
        self.comparisons += 1
        self.live.reset_watchdog()
        self.expected.adopt(host, inodes)
        self.log.append(f"compared: {len(host)} names")
        self._counters = self._conflicts()
        self._check_server(drops)

    def _demand_what_was_acknowledged(self, host: dict[Path, Seen]) -> None:
        wrong = self.expected.missing(host)
        excused = self._moved_aside(host)
        wrong = [(path, why) for path, why in wrong if path not in excused]
        if wrong:
            self.fail(f"acknowledged, and not on the host: {_named(wrong)}")

    def _moved_aside(self, host: dict[Path, Seen]) -> set[Path]:
        """What the host has under names that a conflict has given it."""
        found = set()
        for path in map(self.expected.folded, host):
            before = _before_aside(path)
            if before != path and self.expected.is_contested(before):
                found.add(path)
        return found

    def _demand_that_conflicts_are_contested(self) -> None:
        """What the share counts as one the host has had a hand in."""
        now, before = self._conflicts(), self._counters
        for count, listed in _COUNTED.items():
            new = _number(now, count) - _number(before, count)
            for each in _listed(now, listed)[-new:] if new > 0 else ():
                self.expected.count("conflicts")
                path = self.expected.folded(_before_aside(tuple(each.split("/"))))
                blamed = self.expected.contested | self.expected.touched
                if not any(_related(path, other) for other in blamed):
                    self.fail(f"{each} counts under {count}, and the host has not touched it")

    def _flush(self) -> None:
        """Ends; where something was set aside, it says so once."""
        try:
            self.live.share.flush()
        except MountError as error:
            self.log.append(f"flush: {error}")
            # What a full disk has refused is tried again.
            self.live.share.flush()

    def _conflicts(self) -> dict[str, Any]:
        return self.live.status().as_dict()["write_back"] or {}

    def _wait_for_agreement(self, *, forgets: bool) -> None:
        """Both sides show the same: the host's changes are told within a while."""
        self.live.settle()
        deadline_s = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            if forgets:
                self.live.drop_dentries()
            views = ((self.guest, self.source), *self.views)
            different = [
                each
                for guest, source in views
                for each in _different(
                    guest,
                    source,
                    self.fold,
                    attributes=self.plan.has_attributes,
                    times=not self.plan.kernel_holds,
                )
            ]
            if not different:
                return
            if time.monotonic() > deadline_s:
                self.fail("the guest is not shown what the host has: " + _named(different))
            time.sleep(0.05)

    def _check_server(self, drops: bool) -> None:
        trouble = self.live.trouble()
        if any("bug:" in line or "Traceback" in line for line in trouble):
            self.fail(f"the server logged {trouble[0]}")
        status = self.live.status()
        if drops and status.open_handles:
            self.fail(f"{status.open_handles} handles are open, and no actor has one")
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


def _different(
    guest: FilePath,
    source: FilePath,
    fold: Callable[[str], str],
    *,
    attributes: bool,
    times: bool,
) -> list[tuple[Path, str]]:
    host, shown = tree(source)[0], tree(guest)[0]
    if not times:
        host, shown = _without_times(host), _without_times(shown)
    if not attributes:
        host = {path: replace(seen, attribute=b"") for path, seen in host.items()}
    return [
        (path, f"is {_told(shown.get(path))} in the guest, and {_told(host.get(path))} on the host")
        for path in differences(host, shown, fold)
    ]


def _without_times(side: dict[Path, Seen]) -> dict[Path, Seen]:
    return {
        path: replace(seen, mtime_s=0) if seen.kind == "file" else seen
        for path, seen in side.items()
    }


@contextlib.contextmanager
def _dying_in_recovery(step: int) -> Iterator[None]:
    """The servers that are started in this block are killed before that step of a recovery."""
    given = {
        "PYTHONPATH": str(FilePath(__file__).parents[1]),
        "DIES_IN": "recovery",
        "DIES_BEFORE_STEP": str(step),
    }
    with (
        mock.patch.object(launch, "_SERVER", "support.dying_server"),
        mock.patch.dict(os.environ, given),
    ):
        yield


def _told(seen: Seen | None) -> str:
    if seen is None:
        return "missing"
    content = f"{seen.content[:12]!r} ({len(seen.content)} bytes)"
    return (
        f"a {seen.kind} of {content}, {seen.mode:o}, {seen.mtime_s} s, {seen.links} names, "
        f"{seen.attribute!r}"
    )
