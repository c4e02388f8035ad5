"""The format of results: one JSON document per comparison, raw samples and all.

What is derived (medians, intervals, ratios) is not in it: it is computed again
from the samples by whoever shows it, so that a later version may compute it
better. docs/reference.md documents the format field by field.
"""

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from osxfs_sim.fs.output import write_output
from osxfs_sim.fs.reading import MOST_RESULT_BYTES, parse_json, read_text
from osxfs_sim.lab.cases import case_names, load_case
from osxfs_sim.lab.result_shapes import COMPARISON, RUNS
from osxfs_sim.lab.shapes import mismatch, shown
from osxfs_sim.model.user_error import UserError

SCHEMA = 2
"""Grows when a field changes its meaning or goes; fields may be added."""
_SCHEMA_OF_RUNS = 1
"""Of ``run --json``; it is read, and converted."""
_NATIVE = "native"
_LONGEST_S = 1e9


class ResultError(UserError):
    """A file that is no result; the message is one line with the remedy."""


@dataclass(slots=True)
class Sample:
    """One execution of the measured command under one arm. Times in seconds.

    *round* counts from 0: each round runs every arm once, in an order of its own.
    *kind* is ``fresh`` (on a mount that knows nothing) or ``again`` (its caches
    are as the run before left them). *failure* says why it does not count, or is
    empty. *began_s* is since the comparison began. *caught_up_s* is how long
    after the command's end the host had everything, and *share* the share's
    status over this run alone (both None for native). *trace* is the file name
    of its trace, relative to the result, if there is one. *told* is what the command
    said, where that is a result, and *digest* is of the parts of the tree that every run
    must leave alike, where the case has some. *risk* is what the command was told while
    the host changed files, judged, where it did (coherence/answers/risk.py describes it).
    *others_processor_s* is the processor time that other programs of the machine used meanwhile;
    None where that is not known, as of older results.
    """

    arm: str
    round: int
    kind: str
    wall_s: float
    workload_processor_s: float
    failure: str = ""
    began_s: float = 0.0
    load_average: float = 0.0
    caught_up_s: float | None = None
    share: dict[str, Any] | None = None
    trace: str | None = None
    told: str = ""
    digest: str | None = None
    risk: dict[str, Any] | None = None
    others_processor_s: float | None = None


@dataclass(slots=True)
class Comparison:
    """A case under several arms. *arms* are their labels, in the order they were asked for.

    *baseline* is one of them. *specs* says per arm what it is: ``profile`` and the
    ``options`` changed (empty for native); *mounted* its first status, which holds
    the profile's values and what calibration found. *caches* is ``cold`` or
    ``warm``. *started* is an ISO date and time. *tables* of *options* of the case
    are its toggles. *plan* holds what was asked for (runs, until, and so on), so
    that an interrupted comparison can be resumed.
    """

    case: str
    title: str
    variant: str
    quick: bool
    options: list[str]
    arms: list[str]
    baseline: str
    caches: str
    seed: int
    dilate: float
    started: str
    machine: dict[str, Any]
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounted: dict[str, dict[str, Any]] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def of(self, arm: str, kind: str | None = None) -> list[Sample]:
        """The samples of *arm* (and *kind*) that count, in the order they were taken."""
        return [
            sample
            for sample in self.samples
            if sample.arm == arm and kind in (None, sample.kind) and not sample.failure
        ]

    def to_document(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def comparison_from(document: Mapping[str, Any], where: str) -> Comparison:
    """Read a document of this schema. Raises ResultError, naming *where* it comes from."""
    schema = document.get("schema")
    try:
        if schema in (_SCHEMA_OF_RUNS, SCHEMA) and not isinstance(schema, bool):
            wrong = mismatch(document, RUNS if schema == _SCHEMA_OF_RUNS else COMPARISON)
            if wrong:
                raise ResultError(f"{where} is no result: {wrong}")
        if schema == _SCHEMA_OF_RUNS:
            comparison = _from_runs(document)
        elif schema == SCHEMA:
            values = {name: value for name, value in document.items() if name != "schema"}
            samples = [Sample(**_known(Sample, each)) for each in values.pop("samples")]
            comparison = Comparison(**_known(Comparison, values), samples=samples)
        elif schema is None:
            raise ResultError(f"{where} is no result: save one with `osxfs-sim run --json FILE`")
        else:
            raise ResultError(
                f"{where} has schema {shown(schema)}, this version reads up to {SCHEMA}"
            )
        _check(comparison)
    except (TypeError, KeyError, AttributeError) as error:
        raise ResultError(f"{where} is no result: {error}") from error
    return comparison


def _check(comparison: Comparison) -> None:
    """Raises TypeError for what whoever shows it would stumble over."""
    if len(set(comparison.arms)) != len(comparison.arms):
        raise TypeError("two of its arms have one name")
    if comparison.baseline not in comparison.arms:
        raise TypeError(f"its baseline {shown(comparison.baseline)} is not among its arms")
    for sample in comparison.samples:
        if sample.arm not in comparison.arms:
            raise TypeError(f"its samples are of {shown(sample.arm)}, which is not among its arms")
    try:
        datetime.datetime.fromisoformat(comparison.started)
    except ValueError:
        raise TypeError(f"started is {shown(comparison.started)}, and no date") from None


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of *values* that *kind* has a field for: a later version may have added some."""
    known = {each.name for each in fields(kind)}
    return {name: value for name, value in values.items() if name in known}


def _from_runs(document: Mapping[str, Any]) -> Comparison:
    """What ``run --json`` has saved: arms one after the other, each fresh once and then again."""
    arms = [str(arm["arm"]) for arm in document["arms"]]
    if not arms:
        raise TypeError("it has no arms")
    mounted = {arm["arm"]: arm["mounted"] for arm in document["arms"] if arm["mounted"]}
    title, claims = _of_the_case(str(document["case"]))
    return Comparison(
        case=document["case"],
        title=title,
        variant=document["variant"],
        quick=document["quick"],
        options=document["options"],
        arms=arms,
        baseline=_NATIVE if _NATIVE in arms else arms[0],
        caches="warm",
        seed=document["seed"],
        dilate=document["dilate"],
        started=document["started"],
        machine=document["machine"],
        specs={
            arm: {"profile": mounted[arm]["profile"], "options": mounted[arm].get("changed", [])}
            if arm in mounted
            else {}
            for arm in arms
        },
        mounted=mounted,
        claims=claims,
        samples=[
            Sample(arm=arm["arm"], round=number, **_known(Sample, run))
            for arm in document["arms"]
            for number, run in enumerate(arm["runs"])
        ],
    )


def _of_the_case(name: str) -> tuple[str, list[dict[str, str]]]:
    """Title and claims, which these documents do not hold, as the case has them today."""
    if name not in case_names():
        return name, []
    case = load_case(name)
    return case.title, [asdict(claim) for claim in case.claims]


def load_result(path: str | Path) -> Comparison:
    """The comparison in a file. Raises ResultError for anything else."""
    try:
        document = parse_json(read_text(path, MOST_RESULT_BYTES))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is no result: it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ResultError(f"{path} is no result: it is not a JSON object")
    return comparison_from(document, str(path))


@contextlib.contextmanager
def read_from(path: str | Path) -> Iterator[None]:
    """What is derived within it is of a file: it may be damaged in ways that no shape tells.

    Raises ResultError then, and says what went wrong, for that may be a mistake of ours.
    """
    try:
        yield
    except ResultError as error:
        raise ResultError(f"{path} is damaged: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ResultError(f"{path} cannot be shown; is it damaged? {why[:200]}") from error


def save_result(comparison: Comparison, path: str | Path) -> None:
    """Write it whole or not at all: a file that is there can be read. Raises OSError."""
    write_output(path, json.dumps(comparison.to_document(), indent=1) + "\n")
