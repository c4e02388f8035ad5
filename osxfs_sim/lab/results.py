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
    """One execution of the measured command under one arm. Times in seconds."""

    arm: str
    """The label of the arm."""
    round: int
    """From 0: which time the arm was run. Interleaved, each round runs every arm; in turn, all
    rounds of an arm are on one mount."""
    kind: str
    """FRESH, the first on its mount, or AGAIN."""
    wall_s: float
    """Seconds from the command's start to its end."""
    workload_processor_s: float
    """Processor seconds of the command and its children."""
    failure: str = ""
    """Why it does not count; empty if it does."""
    began_s: float = 0.0
    """Seconds from the start of the comparison to its own."""
    load_average: float = 0.0
    """The machine's load average when it began (proc(5), loadavg)."""
    drain_s: float | None = None
    """Seconds after the command's end until the host had everything; None for native, or if it
    never had."""
    share: dict[str, Any] | None = None
    """The share's status over this run alone, its receipt included; None for native."""
    trace: str | None = None
    """The file of its trace, relative to the result; None if there is none."""
    last_line: str = ""
    """The last line that the command printed, where that is a result."""
    digest: str | None = None
    """Digest of the parts of the tree that every run must leave alike, where the case has some."""
    risk: dict[str, Any] | None = None
    """The answers that the command got while the host changed files, judged, where it did
    (coherence/answers/risk.py describes it)."""
    others_processor_s: float | None = None
    """Processor seconds that other programs of the machine used meanwhile; None where that is
    not known, as of older results."""


@dataclass(slots=True)
class Comparison:
    """A case under several arms."""

    case: str
    """The name of the case."""
    title: str
    """The title of the case."""
    variant: str
    """The case's variant that was run."""
    quick: bool
    """Whether its shortened command was measured."""
    options: list[str]
    """The options of the case that were switched on."""
    arms: list[str]
    """The labels of the arms, in the order they were asked for."""
    baseline: str
    """The label of the arm that the others are compared with."""
    caches: str
    """``cold`` or ``warm``: the host's caches when a run begins."""
    seed: int
    """Seeds the order of the arms and the shares."""
    dilate: float
    """What every time in the model was multiplied by."""
    started: str
    """When it began: an ISO date and time."""
    machine: dict[str, Any]
    """The machine and software it was obtained on (lab/machine.py)."""
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per arm what it is: ``profile`` and the ``options`` changed (empty for native)."""
    mounted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per arm the share's first status: the profile's values, what calibration found."""
    made_by: str = "compare"
    """The command that wrote it: run, compare, frontier or reproduce."""
    plan: dict[str, Any] = field(default_factory=dict)
    """What was asked for, so that an interrupted comparison can go on."""
    sources: dict[str, Any] = field(default_factory=dict)
    """Digests of what it rests upon: ``recipe`` of the case, ``systems`` and ``policies`` per arm,
    ``edits`` of what the host did."""
    claims: list[dict[str, str]] = field(default_factory=list)
    """What is published of the case: ``text`` and ``source``."""
    samples: list[Sample] = field(default_factory=list)
    """One for each execution, in the order they were taken; grows while it is measured."""

    def all_of(self, arm: str, kind: str | None = None) -> list[Sample]:
        """The samples of *arm* (of *kind*, unless None), failed ones too, in the order taken."""
        return [
            sample for sample in self.samples if sample.arm == arm and kind in (None, sample.kind)
        ]

    def of(self, arm: str, kind: str | None = None) -> list[Sample]:
        """The samples of *arm* (of *kind*, unless None) that did not fail, in the order taken."""
        return [sample for sample in self.all_of(arm, kind) if not sample.failure]

    def to_document(self) -> dict[str, Any]:
        """The comparison as a dict: the JSON document of a result file, of the newest schema."""
        return {"schema": SCHEMA, **asdict(self)}


def comparison_from(document: Mapping[str, Any], where: str) -> Comparison:
    """The comparison in a parsed document of this schema, or an older one. Raises ResultError.

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
    """Read the result file *path*, of any schema up to ours. Raises ResultError otherwise."""
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
    """Context manager that raises errors over what is in file *path* anew as ResultError.

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
    """Write *comparison* into the file *path*, whole or not at all. Raises OSError."""
    write_output(path, json.dumps(comparison.to_document(), indent=1) + "\n")
