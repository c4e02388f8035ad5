"""All of a run's answers, judged and counted: what the workload risked.

The document of a run (``Run.risk``, ``Sample.risk``; plain JSON):

    {"edits": {"stream": NAME, "seed": N, "made": N, "skipped": N},
     "answers": {"recorded": N, "judged": N, "unknown": N},
     "stale": {KIND: {"judged": N, "stale": N, "ages_ns": [N, ...]}},
     "result": "same" | "changed" | "failed",
     "compared": ["exit", "output", ...]}

*stale* has every KIND of KINDS, also where nothing was judged. An age is the time from the
completion of the host's edit that made the answer untrue to the answer's return. One
stat() tells of existence and of attributes, so the kinds may count more than *judged*.
*result* compares the run with a native one under the same edits, in what *compared* names.
"""

KINDS = ("existence", "absence", "attributes", "content", "listing")
"""What an answer may be stale about."""

SAME, CHANGED, FAILED = "same", "changed", "failed"
