"""The rules of the consistency contract, in our own words, and which modes obey them.

docker/docs, docker-for-mac/osxfs-caching.md. A mount is delegated, cached, consistent or default;
the stronger modes take over most rules of the weaker ones. What a rule takes over is judged once,
by the rule that says it: CAC-1 is kept where DEL-1 to DEL-5 are.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from osxfs_sim.model.consistency import Mode


class RuleId(enum.StrEnum):
    """The contract's rules, in its order."""

    DEL_1 = "DEL-1"
    DEL_2 = "DEL-2"
    DEL_3 = "DEL-3"
    DEL_4 = "DEL-4"
    DEL_5 = "DEL-5"
    DEL_6 = "DEL-6"
    DEL_7 = "DEL-7"
    DEL_8 = "DEL-8"
    CAC_1 = "CAC-1"
    CAC_2 = "CAC-2"
    CAC_3 = "CAC-3"
    CAC_4 = "CAC-4"
    CAC_5 = "CAC-5"
    CON_1 = "CON-1"
    CON_2 = "CON-2"
    DEF_1 = "DEF-1"


@dataclass(frozen=True, slots=True)
class ContractRule:
    """One rule of the consistency contract."""

    id: RuleId
    """Its name in the contract, such as DEL-1."""
    text: str
    """What it demands, in our words."""
    modes: frozenset[Mode]
    """The modes that obey it."""
    refers_to: tuple[RuleId, ...] = ()
    """The rules that it takes over; all of them come before it."""


_ALL = frozenset(Mode)
_MAY_LAG = frozenset({Mode.DELEGATED, Mode.CACHED})
_STRONGER = frozenset({Mode.CACHED, Mode.CONSISTENT})

RULES: Mapping[RuleId, ContractRule] = {
    rule.id: rule
    for rule in (
        ContractRule(
            RuleId.DEL_1,
            "when the guest hears of a host change, it sees what the host had then, but for what "
            "it has changed itself",
            _ALL,
        ),
        ContractRule(
            RuleId.DEL_2,
            "what was flushed or synchronized is on the host; else it may be the guest's alone",
            _ALL,
        ),
        ContractRule(RuleId.DEL_3, "processes of the guest see each other's changes at once", _ALL),
        ContractRule(
            RuleId.DEL_4,
            "an unmount leaves everything on the host, or fails and says so",
            _ALL,
        ),
        ContractRule(
            RuleId.DEL_5,
            "where a delegated export overlaps a stronger one, it is as strong as that",
            _ALL,
        ),
        ContractRule(
            RuleId.DEL_6,
            "what the guest knows may be older than the host's, until it is told of the change",
            _MAY_LAG,
        ),
        ContractRule(
            RuleId.DEL_7,
            "a host change of what the guest has changed too may be lost",
            frozenset({Mode.DELEGATED}),
        ),
        ContractRule(
            RuleId.DEL_8,
            "FIFOs, sockets and devices are never stale, and never held back",
            _MAY_LAG,
        ),
        ContractRule(
            RuleId.CAC_1,
            "as DEL-1 to DEL-5",
            _STRONGER,
            (RuleId.DEL_1, RuleId.DEL_2, RuleId.DEL_3, RuleId.DEL_4, RuleId.DEL_5),
        ),
        ContractRule(
            RuleId.CAC_2,
            "as DEL-1, also for what the guest has changed itself",
            _STRONGER,
        ),
        ContractRule(RuleId.CAC_3, "what the guest changes is on the host at once", _STRONGER),
        ContractRule(
            RuleId.CAC_4,
            "where a cached export overlaps a consistent one, it is consistent",
            _STRONGER,
        ),
        ContractRule(RuleId.CAC_5, "may use DEL-6", frozenset({Mode.CACHED}), (RuleId.DEL_6,)),
        ContractRule(
            RuleId.CON_1,
            "as CAC-1 to CAC-4",
            frozenset({Mode.CONSISTENT}),
            (RuleId.CAC_1, RuleId.CAC_2, RuleId.CAC_3, RuleId.CAC_4),
        ),
        ContractRule(
            RuleId.CON_2,
            "what either side changes, the other sees at once",
            frozenset({Mode.CONSISTENT}),
        ),
        ContractRule(
            RuleId.DEF_1,
            "default is consistent itself, and leaves exports that overlap it as they are",
            frozenset({Mode.CONSISTENT}),
            (RuleId.CON_2,),
        ),
    )
}


def with_references(chosen: Iterable[RuleId]) -> tuple[RuleId, ...]:
    """*chosen* rules and all that they refer to, at any depth, in the contract's order."""
    found, obstacles = set[RuleId](), list(chosen)
    while obstacles:
        rule = obstacles.pop()
        if rule not in found:
            found.add(rule)
            obstacles += RULES[rule].refers_to
    return tuple(rule for rule in RuleId if rule in found)
