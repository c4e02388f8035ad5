"""Reproducible workloads under different configurations.

From Python, without the command line (docs/statistics.md has an example that runs):

- run_comparison: runs a case under several arms; returns a Comparison
- Arm: a case under one configuration, under a name
- Comparison, Sample: what came out: raw samples, the machine, what it rests upon
- summarize: medians, intervals, ratios and warnings, arm by arm
- load_result, save_result: a comparison as a file, of this version or an older one

A map:

arms              what a comparison compares
caches            what the host's caches hold when a run begins
cases             a workload as a folder: what it needs, how it is set up and run
comparing         comparisons from beginning to end; run_comparison
executor          takes the samples: the only place that runs what is measured
provenance        what a comparison rests upon, and that no arm has changed since it began
schedule          in which order arms are run, and when it is enough
workload          a case in one form, and its commands run once
trees             the trees that cases work in
shares            what the lab asks of a share; how arms are mounted is handed in
verification      whether a run has left the tree that a native run leaves
frontier          time against stale answers: who is beaten, who is best
sweep             the arms of a frontier, as a file
false_alarms      how often an arm would differ from itself
machine           what a result was obtained on
resume            whether a comparison may go on
results           the format of a comparison's document
older_results     documents of older versions, converted
risk              runs under edits of the host, and what their answers were worth
stale_answers     the answers of several such runs, added up
statistics        how sure one can be of a time, and of a difference
summary           what a comparison says, arm by arm
dilation          time dilation as a measuring instrument: wall time = processor time + K x
                  waiting time
judgement         whether a run's time is that of its share: what a receipt can, and cannot,
                  say of it
new_case          the text of a new case, made from a command: files as strings, nothing written
originals         whether a folder is as it was when a case's tree was copied from it
reproduction      a published table, measured again: which arms that takes, and what they say
                  about it
result_shapes     the shape of results: every field that anybody reads, checked when a file is
                  loaded
shapes            what a saved document must look like, checked before anybody works with it
studies           the studies that come along
study             a study: a published table to be measured again, as a file
sweeps            the sweeps that come along
tree_digest       what a tree holds, line by line, to be compared with another's
work_directories  the directories that a lab works in: its own as long as it lives, and
                  cleaned up after it
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osxfs_sim.lab.arms import Arm
    from osxfs_sim.lab.comparing import run_comparison
    from osxfs_sim.lab.results import Comparison, Sample, load_result, save_result
    from osxfs_sim.lab.summary import summarize

__all__ = [
    "Arm",
    "Comparison",
    "Sample",
    "load_result",
    "run_comparison",
    "save_result",
    "summarize",
]

_PLACES = {
    "Arm": "arms",
    "run_comparison": "comparing",
    **dict.fromkeys(("Comparison", "Sample", "load_result", "save_result"), "results"),
    "summarize": "summary",
}


def __getattr__(name: str) -> Any:
    # A command that only needs one of these modules does not wait for numpy and scipy.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
