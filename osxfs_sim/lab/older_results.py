"""Results of older versions, converted step by step into those of today.

schema 1  ``run --json``, until 2026-12: arms one after the other, each with its runs
schema 2  ``compare``, ``frontier`` and ``reproduce``, until 2026-12: samples, with some fields
          under other names, and the digests of what was measured among what was asked for
schema 3  all commands: lab/results.py
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.cases import case_names, load_case
from osxfs_sim.lab.result_shapes import COMPARISON_2, RUNS_1
from osxfs_sim.lab.shapes import Shape
from osxfs_sim.model.status import with_current_keys

_STATUSES = frozenset({"share", "mounted"})
"""Keys of a result, below which there are statuses of shares."""
_RENAMED = {"caught_up_s": "drain_s", "told": "last_line"}
"""Fields of a sample, and what they have been called since schema 3."""
_SOURCES = {
    **{name: name for name in ("recipe", "systems", "policies")},
    "edits_digest": "edits",
}
"""Of a plan, what is among the sources since schema 3."""
_OF_A_RUN = (
    *("kind", "wall_s", "workload_processor_s", "failure", "caught_up_s", "share", "trace"),
    *("told", "digest", "risk", "others_processor_s"),
)


def with_current_names(document: Any) -> Any:
    """*document* of any schema, with today's names for the fields of statuses; checks nothing else.

    What is no result passes unharmed: its shape is checked afterwards.
    """
    if isinstance(document, list):
        return [with_current_names(each) for each in document]
    if not isinstance(document, Mapping):
        return document
    return {
        name: (with_current_keys if name in _STATUSES else with_current_names)(value)
        for name, value in document.items()
    }


@dataclass(frozen=True, slots=True)
class OlderSchema:
    """A schema of results that is still read, and how it becomes the next one."""

    shape: Shape
    """The shape that a document of it has."""
    converted: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Makes a document of the next schema from one of this."""


def _from_1(document: Mapping[str, Any]) -> dict[str, Any]:
    """Arms one after the other, each fresh once and then again. Raises TypeError without arms."""
    arms = [str(arm["arm"]) for arm in document["arms"]]
    if not arms:
        raise TypeError("it has no arms")
    mounted = {arm["arm"]: arm["mounted"] for arm in document["arms"] if arm["mounted"]}
    title, claims = _of_the_case(str(document["case"]))
    kept = ("case", "variant", "quick", "options", "seed", "dilate", "started", "machine")
    return {
        "schema": 2,
        "made_by": "run",
        **{name: document[name] for name in kept},
        "title": title,
        "arms": arms,
        "baseline": NATIVE if NATIVE in arms else arms[0],
        "caches": "warm",
        "specs": {
            arm: {"profile": mounted[arm]["profile"], "options": mounted[arm].get("changed", [])}
            if arm in mounted
            else {}
            for arm in arms
        },
        "mounted": mounted,
        "claims": claims,
        "samples": [
            {
                "arm": arm["arm"],
                "round": number,
                **{name: run[name] for name in _OF_A_RUN if name in run},
            }
            for arm in document["arms"]
            for number, run in enumerate(arm["runs"])
        ],
    }


def _of_the_case(name: str) -> tuple[str, list[dict[str, str]]]:
    """Title and claims, which these documents do not hold, as the case has them today."""
    if name not in case_names():
        return name, []
    case = load_case(name)
    return case.title, [asdict(claim) for claim in case.claims]


def _from_2(document: Mapping[str, Any]) -> dict[str, Any]:
    plan = document.get("plan", {})
    return {
        **document,
        "schema": 3,
        "made_by": document.get("made_by", "frontier" if "groups" in plan else "compare"),
        "plan": {name: value for name, value in plan.items() if name not in _SOURCES},
        "sources": {new: plan[old] for old, new in _SOURCES.items() if old in plan},
        "samples": [
            {_RENAMED.get(name, name): value for name, value in sample.items()}
            for sample in document["samples"]
        ],
    }


OLDER = {1: OlderSchema(RUNS_1, _from_1), 2: OlderSchema(COMPARISON_2, _from_2)}
"""By their numbers."""
