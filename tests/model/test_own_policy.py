"""A policy of a user's own is an experiment: it is tried, and its mistakes cost no answer."""

import pytest

from osxfs_sim.model.caching import UNCACHED, CachePolicy, CacheTimeouts, Dilated
from osxfs_sim.model.own_policy import OwnPolicy, PolicyError, checked_timeouts

FILE = __file__


def own(policy: CachePolicy, **more: object) -> OwnPolicy:
    return OwnPolicy(policy, "mine:Mine", file=FILE, **more)  # type: ignore[arg-type]


def complaint_of(policy: CachePolicy) -> str:
    with pytest.raises(PolicyError) as caught:
        own(policy).try_out()
    message = str(caught.value)
    assert "\n" not in message
    return message


class Good(CachePolicy):
    """As in the documentation: the older, the longer."""

    def found(self, name, status, now_ns):
        cache_timeout_ns = min(max((now_ns - status.st_mtime_ns) // 10, 0), 60 * 10**9)
        return CacheTimeouts(cache_timeout_ns, cache_timeout_ns)

    def negative_timeout_ns(self, name, now_ns):
        return 5

    def keep_pages(self, status, now_ns):
        return status.st_size > 10


def test_a_good_policy_is_as_if_nobody_watched() -> None:
    policy = own(Good())
    policy.try_out()
    assert policy.negative_timeout_ns(b"x", 0) == 5
    assert policy.describe().endswith(":Good")
    assert policy.report().errors == 0
    assert policy.warnings() == []


def returning(method: str, value: object) -> CachePolicy:
    return type("Mine", (CachePolicy,), {method: lambda *_: value})()


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("found", 5, "gave 5 (int): return CacheTimeouts(entry_timeout_ns, attr_timeout_ns)"),
        ("found", "5s", "gave '5s' (str): return CacheTimeouts"),
        ("found", None, "gave None (NoneType): return CacheTimeouts"),
        ("found", (1,), "gave (1,) (tuple): return CacheTimeouts"),
        ("found", [1, 2], "gave [1, 2] (list): return CacheTimeouts"),
        ("found", (1, "2"), "gave '2' (str) for a timeout: return whole nanoseconds"),
        ("found", (0.5, 1), "gave 0.5 (float) for a timeout: return whole nanoseconds"),
        ("found", (float("nan"), 1), "gave nan (float) for a timeout"),
        ("found", (True, 1), "gave True (bool) for a timeout"),
        ("found", (-1, 1), "gave a timeout of -1 (int) ns: return 0 (not at all)"),
        ("found", (1, 2**63), "gave a timeout of 9223372036854775808 (int) ns"),
        ("negative_timeout_ns", None, "gave None (NoneType) for a timeout"),
        ("negative_timeout_ns", CacheTimeouts(1, 1), "for a timeout: return whole nanoseconds"),
        ("keep_pages", None, "gave None (NoneType): return True or False"),
        ("keep_pages", 1, "gave 1 (int): return True or False"),
        ("describe", 7, "gave 7 (int): return a phrase, a str"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_refused(method: str, value: object, said: str) -> None:
    message = complaint_of(returning(method, value))
    assert message.startswith(f"mine:Mine.{method} (test_own_policy.py, line ")
    assert said in message


def test_what_can_be_a_number_is_one() -> None:
    np = pytest.importorskip("numpy")
    assert checked_timeouts((np.int64(3), 4)) == CacheTimeouts(3, 4)
    own(returning("keep_pages", np.bool_(1))).try_out()


class Raises(CachePolicy):
    def found(self, name, status, now_ns):
        raise KeyError(name)


class ExitsLate(CachePolicy):
    def negative_timeout_ns(self, name, now_ns):
        raise SystemExit(3)


class TakesTooLittle(CachePolicy):
    def found(self, name):
        return UNCACHED


class Awaited(CachePolicy):
    async def found(self, name, status, now_ns):
        return UNCACHED


class NoMethod(CachePolicy):
    keep_pages = None


class Incomplete(CachePolicy):
    complete = "yes"


def line_of(words: str) -> int:
    with open(FILE) as source:
        return next(number for number, line in enumerate(source, 1) if words in line)


def test_what_is_raised_is_told_with_the_line_that_raised_it() -> None:
    assert complaint_of(Raises()) == (
        f"mine:Mine.found fails (test_own_policy.py, line {line_of('raise KeyError')}): "
        "KeyError: b''"
    )
    assert "SystemExit: 3" in complaint_of(ExitsLate())


def test_a_method_of_the_wrong_shape_is_told_with_the_line_that_it_is_in() -> None:
    place = f"(test_own_policy.py, line {line_of('def found(self, name):')})"
    assert place in complaint_of(TakesTooLittle())
    assert "positional arguments" in complaint_of(TakesTooLittle())
    assert "coroutine" in complaint_of(Awaited())
    assert "keep_pages fails" in complaint_of(NoMethod())
    with pytest.raises(PolicyError, match=r"complete .*gave 'yes'"):
        own(Incomplete())


class FailsFor(CachePolicy):
    """Well-behaved, until it meets what nobody has tried it with."""

    def found(self, name, status, now_ns):
        if name == b"bad":
            raise ZeroDivisionError("no children")
        return CacheTimeouts(7, 7)

    def negative_timeout_ns(self, name, now_ns):
        return None if name == b"bad" else 7


def test_later_mistakes_cache_nothing_and_are_counted() -> None:
    told = []
    policy = own(FailsFor(), tell=lambda line, _error: told.append(line))
    policy.try_out()
    dilated = Dilated(policy, 2.0)
    status = type("Status", (), {"st_mtime_ns": 0})()
    assert dilated.found(b"good", status, 0) == CacheTimeouts(14, 14)
    assert dilated.found(b"bad", status, 0) == UNCACHED
    assert dilated.negative_timeout_ns(b"bad", 0) == 0
    assert policy.report().errors == 2
    assert "ZeroDivisionError: no children" in (policy.report().first_error or "")
    assert len(told) == 1
    policy.reset_counts()
    assert policy.report().errors == 0
    (warning,) = policy.warnings()
    assert warning.startswith("the policy failed 2 times, and nothing was cached then; at first:")
