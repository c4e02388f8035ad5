"""Asked for against achieved: the client's view, and the receipt's of the same requests.

One client stats a name in the root: a missing one costs exactly one request,
so its percentiles are exact. Several clients have a directory each, because
the kernel sends lookups in one directory one at a time.

Every round mounts anew: calibration at the start of a mount is part of what is
measured, and one unlucky calibration shall show as such.
"""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

import osxfs_sim
from bench import clients
from bench.figures import Samples, histogram, merged_p50_ns, per_request
from bench.scratch import EXISTING, MISSING, Scratch, awaited, scratch, server_share
from osxfs_sim.model.status import ShareStatus

_SERIAL_NS = (20_000, 40_000, 65_000, 130_000, 1_000_000, 10_000_000)
_SEVERAL = (1, 2, 4, 8)
_SEVERAL_NS = 130_000
_FEWEST_CALLS, _MOST_CALLS = 30, 8_000
_WARM_UP_CALLS = 30


@dataclass(frozen=True, slots=True)
class _Question:
    asked_ns: int
    name: str
    clients: int
    own_directories: bool


@dataclass(slots=True)
class _Answers:
    """What the rounds of one question gave."""

    taken: list[Samples] = field(default_factory=list)
    statuses: list[ShareStatus] = field(default_factory=list)
    wall_ns: int = 0


def measure(quick: bool) -> dict[str, Any]:
    """Target against observed latency, by target and number of clients; *quick* is shorter."""
    rounds, round_ns = (1, 150_000_000) if quick else (3, 1_500_000_000)
    answers: dict[_Question, _Answers] = {}
    with scratch() as place:
        for _ in range(rounds):
            for asked_ns in _SERIAL_NS:
                _ask_all(place, asked_ns, round_ns, answers)
    rows = [_row(question, answer) for question, answer in answers.items()]
    rows.sort(key=lambda row: (row["own_directories"], row["asked_us"], row["clients"]))
    return {"quick": quick, "rounds": rounds, "rows": rows}


def _ask_all(
    place: Scratch, asked_ns: int, round_ns: int, answers: dict[_Question, _Answers]
) -> None:
    questions = [_Question(asked_ns, name, 1, False) for name in (MISSING, EXISTING)]
    if asked_ns == _SEVERAL_NS:
        questions += [
            _Question(asked_ns, name, count, True)
            for count in _SEVERAL
            for name in (MISSING, EXISTING)
        ]
    with osxfs_sim.share(
        place.source, place.mountpoint, profile="osxfs", latency_ns=asked_ns
    ) as share:
        for question in questions:
            if question.own_directories:
                paths = place.own_paths(question.name, question.clients)
            else:
                paths = place.paths(question.name, question.clients)
            calls = min(_MOST_CALLS, max(_FEWEST_CALLS, round_ns // max(asked_ns, 40_000)))
            clients.run("stat", min(calls, _WARM_UP_CALLS), paths)
            share.reset()
            called = clients.run("stat", calls, paths)
            answer = answers.setdefault(question, _Answers())
            answer.statuses.append(share.reset())
            answer.taken.append(called.taken_ns)
            answer.wall_ns += called.wall_ns


def _row(question: _Question, answer: _Answers) -> dict[str, Any]:
    taken_ns = np.concatenate(answer.taken)
    requests = sum(map(awaited, answer.statuses))
    per_call = requests / len(taken_ns)
    lines = [status.receipt["metadata"] for status in answer.statuses]
    receipt_us = merged_p50_ns([line.observed_histogram for line in lines]) / 1_000
    figures = per_request(taken_ns, per_call)
    return {
        "asked_us": question.asked_ns / 1_000,
        "name": question.name,
        "clients": question.clients,
        "own_directories": question.own_directories,
        "requests_per_stat": round(per_call, 3),
        **figures,
        "receipt_p50_us": round(receipt_us, 2),
        "receipt_less_client_us": round(receipt_us - figures["p50_us"], 2),
        "requests_per_s": round(requests / (answer.wall_ns / 1e9)),
        "late_share": round(sum(line.late for line in lines) / requests, 4),
        "server_share_of_core": median(map(server_share, answer.statuses)),
        "calls": len(taken_ns),
        "p50_us_of_rounds": [per_request(one, per_call)["p50_us"] for one in answer.taken],
        "calibrations": [
            {
                "floor_ns": status.calibration.floor_ns,
                "client_overhead_ns": status.calibration.client_overhead_ns,
                "wake_ns": status.calibration.wake_ns,
            }
            for status in answer.statuses
        ],
        "histogram": histogram(taken_ns),
    }
