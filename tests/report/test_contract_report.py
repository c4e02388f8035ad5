"""The table of the contract's verdicts: what was found, once, and where its script is."""

from pathlib import Path

import pytest

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.contract.rules import RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Expected
from osxfs_sim.coherence.contract.verdicts import Breach, Finding, RuleVerdict, by_reference
from osxfs_sim.report.contract import contract_report, rules_report

SCHEDULE = ContractSchedule(
    "create: guest, then host",
    (("guest", ActorOperation("create", "a", data="[red]")), ("host", ActorOperation("stat", "a"))),
    (Expected(1, ("type", "file")),),
)
BREACH = Breach(SCHEDULE, "host: stat a -> ENOENT (expected: type 'file')", 3, 4)


def test_a_breach_is_shown_once_with_its_steps_and_its_script(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = RuleVerdict(RuleId.CAC_3, Finding.BROKEN, BREACH.seen, BREACH, schedules=1)
    again = RuleVerdict(RuleId.CON_2, Finding.BROKEN, BREACH.seen, BREACH, schedules=1)
    referring = by_reference(RuleId.CON_1, None, [broken])
    assert referring.by is RuleId.CAC_3
    scripts = {"CAC-3.py": Path("breaches/CAC-3.py")}
    contract_report([broken, referring, again], "a title", "a machine", scripts)
    said = capsys.readouterr().out
    assert said.count("0  guest     create a data='[red]'") == 1
    assert said.count(BREACH.seen) == 1
    assert "(3 of 4 times)" in said
    assert "python breaches/CAC-3.py" in said
    assert "as CAC-1 to CAC-4: see CAC-3" in said
    assert "CON-2 broken: the schedule of CAC-3, above" in said


def test_what_was_not_shown_is_told_and_not_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    unplayed = tuple(f"kind {number}: no event came" for number in range(9))
    kept = RuleVerdict(RuleId.DEL_1, Finding.KEPT, schedules=2, unplayed=unplayed)
    contract_report([kept], "a title", "a machine", {})
    said = capsys.readouterr().out
    assert "DEL-1, not shown: kind 3: no event came" in said
    assert "kind 4" not in said
    assert "5 more (--json has them)" in said


def test_an_undecided_rule_says_what_was_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    undecided = RuleVerdict(
        RuleId.DEL_1, Finding.UNDECIDED, "could not be shown: no event came of a"
    )
    contract_report([undecided], "a title", "a machine", {})
    said = " ".join(capsys.readouterr().out.split())
    assert "undecided" in said
    assert "no event came of a" in said


def test_a_list_says_why_a_rule_does_not_apply(capsys: pytest.CaptureFixture[str]) -> None:
    rules_report({RuleId.CON_2: ("judged as cached", ()), RuleId.CAC_3: ("", (SCHEDULE,))})
    said = capsys.readouterr().out
    assert "does not apply: judged as cached" in said
    assert "create: guest, then host (2 steps)" in said


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([Finding.KEPT, Finding.NOT_APPLICABLE], Finding.KEPT),
        ([Finding.KEPT, Finding.INCONCLUSIVE], Finding.INCONCLUSIVE),
        ([Finding.INCONCLUSIVE, Finding.BROKEN], Finding.BROKEN),
        ([Finding.KEPT, Finding.UNDECIDED], Finding.UNDECIDED),
        ([Finding.NOT_APPLICABLE, Finding.UNDECIDED], Finding.UNDECIDED),
        ([Finding.NOT_APPLICABLE, Finding.NOT_APPLICABLE], Finding.NOT_APPLICABLE),
    ],
)
def test_a_rule_that_refers_is_as_bad_as_the_worst_of_those(
    findings: list[Finding], expected: Finding
) -> None:
    others = [
        RuleVerdict(rule, finding)
        for rule, finding in zip((RuleId.CAC_1, RuleId.CAC_3), findings, strict=True)
    ]
    assert by_reference(RuleId.CON_1, None, others).finding is expected
