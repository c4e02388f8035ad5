"""The contract's checks: kept by shares that obey it, and each is shown what it must reject."""

import ast
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.pretended_share import PretendedShare, Seeded

from osxfs_sim.coherence.actors.operations import ACTS, ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import LISTENER, LISTENER_ACTS, SHARE, SHARE_ACTS, SILENCE
from osxfs_sim.coherence.contract import playing
from osxfs_sim.coherence.contract.breaches import breach_script
from osxfs_sim.coherence.contract.checks import Nature, schedules, why_not
from osxfs_sim.coherence.contract.kinds import KINDS, within
from osxfs_sim.coherence.contract.playing import ATTEMPTS, REPEATS, judge
from osxfs_sim.coherence.contract.rules import RULES, RuleId, with_references
from osxfs_sim.coherence.contract.schedules import (
    ContractSchedule,
    Expected,
    PlayResult,
    Use,
    judged,
    shows,
)
from osxfs_sim.coherence.contract.verdicts import Finding, RuleVerdict
from osxfs_sim.model.consistency import Mode

CONSISTENT, CACHED, DELEGATED = (
    Nature(mode) for mode in (Mode.CONSISTENT, Mode.CACHED, Mode.DELEGATED)
)
DEFAULT = Nature(Mode.CONSISTENT, is_default=True)
WEAKNESS = {
    CONSISTENT: {},
    DEFAULT: {"is_default": True},
    CACHED: {"lags": True},
    DELEGATED: {"lags": True, "holds": True},
}
NATURES = {
    "consistent": CONSISTENT,
    "default": DEFAULT,
    "cached": CACHED,
    "delegated": DELEGATED,
}

# For every rule, shares that break it: by whose rules they are judged, what they do wrong, and
# how that is found.
BROKEN, INCONCLUSIVE = Finding.BROKEN, Finding.INCONCLUSIVE
SEEDS = {
    RuleId.DEL_1: [(DELEGATED, {"seeded": Seeded.EVENTS_COME_EARLY}, BROKEN)],
    RuleId.DEL_2: [
        (DELEGATED, {"seeded": Seeded.SYNC_DOES_NOTHING}, BROKEN),
        (DELEGATED, {"holds": False}, INCONCLUSIVE),
    ],
    RuleId.DEL_3: [(DELEGATED, {"seeded": Seeded.EACH_PROCESS_HAS_A_CACHE}, BROKEN)],
    RuleId.DEL_4: [
        (DELEGATED, {"seeded": Seeded.UNMOUNT_DROPS}, BROKEN),
        (DELEGATED, {"seeded": Seeded.REFUSAL_IS_SILENT}, BROKEN),
    ],
    RuleId.DEL_5: [
        (nature, {"seeded": Seeded.OVERLAPS_DO_NOT_MATTER}, BROKEN)
        for nature in (DELEGATED, CACHED, CONSISTENT)
    ],
    RuleId.DEL_6: [
        (DELEGATED, {"seeded": Seeded.NOTHING_EXPIRES}, BROKEN),
        (DELEGATED, {"lags": False}, INCONCLUSIVE),
    ],
    RuleId.DEL_7: [(DELEGATED, {"seeded": Seeded.NOTHING_IS_LOST}, INCONCLUSIVE)],
    RuleId.DEL_8: [
        (DELEGATED, {"seeded": Seeded.SPECIAL_FILES_TOO}, BROKEN),
        (CACHED, {"seeded": Seeded.SPECIAL_FILES_TOO}, BROKEN),
    ],
    RuleId.CAC_1: [(CACHED, {"seeded": Seeded.EACH_PROCESS_HAS_A_CACHE}, BROKEN)],
    RuleId.CAC_2: [(CONSISTENT, {"seeded": Seeded.OWN_CHANGES_MASK_EVENTS}, BROKEN)],
    RuleId.CAC_3: [
        (CACHED, {"holds": True}, BROKEN),
        (CACHED, {"seeded": Seeded.ONLY_THE_FIRST_PAGES}, BROKEN),
    ],
    RuleId.CAC_4: [
        (nature, {"seeded": Seeded.OVERLAPS_DO_NOT_MATTER}, BROKEN)
        for nature in (CACHED, CONSISTENT)
    ],
    RuleId.CAC_5: [
        (CACHED, {"lags": False}, INCONCLUSIVE),
        (CACHED, {"seeded": Seeded.NOTHING_EXPIRES}, BROKEN),
    ],
    RuleId.CON_1: [(CONSISTENT, {"holds": True}, BROKEN)],
    RuleId.CON_2: [
        (CONSISTENT, {"lags": True}, BROKEN),
        (CONSISTENT, {"holds": True}, BROKEN),
    ],
    RuleId.DEF_1: [
        (DEFAULT, {"seeded": Seeded.DEFAULT_STRENGTHENS}, INCONCLUSIVE),
        (DEFAULT, {"lags": True}, BROKEN),
    ],
}


def verdicts(
    root: Path, nature: Nature, *rules: RuleId, **otherwise: object
) -> dict[RuleId, RuleVerdict]:
    site = PretendedShare(root, **WEAKNESS[nature] | otherwise)
    return {verdict.rule: verdict for verdict in judge(site, nature, rules or tuple(RuleId))}


def test_every_rule_of_the_contract_has_a_seeded_breach() -> None:
    assert set(SEEDS) == set(RuleId) == set(RULES)
    assert {
        seed["seeded"] for each in SEEDS.values() for _, seed, _ in each if "seeded" in seed
    } == {*Seeded}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("name", NATURES)
def test_a_share_that_obeys_keeps_every_rule_that_applies(field: Path, name: str) -> None:
    nature = NATURES[name]
    found = verdicts(field, nature)
    assert list(found) == list(RuleId)
    for rule, verdict in found.items():
        applies = not why_not(rule, nature)
        if rule is RuleId.DEF_1:
            assert applies is (nature is DEFAULT)
        else:
            assert applies is (nature.mode in RULES[rule].modes) or nature is DEFAULT
        expected = Finding.KEPT if applies else Finding.NOT_APPLICABLE
        assert verdict.finding is expected, verdict
        assert verdict.why or applies
        # Who is not root has no devices.
        assert all("mkdev" in line and os.geteuid() for line in verdict.unplayed), verdict
        assert verdict.breach is None


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    ("rule", "nature", "seed", "finding"),
    [(rule, *seed) for rule, seeds in SEEDS.items() for seed in seeds],
    ids=lambda value: str(value) if isinstance(value, RuleId | Finding) else "",
)
def test_a_broken_policy_is_caught(
    field: Path, rule: RuleId, nature: Nature, seed: dict[str, object], finding: Finding
) -> None:
    verdict = verdicts(field, nature, rule, **seed)[rule]
    assert verdict.finding is finding, verdict
    breach = verdict.breach
    assert breach is not None
    assert verdict.why == breach.seen != ""
    assert breach.times == breach.plays > 1
    assert breach.schedule.use is (Use.MUST if finding is BROKEN else Use.MAY)
    # No shorter schedule of the same rule shows it; the one that does would be played again.
    site = PretendedShare(field, **WEAKNESS[nature] | seed)
    assert judged(breach.schedule, site.play(breach.schedule)).shown is PlayResult.OTHERWISE
    for schedule in schedules(verdict.by or rule, nature):
        alike = bool(schedule.exports) is bool(breach.schedule.exports)
        if alike and schedule.use is Use.MUST and len(schedule.steps) < len(breach.schedule.steps):
            assert judged(schedule, site.play(schedule)).shown is PlayResult.AS_EXPECTED, schedule


def test_the_shortest_breach_of_holding_back_is_two_steps(field: Path) -> None:
    breach = verdicts(field, CACHED, RuleId.CAC_3, holds=True)[RuleId.CAC_3].breach
    assert breach is not None
    assert [(actor, step.act) for actor, step in breach.schedule.steps] == [
        ("guest", "create"),
        ("host", "stat"),
    ]
    assert breach.seen == "host: stat a -> ENOENT (expected: type 'file')"
    assert (breach.times, breach.plays) == (1 + REPEATS, 1 + REPEATS)


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    ("as_what", "weaker", "broken"),
    [
        (CONSISTENT, CACHED, {RuleId.CON_2}),
        (CONSISTENT, DELEGATED, {RuleId.CAC_3, RuleId.CON_1, RuleId.CON_2}),
        (CACHED, DELEGATED, {RuleId.CAC_3}),
    ],
)
def test_a_weaker_share_breaks_the_rules_of_a_stronger_mode(
    field: Path, as_what: Nature, weaker: Nature, broken: set[RuleId]
) -> None:
    found = verdicts(field, as_what, **WEAKNESS[weaker])
    assert {rule for rule, each in found.items() if each.finding is BROKEN} >= broken
    assert all(found[rule].finding is not BROKEN for rule in (RuleId.DEL_2, RuleId.DEL_3))


def test_a_stronger_share_is_inconclusive_where_it_may_be_weaker(field: Path) -> None:
    """What shipped as delegated in 2017 behaved as cached (docker/for-mac#1592)."""
    found = verdicts(field, DELEGATED, holds=False)
    inconclusive = {rule for rule, each in found.items() if each.finding is INCONCLUSIVE}
    assert inconclusive == {RuleId.DEL_2, RuleId.DEL_7}
    assert found[RuleId.DEL_2].breach.times == ATTEMPTS * len(
        [each for each in schedules(RuleId.DEL_2, DELEGATED) if each.use is Use.MAY]
    )


# The parts


@pytest.mark.parametrize(
    ("outcome", "state", "is_shown"),
    [
        (OperationResult("new"), ("value", "new"), True),
        (OperationResult("old"), ("value", "new"), False),
        (OperationResult(error="ENOENT"), ("value", None), False),
        (OperationResult(error="ENOENT"), ("error", "ENOENT"), True),
        (OperationResult(error="EIO"), ("error", "ENOENT"), False),
        (OperationResult(error="EIO"), ("error", ""), True),
        (OperationResult(), ("error", ""), False),
        (OperationResult(), ("done", True), True),
        (OperationResult(error="EIO"), ("done", True), False),
        (OperationResult(error="EIO"), ("done", False), True),
        (OperationResult(["a"]), ("lists", "a"), True),
        (OperationResult(["a"]), ("lacks", "a"), False),
        (OperationResult(["b"]), ("lacks", "a"), True),
        (OperationResult(error="EIO"), ("lacks", "a"), False),
        (OperationResult({"size": 3}), ("size", 3), True),
        (OperationResult({"size": 3}), ("size", 4), False),
        (OperationResult(error="ENOENT"), ("size", 4), False),
    ],
)
def test_what_an_outcome_shows(
    outcome: OperationResult, state: tuple[str, object], is_shown: bool
) -> None:
    assert shows(outcome, state) is is_shown


SCHEDULE = ContractSchedule(
    "append: host, then guest",
    (
        ("guest", ActorOperation("stat", "a")),
        ("host", ActorOperation("append", "a", data="more")),
        ("guest", ActorOperation("stat", "a")),
    ),
    (Expected(2, ("size", 9)),),
    given=(Expected(0, ("size", 4)),),
)


@pytest.mark.parametrize(
    ("told", "shown", "words"),
    [
        ([{"size": 4}, None, {"size": 9}], PlayResult.AS_EXPECTED, ""),
        (
            [{"size": 4}, None, {"size": 4}],
            PlayResult.OTHERWISE,
            "-> {'size': 4} (expected: size 9)",
        ),
        ([{"size": 4}, None, "ENOENT"], PlayResult.OTHERWISE, "-> ENOENT (expected: size 9)"),
        ([{"size": 9}, None, {"size": 4}], PlayResult.PRECONDITION_FAILED, "(needed: size 4)"),
        (
            [{"size": 4}, "EACCES", {"size": 4}],
            PlayResult.PRECONDITION_FAILED,
            "append a data='more' -> EACCES",
        ),
        ([{"size": 4}, None, SILENCE], PlayResult.NOTHING, "no event came of a"),
    ],
)
def test_a_breach_is_what_was_given_and_then_not_so(
    told: list[object], shown: PlayResult, words: str
) -> None:
    outcomes = [
        OperationResult(error=each) if isinstance(each, str) else OperationResult(each)
        for each in told
    ]
    result = judged(
        SCHEDULE,
        [
            OperationInterval(actor, step, 0, 1, outcome)
            for (actor, step), outcome in zip(SCHEDULE.steps, outcomes, strict=True)
        ],
    )
    assert result.shown is shown
    assert words in result.seen


class Scripted:
    """A site that tells the last step's size as it was told to, one play after the other."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)

    def play(self, schedule: ContractSchedule) -> list[OperationInterval]:
        told = []
        for position, (actor, step) in enumerate(schedule.steps):
            size = self.sizes.pop(0) if position == len(schedule.steps) - 1 else 4
            told.append(OperationInterval(actor, step, 0, 1, OperationResult({"size": size})))
        return told


@pytest.mark.parametrize(
    ("sizes", "finding", "times"),
    [((4, 4, 9, 9), Finding.BROKEN, 2), ((4, 4, 4, 4), Finding.BROKEN, 4), ((4, 9, 9, 9), None, 0)],
)
def test_a_breach_counts_once_it_was_seen_again(
    sizes: tuple[int, ...], finding: Finding | None, times: int
) -> None:
    verdict = playing._Judging(Scripted(*sizes)).verdict(RuleId.CON_2, [SCHEDULE])
    if finding is None:
        # Neither kept nor broken: what differs from all others is seen once.
        assert verdict.finding is Finding.UNDECIDED
        assert verdict.breach is None
        (line,) = verdict.unplayed
        assert "once, and not again" in line
        assert verdict.why == f"is in doubt: {line}"
    else:
        assert verdict.finding is finding
        assert (verdict.breach.times, verdict.breach.plays) == (times, 4)


def test_a_breach_that_no_share_can_avoid_is_told_and_breaks_nothing() -> None:
    known = replace(SCHEDULE, known="the kernel does so")
    verdict = playing._Judging(Scripted(4, 4, 4, 4)).verdict(RuleId.CON_2, [known])
    assert verdict.finding is Finding.KEPT
    (breach,) = verdict.known
    assert breach.schedule is known
    assert not verdict.is_bad


class Failing:
    """A share that obeys, but for steps of some actor and act (any: ""), that end in an error."""

    def __init__(self, root: Path, weakness: dict[str, object], *failing: tuple[str, str, str]):
        self.share = PretendedShare(root, **weakness)
        self.failing = failing

    def play(self, schedule: ContractSchedule) -> list[OperationInterval]:
        told = []
        for each in self.share.play(schedule):
            for actor, act, error in self.failing:
                if each.actor.startswith(actor) and act in ("", each.operation.act):
                    each = replace(each, outcome=OperationResult(error=error))
            told.append(each)
        return told


def judged_failing(
    root: Path, nature: Nature, *failing: tuple[str, str, str]
) -> dict[RuleId, RuleVerdict]:
    site = Failing(root, WEAKNESS[nature], *failing)
    return {verdict.rule: verdict for verdict in judge(site, nature)}


def test_a_share_on_which_nothing_works_keeps_no_rule(field: Path) -> None:
    for verdict in judged_failing(field, CONSISTENT, ("guest", "", "EIO")).values():
        applies = not why_not(verdict.rule, CONSISTENT)
        assert verdict.is_bad is applies, verdict


@pytest.mark.takes_seconds
def test_where_no_event_comes_the_rules_of_events_are_undecided(field: Path) -> None:
    found = judged_failing(field, CONSISTENT, (LISTENER, "hear", SILENCE))
    undecided = {rule for rule, each in found.items() if each.finding is Finding.UNDECIDED}
    assert undecided == {RuleId.DEL_1, RuleId.CAC_2, RuleId.CAC_1, RuleId.CON_1}
    assert all(found[rule].is_bad for rule in undecided)
    assert "no event came of a" in found[RuleId.DEL_1].why
    assert (found[RuleId.CAC_1].by, found[RuleId.CON_1].by) == (RuleId.DEL_1, RuleId.DEL_1)
    # Where no process is told of host changes, none is missed.
    deaf = replace(CONSISTENT, tells_processes=False)
    site = Failing(field, {}, (LISTENER, "hear", SILENCE))
    found = {verdict.rule: verdict for verdict in judge(site, deaf)}
    assert found[RuleId.DEL_1].finding is Finding.NOT_APPLICABLE
    assert not any(verdict.is_bad for verdict in found.values())


def test_where_events_of_one_kind_never_come_the_others_decide(field: Path) -> None:
    """Some systems tell nobody of a removal."""

    class NoneOfRemovals(PretendedShare):
        def play(self, schedule: ContractSchedule) -> list[OperationInterval]:
            told = list(super().play(schedule))
            if told[-1].operation.act == "hear" and schedule.steps[-2][1].act == "unlink":
                told[-1] = replace(told[-1], outcome=OperationResult(error=SILENCE))
            return told

    (verdict,) = judge(NoneOfRemovals(field), CONSISTENT, [RuleId.DEL_1])
    assert verdict.finding is Finding.KEPT
    (line,) = verdict.unplayed
    assert "unlink" in line


@pytest.mark.takes_seconds
@pytest.mark.parametrize("act", ["rename", "chmod", "mkfifo"])
def test_a_change_that_always_fails_leaves_its_rules_undecided(field: Path, act: str) -> None:
    """All other kinds of change are shown as they must be."""
    found = judged_failing(field, CACHED, ("guest", act, "EIO"))
    verdict = found[RuleId.CAC_3]
    assert verdict.finding is Finding.UNDECIDED
    assert verdict.schedules > 20
    assert f"{act} a" in verdict.why
    assert verdict.why.endswith("-> EIO")


def test_what_the_machine_cannot_do_leaves_nothing_undecided(field: Path) -> None:
    """Devices without root; a host that cannot refuse."""
    found = judged_failing(
        field, DELEGATED, ("host", "mkdev", "EPERM"), (SHARE, "refuse", "ENOTTY")
    )
    assert not any(verdict.is_bad for verdict in found.values())
    for rule, act in ((RuleId.DEL_8, "mkdev"), (RuleId.DEL_4, "refuse")):
        assert found[rule].finding is Finding.KEPT
        assert found[rule].unplayed
        assert all(act in line for line in found[rule].unplayed)


def test_what_fails_once_and_then_no_more_is_not_undecided(field: Path) -> None:
    class Stumbling(Failing):
        def play(self, schedule: ContractSchedule) -> list[OperationInterval]:
            told = super().play(schedule)
            self.failing = ()
            return told

    site = Stumbling(field, WEAKNESS[CACHED], ("guest", "create", "EIO"))
    (verdict,) = judge(site, CACHED, [RuleId.CAC_3])
    assert site.failing == ()
    assert verdict.finding is Finding.KEPT
    assert not verdict.unplayed


def test_where_nothing_can_be_shown_a_rule_that_applies_is_undecided(field: Path) -> None:
    """A freedom cannot even be looked for; the same where only the machine is in the way."""
    site = Failing(field, WEAKNESS[DELEGATED], ("", "", "EPERM"))
    (verdict,) = judge(site, DELEGATED, [RuleId.DEL_7])
    assert verdict.finding is Finding.UNDECIDED
    assert verdict.is_bad
    assert "EPERM" in verdict.why
    no_devices = replace(
        SCHEDULE, steps=(("host", ActorOperation("mkdev", "a")), *SCHEDULE.steps[1:])
    )
    verdict = playing._Judging(site).verdict(RuleId.DEL_8, [no_devices])
    assert verdict.finding is Finding.UNDECIDED


def test_a_rule_is_judged_with_those_it_refers_to_and_they_come_before() -> None:
    assert with_references([RuleId.CAC_5]) == (RuleId.DEL_6, RuleId.CAC_5)
    assert with_references([RuleId.CON_1])[-1] is RuleId.CON_1
    order = list(RuleId)
    for rule in RULES.values():
        assert all(order.index(other) < order.index(rule.id) for other in rule.refers_to)


@pytest.mark.parametrize("name", NATURES)
def test_every_schedule_can_be_played(name: str) -> None:
    for rule in RuleId:
        for schedule in schedules(rule, NATURES[name]):
            for actor, step in schedule.steps:
                acts = {LISTENER: LISTENER_ACTS, SHARE: SHARE_ACTS}.get(actor, tuple(ACTS))
                assert step.act in acts, (schedule.name, step)
            assert schedule.steps[max(e.step for e in schedule.expected)][0] != "share"


@pytest.mark.parametrize(
    ("nature", "rule", "why"),
    [
        (Nature(Mode.CACHED), RuleId.CON_2, "a rule of consistent mounts; judged as cached"),
        (Nature(Mode.CACHED, tells_processes=False), RuleId.DEL_1, "no process of the guest"),
        (Nature(Mode.CONSISTENT, is_shared=False), RuleId.CAC_4, "no export can overlap it"),
        (Nature(Mode.CONSISTENT, apart="it is a copy"), RuleId.CON_2, "it is a copy"),
        (Nature(Mode.CONSISTENT), RuleId.DEF_1, "a rule of default mounts"),
        (DEFAULT, RuleId.CAC_4, "default strengthens nothing"),
    ],
)
def test_what_does_not_apply_says_why(nature: Nature, rule: RuleId, why: str) -> None:
    assert why in why_not(rule, nature)
    assert schedules(rule, nature) == ()


def test_processes_of_one_guest_are_judged_even_where_it_works_on_a_copy() -> None:
    assert schedules(RuleId.DEL_3, Nature(Mode.CONSISTENT, apart="it is a copy"))


def test_names_move_into_a_directory_and_handles_stay() -> None:
    moved = within(
        "d/e",
        [
            ActorOperation("rename", "a", "b"),
            ActorOperation("symlink", "a", "target"),
            ActorOperation("list"),
            ActorOperation("pread", handle="h"),
            ActorOperation("settle"),
        ],
    )
    assert moved == (
        ActorOperation("rename", "d/e/a", "d/e/b"),
        ActorOperation("symlink", "d/e/a", "target"),
        ActorOperation("list", "d/e"),
        ActorOperation("pread", handle="h"),
        ActorOperation("settle"),
    )


def test_every_kind_tells_before_from_after(field: Path) -> None:
    """On a plain directory each look shows the one, and then the other."""
    site = PretendedShare(field)
    for kind in KINDS:
        assert kind.before != kind.after
        steps = [
            *kind.prepare,
            *kind.reader_setup,
            kind.read,
            kind.change,
            kind.read,
            *kind.reader_teardown,
        ]
        first = len(kind.prepare) + len(kind.reader_setup)
        before, after = Expected(first, kind.before), Expected(first + 2, kind.after)
        schedule = ContractSchedule(
            kind.name, tuple(("host", step) for step in steps), (after,), given=(before,)
        )
        assert judged(schedule, site.play(schedule)).shown is PlayResult.AS_EXPECTED, kind


def test_the_judge_of_a_script_agrees(field: Path) -> None:
    """The script's own function, run here on what a broken and a whole share were told."""
    broken = PretendedShare(field, holds=True)
    found = {verdict.rule: verdict for verdict in judge(broken, CACHED, [RuleId.CAC_3])}
    breach = found[RuleId.CAC_3].breach
    source = breach_script(RuleId.CAC_3, breach.schedule, {"profile": "osxfs"}, None)
    scope: dict[str, object] = {"__name__": "a script"}
    exec(compile(ast.parse(source), "script", "exec"), scope)
    assert scope["STEPS"] == list(breach.schedule.steps)
    assert scope["breach"](broken.play(breach.schedule)) == breach.seen
    assert scope["breach"](PretendedShare(field).play(breach.schedule)) is None
