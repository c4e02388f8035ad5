"""What a comparison rests upon, and that each arm still is what it was when that began.

The digests are kept in the result (Comparison.sources, machine), so that it can be told later, too.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import Case, CaseError
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.shares import ArmMounter, MountedShare
from osxfs_sim.lab.trees import recipe_of
from osxfs_sim.sources import digest_of_program


def sources_of(
    case: Case, arms: Sequence[Arm], shares: ArmMounter, *, dilate: float, edits: str | None
) -> dict[str, Any]:
    """Digests of case, arms and edits that a comparison rests upon. Raises UserError for *edits*.

    *edits* is the stream of the host's edits, as --edits has it. Raises UserError for it.
    """
    sources: dict[str, Any] = {"recipe": recipe_of(case)}
    sources |= identities(arms, shares, dilate)
    if edits:
        stream = repr(parse_stream(edits))
        sources["edits"] = hashlib.sha256(stream.encode()).hexdigest()[:16]
    return sources


def identities(arms: Sequence[Arm], shares: ArmMounter, dilate: float) -> dict[str, dict[str, str]]:
    """Digests of what the mounted *arms* are now: ``systems`` and ``policies``, each by label."""
    found = {arm.label: shares.identity(arm, dilate=dilate) for arm in arms if not arm.is_native}
    return {
        "systems": {label: each.system for label, each in found.items()},
        "policies": {label: each.policy for label, each in found.items() if each.policy},
    }


def check_unchanged(comparison: Comparison, arm: Arm, shares: ArmMounter) -> None:
    """Raise CaseError if profile, policy or code of *arm* has changed since *comparison* began.

    Whoever works at a policy, a profile or this program edits it while others are measured.
    """
    now = identities((arm,), shares, comparison.dilate)
    changed = [
        what
        for what, key in (("the profile", "systems"), ("the source of the policy", "policies"))
        if now[key].get(arm.label) != comparison.sources.get(key, {}).get(arm.label)
    ]
    if digest_of_program() != comparison.machine.get("code"):
        changed.append("the code of osxfs-sim")
    if changed:
        raise CaseError(
            f"{' and '.join(changed)} of the arm {arm.label} changed while it was measured: what "
            "was measured before is kept; begin another comparison"
        )


@dataclass(frozen=True, slots=True)
class UnchangedArms:
    """Mounts the arms of a comparison, each only while it is what it was when that began."""

    comparison: Comparison
    """The comparison that they are of: it says what they were, and how times are dilated."""
    shares: ArmMounter
    """How an arm is mounted."""

    def mount(
        self, arm: Arm, seed: int, source: Path, mountpoint: Path
    ) -> AbstractContextManager[MountedShare]:
        """A context manager: *arm*, mounted. Raises CaseError if it changed since the start."""
        check_unchanged(self.comparison, arm, self.shares)
        return self.shares.mount(arm, source, mountpoint, seed=seed, dilate=self.comparison.dilate)
