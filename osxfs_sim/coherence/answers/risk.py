"""All of a run's answers, judged and counted: what the workload risked.

The document of a run (``Run.risk``, ``Sample.risk``; plain JSON):

    {"edits": {"stream": NAME, "seed": N, "made": N, "skipped": N},
     "answers": {"recorded": N, "judged": N, "unknown": N},
     "stale": {KIND: {"judged": N, "stale": N, "ages_ns": [N, ...], "unexplained": N}},
     "result": "same" | "changed" | "failed",
     "compared": ["exit", "output", ...],
     "native": {"judged": N, "stale": 0, "unexplained": 0}}

*edits* also tells of how many *files*, and *chosen*, a digest of their names, by which runs
with the same edits are known. *stale* has every KIND of KINDS, also where nothing was judged;
*unexplained* are answers that are true of nothing that there ever was, and not counted as
judged. An age is the time from the completion of the host's edit that made the answer untrue
to the answer's return. One stat() tells of existence and of attributes, so the kinds may count
more than *judged*.
*result* compares the run with a native one under the same edits, in what *compared* names:
exit, check, output, tree; those in which native runs with and without edits agree. Where it
differs in a run without any stale answer, the edits themselves have done it (a command may find
a temporary file of an editor, or a file between two steps), and no cache has. *native* is
that run, judged by the same judge, which must find nothing stale in it. A run whose changes
did not reach the host has failed.
"""

from collections.abc import Sequence
from typing import Any

from osxfs_sim.coherence.answers.judge import (
    Freshness,
    Judge,
    JudgedStatement,
    listings,
    own_changes,
)
from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer
from osxfs_sim.coherence.answers.timeline import Timeline

KINDS = ("existence", "absence", "attributes", "content", "listing")
"""What an answer may be stale about."""

SAME, CHANGED, FAILED = "same", "changed", "failed"

_NO_ANSWER = (AnswerKind.OWN, AnswerKind.LISTED)


def counted(
    timeline: Timeline,
    answers: Sequence[RecordedAnswer],
    private: Sequence[str] = (),
    *,
    times: bool = True,
) -> dict[str, Any]:
    """Judge all *answers* of a run; how many were judged, and per kind how many were stale.

    *private* and *times* are as Judge takes them.
    """
    judge = Judge(timeline, own_changes(answers), private, times=times)
    stale: dict[str, dict[str, Any]] = {
        kind: {"judged": 0, "stale": 0, "ages_ns": [], "unexplained": 0} for kind in KINDS
    }
    recorded = judged = 0

    def count(said: Sequence[JudgedStatement]) -> None:
        nonlocal recorded, judged
        recorded += 1
        judged += any(one.verdict is not Freshness.UNEXPLAINED for one in said)
        for one in said:
            of_kind = stale[one.kind]
            if one.verdict is Freshness.UNEXPLAINED:
                of_kind["unexplained"] += 1
                continue
            of_kind["judged"] += 1
            if one.verdict is Freshness.STALE:
                of_kind["stale"] += 1
                of_kind["ages_ns"].append(one.age_ns)

    for answer in answers:
        if answer.kind not in (*_NO_ANSWER, AnswerKind.LIST_END) and judge.knows(answer):
            count(judge.judge(answer))
    for listing in listings(answers):
        if judge.knows(listing.end):
            count(judge.judge_listing(listing))
    return {
        "answers": {"recorded": recorded, "judged": judged, "unknown": recorded - judged},
        "stale": stale,
    }
