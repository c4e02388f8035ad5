"""The museum: each bug of model/bugs.py as something that can be seen, and seen cured.

A demonstration is a schedule for processes of host and guest, what each step returns where the
share has the bug, and what it returns where it is cured. The same schedule is then played on
shares, and the answers are compared with what is documented here: so a bug that no longer shows
is as much a failure as a cure that does not work.

What cures a bug is said honestly. Where the mistake is about what is cached, the cure is a
policy, and the share keeps the bug: caching nothing, it meets it no more. Where the mistake
lies elsewhere no policy helps, and the cure is to be without it.

Shares are made by the caller (see MakeShare): nothing here mounts.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import Actor
from osxfs_sim.coherence.scorecard.listener_process import ListenerProcess
from osxfs_sim.model.bugs import BUGS, Bug
from osxfs_sim.model.user_error import UserError

HOUR_NS = 3_600 * 10**9
"""The cache timeout that Docker Desktop's VirtioFS states in its mount options (V5's report)."""

HOST, LISTENER, SHARE = "host", "listener", "share"
"""Actors that are no process of the guest's own choice: all other names are guests."""

_HEARS_WITHIN_NS = 20 * 10**9
_END = ".heard"


@dataclass(frozen=True, slots=True)
class ExhibitStep:
    """One operation of a demonstration, and what it returns with the bug and without.

    The listener can ``watch`` and ``hear``, the share ``settle`` (the events of all that the host
    has done have been delivered) and ``remount``.
    """

    actor: str
    """``host``, ``listener``, ``share``, or else the name of a guest process."""
    operation: ActorOperation
    """What it does."""
    shown: str
    """What is returned where the share has the bug."""
    cured: str | None = None
    """What is returned where it is cured; None: the same."""

    def expected(self, *, is_cured: bool) -> str:
        """What this step must return, in words: with the bug, or where *is_cured*."""
        return self.shown if self.cured is None or not is_cured else self.cured


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A share to play on, and why this one."""

    words: str
    """What it is, and why it shows or cures the bug."""
    settings: Mapping[str, Any]
    """Fields of ShareSettings, by name."""

    @property
    def has_bug(self) -> bool:
        """Whether the share is set to have the bug, by its settings."""
        return bool(self.settings.get("bugs"))


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One bug: where it shows, the schedule, and each arrangement that cures it."""

    bug: Bug
    """Which bug it is."""
    shows: Arrangement
    """A share on which it shows."""
    cures: tuple[Arrangement, ...]
    """Shares on which it does not."""
    steps: tuple[ExhibitStep, ...] = field(repr=False)
    """The schedule."""


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """What a step returned, and what it should."""

    step: ExhibitStep
    """The step."""
    answer: str
    """What it returned, in words."""
    expected: str
    """What the exhibit documents."""

    @property
    def as_expected(self) -> bool:
        """Whether what the step returned is the answer that the exhibit documents."""
        return self.answer == self.expected


@dataclass(frozen=True, slots=True)
class DemonstrationPlay:
    """A schedule played on one share, with the bug or cured."""

    arrangement: Arrangement
    """The share that it was played on."""
    is_cured: bool
    """Whether the answers of a cure are expected."""
    answers: tuple[StepAnswer, ...]
    """One per step, in order."""

    @property
    def as_documented(self) -> bool:
        """Whether every step of the play returned the documented answer."""
        return all(told.as_expected for told in self.answers)


@dataclass(frozen=True, slots=True)
class DemonstrationResult:
    """A demonstration, played with the bug and with each cure."""

    demonstration: Demonstration
    """What was played."""
    plays: tuple[DemonstrationPlay, ...]
    """With the bug first, then each cure."""

    @property
    def as_documented(self) -> bool:
        """Whether the bug showed, and each cure worked, as documented."""
        return all(play.as_documented for play in self.plays)


@dataclass(frozen=True, slots=True)
class MountedSides:
    """A mounted share, as a play needs it."""

    host: Path
    """The host's directory."""
    guest: Path
    """The mount point."""
    settle: Callable[[], object]
    """Waits until all events of host changes so far have been delivered."""


class MakeShare(Protocol):
    """Mounts *host* by *settings* (fields of ShareSettings) for a ``with`` block."""

    def __call__(
        self, host: Path, settings: Mapping[str, Any]
    ) -> "contextlib.AbstractContextManager[MountedSides]": ...


def seen(outcome: OperationResult) -> str:
    """An operation's result in a demonstration's words: the errno, "done", or the value."""
    if outcome.error is not None:
        return outcome.error
    match outcome.value:
        case {"type": "directory"}:
            return "a directory"
        case {"type": kind, "size": size}:
            return f"a {kind} of {size} bytes"
        case None:
            return "done"
        case list() as names:
            return ", ".join(names) or "nothing"
    return repr(outcome.value)


def demonstrate(
    demonstration: Demonstration,
    stage: MakeShare,
    ground: Callable[[], Path],
    say: Callable[[str], None],
) -> DemonstrationResult:
    """Play *demonstration*'s steps with the bug, then with each cure. Raises UserError.

    *stage* mounts the shares, *ground* gives a new empty directory for the host's side of each
    play, *say* gets a line of progress for each.
    """
    plays = []
    arrangements = [(demonstration.shows, False), *((cure, True) for cure in demonstration.cures)]
    for arrangement, is_cured in arrangements:
        what = "cured: " if is_cured else ""
        say(f"{BUGS[demonstration.bug].id} {demonstration.bug}: {what}{arrangement.words}")
        told = play(demonstration.steps, arrangement, stage, ground(), is_cured=is_cured)
        plays.append(DemonstrationPlay(arrangement, is_cured, told))
    return DemonstrationResult(demonstration, tuple(plays))


def play(
    steps: Sequence[ExhibitStep],
    arrangement: Arrangement,
    stage: MakeShare,
    host: Path,
    *,
    is_cured: bool,
) -> tuple[StepAnswer, ...]:
    """Play *steps* on a share of *host* as *arrangement* says; an answer each. Raises UserError.

    Raises UserError where a process does not answer.
    """
    told: list[StepAnswer] = []
    for scene in _scenes(steps):
        with stage(host, arrangement.settings) as sides, _Actors(sides) as cast:
            for step in scene:
                told.append(StepAnswer(step, cast.perform(step), step.expected(is_cured=is_cured)))
    return tuple(told)


def _scenes(steps: Sequence[ExhibitStep]) -> Iterator[tuple[ExhibitStep, ...]]:
    """*steps* as parts, each on a mount of its own; ``remount`` begins one."""
    begins = [0, *(n for n, step in enumerate(steps) if step.operation.act == "remount")]
    for begin, end in zip(begins, [*begins[1:], len(steps)], strict=True):
        yield tuple(steps[begin:end])


class _Actors:
    """The processes of one mount, each started when it is first needed."""

    def __init__(self, sides: MountedSides) -> None:
        self._sides = sides
        self._actors: dict[str, Actor] = {}
        self._listener: ListenerProcess | None = None
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> "_Actors":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def perform(self, step: ExhibitStep) -> str:
        match step.actor, step.operation.act:
            case ("share", "settle"):
                self._sides.settle()
                return "done"
            case ("share", "remount"):
                return "done"  # this mount is a new one
            case ("listener", "watch"):
                self._listener = self._ends.enter_context(ListenerProcess())
                self._listener.watch(str(self._sides.guest))
                return "done"
            case ("listener", "hear"):
                return ", ".join(self._heard()) or "nothing"
        return seen(self._actor(step.actor).do(step.operation).outcome)

    def _actor(self, name: str) -> Actor:
        if name not in self._actors:
            root = self._sides.host if name == HOST else self._sides.guest
            self._actors[name] = self._ends.enter_context(Actor(name, root))
        return self._actors[name]

    def _heard(self) -> list[str]:
        """All events so far: until one that is made now, and comes after them."""
        assert self._listener is not None
        self._actor(HOST).do(ActorOperation("create", _END))
        heard: list[str] = []
        while True:
            reports = self._listener.take(_HEARS_WITHIN_NS)
            if not reports:
                raise UserError("the listener in the guest hears nothing of the host")
            for report in reports:
                name = Path(report.path).name
                if name == _END:
                    return heard
                if not name.startswith("."):  # made to wait for (Sides.settle)
                    heard.append(f"{report.event.value} {name}")


def demonstrations() -> tuple[Demonstration, ...]:
    """The demonstrations of all bugs that the museum has, in its order."""
    return _DEMONSTRATIONS


def demonstration_of(bug: Bug) -> Demonstration:
    """The museum's demonstration of *bug*: a share that shows it, steps, and its cures."""
    return next(each for each in _DEMONSTRATIONS if each.bug is bug)


# The schedules. A share of these has no latency: what is shown is what is answered, not when.

_AT_ONCE: Mapping[str, Any] = {"latency_ns": 0, "bandwidth": "none", "calibrate": False}


def _share(bug: Bug | str, **settings: Any) -> dict[str, Any]:
    return {**_AT_ONCE, "bugs": (str(bug),), **settings}


def _without(**settings: Any) -> dict[str, Any]:
    return {**_AT_ONCE, **settings}


def _step(
    actor: str, act: str, shown: str = "done", cured: str | None = None, **what: Any
) -> ExhibitStep:
    return ExhibitStep(actor, ActorOperation(act, **what), shown, cured)


_SETTLE = _step(SHARE, "settle")
_CACHED: Mapping[str, Any] = {"profile": "osxfs-cached", "cache_timeout_ns": HOUR_NS}
_CACHES_AN_HOUR = "profile osxfs-cached: names and attributes are cached for an hour"
_CACHES_NOTHING = "the policy: profile osxfs (consistent), which caches nothing"
_CONSISTENT: Mapping[str, Any] = {"profile": "osxfs"}

_DEMONSTRATIONS = (
    Demonstration(
        Bug.STALE_SIZE,
        Arrangement(_CACHES_AN_HOUR, _share(Bug.STALE_SIZE, **_CACHED)),
        (
            Arrangement(_CACHES_NOTHING, _share(Bug.STALE_SIZE, **_CONSISTENT)),
            Arrangement(
                "the policy: a cache timeout of 0",
                _share(Bug.STALE_SIZE, profile="osxfs-cached", cache_timeout_ns=0),
            ),
        ),
        (
            _step(HOST, "write", path="f", data="abc\n"),
            _step("guest", "read", "'abc\\n'", path="f"),
            _step(HOST, "write", path="f", data="123abc\n"),
            _SETTLE,
            _step("guest 2", "read", "'123a'", "'123abc\\n'", path="f"),
            _step("guest 2", "stat", "a file of 4 bytes", "a file of 7 bytes", path="f"),
            _step(HOST, "read", "'123abc\\n'", path="f"),
        ),
    ),
    Demonstration(
        Bug.LOST_BY_LINK,
        Arrangement(_CACHES_AN_HOUR, _share(Bug.LOST_BY_LINK, **_CACHED)),
        (Arrangement(_CACHES_NOTHING, _share(Bug.LOST_BY_LINK, **_CONSISTENT)),),
        (
            _step("guest", "create", path="a", data="one"),
            _step("guest", "mkdir", path="b"),
            _step("guest", "stat", "a file of 3 bytes", path="a"),
            _step("guest", "link", path="a", to="b/b"),
            _step("guest", "stat", "ENOENT", "a file of 3 bytes", path="a"),
            _step("guest", "read", "ENOENT", "'one'", path="a"),
            _step("guest", "list", "a, b"),
            _step("guest", "read", "'one'", path="b/b"),
        ),
    ),
    Demonstration(
        Bug.ONE_SPELLING,
        Arrangement(
            "names of an APFS volume, which compares without regard to case",
            _share(Bug.ONE_SPELLING, profile="osxfs", names="apfs"),
        ),
        (
            Arrangement(
                "without the bug, on the same volume: no policy cures it",
                _without(profile="osxfs", names="apfs"),
            ),
        ),
        (
            _step("guest", "mkdir", path="a"),
            _step("ls a", "list", "nothing", path="a"),
            _step("ls A", "list", "nothing", path="A"),
            # As ls does: it stats each, and then lists them in order.
            _step("ls a A", "stat", "a directory", path="a"),
            _step("ls a A", "stat", "a directory", path="A"),
            _step("ls a A", "list", "nothing", path="A"),
            _step("ls a A", "list", "ENOENT", "nothing", path="a"),
        ),
    ),
    Demonstration(
        Bug.TWO_LOCKS,
        Arrangement(
            "profile osxfs: each open looks the name up",
            _share(Bug.TWO_LOCKS, **_CONSISTENT),
        ),
        (
            Arrangement(
                "the policy: profile osxfs-cached, as long as the dentry is valid",
                _share(Bug.TWO_LOCKS, **_CACHED),
            ),
            Arrangement("without the bug: one inode, one set of locks", _without(**_CONSISTENT)),
        ),
        (
            _step("guest", "create", path="lock"),
            _step("guest", "open", path="lock", handle="held"),
            _step("guest", "lock", handle="held"),
            _step("guest 2", "open", path="lock", handle="wanted"),
            _step("guest 2", "lock", "done", "EAGAIN", handle="wanted"),
        ),
    ),
    Demonstration(
        Bug.PHANTOM,
        Arrangement(_CACHES_AN_HOUR, _share(Bug.PHANTOM, **_CACHED)),
        (Arrangement(_CACHES_NOTHING, _share(Bug.PHANTOM, **_CONSISTENT)),),
        (
            _step(HOST, "symlink", path="lock", to="host:4711"),
            _step(HOST, "create", path="note", data="note"),
            _step("guest", "stat", "a symlink of 9 bytes", path="lock"),
            _step("guest", "stat", "a file of 4 bytes", path="note"),
            _step(HOST, "unlink", path="lock"),
            _step(HOST, "unlink", path="note"),
            _SETTLE,
            _step("guest", "stat", "a symlink of 9 bytes", "ENOENT", path="lock"),
            _step("guest", "list", "nothing"),
            _step("guest", "readlink", "EINVAL", "ENOENT", path="lock"),
            _step("guest", "stat", "a file of 4 bytes", "ENOENT", path="note"),
            _step("guest", "read", "EINVAL", "ENOENT", path="note"),
        ),
    ),
    Demonstration(
        Bug.STALE_CONTENT,
        Arrangement(
            f"{_CACHES_AN_HOUR}, and pages outlive an open",
            _share(Bug.STALE_CONTENT, **_CACHED),
        ),
        (
            Arrangement(_CACHES_NOTHING, _share(Bug.STALE_CONTENT, **_CONSISTENT)),
            Arrangement(
                "the policy: profile virtiofsd-none (direct), which keeps no content",
                _share(Bug.STALE_CONTENT, profile="virtiofsd-none"),
            ),
        ),
        (
            _step(HOST, "create", path="f", data="X\n"),
            _step("guest", "read", "'X\\n'", path="f"),
            _step(HOST, "write", path="f", data="Y\n"),
            _SETTLE,
            _step("guest 2", "read", "'X\\n'", "'Y\\n'", path="f"),
            _step(HOST, "unlink", path="f"),
            _step(HOST, "create", path="f", data="Z\n"),
            _SETTLE,
            _step("guest 2", "read", "'Z\\n'", path="f"),
            _step(HOST, "write", path="f", data="W\n"),
            _SETTLE,
            _step("guest 2", "read", "'Z\\n'", "'W\\n'", path="f"),
            _step(SHARE, "remount"),
            _step("guest", "read", "'W\\n'", path="f"),
        ),
    ),
    Demonstration(
        Bug.STILL_MISSING,
        Arrangement(
            "profile osxfs-negative: negative entries are cached for an hour",
            _share(Bug.STILL_MISSING, profile="osxfs-negative", negative_timeout_ns=HOUR_NS),
        ),
        (
            Arrangement(
                "the policy: negative entries are not cached (negative timeout 0)",
                _share(Bug.STILL_MISSING, profile="osxfs-negative", negative_timeout_ns=0),
            ),
        ),
        (
            _step("guest", "stat", "ENOENT", path="d"),
            _step(HOST, "mkdir", path="d"),
            _SETTLE,
            _step("guest", "mkdir", "EEXIST", path="d"),
            _step("guest", "stat", "ENOENT", "a directory", path="d"),
            _step("guest", "list", "d"),
        ),
    ),
    Demonstration(
        Bug.FALSE_CREATE,
        Arrangement(
            "profile osxfs: a host's removal is raised in the guest",
            _share(Bug.FALSE_CREATE, **_CONSISTENT),
        ),
        (
            Arrangement(
                "without the bug: no policy cures it, since it caches nothing as it is",
                _without(**_CONSISTENT),
            ),
        ),
        (
            _step(HOST, "create", path="known"),
            _step(HOST, "create", path="unknown"),
            _step("guest", "stat", "a file of 0 bytes", path="known"),
            _SETTLE,
            _step(LISTENER, "watch"),
            _step(HOST, "unlink", path="known"),
            _SETTLE,
            _step(HOST, "unlink", path="unknown"),
            _SETTLE,
            _step(
                LISTENER,
                "hear",
                "IN_CREATE known, IN_DELETE known, IN_CREATE unknown, IN_DELETE unknown",
                "IN_DELETE known, IN_DELETE unknown",
            ),
        ),
    ),
    Demonstration(
        Bug.DESCRIPTORS,
        Arrangement(
            "profile osxfs, and a host that has 4 descriptors to give instead of 50,000",
            _share(f"{Bug.DESCRIPTORS}=4", **_CONSISTENT),
        ),
        (
            Arrangement(
                "without the bug: descriptors of what is in use alone. No policy cures it: what "
                "the guest's kernel knows does not depend on its cache timeouts",
                _without(**_CONSISTENT),
            ),
        ),
        (
            *(_step("guest", "create", path=f"file{number}") for number in range(4)),
            _step("guest", "create", "ENFILE", "done", path="file4"),
            _step("guest", "read", "ENFILE", "''", path="file0"),
            _step("guest", "stat", "a file of 0 bytes", path="file0"),
            _step(HOST, "create", path="other"),
            _step("guest", "stat", "ENFILE", "a file of 0 bytes", path="other"),
            _step("guest", "mkdir", "ENFILE", "done", path="directory"),
        ),
    ),
)
