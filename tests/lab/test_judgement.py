"""A wall time is the share's only where nothing else was waited for: runs that are made up."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.lab.judgement import (
    Observed,
    beyond_s,
    crowded_by,
    dominant,
    named,
    observed,
    out_of_tolerance,
    warnings_of,
)
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.summary import summarize

MACHINE = {"cores": 2}


def line(count: int, asked_us: float, achieved_us: float | None = None, **more: Any) -> dict:
    achieved_ns = round(1_000 * (asked_us if achieved_us is None else achieved_us))
    return {
        "count": count,
        "target_p50_ns": round(1_000 * asked_us),
        "observed_p50_ns": achieved_ns,
        "target_total_ns": round(1_000 * asked_us) * count,
        "observed_total_ns": achieved_ns * count,
        "late": 0,
        "within_tolerance": True,
        **more,
    }


# dd of 100,000 writes under osxfs, as it was once measured beside others.
DD = {"metadata": line(5, 130, 189, within_tolerance=None), "write": line(102_400, 225.7)}
QUIET = Observed(23.5, own_s=9.0, others_s=0.3, cores=2, native_s=0.14, receipt=DD)
LOADED = replace(QUIET, wall_s=37.7, own_s=9.5, others_s=62.0, native_s=0.29)


def test_a_receipt_is_read_for_what_the_run_consists_of() -> None:
    assert dominant(DD) == "write"
    assert named("write", "225.7us") == "write 225.7us"
    assert named("metadata", "130us") == "130us"
    # Few answers that took most of the time count as well as many that took none.
    slow = {"metadata": line(10_000, 10), "sync": line(20, 20_000)}
    assert dominant(slow) == "sync"
    slow["sync"]["within_tolerance"] = False
    assert list(out_of_tolerance(slow)) == ["sync"]
    rare = {"metadata": line(10_000, 130), "read": line(5, 130, within_tolerance=False)}
    assert out_of_tolerance(rare) == {}
    assert dominant({}) is None


def test_a_quiet_run_is_believed() -> None:
    assert warnings_of(QUIET) == []


def test_a_loaded_run_is_warned_of_by_its_load_and_by_what_is_left_over() -> None:
    by_load, left_over = warnings_of(LOADED)
    assert by_load.startswith("other programs used 1.6 of 2 processors meanwhile")
    assert left_over.startswith("11.2 of 37.7 s are neither the command's own (0.29 s natively)")
    assert "102,405 answers' (23.1 s)" in left_over


def test_each_sign_is_enough_by_itself() -> None:
    assert crowded_by(replace(LOADED, wall_s=23.6)) is not None
    assert beyond_s(replace(LOADED, others_s=None)) is not None


def test_who_finds_a_processor_free_has_not_waited_for_one() -> None:
    assert crowded_by(replace(LOADED, cores=16)) is None
    assert crowded_by(replace(QUIET, others_s=0.05 * QUIET.wall_s)) is None


def test_a_native_run_is_judged_by_load_alone() -> None:
    native = observed(1.0, 0.9, 0.9, None, 2, 1.0)
    assert crowded_by(native) is not None
    assert beyond_s(native) is None


def test_what_nobody_knows_is_not_judged() -> None:
    assert beyond_s(replace(LOADED, native_s=None)) is None
    older = {label: {key: value for key, value in each.items() if not key.endswith("total_ns")}
             for label, each in DD.items()}  # fmt: skip
    assert beyond_s(replace(LOADED, receipt=older)) is None
    assert dominant(older) == "write"
    held = {"receipt": DD, "write_back": {}, "server_processor_s": 1.0}
    assert observed(99.0, 1.0, None, held, 2, 0.1).native_s is None


@given(
    wall_s=st.floats(0, 1e6),
    own_s=st.floats(0, 1e6),
    others_s=st.none() | st.floats(0, 1e6),
    cores=st.integers(1, 512),
    native_s=st.none() | st.floats(0, 1e6),
)
def test_more_load_and_a_longer_time_never_clear_a_run(
    wall_s: float, own_s: float, others_s: float | None, cores: int, native_s: float | None
) -> None:
    run = Observed(wall_s, own_s, others_s, cores, native_s, DD)
    if beyond_s(run) is not None:
        assert beyond_s(replace(run, wall_s=wall_s * 2)) is not None
    if crowded_by(run) is not None and others_s is not None:
        assert crowded_by(replace(run, others_s=2 * others_s)) is not None
    assert len(warnings_of(run)) <= 2


# In a comparison


def comparison(wall_s: float, others_s: float, **more: Any) -> Comparison:
    share = {"receipt": DD, "server_processor_s": 8.0, "requests": {"WRITE": 102_400}}
    samples = [
        Sample("native", 0, "fresh", 0.2, 0.1, others_processor_s=0.0),
        Sample("osxfs", 0, "fresh", wall_s, 1.0, share=share, others_processor_s=others_s, **more),
    ]
    return Comparison(
        *("dd-1k", "dd", "default", False, [], ["native", "osxfs"], "native", "warm", 0, 1.0),
        *("2026-11-30", MACHINE),
        samples=samples,
    )


def said_of(made: Comparison) -> list[str]:
    (summary,) = (each for each in summarize(made, resamples=10) if each.label == "osxfs")
    assert (summary.judged_class, summary.target_p50_ns) == ("write", 225_700)
    return [said for said in summary.warnings if said.startswith("in ")]


def test_a_comparison_says_of_how_many_runs_it_is_so() -> None:
    assert said_of(comparison(23.5, 0.3)) == []
    by_load, left_over = said_of(comparison(37.7, 60.0))
    assert by_load.startswith("in 1 of 1 run, at the worst: other programs used 1.6 of 2")
    assert left_over.startswith("in 1 of 1 run, at the worst: 11.")


def test_a_run_under_edits_may_wait_for_them() -> None:
    made = comparison(37.7, 0.0, risk={"stale": {}})
    assert said_of(made) == []
