"""What the answers of several runs under edits of the host came to, added up.

Each run's risk is a document of its own (coherence/answers/risk.py describes it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """Counts of the answers that the guest's caches gave about one kind of thing."""

    judged: int
    """How many could be judged."""
    stale: int
    """How many of them were not the host's at that moment."""


@dataclass(frozen=True, slots=True)
class StaleAnswers:
    """Counts of stale answers, over runs; one answer may be about several kinds of things."""

    runs: int
    """How many runs were watched."""
    changed: int
    """How many of them had another result than a native one under the same edits."""
    edits_made: int
    """Edits that the host has made."""
    recorded: int
    """Recorded answers about edited names."""
    judged: int
    """How many of those could be judged."""
    unknown: int
    """How many of those could not."""
    kinds: Mapping[str, JudgedAnswers]
    """Judged and stale answers per kind of thing."""
    ages_ns: tuple[int, ...]
    """How old each stale answer was, in ns, sorted."""

    @classmethod
    def of(cls, risks: Sequence[Mapping[str, Any]]) -> Self:
        """Add up *risks*, tables of judged answers per run. Raises KeyError for a missing key."""
        names = dict.fromkeys(name for risk in risks for name in risk["stale"])
        kinds = {
            name: [risk["stale"][name] for risk in risks if name in risk["stale"]] for name in names
        }
        return cls(
            runs=len(risks),
            changed=sum(risk.get("result") == "changed" for risk in risks),
            edits_made=sum(risk["edits"]["made"] for risk in risks),
            recorded=sum(risk["answers"]["recorded"] for risk in risks),
            judged=sum(risk["answers"]["judged"] for risk in risks),
            unknown=sum(risk["answers"]["unknown"] for risk in risks),
            kinds={
                name: JudgedAnswers(
                    sum(each["judged"] for each in found), sum(each["stale"] for each in found)
                )
                for name, found in kinds.items()
            },
            ages_ns=tuple(
                sorted(age for found in kinds.values() for each in found for age in each["ages_ns"])
            ),
        )

    @property
    def things_judged(self) -> int:
        """Judgements over all kinds of things: one answer may be judged about several."""
        return sum(kind.judged for kind in self.kinds.values())

    @property
    def stale(self) -> int:
        """Stale judgements over all kinds of things: an answer stale about two counts twice."""
        return sum(kind.stale for kind in self.kinds.values())
