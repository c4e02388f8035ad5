"""Whether a comparison may go on: only where everything that it compares is as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from osxfs_sim.lab.results import Comparison, ResultError

_OF_THE_MACHINE = ("processor", "cores", "kernel")
_UNKNOWN = "not saved"
"""By a version that kept no digest, which is another one."""


def check_resumable(then: Comparison, now: Comparison, where: str | Path) -> None:
    """Raise ResultError, naming the first difference, unless *then* measures the same as *now*."""
    for what, before, after in _changes(then, now):
        raise ResultError(
            f"{where} cannot be resumed: {what} was {before}, and is {after}: "
            "begin another comparison, or undo the change"
        )


def _changes(then: Comparison, now: Comparison) -> Iterator[tuple[str, Any, Any]]:
    pairs: list[tuple[str, Any, Any]] = [
        ("the case", then.case, now.case),
        ("its variant", then.variant, now.variant),
        ("its form", _form(then), _form(now)),
        ("its options", then.options, now.options),
        ("the list of arms", then.arms, now.arms),
        ("the baseline", then.baseline, now.baseline),
        ("the state of the caches", then.caches, now.caches),
        ("the seed", then.seed, now.seed),
        ("the dilation of time", then.dilate, now.dilate),
        ("what each mount is measured for", _kinds(then), _kinds(now)),
        ("the edits", then.plan.get("edits"), now.plan.get("edits")),
        ("the recipe of the case", then.sources.get("recipe"), now.sources.get("recipe")),
    ]
    pairs += [
        (f"the arm {label}", spec, now.specs.get(label)) for label, spec in then.specs.items()
    ]
    systems = now.sources.get("systems", {})
    pairs += [
        (f"what the profile of {label} says (its digest)", digest, systems.get(label))
        for label, digest in then.sources.get("systems", {}).items()
    ]
    pairs += [
        (f"the {key} of the machine", then.machine.get(key), now.machine.get(key))
        for key in _OF_THE_MACHINE
    ]
    before = then.sources.get("policies", {})
    pairs += [
        (f"the source of the policy of {label} (its digest)", before.get(label, _UNKNOWN), digest)
        for label, digest in now.sources.get("policies", {}).items()
    ]
    pairs.append(("the version of osxfs-sim", _version(then), _version(now)))
    if "edits" in now.sources:
        pattern = then.sources.get("edits", _UNKNOWN)
        pairs.append(("what the edits do (its digest)", pattern, now.sources["edits"]))
    if "code" in now.machine:
        code = then.machine.get("code", _UNKNOWN)
        pairs.append(("the code of osxfs-sim (its digest)", code, now.machine["code"]))
    return ((what, before, after) for what, before, after in pairs if before != after)


def _version(comparison: Comparison) -> Any:
    return comparison.machine.get("packages", {}).get("osxfs-sim")


def _form(comparison: Comparison) -> str:
    return "quick" if comparison.quick else "whole"


def _kinds(comparison: Comparison) -> str:
    return "fresh and again" if comparison.plan.get("again") else "fresh"
