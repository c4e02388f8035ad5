"""The shape of results: every field that anybody reads, checked when a file is loaded.

docs/reference.md says what the fields mean. Optional is what older versions did not save, and
what a share of another kind has not.
"""

from osxfs_sim.lab.shapes import (
    COUNT,
    NUMBER,
    TABLE,
    TEXT,
    TIME,
    TRUTH,
    WHOLE,
    RecordShape,
    Shape,
    list_of,
    maybe,
    table_of,
)

_NOTHING: dict[str, Shape] = {}

LINE = RecordShape(
    {
        "count": COUNT,
        "target_p50_ns": COUNT,
        "observed_p50_ns": COUNT,
        "late": COUNT,
        "within_tolerance": maybe(TRUTH),
    },
    {
        "observed_p90_ns": COUNT,
        "observed_p99_ns": COUNT,
        "target_total_ns": COUNT,
        "observed_total_ns": COUNT,
        "target_histogram": TEXT,
        "observed_histogram": TEXT,
    },
)
_HELD_COUNTS = (
    *("made", "merged", "cancelled", "crossed", "bytes_written_back", "longest_lag_ns"),
    *("most_changes_at_risk", "most_bytes_at_risk", "lost_host_changes", "throttled"),
    *("throttled_ns", "pending_changes", "pending_bytes", "oldest_ns", "kept_host_changes"),
)
HELD = RecordShape(_NOTHING, {**dict.fromkeys(_HELD_COUNTS, COUNT), "kernel": TRUTH})
_NAME_SETS = RecordShape(_NOTHING, dict.fromkeys(("directories", "names", "answers"), COUNT))
_EVENTS = RecordShape(
    _NOTHING,
    {
        **dict.fromkeys(("latency_ns", "seen", "delivered", "dropped", "rescans"), COUNT),
        "watcher": TEXT,
        "raised": table_of(COUNT),
        "invalidated": table_of(COUNT),
        "complete_directories": _NAME_SETS,
    },
)
STATUS = RecordShape(
    _NOTHING,
    {
        "receipt": table_of(LINE),
        "requests": table_of(COUNT),
        "missing_lookups": COUNT,
        "server_processor_s": TIME,
        "write_back": maybe(HELD),
        "events": maybe(_EVENTS),
        "warnings": list_of(TEXT),
        "changed": list_of(TEXT),
        "profile": TEXT,
        "title": TEXT,
        "policy": TEXT,
        "seed": WHOLE,
        "dilate": NUMBER,
        "latency": RecordShape(
            _NOTHING,
            {
                "base_ns": table_of(COUNT),
                "bandwidth_bytes_per_s": maybe(NUMBER),
                "distribution": TEXT,
                "served_at_once": maybe(COUNT),
            },
        ),
        "ownership": TABLE,
        "names": TABLE,
        "calibration": maybe(RecordShape(_NOTHING, {"floor_ns": COUNT, "calibrated": TRUTH})),
        "own_policy": maybe(
            RecordShape(
                {"errors": COUNT}, {"name": TEXT, "digest": TEXT, "first_error": maybe(TEXT)}
            )
        ),
    },
)
_STALE = RecordShape(
    {"judged": COUNT, "stale": COUNT, "ages_ns": list_of(COUNT)}, {"unexplained": COUNT}
)
RISK = RecordShape(
    {
        "edits": RecordShape({"made": COUNT}, {"stream": TEXT, "seed": COUNT, "skipped": COUNT}),
        "answers": RecordShape({"recorded": COUNT, "judged": COUNT, "unknown": COUNT}, _NOTHING),
        "stale": table_of(_STALE),
    },
    {
        "result": TEXT,
        "compared": list_of(TEXT),
        "native": RecordShape(_NOTHING, dict.fromkeys(("judged", "stale", "unexplained"), COUNT)),
    },
)
_ALSO_OF_A_RUN: dict[str, Shape] = {
    "failure": TEXT,
    "share": maybe(STATUS),
    "trace": maybe(TEXT),
    "digest": maybe(TEXT),
    "risk": maybe(RISK),
    "others_processor_s": maybe(TIME),
}
_DRAIN: dict[str, Shape] = {"drain_s": maybe(TIME), "last_line": TEXT}
_DRAIN_UNTIL_2: dict[str, Shape] = {"caught_up_s": maybe(TIME), "told": TEXT}
_TIMED: dict[str, Shape] = {"kind": TEXT, "wall_s": TIME, "workload_processor_s": TIME}
_PLACED: dict[str, Shape] = {"arm": TEXT, "round": COUNT, **_TIMED}
_BEGAN: dict[str, Shape] = {"began_s": TIME, "load_average": TIME}
SAMPLE = RecordShape(_PLACED, {**_ALSO_OF_A_RUN, **_DRAIN, **_BEGAN})
_SAMPLE_2 = RecordShape(_PLACED, {**_ALSO_OF_A_RUN, **_DRAIN_UNTIL_2, **_BEGAN})
_RUN_1 = RecordShape(_TIMED, {**_ALSO_OF_A_RUN, **_DRAIN_UNTIL_2})
MACHINE = RecordShape(
    _NOTHING,
    {
        "processor": TEXT,
        "cores": maybe(COUNT),
        "memory_bytes": COUNT,
        "kernel": TEXT,
        "virtual": TRUTH,
        "python": TEXT,
        "packages": table_of(maybe(TEXT)),
        "load_average": TIME,
        "code": TEXT,
        "commit": maybe(TEXT),
    },
)
_SOURCES: dict[str, Shape] = {
    "recipe": TEXT,
    "systems": table_of(TEXT),
    "policies": table_of(TEXT),
}
_ASKED: dict[str, Shape] = {
    "runs": COUNT,
    "until": maybe(NUMBER),
    "most_runs": COUNT,
    "case": maybe(TEXT),
    "arms": maybe(list_of(TEXT)),
    "aa": maybe(TEXT),
    "baseline": maybe(TEXT),
    "caches": TEXT,
    "again": maybe(TRUTH),
    "quick": maybe(TRUTH),
    "variant": maybe(TEXT),
    "toggles": maybe(list_of(TEXT)),
    "directory": maybe(TEXT),
    "seed": WHOLE,
    "dilate": NUMBER,
    "trace": maybe(TEXT),
    "edits": maybe(TEXT),
    "sweep": maybe(TEXT),
    "groups": table_of(TEXT),
}
SOURCES = RecordShape(_NOTHING, {**_SOURCES, "edits": TEXT})
PLAN = RecordShape(_NOTHING, _ASKED)
_PLAN_2 = RecordShape(_NOTHING, {**_ASKED, **_SOURCES, "edits_digest": TEXT})


def _options(value: object) -> str:
    """Of an arm: a table, or of older results a list of names."""
    return "" if isinstance(value, dict) else list_of(TEXT)(value)


_OF_BOTH: dict[str, Shape] = {
    "case": TEXT,
    "variant": TEXT,
    "quick": TRUTH,
    "options": list_of(TEXT),
    "seed": WHOLE,
    "dilate": NUMBER,
    "started": TEXT,
    "machine": MACHINE,
}
_COMPARED: dict[str, Shape] = {
    **_OF_BOTH,
    "title": TEXT,
    "arms": list_of(TEXT),
    "baseline": TEXT,
    "caches": TEXT,
}
_ALSO_COMPARED: dict[str, Shape] = {
    "specs": table_of(RecordShape(_NOTHING, {"profile": TEXT, "options": _options})),
    "mounted": table_of(STATUS),
    "claims": list_of(RecordShape({"text": TEXT, "source": TEXT}, _NOTHING)),
}
COMPARISON = RecordShape(
    {**_COMPARED, "samples": list_of(SAMPLE)},
    {**_ALSO_COMPARED, "made_by": TEXT, "plan": PLAN, "sources": SOURCES},
)
"""Of schema 3."""
COMPARISON_2 = RecordShape(
    {**_COMPARED, "samples": list_of(_SAMPLE_2)}, {**_ALSO_COMPARED, "plan": _PLAN_2}
)
"""Of schema 2: a comparison, until 2026-12."""
STALENESS = RecordShape(
    {
        "profile": TEXT,
        "changed": TABLE,
        "machine": MACHINE,
        "number": COUNT,
        "views": list_of(
            RecordShape(
                {
                    "view": TEXT,
                    "direction": TEXT,
                    "prediction": maybe(TABLE),
                    "if_silent": maybe(TABLE),
                    "phase_ns": COUNT,
                    "patience_ns": COUNT,
                    "samples": list_of(
                        RecordShape(
                            {"phase_ns": COUNT, "stale_reads": COUNT, "lower_ns": COUNT},
                            {"seen_ns": maybe(COUNT), "upper_ns": maybe(COUNT)},
                        )
                    ),
                },
                _NOTHING,
            )
        ),
        "load": maybe(
            RecordShape(
                {"processes": COUNT, "reads": COUNT, "processor_s": TIME, "elapsed_s": TIME},
                _NOTHING,
            )
        ),
        "lost": maybe(
            RecordShape(
                {"rate": NUMBER, "seen": COUNT, "dropped": COUNT, "rescans": COUNT}, _NOTHING
            )
        ),
    },
    _NOTHING,
)
RUNS_1 = RecordShape(
    {
        **_OF_BOTH,
        "arms": list_of(
            RecordShape({"arm": TEXT, "mounted": maybe(STATUS), "runs": list_of(_RUN_1)}, _NOTHING)
        ),
    },
    _NOTHING,
)
"""Of schema 1: what `run --json` saved, until 2026-12."""
