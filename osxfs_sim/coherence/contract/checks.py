"""The schedules by which each rule is judged, for a share of a given nature. Pure.

Each direction has one pattern: which actor prepares, reads, changes, and reads again. The
patterns are played with every kind of change. What a rule forbids must never be seen, by any
kind; an allowed relaxation needs to be seen by one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.staging import LISTENER, SHARE, ScheduleStep
from osxfs_sim.coherence.contract.kinds import (
    DEVICES,
    KINDS,
    KINDS_BELOW,
    LARGE_KINDS,
    MADE_SPECIAL,
    MAPPING,
    SPECIAL,
    ObservableChange,
    steps_within,
)
from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Expected, Export, State, Use
from osxfs_sim.model.consistency import Mode

_PATIENCE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Nature:
    """What is judged: the mode by whose rules, and what there is to be judged."""

    mode: Mode
    """The mode by whose rules the share is judged."""
    is_default: bool = False
    """Whether it is the contract's fourth word, ``default`` (DEF-1)."""
    tells_processes: bool = True
    """Whether host changes reach the guest's processes, as inotify events."""
    tells_caches: bool = True
    """Whether host changes invalidate what the guest's kernel has cached."""
    is_shared: bool = True
    """Whether work in it makes requests, so that another export can overlap it."""
    apart: str = ""
    """Why the contract is about something else, in a phrase; "" where it is not. A copy, say."""
    patience_ns: int = _PATIENCE_NS
    """How long an event may take before it counts as not coming."""


def _is_told(nature: Nature) -> bool:
    """Whether events in flight may invalidate what a guest caches: echoes of its own too."""
    return nature.tells_caches and not nature.apart


_OF_THE_GUEST_ALONE = frozenset({RuleId.DEL_3})


def why_not(rule: RuleId, nature: Nature) -> str:
    """Why *rule* does not apply to a share of *nature*, as a phrase; "" where it applies."""
    if rule is RuleId.DEF_1:
        if not nature.is_default:
            return "a rule of default mounts"
        return nature.apart or ("" if nature.is_shared else _NO_OVERLAP)
    if nature.mode not in RULES[rule].modes:
        modes = " and ".join(mode.label for mode in sorted(RULES[rule].modes))
        return f"a rule of {modes} mounts; judged as {nature.mode.label}"
    if RULES[rule].refers_to:
        return ""  # by what it refers to
    if nature.apart and rule not in _OF_THE_GUEST_ALONE:
        return nature.apart
    if rule in (RuleId.DEL_1, RuleId.CAC_2) and not nature.tells_processes:
        if not nature.is_shared:
            return "its events are the kernel's own: nothing brings them from a host"
        return "no process of the guest gets events of host changes"
    if rule in (RuleId.DEL_5, RuleId.CAC_4):
        if not nature.is_shared:
            return _NO_OVERLAP
        if nature.is_default:
            return "default strengthens nothing (DEF-1), and nothing is stronger than it"
    return ""


_NO_OVERLAP = "its work makes no requests, and no export can overlap it"


def schedules(rule: RuleId, nature: Nature) -> tuple[ContractSchedule, ...]:
    """The schedules that test *rule* on a share of *nature*; () if it does not apply, or refers.

    A rule that only refers is judged by those of the rules that it refers to.
    """
    if why_not(rule, nature):
        return ()
    return tuple(_SCHEDULES[rule](nature)) if rule in _SCHEDULES else ()


# The patterns


def _changed_and_seen(
    kind: ObservableChange,
    changer: str,
    viewer: str,
    *,
    maker: str = "",
    between: tuple[ScheduleStep, ...] = (),
    reads_before: bool = True,
    use: Use = Use.MUST,
    known: str = "",
    told: bool = False,
) -> ContractSchedule:
    """*changer* changes, and *viewer* must see it; or, as a relaxation, may see the old state.

    *told*: there are events. Then the events of the making are waited for before anything is read:
    else one of them, still in flight, may invalidate what was cached, and hide that no event comes
    of the change.
    """
    steps = [(maker or changer, each) for each in kind.prepare]
    if told and (reads_before or kind.reader_setup):
        steps.append((SHARE, ActorOperation("settle")))
    steps += [(viewer, each) for each in kind.reader_setup]
    given: tuple[Expected, ...] = ()
    acts = f", after {between[0][1].act}" if between else ""
    if reads_before:
        given = (Expected(len(steps), kind.before),)
        steps.append((viewer, kind.read))
    steps.append((changer, kind.change))
    steps += between
    expected = Expected(len(steps), kind.before if use is Use.MAY else kind.after)
    steps.append((viewer, kind.read))
    steps += [(viewer, each) for each in kind.reader_teardown]
    by = f" (made by the {maker})" if maker and maker != changer else ""
    had = ", which had read it before" if reads_before else ""
    name = f"{kind.name}: {changer}, then {viewer}{had}{acts}{by}"
    return ContractSchedule(name, tuple(steps), (expected,), use, given, known)


def _heard(
    kind: ObservableChange,
    nature: Nature,
    shown: State,
    *,
    path: str = "a",
    mine: ScheduleStep | None = None,
) -> ContractSchedule:
    """The host changes, the listener of the guest gets the event, and reads.

    The guest has read it before, so that it is cached; the events of its making have arrived
    before it begins to listen. *mine* is what the guest changes itself.
    """
    steps: list[ScheduleStep] = [("host", each) for each in kind.prepare]
    steps += [("guest", each) for each in kind.reader_setup]
    steps += [("guest", kind.read), *filter(None, [mine]), (SHARE, ActorOperation("settle"))]
    steps += [("guest", kind.read), (LISTENER, ActorOperation("watch"))]
    steps.append(("host", kind.change))
    expected = Expected(len(steps), shown)
    steps.append((LISTENER, ActorOperation("hear", path, pause_ns=nature.patience_ns)))
    steps += [("guest", each) for each in kind.reader_teardown]
    # The guest's own reads may fail: of what does not exist yet.
    reads = [
        Expected(position, ("done", kind.before[0] != "error"))
        for position, (_, step) in enumerate(steps)
        if step == kind.read
    ]
    after = " after a change of the guest's own" if mine else ""
    name = f"{kind.name}: host, then an event in the guest{after}"
    return ContractSchedule(name, tuple(steps), (expected,), given=tuple(reads))


def _heard_and_seen(kind: ObservableChange, nature: Nature) -> ContractSchedule:
    """As ``_heard``, where what is to be seen is more than the listener reads.

    A process of the guest reads as soon as the listener has got the event.
    """
    path = kind.change.path
    heard = _heard(kind, nature, kind.after, path=path)
    steps = list(heard.steps)
    position = heard.expected[0].step
    watched = next(at for at, (actor, _) in enumerate(steps) if actor == LISTENER)
    steps[watched] = LISTENER, ActorOperation("watch", path.rpartition("/")[0])
    steps.insert(position + 1, ("guest", kind.read))
    name = f"{kind.name}: host, then a read at an event in the guest"
    return replace(
        heard, name=name, steps=tuple(steps), expected=(Expected(position + 1, kind.after),)
    )


# By rule. Of several system calls (a new file, and its content) each has an event of its own,
# and in the first the content is rightly not there yet: so only what a single call changes.
_SEEN_BY_THE_LISTENER = {
    "create": ("exists", True),
    "mkdir": ("exists", True),
    "overwrite": ("content", "NEW\n"),
    "append": ("size_bytes", 9),
    "append, by content": ("content", "old\nmore\n"),
    "truncate": ("size_bytes", 1),
    "chmod": ("mode", 0o600),
    "utimes": ("mtime_ns", 2 * 10**18),
    "unlink": ("exists", False),
    "rmdir": ("exists", False),
    "rename, by the old name": ("exists", False),
    "overwrite, by an open handle": ("content", "NEW\n"),
}


def _events(nature: Nature) -> Iterable[ContractSchedule]:
    for kind in KINDS:
        if kind.name in _SEEN_BY_THE_LISTENER:
            yield _heard(kind, nature, _SEEN_BY_THE_LISTENER[kind.name])
    yield _heard(_GROWS_WHILE_OPEN, nature, ("size_bytes", 9))
    for kind in (*_CHANGED_BY_ONE_CALL_WHEN_LARGE, *_CHANGED_BELOW):
        yield _heard_and_seen(kind, nature)


_GROWS_WHILE_OPEN = ObservableChange(
    "append, while the guest has it open",
    change=ActorOperation("append", "a", data="more\n"),
    read=ActorOperation("fstat", handle="h"),
    before=("size", 4),
    after=("size", 9),
    prepare=(ActorOperation("create", "a", data="old\n"),),
    reader_setup=(ActorOperation("open", "a", handle="h"),),
    reader_teardown=(ActorOperation("close", handle="h"),),
)


_CHANGED_BY_ONE_CALL_WHEN_LARGE = tuple(kind for kind in LARGE_KINDS if kind.change.act != "create")
_CHANGED_BELOW = tuple(
    kind for kind in KINDS_BELOW if kind.change.act in ("overwrite", "chmod", "unlink")
)


def _events_after_own_changes(nature: Nature) -> Iterable[ContractSchedule]:
    yield from _events(nature)
    for kind in KINDS:
        if kind.name in ("overwrite", "append", "truncate", "unlink"):
            own = ("guest", ActorOperation("chmod", "a", mode=0o640))
            yield _heard(kind, nature, _SEEN_BY_THE_LISTENER[kind.name], mine=own)


def _synchronized(nature: Nature) -> Iterable[ContractSchedule]:
    for kind in KINDS:
        synced = ("guest", ActorOperation("fsync", kind.synced))
        # What the host has open, it had before.
        maker = "host" if kind.reader_setup else "guest"
        yield _changed_and_seen(
            kind, "guest", "host", maker=maker, between=(synced,), reads_before=False
        )
    flushed = (SHARE, ActorOperation("flush"))
    for kind in (KINDS[0], LARGE_KINDS[0]):
        yield _changed_and_seen(kind, "guest", "host", between=(flushed,), reads_before=False)
    if nature.mode is Mode.DELEGATED:
        for kind in KINDS:
            if not (kind.prepare or kind.reader_setup):
                yield _changed_and_seen(kind, "guest", "host", reads_before=False, use=Use.MAY)


def _among_guests(nature: Nature) -> Iterable[ContractSchedule]:
    told = _is_told(nature)
    for kind in (*KINDS, MAPPING):
        yield _changed_and_seen(kind, "guest", "guest-2", reads_before=False, told=told)
        yield _changed_and_seen(kind, "guest", "guest-2", told=told)


def _at_the_end(nature: Nature) -> Iterable[ContractSchedule]:
    unmount = (SHARE, ActorOperation("unmount"))
    for create in (KINDS[0], LARGE_KINDS[0]):
        yield _changed_and_seen(create, "guest", "host", between=(unmount,), reads_before=False)
    steps: tuple[ScheduleStep, ...] = (
        ("host", ActorOperation("create", "gone", data="old\n")),
        ("guest", ActorOperation("mkdir", "d", mode=0o755)),
        ("guest", ActorOperation("create", "d/a", data="new\n")),
        ("guest", ActorOperation("unlink", "gone")),
        unmount,
        ("host", ActorOperation("read", "d/a")),
        ("host", ActorOperation("list")),
    )
    for step, state in ((5, ("value", "new\n")), (6, ("lacks", "gone"))):
        yield ContractSchedule("several changes: guest, unmounted", steps, (Expected(step, state),))
    yield from _all_kinds_at_the_end()
    if nature.is_shared:
        yield ContractSchedule(
            "create: guest, unmounted while the host refuses",
            (
                ("guest", ActorOperation("create", "a", data="new\n")),
                (SHARE, ActorOperation("refuse")),
                unmount,
                (SHARE, ActorOperation("accept")),
                ("host", ActorOperation("read", "a")),
            ),
            (Expected(4, ("value", "new\n")), Expected(2, ("error", ""))),
        )


def _all_kinds_at_the_end() -> Iterable[ContractSchedule]:
    """Every kind of change in a directory of its own, one unmount, and a read of each."""
    kinds = [kind for kind in KINDS if not kind.reader_setup]
    steps: list[ScheduleStep] = []
    for number, kind in enumerate(kinds):
        steps.append(("guest", ActorOperation("mkdir", f"k{number}", mode=0o755)))
        made = [("guest", each) for each in (*kind.prepare, kind.change)]
        steps += steps_within(f"k{number}", made)
    steps.append((SHARE, ActorOperation("unmount")))
    first = len(steps)
    for number, kind in enumerate(kinds):
        steps += steps_within(f"k{number}", [("host", kind.read)])
    others = tuple(Expected(first + number, ("told", None)) for number in range(len(kinds)))
    for number, kind in enumerate(kinds):
        name = f"{kind.name}: guest, among all kinds, unmounted"
        yield ContractSchedule(
            *(name, tuple(steps), (Expected(first + number, kind.after),)), given=others
        )


def _guest_at_once(nature: Nature) -> Iterable[ContractSchedule]:
    del nature
    for kind in (*KINDS, *MADE_SPECIAL):
        yield _changed_and_seen(kind, "guest", "host", reads_before=False)
        if kind.prepare:
            yield _changed_and_seen(kind, "guest", "host", maker="host")


def _host_at_once(nature: Nature) -> Iterable[ContractSchedule]:
    told = _is_told(nature)
    for kind in (*KINDS, *SPECIAL):
        yield _changed_and_seen(kind, "host", "guest", reads_before=False, told=told)
        yield _changed_and_seen(kind, "host", "guest", told=told)
        if kind.prepare:
            yield _changed_and_seen(kind, "host", "guest", maker="guest", told=told)


def _both_at_once(nature: Nature) -> Iterable[ContractSchedule]:
    yield from _guest_at_once(nature)
    yield from _host_at_once(nature)
    yield _changed_and_seen(
        *(MAPPING, "host", "guest"),
        known="a mapping makes no request: it can follow when its pages are invalidated, no sooner",
        told=_is_told(nature),
    )
    if nature.tells_caches:
        settled = (SHARE, ActorOperation("settle"))
        yield _changed_and_seen(MAPPING, "host", "guest", between=(settled,), told=True)


def _older_until_told(nature: Nature) -> Iterable[ContractSchedule]:
    for kind in (*KINDS, MAPPING):
        if nature.tells_caches:
            settled = (SHARE, ActorOperation("settle"))
            yield _changed_and_seen(kind, "host", "guest", between=(settled,), told=True)
    for kind in KINDS:
        if kind.prepare:  # not every system caches negative entries
            told = _is_told(nature)
            yield _changed_and_seen(kind, "host", "guest", use=Use.MAY, told=told)


def _may_be_lost(nature: Nature) -> Iterable[ContractSchedule]:
    made: list[ScheduleStep] = [("host", ActorOperation("create", "a", data="old\n"))]
    if _is_told(nature):
        made.append((SHARE, ActorOperation("settle")))
    yield ContractSchedule(
        "write by both: the host's is gone when the guest's is synchronized",
        (
            *made,
            ("guest", ActorOperation("write", "a", data="guest's\n")),
            ("host", ActorOperation("write", "a", data="host's\n")),
            ("guest", ActorOperation("fsync", "a")),
            ("host", ActorOperation("read", "a")),
        ),
        (Expected(len(made) + 3, ("value", "guest's\n")),),
        Use.MAY,
    )


def _special(nature: Nature) -> Iterable[ContractSchedule]:
    told = _is_told(nature)
    for kind in SPECIAL:
        yield _changed_and_seen(kind, "host", "guest", told=told)
        yield _changed_and_seen(kind, "guest", "host", reads_before=False)
    for kind in MADE_SPECIAL:
        yield _changed_and_seen(kind, "guest", "host", reads_before=False)
    for kind in DEVICES:
        yield _changed_and_seen(kind, "host", "guest", told=told)
        yield _changed_and_seen(kind, "guest", "host", maker="host", reads_before=False)


# Overlaps: an export of "tree", and one of "tree/inner" in it. The part is reached from above.

_ABOVE, _INNER = "above", "inner"
_GUEST_PART, _HOST_PART = "above/inner", "tree/inner"


def _overlap(
    schedule: ContractSchedule, exports: tuple[Export, ...], name: str
) -> ContractSchedule:
    """*schedule*, its guests in the part from above and its host where that lies."""
    steps = tuple(
        step
        for actor, operation in schedule.steps
        for step in steps_within(
            _HOST_PART if actor.startswith("host") else _GUEST_PART, [(actor, operation)]
        )
    )
    return ContractSchedule(
        f"{name}: {schedule.name}",
        *(steps, schedule.expected, schedule.use, schedule.given, schedule.known, exports),
    )


def _exports(above: str | None, inner: str | None, *, hears: bool = True) -> tuple[Export, ...]:
    return (
        Export(_ABOVE, "tree", above, hears_of_host=hears),
        Export(_INNER, "tree/inner", inner),
    )


_DELEGATED, _CACHED, _CONSISTENT = "osxfs-delegated", "osxfs-cached", "osxfs"


def _kind(name: str) -> ObservableChange:
    return next(kind for kind in KINDS if kind.name == name)


def _delegated_overlap(nature: Nature) -> Iterable[ContractSchedule]:
    """As the judged one is: either the delegated export, or the stronger one in it."""
    held_back = _changed_and_seen(KINDS[0], "guest", "host", reads_before=False)
    if nature.mode is Mode.DELEGATED:
        for kind in (KINDS[0], LARGE_KINDS[0]):
            held_back = _changed_and_seen(kind, "guest", "host", reads_before=False)
            yield _overlap(held_back, _exports(None, _CACHED), "delegated above cached")
        exports = _exports(None, _CONSISTENT)
        yield _overlap(held_back, exports, "delegated above consistent")
        yield _overlap(
            _changed_and_seen(_kind("chmod"), "host", "guest", told=_is_told(nature)),
            *(exports, "delegated above consistent"),
        )
        return
    exports = _exports(_DELEGATED, None)
    yield _overlap(held_back, exports, f"delegated above this {nature.mode.label} one")


def _cached_overlap(nature: Nature) -> Iterable[ContractSchedule]:
    if nature.mode is Mode.CACHED:
        exports, name = _exports(None, _CONSISTENT), "cached above consistent"
    else:
        exports, name = _exports(_CACHED, None), "cached above this consistent one"
    kinds = *map(_kind, ("chmod", "overwrite", "unlink")), *_CHANGED_BY_ONE_CALL_WHEN_LARGE[:2]
    for kind in kinds:
        # One of the two exports is cached, and has events, whatever the judged one has.
        schedule = _changed_and_seen(kind, "host", "guest", told=True)
        yield _overlap(schedule, exports, name)


def _default_overlap(nature: Nature) -> Iterable[ContractSchedule]:
    del nature
    exports = _exports(_CACHED, None, hears=False)
    lags = _changed_and_seen(_kind("chmod"), "host", "guest", use=Use.MAY)
    yield _overlap(lags, exports, "cached above default")


_SCHEDULES = {
    RuleId.DEL_1: _events,
    RuleId.DEL_2: _synchronized,
    RuleId.DEL_3: _among_guests,
    RuleId.DEL_4: _at_the_end,
    RuleId.DEL_5: _delegated_overlap,
    RuleId.DEL_6: _older_until_told,
    RuleId.DEL_7: _may_be_lost,
    RuleId.DEL_8: _special,
    RuleId.CAC_2: _events_after_own_changes,
    RuleId.CAC_3: _guest_at_once,
    RuleId.CAC_4: _cached_overlap,
    RuleId.CON_2: _both_at_once,
    RuleId.DEF_1: _default_overlap,
}
