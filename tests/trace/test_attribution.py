"""Time divided among requests: against a slow obvious way, and the parts add up."""

import json
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.traces import Row, header_of, in_turn, row, table_of

from osxfs_sim.trace import analysis as analysis_module
from osxfs_sim.trace.analysis import OTHERS, Analysis, Part, analyze
from osxfs_sim.trace.attribution import Divided, allot, divide
from osxfs_sim.trace.format import TraceError

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


def slowly(spans: list[tuple[int, int]]) -> tuple[list[Fraction], Counter[int]]:
    """Each request's share, and the time per depth: nanosecond by nanosecond."""
    shares = [Fraction(0)] * len(spans)
    depths: Counter[int] = Counter()
    for instant in range(min(b for b, _ in spans), max(b + took for b, took in spans)):
        on_their_way = [n for n, (b, took) in enumerate(spans) if b <= instant < b + took]
        depths[len(on_their_way)] += 1
        for number in on_their_way:
            shares[number] += Fraction(1, len(on_their_way))
    return shares, depths


def divided(spans: list[tuple[int, int]]) -> Divided:
    begin = np.array([begin for begin, _ in spans], np.int64)
    return divide(begin, begin + np.array([took for _, took in spans], np.int64))


def agrees_with_the_slow_way(spans: list[tuple[int, int]], result: Divided) -> bool:
    shares, depths = slowly(spans)
    return (
        bool(np.allclose(result.shares_ns, [float(share) for share in shares], atol=1e-6))
        and result.waiting_ns == sum(time for depth, time in depths.items() if depth)
        and +Counter(dict(enumerate(result.depth_ns))) == +depths
    )


@given(SPANS.filter(bool))
@example([(0, 10), (0, 10)])
@example([(0, 10), (10, 10), (30, 5)])
@example([(5, 0)])
def test_each_instant_is_divided_evenly(spans):
    assert agrees_with_the_slow_way(sorted(spans), divided(sorted(spans)))


def test_a_wrong_division_is_noticed():
    spans = [(0, 10), (5, 10)]
    right = divided(spans)
    not_divided = Divided(right.waiting_ns, np.array([10.0, 10.0]), right.depth_ns)
    assert agrees_with_the_slow_way(spans, right)
    assert not agrees_with_the_slow_way(spans, not_divided)


def test_nothing_takes_no_time():
    assert divided([]).waiting_ns == 0


def test_after_days_shares_are_still_exact_to_a_nanosecond():
    begin = np.arange(200_000, dtype=np.int64) * 10**9 * 3  # a week
    result = divide(begin, begin + 3 * 10**9 + 1)
    assert abs(result.shares_ns.sum() - result.waiting_ns) < 1
    assert abs(result.shares_ns[100_000] - 3e9) < 0.01


@given(st.lists(st.floats(0, 1e12), max_size=20), st.integers(0, 10**15))
def test_parts_add_up_to_the_whole(weights, total_ns):
    parts = allot(np.array(weights, np.float64), total_ns)
    has_weight = sum(weights) > 0
    assert parts.sum() == (total_ns if has_weight else 0)
    assert (parts >= 0).all()
    if has_weight:
        exact = np.array(weights) / float(np.sum(weights)) * total_ns
        assert (abs(parts - exact) < 1 + 1e-9 * total_ns).all()


# All of an analysis

OPERATIONS = ["LOOKUP", "GETATTR", "READ", "WRITE", "CREATE", "UNLINK", "FORGET", "FLUSH", "NEW"]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "arrival_ns": st.integers(0, 3_000),
            "took_ns": st.integers(0, 500),
            "target_ns": st.sampled_from([0, 100, 130]),
            "operation": st.sampled_from(OPERATIONS),
            "inode": st.integers(1, 4),
            "found": st.integers(0, 4),
            "name": st.sampled_from([None, "a", "b"]),
            "error": st.sampled_from([None, "ENOENT"]),
            "program": st.sampled_from([None, "ruby", "sh"]),
            "directory": st.sampled_from([None, *(f"/d{n}" for n in range(30)), "/", "/d1/x"]),
            "answered_by": st.sampled_from(["host", "names", "held", "guest"]),
        }
    ),
    max_size=60,
)


def what_does_not_add_up(result: Analysis) -> list[str]:
    totals: dict[str, list[int]] = {
        name: [part.time_ns for part in getattr(result, name)]
        for name in ("operations", "directories", "programs", "answered_by")
    }
    totals["causes"] = [*(cause.time_ns for cause in result.causes), result.necessary.time_ns]
    totals["concurrency"] = list(result.concurrency[1:])
    wrong = [name for name, times in totals.items() if sum(times) != result.waiting_ns]
    counts = {
        name: [part.requests for part in getattr(result, name)]
        for name in ("operations", "directories", "programs", "answered_by")
    }
    counts["causes"] = [*(cause.requests for cause in result.causes), result.necessary.requests]
    counts["timeline"] = [sum(bins) for bins in result.timeline["operations"].values()]
    wrong += [name for name, each in counts.items() if sum(each) != result.requests]
    if result.wall_ns != result.waiting_ns + result.rest_ns:
        wrong.append("rest")
    if result.concurrency[0] != result.rest_ns:
        wrong.append("idle")
    return wrong


@pytest.mark.takes_seconds
@given(ROWS, st.none() | st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)))
def test_every_breakdown_adds_up(rows, command):
    start, lasts = command or (None, None)
    header = header_of(
        rows, command_start_ns=start, command_end_ns=None if start is None else start + lasts
    )
    result = analyze(header, table_of(rows), title="any")
    assert what_does_not_add_up(result) == []


def test_a_bug_in_the_division_would_be_noticed(monkeypatch):
    arrivals = {"LOOKUP": 0, "READ": 50, "GETATTR": 50}
    rows = [row(operation, arrival_ns=arrival) for operation, arrival in arrivals.items()]
    header, table = header_of(rows), table_of(rows)
    assert what_does_not_add_up(analyze(header, table, title="right")) == []

    def rounding(weights, total_ns):
        del total_ns
        return np.round(weights).astype(np.int64)

    monkeypatch.setattr(analysis_module, "allot", rounding)
    wrong = what_does_not_add_up(analyze(header, table, title="rounded"))
    assert "operations" in wrong


def label_times(parts: tuple[Part, ...]) -> dict[str, int]:
    return {part.label: part.time_ns for part in parts}


def test_requests_that_overlap_share_the_time():
    rows = [
        row("LOOKUP", arrival_ns=0, took_ns=100, program="ruby", directory="/lib"),
        row("GETATTR", arrival_ns=50, took_ns=100, program="sh", directory="/lib/x"),
        row("READ", arrival_ns=200, took_ns=50, program="sh"),
    ]
    result = analyze(header_of(rows, lasted_ns=300), table_of(rows), title="three")
    assert (result.wall_ns, result.waiting_ns, result.rest_ns) == (300, 200, 100)
    assert label_times(result.operations) == {"LOOKUP": 75, "GETATTR": 75, "READ": 50}
    assert label_times(result.programs) == {"sh": 125, "ruby": 75}
    assert label_times(result.directories) == {"/lib": 75, "/lib/x": 75, "(unknown)": 50}
    assert label_times(result.subtrees) == {"/": 150, "/lib": 150}
    assert result.concurrency == (100, 150, 50)


def test_only_the_measured_command_counts():
    rows = in_turn([row("LOOKUP", took_ns=100) for _ in range(10)])
    header = header_of(rows, command_start_ns=250, command_end_ns=450)
    result = analyze(header, table_of(rows), title="a command")
    assert (result.wall_ns, result.waiting_ns, result.requests) == (200, 200, 3)
    assert any("7 requests before or after" in warning for warning in result.warnings)


def test_what_nobody_waits_for_counts_and_has_no_time():
    rows = in_turn([row("FORGET", answered_by="guest"), row("RELEASE", answered_by="guest")])
    result = analyze(header_of(rows), table_of(rows), title="forgotten")
    assert (result.requests, result.waiting_ns) == (2, 0)


def test_a_wall_time_of_another_clock_counts_and_must_be_possible():
    rows = in_turn([row("LOOKUP")])
    header, table = header_of(rows), table_of(rows)
    assert analyze(header, table, title="t", wall_ns=1_000).rest_ns == 900
    with pytest.raises(TraceError, match="100ns; give that of the whole command"):
        analyze(header, table, title="t", wall_ns=99)


def test_the_hottest_twenty_directories_are_named_and_the_others_summed_up():
    rows = in_turn([row("LOOKUP", directory=f"/{n}") for n in range(25)])
    result = analyze(header_of(rows), table_of(rows), title="many")
    assert len(result.directories) == 21
    assert result.directories[-1] == Part(OTHERS, 5, 500, 0)


def test_no_request_is_an_analysis_too_and_says_so():
    result = analyze(header_of([], lasted_ns=500), table_of([]), title="nothing")
    assert (result.wall_ns, result.rest_ns, result.requests) == (500, 500, 0)
    assert "no request" in result.warnings[0]


def test_what_was_lost_is_warned_about():
    rows = in_turn([row("LOOKUP")])
    result = analyze(header_of(rows, lost=1_234), table_of(rows), title="lossy")
    assert "1,234 requests found no room" in result.warnings[0]


def test_latencies_are_counted_between_edges_per_class():
    rows = in_turn(
        [row("LOOKUP", target_ns=130_000, took_ns=took) for took in (131_000, 140_000, 900_000)],
        apart_ns=10**6,
    )
    rows.append(row("LOOKUP", arrival_ns=10**7, took_ns=5, answered_by="held"))
    latency = analyze(header_of(rows), table_of(rows), title="latencies").latency
    assert set(latency) == {"metadata"}
    metadata = latency["metadata"]
    assert sum(metadata["target"]) == 3  # what was answered inside has no target
    assert sum(metadata["observed"]) == 4
    assert len(metadata["edges_ns"]) == len(metadata["observed"]) + 1
    between = defaultdict(int)
    for low, high, count in zip(
        metadata["edges_ns"], metadata["edges_ns"][1:], metadata["observed"], strict=False
    ):
        between[(low <= 135_000 < high)] += count
    assert between[True] == 2
    assert (metadata["target_p50_ns"], metadata["observed_p50_ns"]) == (130_000, 135_500)


def test_bursts_are_runs_without_a_gap_of_a_millisecond():
    arrivals = [0, 100, 200, 5_000_000, 5_000_100, 9_000_000]
    rows = [row("LOOKUP", arrival_ns=arrival) for arrival in arrivals]
    bursts = analyze(header_of(rows), table_of(rows), title="bursts").bursts
    assert (bursts["runs"], bursts["run_p50"], bursts["run_max"]) == (3, 2, 3)
    assert (bursts["gap_p50_ns"], bursts["gap_max_ns"]) == (100, 4_999_800)


def test_the_timeline_has_about_two_hundred_bins():
    rows = in_turn([row("LOOKUP"), row("READ"), row("READ")], apart_ns=10_000)
    timeline = analyze(header_of(rows), table_of(rows), title="bins").timeline
    assert 150 <= len(timeline["operations"]["READ"]) <= 200
    assert sum(timeline["operations"]["READ"]) == 2
    assert list(timeline["operations"]) == ["READ", "LOOKUP"]


def test_a_document_is_plain_data():
    rows: list[Row] = in_turn([row("LOOKUP", directory="/a"), row("READ", directory="/b")])
    document = analyze(header_of(rows), table_of(rows), title="plain").to_document()
    assert json.loads(json.dumps(document))["waiting_ns"] == 200
