"""What a policy spares at most is never less than what it then does spare."""

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.traces import found, header_of, missed, row, table_of

from osxfs_sim.trace.analysis import Analysis, analyze

REMEDIES = {"cached": ("cached",), "negative": ("cached", "negative")}


@dataclass(frozen=True)
class Step:
    """A program computes, then asks, and is woken some time after its answer has come."""

    question: dict
    computes_ns: int
    takes_ns: int
    wakes_ns: int


QUESTIONS = st.sampled_from(
    [
        *(missed("a"), missed("b"), found("c", 5), found("d", 6), row("GETATTR", 5)),
        *(row("RELEASE", 5, answered_by="guest"), row("OPEN", 5)),
    ]
)
TIMES = st.integers(0, 50)
STEPS = st.lists(st.builds(Step, QUESTIONS, TIMES, TIMES, TIMES), max_size=25)


def run(steps: list[Step], spared: frozenset[int] = frozenset()) -> tuple[list[dict], int]:
    """The trace that *steps* leave, and how long they took; those that are *spared* cost nothing.

    The guest is woken for what it waits for: it pays for that after the answer has come.
    """
    rows, now_ns = [], 0
    for number, step in enumerate(steps):
        now_ns += step.computes_ns
        if number in spared:
            continue
        rows.append(step.question | {"arrival_ns": now_ns, "took_ns": step.takes_ns})
        if step.question["operation"] != "RELEASE":  # nobody waits for that
            now_ns += step.takes_ns + step.wakes_ns
    return rows, now_ns


def analysis_of(steps: list[Step]) -> Analysis:
    rows, wall_ns = run(steps)
    header = header_of(rows, command_start_ns=0, command_end_ns=wall_ns)
    return analyze(header, table_of(rows), title="t")


def spared_by(policy: str, steps: list[Step]) -> frozenset[int]:
    """Which of *steps* the policy answers: what a trace of fewer of them would still have."""
    known: set[tuple] = set()
    spared = set()
    for number, step in enumerate(steps):
        question = step.question
        kind = (question["operation"], question["inode"], question["name"])
        of_policy = "negative" if "error" in question else "cached"
        cacheable = question["operation"] in ("LOOKUP", "GETATTR")
        told = ("GETATTR", question.get("found", 0), None)
        if cacheable and kind in known and of_policy in REMEDIES[policy]:
            spared.add(number)
        if cacheable:
            known |= {kind, told}
    return frozenset(spared)


def bounds_of(analysis: Analysis, policy: str, *, with_followed: bool = True) -> int:
    return sum(
        cause.time_ns + (cause.followed_ns if with_followed else 0)
        for cause in analysis.causes
        if cause.remedy in REMEDIES[policy]
    )


def is_kept(steps: list[Step], *, with_followed: bool = True) -> bool:
    """Whether no policy spares more than its bound, nor less than the waiting."""
    analysis = analysis_of(steps)
    for policy in REMEDIES:
        spares_ns = run(steps)[1] - run(steps, spared_by(policy, steps))[1]
        if spares_ns > bounds_of(analysis, policy, with_followed=with_followed):
            return False
        if spares_ns < bounds_of(analysis, policy, with_followed=False):
            return False
    return True


WOKEN = [Step(missed("a"), 10, 100, 36)] * 3


@pytest.mark.takes_seconds
@given(STEPS)
@example(WOKEN)
@settings(deadline=None, max_examples=200)
def test_no_policy_spares_more_than_was_said(steps: list[Step]) -> None:
    assert is_kept(steps)


def test_a_bound_of_the_waiting_alone_is_rejected() -> None:
    """As it was: what a request costs beyond its crossing sat in the rest."""
    assert not is_kept(WOKEN, with_followed=False)


@given(STEPS)
@settings(deadline=None, max_examples=100)
def test_the_rest_is_divided_among_what_it_followed(steps: list[Step]) -> None:
    analysis = analysis_of(steps)
    rows, wall_ns = run(steps)
    asked = [row["arrival_ns"] for row in rows if row["operation"] != "RELEASE"]
    before = min([wall_ns, *asked])
    followed = sum(part.followed_ns for part in (*analysis.causes, analysis.necessary))
    assert followed == (analysis.rest_ns - before if asked else 0)


def test_it_is_told_how_much_of_a_bound_is_certain() -> None:
    summary = analysis_of(WOKEN).summary
    assert summary[-2] == (
        "of 438ns, ideal caches spare at most: cached 0us, negative 282ns, complete 282ns; "
        "write-back besides 0us; requests of 100ns are necessary"
    )
    assert summary[-1].startswith("of these, 0us, 200ns, 200ns and 0us are waiting for the share")


def test_the_machines_own_part_is_told_where_it_was_measured() -> None:
    rows, _ = run(WOKEN)
    said = analyze(header_of(rows, floor_ns=28), table_of(rows), title="t").summary
    assert said[-1] == (
        "this machine's own part of the waiting: 3 requests x 28ns, its floor when the share was "
        "mounted, = 84ns"
    )
