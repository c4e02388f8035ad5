"""A cache policy of a user's own: tried before it is relied upon, and watched ever after.

It is an experiment, so it will fail. At mount it is tried on objects that are made up; where it
fails later nothing is cached, and the failure is counted, and reported with the line of its file.
An answer of the wrong type is a failure as an exception is: a text that is taken for a number
fails far from where it was written.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from osxfs_sim.model.caching import UNCACHED, CachePolicy, CacheTimeouts
from osxfs_sim.model.status import OwnPolicyStatus
from osxfs_sim.model.user_error import UserError

_LONGEST_NS = 2**63 - 1
_MOST_WORDS = 300
_HOUR_NS = 3_600 * 10**9
_NOW_NS = 1_700_000_000 * 10**9


class PolicyError(UserError):
    """What a policy did wrong, in one line."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a policy."""

    method: str
    """The name of the policy's method."""
    arguments: tuple[Any, ...]
    """What it is called with."""


def checked_timeouts(answer: object) -> CacheTimeouts:
    """A policy's *answer* as CacheTimeouts. Raises PolicyError if it is no pair of ns in range."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise PolicyError(
            f"gave {_shown(answer)}: return CacheTimeouts(entry_timeout_ns, attr_timeout_ns)"
        )
    return CacheTimeouts(_checked_ns(answer[0]), _checked_ns(answer[1]))


def _checked_ns(value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise PolicyError(f"gave {_shown(value)} for a timeout: return whole nanoseconds")
    cache_timeout_ns = int(value.__index__())
    if not 0 <= cache_timeout_ns <= _LONGEST_NS:
        raise PolicyError(
            f"gave a timeout of {_shown(cache_timeout_ns)} ns: return 0 (not at all) to 2**63 - 1"
        )
    return cache_timeout_ns


def _checked_truth(value: object) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise PolicyError(f"gave {_shown(value)}: return True or False")
    return bool(value)


def _checked_phrase(value: object) -> str:
    if not isinstance(value, str):
        raise PolicyError(f"gave {_shown(value)}: return a phrase, a str")
    return " ".join(value.split())


_CHECKS: dict[str, Callable[[object], Any]] = {
    "found": checked_timeouts,
    "negative_timeout_ns": _checked_ns,
    "keep_pages": _checked_truth,
    "describe": _checked_phrase,
}


def _shown(value: object) -> str:
    try:
        said = repr(value)
    except Exception:  # what cannot even be shown is named
        said = "something"
    return f"{_in_one_line(said)[:80]} ({type(value).__name__})"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def described(error: BaseException) -> str:
    """*error* in one line, at most 300 characters and ``...``: ``ValueError: no``. Never fails."""
    try:
        said = _in_one_line(str(error))
    except Exception:
        said = "it cannot say why"
    words = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}..."


def place_of(error: BaseException, file: str) -> str:
    """The innermost line of *file* in *error*'s traceback, ``adaptive.py, line 7``; "" if none.

    *file* is a path as code objects have it.
    """
    place, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            place = _place(trace)
        trace = trace.tb_next
    return place


def _place(trace: TracebackType) -> str:
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}"


_RENAMED = {"missing_ns": "negative_timeout_ns"}
"""Methods of earlier versions: one that is never called would go unnoticed."""


class OwnPolicy(CachePolicy):
    """Another policy, whose failures cost an answer its being cached, and nothing else.

    *name* is how the user calls it, *file* where it is written, *digest* is of its source. *tell*
    gets the first failure, as a line and as the exception.
    """

    def __init__(
        self,
        policy: CachePolicy,
        name: str,
        *,
        file: str = "",
        digest: str = "",
        tell: Callable[[str, BaseException], None] = lambda _line, _error: None,
    ) -> None:
        self.policy = policy
        self.name = name
        self.digest = digest
        self.tell = tell
        self._file = file
        self.complete = self._attribute("complete")
        self.direct = self._attribute("direct")
        self.errors = 0
        self.errors_ever = 0
        self.first_error = ""

    def _attribute(self, name: str) -> bool:
        try:
            return _checked_truth(getattr(self.policy, name))
        except Exception as error:
            raise PolicyError(self._line(name, error)) from error

    def try_out(self) -> None:
        """Call each method on made-up objects. Raises PolicyError for the first failure."""
        for old, new in _RENAMED.items():
            if hasattr(self.policy, old):
                raise PolicyError(f"{self.name}: its method {old} is called {new} now")
        for attempt in ATTEMPTS:
            try:
                self._ask(attempt.method, *attempt.arguments)
            except (Exception, SystemExit) as error:
                raise PolicyError(self._line(attempt.method, error)) from error

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        """The policy's timeouts in ns; where it fails, never raises: UNCACHED, and counts it."""
        try:
            return checked_timeouts(self.policy.found(name, status, now_ns))
        except (Exception, SystemExit) as error:
            self._note("found", error)
            return UNCACHED

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """The policy's ns for a missing name; where it fails, never raises: 0, and counts it."""
        try:
            return _checked_ns(self.policy.negative_timeout_ns(name, now_ns))
        except (Exception, SystemExit) as error:
            self._note("negative_timeout_ns", error)
            return 0

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        """Whether the policy keeps a file's pages; where it fails, never raises: False, counted."""
        try:
            return _checked_truth(self.policy.keep_pages(status, now_ns))
        except (Exception, SystemExit) as error:
            self._note("keep_pages", error)
            return False

    def describe(self) -> str:
        """The policy's own phrase; where it fails, never raises: its name, and counts it."""
        try:
            return _checked_phrase(self.policy.describe())
        except (Exception, SystemExit) as error:
            self._note("describe", error)
            return self.name

    def reset_counts(self) -> None:
        """Set the count *errors* to 0; the counts since mount and the first error stay."""
        self.errors = 0

    def report(self) -> OwnPolicyStatus:
        """The policy's name, digest, errors and first error, as a part of the share's status."""
        return OwnPolicyStatus(
            name=self.name,
            digest=self.digest,
            errors=self.errors,
            first_error=self.first_error or None,
        )

    def warnings(self) -> list[str]:
        """One line that tells of the failures if the policy has ever failed, else an empty list."""
        if not self.errors_ever:
            return []
        times = "once" if self.errors_ever == 1 else f"{self.errors_ever} times"
        return [
            f"the policy failed {times}, and nothing was cached then; at first: {self.first_error}"
        ]

    def _ask(self, method: str, *arguments: Any) -> Any:
        answer = getattr(self.policy, method)(*arguments)
        if hasattr(answer, "close") and hasattr(answer, "cr_frame"):
            answer.close()  # of an async method: it is never awaited
        return _CHECKS[method](answer)

    def _note(self, method: str, error: BaseException) -> None:
        self.errors += 1
        self.errors_ever += 1
        if self.errors_ever == 1:
            self.first_error = self._line(method, error)
            self.tell(self.first_error, error)

    def _line(self, method: str, error: BaseException) -> str:
        """``adaptive:Adaptive.found fails (adaptive.py, line 7): ValueError: no``."""
        place = place_of(error, self._file)
        if isinstance(error, PolicyError):
            place = place or self._first_line_of(method)
            return f"{self.name}.{method}{f' ({place})' if place else ''} {error}"
        place = place or self._first_line_of(method)
        return f"{self.name}.{method} fails{f' ({place})' if place else ''}: {described(error)}"

    def _first_line_of(self, method: str) -> str:
        """Where *method* is written, for a mistake that is none of its lines'."""
        code = getattr(getattr(type(self.policy), method, None), "__code__", None)
        if code is None:
            return os.path.basename(self._file)
        return f"{os.path.basename(code.co_filename)}, line {code.co_firstlineno}"


def _made_up(kind: int, size: int, age_ns: int) -> os.stat_result:
    """What os.stat would say of an object that was changed *age_ns* before _NOW_NS."""
    changed_ns = _NOW_NS - age_ns
    seconds = changed_ns // 10**9
    values = (kind | 0o644, 1_000, 99, 1, 0, 0, size, seconds, seconds, seconds)
    times = {
        **{f"st_{which}time": changed_ns / 1e9 for which in "amc"},
        **{f"st_{which}time_ns": changed_ns for which in "amc"},
        "st_blksize": 4_096,
        "st_blocks": -(-size // 512),
        "st_rdev": 0,
    }
    return os.stat_result(values, times)


_OBJECTS = (
    (b"", _made_up(stat.S_IFDIR, 4_096, _HOUR_NS)),
    (b"a-name", _made_up(stat.S_IFREG, 0, 0)),
    (b"a-name.txt", _made_up(stat.S_IFREG, 100_000, 24 * _HOUR_NS)),
    # Whose clock was ahead.
    (b"\xff\xfe", _made_up(stat.S_IFREG, 1, -_HOUR_NS)),
    (b"a-link", _made_up(stat.S_IFLNK, 12, _HOUR_NS)),
)
ATTEMPTS = (
    Attempt("describe", ()),
    *(Attempt("found", (name, status, _NOW_NS)) for name, status in _OBJECTS),
    *(Attempt("negative_timeout_ns", (name, _NOW_NS)) for name in (b"not-there", b"\xff\xfe")),
    *(
        Attempt("keep_pages", (status, _NOW_NS))
        for _, status in _OBJECTS
        if stat.S_ISREG(status.st_mode)
    ),
)
"""With what a policy is tried before it is mounted."""
