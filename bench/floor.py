"""What a request costs when no latency is asked for, beside a pass-through in C.

Nothing below it can be asked of this machine. Rounds of ours and of theirs
take turns in one run, as the machine changes from minute to minute: the ratio
of neighbouring rounds is worth more than either figure.
"""

import contextlib
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np

import osxfs_sim
from bench import clients, passthroughs
from bench.figures import Samples, histogram, per_request
from bench.scratch import (
    EXISTING,
    MISSING,
    Scratch,
    awaited,
    processors_awake,
    scratch,
    server_share,
)
from osxfs_sim import Share
from osxfs_sim.model.status import ShareStatus

_OURS = "share"
# (name, clients): what is asked for in each round.
_QUESTIONS = ((MISSING, 1), (EXISTING, 1), (MISSING, 8), (EXISTING, 8))
# After a request our server polls; then it waits in select(2), and costs a round of theirs nothing.
_PAUSE_S = 0.02

_Question = tuple[str, int]


def measure(quick: bool) -> dict[str, Any]:
    """The latency floor of ours and of C pass-throughs, round by round; *quick* is shorter."""
    rounds, calls = (2, 400) if quick else (8, 4_000)
    with contextlib.ExitStack() as stack:
        stack.enter_context(processors_awake())
        ours = stack.enter_context(scratch())
        share = stack.enter_context(
            osxfs_sim.share(ours.source, ours.mountpoint, profile="none", bandwidth="none")
        )
        places = {_OURS: ours}
        per_stat = {}
        for passthrough in passthroughs.available():
            place = places[passthrough.name] = stack.enter_context(scratch())
            per_stat[passthrough.name] = _requests_counted(passthrough, place)
            stack.enter_context(passthroughs.serving(passthrough, place))
        taken: dict[tuple[str, _Question], list[Samples]] = {}
        our_status: dict[_Question, list[ShareStatus]] = {}
        for round_number in range(-1, rounds):  # the first only warms up
            for question in _QUESTIONS:
                for arm, place in places.items():
                    name, count = question
                    paths = place.paths(name, count)
                    time.sleep(_PAUSE_S)
                    with _counted(share, our_status.setdefault(question, []), arm == _OURS):
                        called = clients.run("stat", calls // count, paths)
                    if round_number >= 0:
                        taken.setdefault((arm, question), []).append(called.taken_ns)
        floor_ns = share.first_status.calibration.floor_ns
    per_stat[_OURS] = {
        question: _per_call(statuses, calls) for question, statuses in our_status.items()
    }
    rows = []
    for question in _QUESTIONS:
        for arm in places:
            rows.append(_row(arm, question, taken, per_stat))
            if arm == _OURS:
                used = median(server_share(status) for status in our_status[question][1:])
                rows[-1]["server_share_of_core"] = round(used, 3)
    return {"quick": quick, "rounds": rounds, "calibrated_floor_ns": floor_ns, "rows": rows}


def _requests_counted(
    passthrough: passthroughs.Passthrough, place: Scratch
) -> dict[_Question, float]:
    first_paths = {question: place.paths(*question)[0] for question in _QUESTIONS}
    counted = passthroughs.requests_per_stat(passthrough, place, list(first_paths.values()))
    return {question: counted[path] for question, path in first_paths.items()}


@contextlib.contextmanager
def _counted(share: Share, statuses: list[ShareStatus], is_ours: bool) -> Iterator[None]:
    if is_ours:
        share.reset()
    yield
    if is_ours:
        statuses.append(share.reset())


def _per_call(statuses: list[ShareStatus], calls: int) -> float:
    return sum(map(awaited, statuses)) / (len(statuses) * calls)


def _row(
    arm: str,
    question: _Question,
    taken: dict[tuple[str, _Question], list[Samples]],
    per_stat: dict[str, dict[_Question, float]],
) -> dict[str, Any]:
    name, count = question
    requests = per_stat[arm][question]
    theirs = taken[arm, question]
    ours = taken[_OURS, question]
    row: dict[str, Any] = {
        "server": arm,
        "name": name,
        "clients": count,
        "requests_per_stat": round(requests, 3),
        **per_request(np.concatenate(theirs), requests),
        "p50_us_of_rounds": [per_request(one, requests)["p50_us"] for one in theirs],
        "histogram": histogram(np.concatenate(theirs)),
    }
    if arm != _OURS:
        # Round by round, so that what slowed both cancels.
        row["share_to_this"] = round(
            median(
                (float(np.median(a)) / per_stat[_OURS][question]) / (float(np.median(b)) / requests)
                for a, b in zip(ours, theirs, strict=True)
            ),
            3,
        )
    return row
