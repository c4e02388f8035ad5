"""A sweep: the arms among which the frontier is looked for, as a file.

Arms are in groups, and only those of one group compete: what a user can choose
instead of each other. A policy is chosen; a latency is what the hypervisor has.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from osxfs_sim.model.user_error import UserError
from osxfs_sim.toml_files import FileKind, example

DEFAULT = "default"
_SHIPPED = resources.files("osxfs_sim.lab") / "sweeps"


@dataclass(frozen=True, slots=True)
class ArmGroup:
    """Arms that compete: what a user can choose instead of each other."""

    name: str
    """How the group is called in tables."""
    arms: tuple[str, ...] = field(metadata=example('["osxfs", "osxfs-cached"]'))
    """In words of the command line: what a user can choose instead of each other."""

    def __post_init__(self) -> None:
        if not self.arms:
            raise UserError('arms is empty: write such as arms = ["osxfs", "osxfs-cached"]')


@dataclass(frozen=True, slots=True)
class Sweep:
    """The arms among which the frontier is looked for, in groups."""

    title: str
    """What it sweeps, in a few words."""
    groups: tuple[ArmGroup, ...]
    """Each with a name of its own; an arm is in one of them."""
    reference: str | None = None
    """An arm without a share, to which none of the others is a rival; None: there is none."""

    def __post_init__(self) -> None:
        if not self.groups:
            raise UserError("it has no groups: write a table [[groups]] with a name and arms")
        for name, times in Counter(group.name for group in self.groups).items():
            if times > 1:
                raise UserError(f"two groups are called {name!r}: put their arms into one")
        for arm, times in Counter(self.arms).items():
            if times > 1:
                raise UserError(f"the arm {arm!r} is in it twice: an arm is in one group")

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms in words of the command line, the reference first."""
        reference = () if self.reference is None else (self.reference,)
        return (*reference, *(arm for group in self.groups for arm in group.arms))


SWEEP = FileKind("sweep", Sweep, shipped=_SHIPPED)


def sweep_names() -> list[str]:
    """The names of the sweeps that ship with the package, sorted."""
    return SWEEP.names()


def load_sweep(name: str) -> Sweep:
    """Read the shipped sweep of that name, or the file *name* that ends in .toml. Raises UserError.

    Raises UserError.
    """
    return SWEEP.load(name)


def sweep_from(document: Mapping[str, Any]) -> Sweep:
    """Make the Sweep of a parsed TOML *document*. Raises UserError where it is none."""
    return SWEEP.build(document)
