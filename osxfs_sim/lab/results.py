"""The format of results: one JSON document per comparison, raw samples and all.

``run``, ``compare``, ``frontier`` and ``reproduce`` write the same document; what older versions
have written is converted when it is read (lab/older_results.py). What is derived (medians,
intervals, ratios, warnings) is not in it: it is computed again from the samples by whoever shows
it, so that a later version may compute it better. docs/reference.md documents the format field by
field.
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
from osxfs_sim.lab.older_results import OLDER, with_current_names
from osxfs_sim.lab.result_shapes import COMPARISON
from osxfs_sim.lab.shapes import mismatch, shown
from osxfs_sim.model.user_error import UserError

SCHEMA = 3
"""Grows when a field changes its meaning, its name or goes; fields may be added."""
FRESH = "fresh"
"""The kind of a run on a mount that knows nothing."""
AGAIN = "again"
"""The kind of a run on a mount whose caches are as the run before left them."""


class ResultError(UserError):
    """A file that is no result; the message is one line with the remedy."""


@dataclass(slots=True)
class Sample:
    """One execution of the measured command under one arm. Times in seconds.

    arm                   its label
    round                 from 0: which time the arm was run. Interleaved, each round runs every
                          arm; in turn, all rounds of an arm are on one mount
    kind                  FRESH or AGAIN
    wall_s                of the command, from its start to its end
    workload_processor_s  processor time of the command and its children
    failure               why it does not count; empty if it does
    began_s               since the comparison began
    load_average          of the machine then
    drain_s               how long after the command's end the host had everything; None for
                          native, or if it never had
    share                 the share's status over this run alone, its receipt included; None for
                          native
    trace                 the file of its trace, relative to the result; None if there is none
    last_line             the last line that the command printed, where that is a result
    digest                of the parts of the tree that every run must leave alike, where the case
                          has some
    risk                  what the command was told while the host changed files, judged, where it
                          did (coherence/answers/risk.py describes it)
    others_processor_s    processor time that other programs of the machine used meanwhile; None
                          where that is not known, as of older results
    """

    arm: str
    round: int
    kind: str
    wall_s: float
    workload_processor_s: float
    failure: str = ""
    began_s: float = 0.0
    load_average: float = 0.0
    drain_s: float | None = None
    share: dict[str, Any] | None = None
    trace: str | None = None
    last_line: str = ""
    digest: str | None = None
    risk: dict[str, Any] | None = None
    others_processor_s: float | None = None


@dataclass(slots=True)
class Comparison:
    """A case under several arms.

    case, title  of the case
    variant      of the case
    quick        whether its shortened command was measured
    options      of the case, those that were switched on
    arms         their labels, in the order they were asked for
    baseline     the one of them that the others are compared with
    caches       ``cold`` or ``warm``: the host's, when a run begins
    seed         of the order of the arms and of the shares
    dilate       what every time in the model was multiplied by
    started      an ISO date and time
    machine      what it was obtained on (lab/machine.py)
    specs        per arm what it is: ``profile`` and the ``options`` changed (empty for native)
    mounted      per arm the share's first status: the profile's values, what calibration found
    made_by      the command that wrote it: run, compare, frontier or reproduce
    plan         what was asked for, so that an interrupted comparison can go on
    sources      digests of what it rests upon: ``recipe`` of the case, ``systems`` and
                 ``policies`` per arm, ``edits`` of what the host did
    claims       what is published of the case: ``text`` and ``source``
    samples      one for each execution, in the order they were taken
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
    made_by: str = "compare"
    plan: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def all_of(self, arm: str, kind: str | None = None) -> list[Sample]:
        """The samples of *arm* (and *kind*), failed ones too, in the order they were taken."""
        return [
            sample for sample in self.samples if sample.arm == arm and kind in (None, sample.kind)
        ]

    def of(self, arm: str, kind: str | None = None) -> list[Sample]:
        """The samples of *arm* (and *kind*) that count, in the order they were taken."""
        return [sample for sample in self.all_of(arm, kind) if not sample.failure]

    def to_document(self) -> dict[str, Any]:
        """As a file holds it: plain values."""
        return {"schema": SCHEMA, **asdict(self)}


def comparison_from(document: Mapping[str, Any], where: str) -> Comparison:
    """Read a document of this schema, or an older one.

    Raises ResultError, naming *where* it comes from.
    """
    schema = document.get("schema")
    if schema is None:
        raise ResultError(f"{where} is no result: save one with `osxfs-sim run --json FILE`")
    if type(schema) is not int or schema not in (*OLDER, SCHEMA):
        raise ResultError(f"{where} has schema {shown(schema)}, this version reads up to {SCHEMA}")
    document = with_current_names(document)
    try:
        while schema in OLDER:
            older = OLDER[schema]
            if wrong := mismatch(document, older.shape):
                raise TypeError(wrong)
            document = older.converted(document)
            schema = document["schema"]
        if wrong := mismatch(document, COMPARISON):
            raise TypeError(wrong)
        values = dict(document)
        samples = [Sample(**_known(Sample, each)) for each in values.pop("samples")]
        comparison = Comparison(**_known(Comparison, values), samples=samples)
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
