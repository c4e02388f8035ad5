"""What `run --json` has saved is read as a comparison; other files are refused in one line."""

import json
from pathlib import Path

import pytest

from osxfs_sim.lab.results import ResultError, load_result, save_result

RESULTS = Path(__file__).parents[2] / "docs" / "results"
RUNS = {
    "schema": 1,
    "case": "note",
    "variant": "default",
    "quick": False,
    "options": [],
    "seed": 3,
    "dilate": 1.0,
    "started": "2026-11-21T22:47:06+00:00",
    "machine": {},
    "arms": [
        {
            "arm": "osxfs",
            "mounted": {"profile": "osxfs", "changed": ["latency.metadata"]},
            "runs": [
                {"kind": "fresh", "wall_s": 2.0, "workload_processor_s": 1, "share": {}},
                {
                    "kind": "again",
                    "wall_s": 1.5,
                    "workload_processor_s": 1,
                    "share": {},
                    "failure": "exit code 1: no",
                },
            ],
        }
    ],
}


def saved(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "result.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


OF_SCHEMA_1 = sorted(RESULTS.glob("*.json"))
OF_SCHEMA_2 = sorted(
    path
    for folder in ("comparisons", "frontier", "npm-install-study")
    for path in (RESULTS / folder).glob("*.json")
)


@pytest.mark.parametrize("path", OF_SCHEMA_2, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_comparison_of_schema_2_is_read_with_all_that_it_holds(path):
    document = json.loads(path.read_text())
    assert document["schema"] == 2
    read = load_result(path)
    assert [(one.arm, one.round, one.kind, one.wall_s) for one in read.samples] == [
        (one["arm"], one["round"], one["kind"], one["wall_s"]) for one in document["samples"]
    ]
    assert [(one.drain_s, one.last_line) for one in read.samples] == [
        (one["caught_up_s"], one["told"]) for one in document["samples"]
    ]
    for one, before in zip(read.samples, document["samples"], strict=True):
        assert (one.share is None) is (before["share"] is None)
        for label, line in (before["share"] or {}).get("receipt", {}).items():
            assert one.share["receipt"][label]["target_p50_ns"] == line["asked_p50_ns"]
            assert one.share["receipt"][label]["observed_p99_ns"] == line["achieved_p99_ns"]
            assert len(one.share["receipt"][label]) == len(line)
    digests = {"recipe", "systems", "policies", "edits_digest"}
    kept = {name: value for name, value in document["plan"].items() if name not in digests}
    assert read.plan == kept
    assert read.sources["recipe"] == document["plan"]["recipe"]
    assert read.sources["systems"] == document["plan"]["systems"]
    assert read.made_by == ("frontier" if path.parent.name == "frontier" else "compare")


def test_what_is_saved_is_of_the_latest_schema_whatever_it_was_read_from(tmp_path):
    for path, schema in ((OF_SCHEMA_1[0], 1), (OF_SCHEMA_2[0], 2)):
        assert json.loads(path.read_text())["schema"] == schema
        save_result(load_result(path), tmp_path / "again.json")
        assert json.loads((tmp_path / "again.json").read_text())["schema"] == 3
        assert load_result(tmp_path / "again.json") == load_result(path)


def test_a_field_under_its_old_name_is_not_taken_for_one_of_today(tmp_path):
    """Or what a conversion forgets would not be noticed."""
    document = json.loads(OF_SCHEMA_2[0].read_text()) | {"schema": 3}
    document["plan"] = {}
    assert any(sample["caught_up_s"] is not None for sample in document["samples"])
    read = load_result(saved(tmp_path, document))
    assert {sample.drain_s for sample in read.samples} == {None}


@pytest.mark.parametrize("path", OF_SCHEMA_1, ids=lambda path: path.stem)
def test_every_published_result_is_read(path):
    comparison = load_result(path)
    document = json.loads(path.read_text())
    assert (document["schema"], comparison.made_by) == (1, "run")
    assert comparison.title != comparison.case, "the title is the case's own"
    assert comparison.claims
    assert comparison.caches == "warm"
    assert comparison.baseline == ("native" if "native" in comparison.arms else comparison.arms[0])
    runs = [(arm["arm"], run) for arm in document["arms"] for run in arm["runs"]]
    assert [(each.arm, each.kind, each.wall_s) for each in comparison.samples] == [
        (arm, run["kind"], run["wall_s"]) for arm, run in runs
    ]


def test_an_older_result_keeps_kinds_failures_and_what_was_mounted(tmp_path):
    comparison = load_result(saved(tmp_path, RUNS))
    assert [(each.kind, each.round) for each in comparison.samples] == [("fresh", 0), ("again", 1)]
    assert [each.wall_s for each in comparison.of("osxfs")] == [2.0], "the failed run counts not"
    assert comparison.samples[1].failure == "exit code 1: no"
    assert comparison.specs == {"osxfs": {"profile": "osxfs", "options": ["latency.metadata"]}}
    assert comparison.baseline == "osxfs"
    assert (comparison.title, comparison.claims) == ("note", []), "nobody knows the case any more"


def test_an_older_result_saved_again_is_the_same(tmp_path):
    comparison = load_result(RESULTS / "rake-mid.json")
    save_result(comparison, tmp_path / "again.json")
    assert load_result(tmp_path / "again.json") == comparison


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "it is not JSON"),
        ([], "it is not a JSON object"),
        ({"name": "package.json"}, "is no result: save one with"),
        ({"schema": 4}, "has schema 4, this version reads up to 3"),
        ({"schema": 1}, "is no result: it has no case"),
        ({**RUNS, "arms": []}, "it has no arms"),
        ({**RUNS, "arms": ["osxfs"]}, "is no result"),
        ({"schema": 2, "samples": []}, "is no result"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(tmp_path, document, why):
    with pytest.raises(ResultError) as refusal:
        load_result(saved(tmp_path, document))
    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"baseline": "virtiofs"}, "its baseline 'virtiofs' is not among its arms"),
        ({"arms": ["other"], "baseline": "other"}, "not among its arms"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(tmp_path, change, why):
    document = load_result(saved(tmp_path, RUNS)).to_document()
    with pytest.raises(ResultError, match=why):
        load_result(saved(tmp_path, document | change))


def test_a_time_that_is_no_number_is_refused(tmp_path):
    document = load_result(saved(tmp_path, RUNS)).to_document()
    document["samples"][0]["wall_s"] = "fast"
    with pytest.raises(ResultError, match="wall_s is 'fast', and no time"):
        load_result(saved(tmp_path, document))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ResultError, match=r"gone\.json cannot be read: No such file"):
        load_result(tmp_path / "gone.json")
