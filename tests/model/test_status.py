"""A share's status as a value: it travels as JSON and comes back, and no field is dead."""

import ast
import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.statuses import a_status, filled

import osxfs_sim
from osxfs_sim.model import status as module
from osxfs_sim.model.documents import document_of, key_of, parsed
from osxfs_sim.model.status import EARLIER_KEYS, ChangeSetAside, OwnershipStatus, ShareStatus

PACKAGE = Path(osxfs_sim.__file__).parent
RESULTS = Path(__file__).parents[2] / "docs" / "results"
CLASSES = [each for each in vars(module).values() if dataclasses.is_dataclass(each)]


def full() -> ShareStatus:
    status: ShareStatus = filled(ShareStatus, itertools.count(), sparse=False)
    return status


def test_it_comes_back_as_it_was_sent() -> None:
    for sparse in (False, True):
        status = filled(ShareStatus, itertools.count(), sparse=sparse)
        assert ShareStatus.from_dict(json.loads(json.dumps(status.as_dict()))) == status


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_key_that_is_lost_or_of_another_type_is_noticed(kind: type) -> None:
    document = document_of(filled(kind, itertools.count(), sparse=False))
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        key = key_of(each)
        with pytest.raises(TypeError):
            parsed(kind, {**document, key: object()})
        rest = {other: value for other, value in document.items() if other != key}
        if (each.default, each.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
            with pytest.raises(LookupError):
                parsed(kind, rest)
        else:
            parsed(kind, rest)


@pytest.mark.parametrize("document", [None, [], "status", 7, {}, {"mountpoint": "/mnt"}])
def test_what_is_no_status_is_refused(document: object) -> None:
    with pytest.raises((TypeError, LookupError)):
        ShareStatus.from_dict(document)


def test_true_is_no_number() -> None:
    with pytest.raises(TypeError):
        a_status(pid=True)
    assert a_status(dilate=2).dilate == 2


def test_keys_of_a_later_version_are_passed_over() -> None:
    assert ShareStatus.from_dict({**full().as_dict(), "later": 1}) == full()


def test_what_only_some_shares_have_is_no_key_of_others() -> None:
    assert document_of(OwnershipStatus(policy="host")) == {"policy": "host"}
    assert document_of(OwnershipStatus(policy="osxfs", malformed=0)) == {
        "policy": "osxfs",
        "malformed": 0,
    }
    change = ChangeSetAside(change="rename", path="b", from_path="a", reason="Permission denied")
    assert document_of(change)["from"] == "a"


# Saved results


def statuses_in(document: Any) -> Iterator[dict[str, Any]]:
    """All statuses of shares, wherever a result has them."""
    if isinstance(document, dict):
        if {"mountpoint", "receipt"} <= document.keys():
            yield document
            return
        document = list(document.values())
    if isinstance(document, list):
        for each in document:
            yield from statuses_in(each)


TODAY = {
    "outside_ns": "client_overhead_ns",
    "asked_p50_ns": "target_p50_ns",
    "asked_total_ns": "target_total_ns",
    "asked_histogram": "target_histogram",
    "achieved_p50_ns": "observed_p50_ns",
    "achieved_p90_ns": "observed_p90_ns",
    "achieved_p99_ns": "observed_p99_ns",
    "achieved_total_ns": "observed_total_ns",
    "achieved_histogram": "observed_histogram",
    "ended": "invalidated",
    "name_sets": "complete_directories",
    "names_can_be_ended": "names_can_be_invalidated",
}
"""How keys that results were saved with are called now."""


def lost_of(document: Any, again: Any, path: str = "") -> list[str]:
    """What *again* does not have of *document*, key by key."""
    if isinstance(document, dict) and isinstance(again, dict):
        return [
            line
            for key, value in document.items()
            for line in lost_of(value, again.get(TODAY.get(key, key), "nothing"), f"{path}.{key}")
        ]
    return [] if document == again else [path]


def test_what_older_versions_have_saved_is_read_and_nothing_of_it_is_lost() -> None:
    texts = [path.read_text() for path in sorted(RESULTS.rglob("*.json"))]
    found = [status for text in texts for status in statuses_in(json.loads(text))]
    assert len(found) > 100
    for document in found:
        assert lost_of(document, ShareStatus.from_dict(document).as_dict()) == []


def test_a_key_of_before_is_a_field_under_todays_name_and_no_other() -> None:
    known = {key_of(each) for kind in CLASSES for each in dataclasses.fields(kind)}
    assert set(EARLIER_KEYS.values()) <= known
    assert not known & set(EARLIER_KEYS)
    assert EARLIER_KEYS == TODAY


def test_what_is_lost_is_noticed() -> None:
    assert lost_of({"a": {"b": 1}}, {"a": {}}) == [".a.b"]
    assert lost_of({"a": [1]}, {"a": [2]}) == [".a"]


# No field is dead: each is given by its name where the value is made, which mypy checks


def given_in(sources: Iterator[str]) -> dict[str, set[str]]:
    """By the name of what is called: the keywords that it is given, never by ``**``."""
    given: dict[str, set[str]] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                keywords = {each.arg for each in node.keywords if each.arg is not None}
                given.setdefault(node.func.id, set()).update(keywords)
    return given


def dead(sources: Iterator[str]) -> list[str]:
    given = given_in(sources)
    return [
        f"{kind.__name__}.{each.name}"
        for kind in CLASSES
        for each in dataclasses.fields(kind)  # type: ignore[arg-type]
        if each.name not in given.get(kind.__name__, set())
    ]


def sources_of_makers() -> list[str]:
    makers = (path for path in PACKAGE.rglob("*.py") if path != Path(str(module.__file__)))
    return [path.read_text() for path in makers if "cases" not in path.parts]


def test_every_field_is_told_by_name() -> None:
    assert dead(iter(sources_of_makers())) == []


def test_a_field_that_nobody_tells_is_noticed() -> None:
    sources = [
        text.replace("sync_waits=sync_waits,", "").replace(
            "failure=recorder.failure or None", "**rest"
        )
        for text in sources_of_makers()
    ]
    assert dead(iter(sources)) == ["WriteBackStatus.sync_waits", "TraceStatus.failure"]


@pytest.mark.slow
@pytest.mark.starts_processes
def test_without_a_field_mypy_fails(tmp_path: Path) -> None:
    """All fields are taken away at once: there is a complaint of each."""
    lines = Path(str(module.__file__)).read_text().splitlines(keepends=True)
    tree = ast.parse("".join(lines))
    for node in (each for each in tree.body if isinstance(each, ast.ClassDef)):
        for field in (each for each in node.body if isinstance(each, ast.AnnAssign)):
            assert field.end_lineno is not None
            lines[field.lineno - 1 : field.end_lineno] = [""] * (
                field.end_lineno + 1 - field.lineno
            )
    root = tmp_path / "root"
    for path in PACKAGE.rglob("*.py"):
        copy = root / path.relative_to(PACKAGE.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (root / "osxfs_sim" / "model" / "status.py").write_text("".join(lines))
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports"),
            *("--python-version", "3.11", "-p", "osxfs_sim"),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    silent = [
        f"{kind.__name__}.{each.name}"
        for kind in CLASSES
        for each in dataclasses.fields(kind)  # type: ignore[arg-type]
        if f'Unexpected keyword argument "{each.name}" for "{kind.__name__}"' not in checked.stdout
    ]
    assert silent == [], checked.stdout
