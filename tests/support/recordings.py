"""Small recordings made by hand: a line per question, everything else by default."""

from collections.abc import Sequence
from typing import Any

from osxfs_sim.model.caching import CachePolicy, Consistent, Negative
from osxfs_sim.model.latency import NO_LATENCY, LatencySpec
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.recording import UNKNOWN, Question, Recording, Status
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.share import System
from osxfs_sim.trace.schema import Header

TICK_NS = 4_000_000
"""Of a kernel with CONFIG_HZ=250."""
LONG_NS = 3_600 * 10**9
A_FILE = Status(0o100644, 5, 1_700_000_000 * 10**9, 1)
A_DIRECTORY = Status(0o040755, 40, 1_700_000_000 * 10**9, 2)
FREE = NO_LATENCY
CACHED = Negative(LONG_NS, negative_ns=LONG_NS)

_NOTHING = Question(
    Operation.STATFS, 1, 1, b"", 0, "", 0, 0, UNKNOWN, 0, -1, b"", "", arrival_ns=-1, took_ns=100
)


def latency(base_ns: int) -> LatencySpec:
    """Every request takes *base_ns*."""
    return LatencySpec((base_ns,) * len(OperationClass))


def asked(operation: str, inode: int = 1, name: bytes = b"", **others: Any) -> Question:
    """A question of thread 1 that took 100 ns; *others* are fields of Question."""
    return _NOTHING._replace(operation=Operation[operation], inode=inode, name=name, **others)


def found(name: bytes, inode: int, parent: int = 1, **others: Any) -> Question:
    """A LOOKUP that succeeded, of a file."""
    return asked("LOOKUP", parent, name, **{"found": inode, "status": A_FILE} | others)


def missed(name: bytes, parent: int = 1, **others: Any) -> Question:
    """A LOOKUP that did not."""
    return asked("LOOKUP", parent, name, error="ENOENT", **others)


def attributes(inode: int, **others: Any) -> Question:
    """A GETATTR of a file."""
    return asked("GETATTR", inode, **{"status": A_FILE} | others)


def recording(
    *questions: Question, thinks_ns: int = 10, header: dict[str, Any] | None = None
) -> Recording:
    """*questions* in turn: one without a time of its own comes *thinks_ns* after the last answer.

    The command starts at 0 and ends with the last answer, unless *header* says otherwise.
    """
    placed: list[Question] = []
    end_ns = 0
    for each in questions:
        if each.arrival_ns < 0:
            each = each._replace(arrival_ns=end_ns + thinks_ns)
        placed.append(each)
        end_ns = max(end_ns, each.end_ns)
    fields = {"command_start_ns": 0, "command_end_ns": end_ns} | (header or {})
    placed.sort(key=lambda each: each.arrival_ns)
    return Recording(Header(0, end_ns, **fields), placed)


def system(policy: CachePolicy | None = None, **others: Any) -> System:
    """A system of this policy, which caches nothing by default, and takes no time."""
    return System("arm", policy or Consistent(), others.pop("latency", FREE), **others)


def simulate(
    recorded: Recording,
    on: System,
    *,
    by: Dependencies = Dependencies.THREADS,
    log: list[tuple[int, Operation, bool]] | None = None,
) -> Simulated:
    """One run of *recorded* on a system; *log* is told what crossed, or was held, for whom."""
    reference = Reference(recorded, order(recorded, by), on, tick_ns=TICK_NS, seed=1)
    reference.log = log
    return reference.run()


def crossed(questions: Sequence[Question], on: System) -> list[str]:
    """What crosses of *questions*, in turn, by name; what is held is none of it."""
    log: list[tuple[int, Operation, bool]] = []
    simulate(recording(*questions), on, log=log)
    return [operation.name for _, operation, is_held in log if not is_held]
