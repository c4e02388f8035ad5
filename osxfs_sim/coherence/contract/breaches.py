"""A verdict's schedule as a script that can be run again: see coherence/actors/scripts.py."""

from collections.abc import Mapping
from typing import Any

from osxfs_sim.coherence.actors.scripts import Exports, script
from osxfs_sim.coherence.contract.playing import ATTEMPTS
from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Use
from osxfs_sim.coherence.contract.verdicts import Breach, RuleVerdict

_JUDGE = '''
# What is shown: one of these steps (counted from 0) returns that. Before it, what must be given.
EXPECTED = {expected}
GIVEN = {given}


def breach(told: list[OperationInterval]) -> str | None:
    """What is wrong: none of EXPECTED was returned, although what must be given was."""
    outcomes = [each.outcome for each in told]
    if not all(given.is_met(outcomes) for given in GIVEN):
        print("nothing is shown: what must be given was not")
        return None
    if any(expected.is_met(outcomes) for expected in EXPECTED):
        return None
    return "; ".join(f"{{told[each.step]}} (expected: {{each}})" for each in EXPECTED)
'''


def script_name(verdict: RuleVerdict, breach: Breach) -> str:
    """The file name of the script that shows *breach*, by the rule broken, such as DEL-1.py."""
    rule = verdict.by or verdict.rule
    return f"{rule}.py" if breach is verdict.breach else f"{rule}-known.py"


def breach_script(
    rule: RuleId, schedule: ContractSchedule, settings: Mapping[str, Any], exports: Exports | None
) -> str:
    """The source of a script that plays *schedule*, and exits with 1 where *rule* is broken.

    Of an allowed relaxation: where it is not used. *settings* (keywords of osxfs_sim.share) and
    *exports* are those that it was found with.
    """
    what = (
        "A relaxation that is never used is inconclusive"
        if schedule.use is Use.MAY
        else "The contract"
    )
    title = f"{rule}, {schedule.name}.\n\n{what}: {RULES[rule].text}."
    judge = _JUDGE.format(expected=list(schedule.expected), given=list(schedule.given))
    return script(
        *(settings, schedule.steps, judge, title),
        exports=exports,
        imports=_IMPORTS,
        tries=ATTEMPTS,
        every=schedule.use is Use.MAY,
    )


_IMPORTS = ("from osxfs_sim.coherence.contract.schedules import Expected",)
