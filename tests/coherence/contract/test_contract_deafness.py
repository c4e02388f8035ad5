"""The contract's rules against shares that do not hear all, whenever the events of others come.

Each fault is tried with every delay that tells one schedule's steps apart: what a rule finds must
not depend on when the event of a file's making comes (tests/support/deaf_share.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.deaf_share import EVERY_KIND, HEARING, Change, DeafShare, Fault
from support.pretended_share import PretendedShare, Seeded

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import SHARE
from osxfs_sim.coherence.contract.checks import Nature, schedules
from osxfs_sim.coherence.contract.playing import judge
from osxfs_sim.coherence.contract.rules import RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Use
from osxfs_sim.coherence.contract.verdicts import Finding
from osxfs_sim.model.consistency import Mode

CONSISTENT, CACHED, DELEGATED = (
    Nature(mode) for mode in (Mode.CONSISTENT, Mode.CACHED, Mode.DELEGATED)
)
DELAYS = range(8)
TOLD_OF_CHANGES = (RuleId.DEL_1, RuleId.CAC_2, RuleId.DEL_6, RuleId.CAC_5)

FAULTS = {
    **{f"deaf to what is {kind.value}": Fault(frozenset({kind})) for kind in Change},
    "deaf to all": Fault(EVERY_KIND),
    **{f"deaf to all but what is {kind.value}": Fault(EVERY_KIND - {kind}) for kind in Change},
    "deaf to one directory": Fault(EVERY_KIND, "d/"),
    "deaf to the content in one directory": Fault(frozenset({Change.CONTENT}), "d/"),
}


def found(site: object, nature: Nature, *rules: RuleId) -> dict[RuleId, Finding]:
    return {verdict.rule: verdict.finding for verdict in judge(site, nature, rules)}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("delay", DELAYS)
def test_a_share_that_hears_keeps_its_rules_whenever_it_hears(field: Path, delay: int) -> None:
    rules = (*TOLD_OF_CHANGES, RuleId.DEL_3, RuleId.DEL_8, RuleId.CAC_4)
    kept = found(DeafShare(field, HEARING, delay), CACHED, *rules)
    inconclusive = {RuleId.DEL_6, RuleId.CAC_5} if not delay else set()
    # Whose events come at once is never seen to lag.
    for rule, finding in kept.items():
        assert finding is (Finding.INCONCLUSIVE if rule in inconclusive else Finding.KEPT), rule


@pytest.mark.takes_seconds
@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_the_caches_never_hear_of_breaks_the_promise_to_tell(
    field: Path, fault: Fault, delay: int
) -> None:
    """Of changes of which no process is told either there is no event to be early."""
    kept = found(DeafShare(field, fault, delay), CACHED, RuleId.DEL_6, RuleId.CAC_5)
    assert kept == {RuleId.DEL_6: Finding.BROKEN, RuleId.CAC_5: Finding.BROKEN}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_processes_that_hear_of_what_the_caches_do_not_see_what_was(
    field: Path, fault: Fault, delay: int
) -> None:
    told = replace(fault, silent=False)
    kept = found(DeafShare(field, told, delay), CACHED, RuleId.DEL_1, RuleId.CAC_2)
    assert kept == {RuleId.DEL_1: Finding.BROKEN, RuleId.CAC_2: Finding.BROKEN}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("delay", DELAYS[1:])
@pytest.mark.parametrize("fault", [HEARING, *FAULTS.values()], ids=["hearing", *FAULTS])
def test_a_share_that_caches_until_an_event_comes_is_not_consistent(
    field: Path, fault: Fault, delay: int
) -> None:
    kept = found(DeafShare(field, fault, delay), CONSISTENT, RuleId.CON_2)
    assert kept == {RuleId.CON_2: Finding.BROKEN}


@pytest.mark.parametrize("delay", DELAYS[1:])
def test_other_rules_of_beliefs_do_not_depend_on_when_events_come(field: Path, delay: int) -> None:
    special = DeafShare(field, HEARING, delay, caches_special=True)
    assert found(special, CACHED, RuleId.DEL_8) == {RuleId.DEL_8: Finding.BROKEN}
    apart = DeafShare(field, HEARING, delay, each_process=True)
    assert found(apart, CACHED, RuleId.DEL_3) == {RuleId.DEL_3: Finding.BROKEN}
    weak = DeafShare(field, HEARING, delay, overlaps_too=True)
    assert found(weak, CACHED, RuleId.CAC_4) == {RuleId.CAC_4: Finding.BROKEN}
    assert found(weak, DELEGATED, RuleId.DEL_5)[RuleId.DEL_5] is Finding.BROKEN


class WithoutWaiting(DeafShare):
    """As the schedules were: what was made is not waited for before it is looked at."""

    def play(self, schedule: ContractSchedule) -> Sequence[OperationInterval]:
        settles = [at for at, step in enumerate(schedule.steps) if step == SETTLE]
        first = settles[0] if len(settles) > 1 else None
        steps = tuple(
            (SHARE, ActorOperation("accept")) if at == first else step
            for at, step in enumerate(schedule.steps)
        )
        told = super().play(replace(schedule, steps=steps))
        return [
            replace(each, operation=operation)
            for each, (_, operation) in zip(told, schedule.steps, strict=True)
        ]


SETTLE = SHARE, ActorOperation("settle")


def test_without_the_wait_some_delay_would_hide_the_fault(field: Path) -> None:
    """What the wait is for: the event of the making ends the belief in what is removed."""
    fault = FAULTS["deaf to what is removed"]
    findings = {
        found(WithoutWaiting(field, fault, delay), CACHED, RuleId.DEL_6)[RuleId.DEL_6]
        for delay in DELAYS
    }
    assert findings == {Finding.BROKEN, Finding.KEPT}


@pytest.mark.parametrize("rule", RuleId)
def test_what_a_guest_caches_is_read_only_after_the_events_of_its_making(
    rule: RuleId,
) -> None:
    """All rules: between the making and the guest's first look everything has been told."""
    for nature in (CONSISTENT, CACHED, DELEGATED):
        for schedule in schedules(rule, nature):
            first_look = next((given.step for given in schedule.given), None)
            actors = [actor for actor, _ in schedule.steps]
            if first_look is None or not actors[first_look].startswith("guest"):
                continue
            if schedule.exports and schedule.use is Use.MAY:
                continue  # an export that is told of nothing
            # A first look may be for the sake of a second one, which is after the wait.
            read_before = [given.step for given in schedule.given]
            change = max(read_before)
            made = [at for at in range(change) if actors[at] in ("host", "guest")]
            if any(schedule.steps[at][1].act in CHANGES for at in made):
                assert SETTLE in schedule.steps[:change], schedule


CHANGES = frozenset({"create", "mkdir", "symlink", "mkfifo", "mksock", "mkdev", "chmod", "utimes"})


# One kind alone, from the guest to the host

ACTS = ("create", "mkdir", "symlink", "overwrite", "append", "truncate", "chmod", "utimes")
ACTS += ("unlink", "rmdir", "rename", "link")


@pytest.mark.takes_seconds
@pytest.mark.parametrize("act", ACTS)
def test_one_kind_of_change_alone_that_does_not_reach_the_host_is_found(
    field: Path, act: str
) -> None:
    held = PretendedShare(field, holds=True, only=act)
    assert found(held, CACHED, RuleId.CAC_3)[RuleId.CAC_3] is Finding.BROKEN
    unsynced = PretendedShare(
        field, lags=True, holds=True, only=act, seeded=Seeded.SYNC_DOES_NOTHING
    )
    assert found(unsynced, DELEGATED, RuleId.DEL_2)[RuleId.DEL_2] is Finding.BROKEN
    dropped = PretendedShare(field, lags=True, holds=True, only=act, seeded=Seeded.UNMOUNT_DROPS)
    assert found(dropped, DELEGATED, RuleId.DEL_4)[RuleId.DEL_4] is Finding.BROKEN


@pytest.mark.parametrize(
    ("rule", "nature", "weakness"),
    [
        (RuleId.DEL_2, DELEGATED, {"lags": True, "holds": True}),
        (RuleId.DEL_4, DELEGATED, {"lags": True, "holds": True}),
        (RuleId.DEL_6, CACHED, {"lags": True}),
        (RuleId.DEL_1, CACHED, {"lags": True}),
        (RuleId.CAC_2, CACHED, {"lags": True}),
        (RuleId.CAC_3, CACHED, {"lags": True}),
        (RuleId.CON_2, CONSISTENT, {}),
    ],
)
def test_what_holds_of_the_first_pages_alone_is_found(
    field: Path, rule: RuleId, nature: Nature, weakness: dict[str, bool]
) -> None:
    share = PretendedShare(field, **weakness, seeded=Seeded.ONLY_THE_FIRST_PAGES)
    assert found(share, nature, rule)[rule] is Finding.BROKEN
