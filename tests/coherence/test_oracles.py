"""The judges against oracles that share no code with them, on many small random cases.

Each oracle (history_oracle.py, edit_oracle.py, staleness_oracle.py in tests/support) is slow and
plain. A case follows from its number. Here some hundreds of each; the long form,

    scripts/test -m slow -s tests/coherence/test_oracles.py

goes through many thousands, and prints how many verdicts agreed. Each oracle is shown judges that
are wrong on purpose, which it must find.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from support import edit_oracle, history_oracle, staleness_oracle
from support.staleness_oracle import Read, Seen, Write

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.answers import judge as judging
from osxfs_sim.coherence.answers.judge import Judge
from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer
from osxfs_sim.coherence.answers.timeline import NameState, ObjectState, Timeline
from osxfs_sim.coherence.histories import linearize, model, verdicts
from osxfs_sim.coherence.histories.history import Grain, History
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.verdicts import Rules
from osxfs_sim.coherence.staleness.curves import CONFIDENCE, Curve, joint_level
from osxfs_sim.coherence.staleness.predicted import departure_ns
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    NotSeen,
    StalenessSample,
    Uniform,
    WriteBackDelay,
)
from osxfs_sim.lab.statistics import _tied_p, difference
from osxfs_sim.model.consistency import Mode

UMASK = 0o022
Counts = Counter[str]


def is_found(case: Callable[[int, Counts], str], numbers: range) -> bool:
    return any(case(number, Counter()) for number in numbers)


def disagreements(case: Callable[[int, Counts], str], numbers: range, counts: Counts) -> list[str]:
    found = []
    for number in numbers:
        wrong = case(number, counts)
        if wrong:
            found.append(f"case {number}: {wrong}")
    return found


def told(title: str, counts: Counts) -> None:
    counts = ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))
    print(f"{title}: {sum(counts.values()):,} verdicts agreed ({counts})")


# Histories

PATHS = ("a", "b", "d", "d/x")
FILES = ("a", "b")


def drawn_operation(random: Random, acts: tuple[str, ...]) -> ActorOperation:
    act = random.choice(acts)
    path = random.choice(PATHS if random.random() < 0.5 else FILES)
    match act:
        case "create" | "write" | "append":
            return ActorOperation(act, path, data=random.choice(("", "x", "yy", "zzz")))
        case "overwrite":
            data = random.choice(("", "v", "ww"))
            return ActorOperation(act, path, data=data, offset=random.choice((0, 0, 2)))
        case "truncate":
            return ActorOperation(act, path, size=random.choice((0, 1, 3)))
        case "chmod":
            return ActorOperation(act, path, mode=random.choice((0o600, 0o644)))
        case "rename" | "link":
            return ActorOperation(act, path, random.choice(PATHS))
        case "list":
            return ActorOperation(act, random.choice(("", "d")))
        case "mkdir" | "rmdir":
            return ActorOperation(act, random.choice(("d", "a")))
    return ActorOperation(act, path)


MUTATIONS = ("create", "create", "write", "write", "append", "overwrite", "truncate", "chmod")
NAMING = ("unlink", "rename", "link", "mkdir", "rmdir")
LOOKS = ("stat", "read", "read", "list", "fsync")


IN_A_STORM = ("create", "write", "append", "overwrite", "truncate", "read", "stat", "unlink")


def drawn_history(random: Random, mode: str, most: int) -> tuple[History, Bounds]:
    """Processes that did one call after the other, and were told what some order would tell."""
    grain = random.choice(list(Grain))
    initial = {name: random.choice(("", "o", "old")) for name in FILES if random.random() < 0.7}
    bounds = Bounds(random.randrange(0, 30), random.randrange(0, 30))
    interval = []
    # Now and then all at one name, that is not there at first.
    is_storm = random.random() < 0.25
    if is_storm:
        initial = {}
    for place, actor in enumerate(("host", "guest-1", "guest-2")):
        acts = {
            "consistent": MUTATIONS + NAMING + LOOKS,
            "cached": MUTATIONS + NAMING + LOOKS[:3] if actor == "host" else ("stat", "read"),
            "delegated": ("stat", "read") if actor == "host" else MUTATIONS + LOOKS[:3],
        }[mode]
        now = random.randrange(0, 6)
        for _ in range(random.randrange(0, most)):
            # Often at once, and often without taking any time: clocks are coarse.
            call = now + random.choice((0, 0, 1, 4))
            now = call + random.choice((0, 1, 3, 8))
            operation = drawn_operation(random, acts)
            begin_ns, end_ns = call, now
            if is_storm:
                while operation.act not in IN_A_STORM:
                    operation = drawn_operation(random, acts)
                operation = replace(operation, path="a")
            else:
                # Objects can be judged apart where no two processes share a moment: with the order
                # within each, such moments are no intervals any more.
                begin_ns, end_ns = 3 * call + place, 3 * now + place
            interval.append(
                OperationInterval(actor, operation, begin_ns, end_ns, OperationResult())
            )
    if mode == "delegated" and random.random() < 0.5:
        call = 3 * random.randrange(0, 20) + 1
        interval.append(
            OperationInterval("share", ActorOperation("sync"), call, call + 2, OperationResult())
        )
    history = History.of(interval, grain=grain, initial=initial, umask=UMASK)
    return answered(history, random, mode, bounds), bounds


def answered(history: History, random: Random, mode: str, bounds: Bounds) -> History:
    # A listing is given its answers name by name; so it is asked for whole first.
    names = sorted({*PATHS, *history.initial})
    asked = [
        replace(each, outcome=OperationResult([])) if each.operation.act == "list" else each
        for each in history.operations
    ]
    calls = history_oracle.calls_of(history.only(asked), mode=mode, stale=bounds.stale_ns)
    told = history_oracle.told_by(
        calls, dict(history.initial), UMASK, random, in_time=random.random() < 0.7
    )
    answers = list(zip(calls, told, strict=True))
    found = []
    for each in history.operations:
        if each.operation.act == "list":
            opened = next(
                (
                    pair
                    for pair in answers
                    if pair[0].op.act == "opendir"
                    and pair[0].op.path == each.operation.path
                    and pair[0].actor == each.actor
                    and pair[0].acts_from == each.call_ns
                ),
                None,
            )
            error = opened[1][1] if opened else None
            listed = [
                name.rpartition("/")[2]
                for name in names
                if name.rpartition("/")[0] == each.operation.path and random.random() < 0.6
            ]
            found.append(replace(each, outcome=OperationResult(None if error else listed, error)))
            continue
        value, error = next(pair[1] for pair in answers if pair[0].op is each.operation)
        if random.random() < 0.04:
            value, error = random.choice(
                ((None, "ENOENT"), (None, "EIO"), (None, "ENOSPC"), (None, "EINTR"))
            )
        elif each.operation.act == "read" and error is None and random.random() < 0.1:
            value = random.choice(("", "x", "yy", "old"))
        if each.operation.act == "stat" and error is None and value is None:
            error = "ENOENT"
        if isinstance(value, dict):
            value = value | {"inode": 1, "mtime_ns": 0}
        found.append(replace(each, outcome=OperationResult(value, error)))
    return history.only(found)


def history_case(mode: str, most: int) -> Callable[[int, Counts], str]:
    def case(number: int, counts: Counts) -> str:
        random = Random(number)
        history, bounds = drawn_history(random, mode, most)
        if not history.operations:
            return ""
        calls = history_oracle.calls_of(
            history, mode=mode, stale=bounds.stale_ns, lag=bounds.lag_ns
        )
        if mode == "delegated" and not is_judged_as_delegated(history):
            return ""
        expected = history_oracle.can_be_explained(calls, dict(history.initial), UMASK)
        if expected is None:
            return ""  # too many orders
        rules = Rules(Mode[mode.upper()], bounds)
        answer = verdicts.check(history, rules).answer
        if answer is linearize.CheckResult.UNKNOWN:  # nobody was told anything
            return "" if expected else "unknown, where nothing explains it"
        counts[answer] += 1
        if expected is (answer is linearize.CheckResult.OK):
            return ""
        return f"{answer}, {mode} in {history.grain}: {history.to_json()}"

    return case


def is_judged_as_delegated(history: History) -> bool:
    """Of what guests alone change all is judged: here no other."""
    return all(
        each.outcome.error not in history_oracle.LATER + history_oracle.ENDED
        for each in history.operations
    )


MODES = ("consistent", "cached", "delegated")


@pytest.mark.takes_seconds
@pytest.mark.parametrize("mode", MODES)
def test_histories_are_judged_as_by_trying_every_order(mode: str) -> None:
    counts: Counts = Counter()
    assert disagreements(history_case(mode, 4), range(400), counts) == []
    assert counts["ok"] > 20
    assert counts["violation"] > 20


def created_as_a_whole(self: model._Machine) -> object:
    """As the model was: the write of a create makes the content what it wrote, and no more."""
    if self._local.phase == "made":
        yield from self._told(
            None, model.AnswerSource.HOST, self._with_content(self._operation.data)
        )
        return
    error, state = self._new("", self._operation.mode)
    if error is not None:
        yield from self._told(error, model.AnswerSource.HOST)
    elif self._operation.data:
        yield model.ModelStep(
            model.AnswerSource.HOST, state, model.OperationProgress("made", self._number)
        )
    else:
        yield from self._told(None, model.AnswerSource.HOST, state)


WRONG_HISTORIES = {
    "a create is one act": (model._Machine, "create", created_as_a_whole),
    "the order of one process is forgotten": (
        linearize,
        "_touching",
        lambda candidates: [0] * len(candidates),
    ),
    "what was interrupted was never done": (model, "is_pending", lambda _: False),
    "nothing is ever wrong": (
        verdicts,
        "search",
        lambda *_: linearize.Search(linearize.CheckResult.OK, ()),
    ),
}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("name", WRONG_HISTORIES)
def test_a_wrong_judge_of_histories_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*WRONG_HISTORIES[name])
    cases = history_case("consistent", 4)
    assert is_found(cases, range(20_000))


# Bounded staleness: all that a host had, over time


def bounded_case(number: int, counts: Counts) -> str:
    random = Random(number)
    values = "pqp" if random.random() < 0.5 else "pqr"  # the same again, now and then
    now, writes, reads = 5, [], []
    for value in values[: random.randrange(1, 4)]:
        call = now + random.randrange(0, 5)
        now = call + random.randrange(0, 5)
        writes.append(Write(call, now, value))
    for who in ("guest-1", "guest-2"):
        now = random.randrange(0, 10)
        for _ in range(random.randrange(0, 4)):
            call = now + random.randrange(0, 6)
            now = call + random.randrange(0, 4)
            reads.append(Read(who, call, now, random.choice("opqr")))
    stale = random.randrange(0, 15)
    history = History.of(
        [
            *(
                OperationInterval(
                    "host",
                    ActorOperation("overwrite", "a", data=each.value),
                    each.call,
                    each.back,
                    OperationResult(),
                )
                for each in writes
            ),
            *(
                OperationInterval(
                    each.who,
                    ActorOperation("read", "a"),
                    each.call,
                    each.back,
                    OperationResult(each.value),
                )
                for each in reads
            ),
        ],
        grain=random.choice(list(Grain)),
        initial={"a": "o"},
    )
    expected = staleness_oracle.is_bounded("o", writes, reads, stale)
    answer = verdicts.check(history, Rules(Mode.CACHED, Bounds(stale_ns=stale))).answer
    counts[answer] += 1
    return (
        "" if expected is (answer is linearize.CheckResult.OK) else f"{answer}: {history.to_json()}"
    )


@pytest.mark.takes_seconds
def test_bounded_staleness_is_judged_as_by_all_that_the_host_had() -> None:
    counts: Counts = Counter()
    assert disagreements(bounded_case, range(600), counts) == []
    assert min(counts["ok"], counts["violation"]) > 50


@pytest.mark.parametrize(
    ("what", "name", "wrong"),
    [
        (
            verdicts,
            "cached",
            lambda operations, grain, _: [
                linearize.Candidate.exactly(each, grain) for each in operations
            ],
        ),
        (
            verdicts,
            "cached",
            lambda operations, _, bounds: [
                linearize.Candidate(
                    each, each.call_ns - bounds.stale_ns, each.call_ns, each.return_ns
                )
                for each in operations
            ],
        ),
    ],
    ids=["nothing may be old", "whoever has seen the new may see the old"],
)
def test_a_wrong_judge_of_bounds_is_found(
    what: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, name, wrong)
    assert is_found(bounded_case, range(600))


# Staleness as a distribution

MS = 10**6


def predicted(prediction: object) -> Callable[[int, int], tuple[float, float]]:
    """How likely a look of so long is stale, by counting where a change may have met it."""

    def at(now: int, read: int) -> tuple[float, float]:
        later = now + read
        match prediction:
            case AtOnce():
                return 0.0, 0.0
            case NotSeen():
                return 1.0, 1.0
            case WriteBackDelay(age_ns):
                return float(later < age_ns), float(now < age_ns + 10 * MS)
            case Uniform(low_ns, high_ns):
                ends = range(low_ns, high_ns, MS // 2)
                # The timeout of what is cached may be anywhere in a half of a millisecond.
                left = [min(1.0, max(0.0, (end + MS // 2 - later) / (MS // 2))) for end in ends]
                right = [min(1.0, max(0.0, (end + MS // 2 - now) / (MS // 2))) for end in ends]
                return sum(left) / len(left), sum(right) / len(right)
        raise AssertionError(prediction)

    return at


def curve_case(number: int, counts: Counts) -> str:
    random = Random(number)
    prediction = random.choice(
        [
            AtOnce(),
            NotSeen(""),
            WriteBackDelay(random.randrange(5, 20) * MS),
            Uniform(0, random.randrange(5, 30) * MS),
        ]
    )
    truth = random.choice([prediction, Uniform(0, 15 * MS), WriteBackDelay(12 * MS), AtOnce()])
    samples, seen = [], []
    for _ in range(random.randrange(1, 25)):
        match truth:
            case Uniform(low_ns, high_ns):
                ended = random.randrange(low_ns, high_ns)
            case WriteBackDelay(age_ns):
                ended = age_ns + random.randrange(0, 3) * MS
            case NotSeen():
                ended = 10**12
            case _:
                ended = 0
        read, now, stale = random.choice((MS // 2, MS)), 0, None
        reads = 0
        while now < ended and now < 60 * MS:
            stale, now, reads = now, now + read, reads + 1
        if now >= ended:
            samples.append(StalenessSample(0, reads, stale or 0, now, now + read))
            seen.append(Seen(stale, now, read))
        else:
            samples.append(StalenessSample(0, reads, stale or 0))
            seen.append(Seen(stale, None))
    found = departure_ns(prediction, MS, samples)
    level = joint_level(len(samples), CONFIDENCE)
    expected, near = staleness_oracle.first_departure(
        seen, predicted(prediction), level, 75 * MS, MS // 2
    )
    if near:
        return ""  # equal but for rounding
    counts["agrees" if expected is None else "differs"] += 1
    moments = Curve.of(samples).moments_ns
    assert np.all(np.diff(moments) > 0)
    return "" if (found is None) is (expected is None) else f"{found}, not {expected}: {samples}"


@pytest.mark.takes_seconds
def test_curves_are_judged_as_by_every_moment() -> None:
    counts: Counts = Counter()
    assert disagreements(curve_case, range(150), counts) == []
    assert min(counts["agrees"], counts["differs"]) > 20


def test_a_wrong_judge_of_curves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One to which no look is ever surely stale."""
    right = Curve._counts
    monkeypatch.setattr(Curve, "_counts", lambda *given: (0 * right(*given)[0], right(*given)[1]))
    assert is_found(curve_case, range(150))


# Edits


def timeline(world: edit_oracle.World) -> Timeline:
    return Timeline(
        {name: tuple(NameState(*each) for each in log) for name, log in world.log_names.items()},
        {
            number: tuple(ObjectState(*each) for each in log)
            for number, log in world.log_files.items()
        },
        dict(world.contents),
    )


KINDS = {
    "look": AnswerKind.LOOKUP,
    "stat": AnswerKind.STAT,
    "fstat": AnswerKind.FSTAT,
    "read": AnswerKind.READ,
}


def answer(asked: edit_oracle.Question) -> RecordedAnswer:
    is_read = asked.kind == "read"
    return RecordedAnswer(
        *(KINDS[asked.kind], asked.name, asked.call, asked.back, asked.error, *asked.opened),
        size=asked.at if is_read else asked.size,
        more=len(asked.data) if is_read else asked.mtime,
        crc=asked.crc if is_read else 0,
        number=int(asked.short),
    )


def edit_case(number: int, counts: Counts) -> str:
    random = Random(number)
    world = edit_oracle.drawn_world(random, random.randrange(1, 7))
    judge = Judge(timeline(world), {})
    for _ in range(6):
        asked = edit_oracle.drawn_question(random, world)
        found = {
            each.kind: (each.verdict.value, each.age_ns) for each in judge.judge(answer(asked))
        }
        expected = edit_oracle.judged(world, asked)
        existence = expected.get("existence", (edit_oracle.FRESH, None))
        for kind, (verdict, age) in expected.items():
            counts = found.get(kind, ("unknown", None))
            if kind == "attributes" and "existence" in expected:
                if existence[0] == edit_oracle.OPEN:
                    continue
                if existence[0] == edit_oracle.STALE and counts[0] == "unknown":
                    counts = existence  # told once: they were true as long as the name was there
            if verdict == edit_oracle.OPEN:
                if counts[0] == edit_oracle.FRESH:
                    return f"{kind} is {counts}, and never was so: {asked} {world}"
                continue
            if counts[0] == "unknown" and edit_oracle.may_be_torn(world, asked):
                counts["unknown while it changed"] += 1
                continue
            if counts != (verdict, age):
                return f"{kind} is {counts}, not {(verdict, age)}: {asked} {world}"
            counts[verdict] += 1
    return ""


def test_answers_are_judged_as_by_all_hosts_that_there_were() -> None:
    counts: Counts = Counter()
    assert disagreements(edit_case, range(1_000), counts) == []
    assert min(counts["fresh"], counts["stale"]) > 300


def existence_alone(self: Judge, asked: RecordedAnswer) -> object:
    """As the judge was: of what has gone, only that it has."""
    return tuple(
        each
        for each in RIGHT_JUDGE(self, asked)
        if each.kind != "attributes"
        or not any(
            one.kind == "existence" and one.age_ns is not None for one in RIGHT_JUDGE(self, asked)
        )
    )


RIGHT_JUDGE = Judge.judge


@pytest.mark.parametrize(
    ("what", "name", "wrong"),
    [
        (Judge, "judge", existence_alone),
        (
            Judge,
            "_stale",
            lambda _, asked, kind, ended_ns: judging.JudgedStatement(
                kind, judging.Freshness.STALE, max(0, asked.call_ns - ended_ns)
            ),
        ),
        (
            Judge,
            "_is_true",
            lambda _, asked, state: asked.kind is not AnswerKind.READ and asked.size == state.size,
        ),
    ],
    ids=["a name that has gone hides old attributes", "aged at the call", "judged by size alone"],
)
def test_a_wrong_judge_of_answers_is_found(
    what: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, name, wrong)
    assert is_found(edit_case, range(1_000))


# Ties


def by_dealing(first: list[int], second: list[int]) -> float:
    """p by all ways to deal the values out, each by itself."""
    pooled = [*first, *second]
    ranks = [
        sum(other < each for other in pooled) + (sum(other == each for other in pooled) + 1) / 2
        for each in pooled
    ]
    seen = sum(ranks[: len(first)])
    sums = [sum(dealt) for dealt in itertools.combinations(ranks, len(first))]
    extreme = min(sum(each <= seen for each in sums), sum(each >= seen for each in sums))
    return min(1.0, 2 * extreme / len(sums))


def tie_case(number: int, counts: Counts) -> str:
    random = Random(number)
    first, second = (
        [random.randrange(1, 5) for _ in range(random.randrange(1, 7))] for _ in range(2)
    )
    found, expected = _tied_p([*first], [*second]), by_dealing(first, second)
    counts["p"] += 1
    told = difference([*first], [*second])
    assert told is not None
    assert told.p >= told.smallest_p
    return "" if found == pytest.approx(expected) else f"{found}, not {expected}: {first} {second}"


def test_with_ties_p_is_that_of_all_ways_to_deal_them_out() -> None:
    assert disagreements(tie_case, range(200), Counter()) == []


# The long form

LONG = {
    "histories, consistent": (history_case("consistent", 4), 30_000),
    "histories, consistent, longer": (history_case("consistent", 5), 5_000),
    "histories, cached": (history_case("cached", 4), 5_000),
    "histories, delegated": (history_case("delegated", 4), 10_000),
    "bounded staleness": (bounded_case, 30_000),
    "staleness curves": (curve_case, 2_000),
    "edits": (edit_case, 100_000),
    "ties": (tie_case, 3_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("title", LONG)
def test_many_more_are_judged_as_by_the_oracles(title: str) -> None:
    case, number = LONG[title]
    counts: Counts = Counter()
    wrong = disagreements(case, range(10**6, 10**6 + number), counts)
    told(title, counts)
    assert wrong == []
