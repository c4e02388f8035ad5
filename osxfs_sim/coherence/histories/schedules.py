"""A schedule is a history without its times: steps of actors, one after the other.

It can be played again, and written as a script (coherence/actors/scripts.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.scripts import script
from osxfs_sim.coherence.actors.staging import ScheduleStep
from osxfs_sim.coherence.histories.history import HOST, SHARE, History
from osxfs_sim.coherence.histories.linearize import CheckResult
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.record import process_umask
from osxfs_sim.coherence.histories.timeline import in_words
from osxfs_sim.coherence.histories.verdicts import Rules, check
from osxfs_sim.model.consistency import Mode

_JUDGE = '''
def breach(told: list[OperationInterval]) -> str | None:
    """Judged as {mode}; a guest's read may be {stale_ns} ns old, the host's {lag_ns} ns."""
    from osxfs_sim.coherence.histories.schedules import judged

    return judged(told, {mode!r}, stale_ns={stale_ns}, lag_ns={lag_ns})
'''


def schedule_of(history: History) -> list[ScheduleStep]:
    """The steps to play *history* again: its files created, then each operation by its call.

    The files that were there before are created by the host first.
    """
    made = [
        (HOST, ActorOperation("create", path, data=content))
        for path, content in sorted(history.initial.items())
    ]
    return made + [(each.actor, replace(each.operation, pause_ns=0)) for each in history.operations]


def script_of(history: History, rules: Rules, settings: Mapping[str, Any], title: str) -> str:
    """The source of a Python script that plays *history* on a share and judges it by *rules*.

    On a share with *settings* (keywords of osxfs_sim.share). *title* opens its docstring.
    """
    steps = [
        (actor, ActorOperation("flush") if actor == SHARE else operation)
        for actor, operation in schedule_of(history)
    ]
    judge = _JUDGE.format(
        mode=rules.mode.label, stale_ns=rules.bounds.stale_ns, lag_ns=rules.bounds.lag_ns
    )
    return script(settings, steps, judge, title)


def judged(
    told: Sequence[OperationInterval], mode: str, *, stale_ns: int = 0, lag_ns: int = 0
) -> str | None:
    """What violates *mode* in *told*, in words; None if nothing. Raises KeyError, ValueError.

    Raises KeyError for an unknown mode, ValueError for a history that is not well-formed.
    """
    operations = [
        replace(each, operation=ActorOperation("sync")) if each.actor == SHARE else each
        for each in told
    ]
    history = History.of(operations, umask=process_umask())
    verdict = check(history, Rules(Mode[mode.upper()], Bounds(stale_ns, lag_ns)))
    if verdict.answer is not CheckResult.VIOLATION:
        return None
    return "\n".join(in_words(partition) for partition in verdict.violations)
