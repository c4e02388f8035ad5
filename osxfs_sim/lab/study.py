"""A study: a published table to be measured again, as a file.

It says which platforms were published, which profile stands for each, and what came
out there; and what else has been published that the profiles were not fitted to
(checks), with the cases that these need (others). The four topologies are those of the
seed's benchmark. Everything published is in the file, and nothing of it in the code.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.toml_files import FileKind, example, written

TABLE = "table"
"""What a check calls the comparison of the published table itself."""
_SHIPPED = resources.files("osxfs_sim.lab") / "studies"


class Topology(enum.StrEnum):
    """Where the project lies, and where what the workload makes in it."""

    NATIVE = "native"
    """No container at all."""
    NO_VOLUMES = "no_volumes"
    """In the guest's own file system."""
    HYBRID = "hybrid"
    """On a share, with a volume for what the workload makes."""
    BIND = "bind"
    """On a share."""


@dataclass(frozen=True, slots=True)
class PublishedTime:
    """A published time, with the range that it was published with, if it was."""

    average_s: float
    """The published average, in seconds."""
    least_s: float | None = None
    """The fastest run, in seconds; None where it was not published."""
    most_s: float | None = None
    """The slowest run, in seconds; None where it was not published."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A row of the table."""

    name: str
    """As the table's row is called."""
    profile: str
    """The name of the profile that stands for it."""
    times: Mapping[Topology, PublishedTime]
    """The published times of each topology."""
    dilations: tuple[float, ...] = ()
    """The K at which its bind mount is measured besides the one that makes the machines alike."""

    def ratio(self, topology: Topology) -> float:
        """The published time of *topology* over the native. Raises KeyError if one is missing."""
        return self.times[topology].average_s / self.times[Topology.NATIVE].average_s

    @property
    def added_s(self) -> float:
        """The published seconds that the bind mount takes more than no volumes."""
        return self.times[Topology.BIND].average_s - self.times[Topology.NO_VOLUMES].average_s


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read off a comparison: the median of an arm, alone or with another one's."""

    comparison: str = field(metadata=written("case"))
    """The name of one of the study's others, or TABLE."""
    arm: str
    """The label of the arm whose median is read."""
    kind: str = "fresh"
    """Of the runs: ``fresh`` or ``again``."""
    over: str | None = None
    """The arm to divide by; None: seconds are read."""
    minus: str | None = None
    """The arm whose median is subtracted first; None: nothing is."""


@dataclass(frozen=True, slots=True)
class Check:
    """A published result that nothing was fitted to, and how to read ours."""

    text: str
    """What was published, a sentence."""
    source: str
    """Who published it, where and when."""
    published: float
    """The published value, in *unit*."""
    unit: str
    """One of UNITS: ``s``, ``times``, or ``less`` (the share of the time that is saved)."""
    reading: Reading | None
    """How ours is read; None where it is not run."""
    not_run: str = ""
    """Why there is no result of ours; empty where there is one."""


@dataclass(frozen=True, slots=True)
class Other:
    """A comparison that the checks need besides the published table."""

    name: str
    """By which checks refer to it."""
    case: str
    """The name of the case."""
    variant: str | None
    """The case's variant; None: its first."""
    arms: tuple[str, ...]
    """The arms, in words of the command line."""
    again: bool
    """Whether each mount is measured twice."""


@dataclass(frozen=True, slots=True)
class _Heading:
    """What is said of a published table as a whole, as it stands in the file."""

    name: str
    """The study's name, as ``reproduce`` is given it."""
    title: str
    """What was published, in a few words."""
    case: str
    """The name of the case that the table is of."""
    volume: str
    """The path in the case's tree that is a volume in the hybrid topology."""
    local: str
    """The name of the profile that stands for a guest's own file system."""
    source: str
    """Who published the table, under which title, and when."""
    machine: str
    """What it was measured on, as the source has it."""


@dataclass(frozen=True, slots=True)
class Study(_Heading):
    """A published table, and what it takes to measure it again."""

    platforms: tuple[Platform, ...]
    """The rows of the table."""
    checks: tuple[Check, ...] = ()
    """Published results that the profiles were not fitted to."""
    others: tuple[Other, ...] = ()
    """Comparisons that the checks need besides the table's own."""
    extra_arms: Mapping[str, str] | None = None
    """More arms of the table's own case, by label, in words of the command line."""


UNITS = ("s", "times", "less")


# The tables of the file, as they are written.

_Written = float | tuple[float, ...]
_TIME = example("2.1 (seconds), or [average, least, most]")


@dataclass(frozen=True, slots=True)
class _PlatformTable:
    name: str
    profile: str
    native: _Written = field(metadata=_TIME)
    no_volumes: _Written = field(metadata=_TIME)
    hybrid: _Written = field(metadata=_TIME)
    bind: _Written = field(metadata=_TIME)
    dilations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(not one > 0 for one in self.dilations):
            raise UserError(f"{self.name}: dilations are numbers above 0")
        for topology in Topology:
            written = getattr(self, topology.value)
            if isinstance(written, tuple) and len(written) not in (1, 3):
                raise UserError(
                    f"{self.name}: {topology.value} is seconds, or [average, least, most]"
                )
            time = self.time(topology)
            if not all(one is None or one > 0 for one in (time.average_s, time.least_s)):
                raise UserError(f"{self.name}: {topology.value} is above 0 s")

    def time(self, topology: Topology) -> PublishedTime:
        written: _Written = getattr(self, topology.value)
        return PublishedTime(*written) if isinstance(written, tuple) else PublishedTime(written)

    def built(self) -> Platform:
        times = {topology: self.time(topology) for topology in Topology}
        return Platform(self.name, self.profile, times, self.dilations)


@dataclass(frozen=True, slots=True)
class _OtherTable:
    case: str
    arms: tuple[str, ...]
    name: str | None = None
    variant: str | None = None
    again: bool = False

    def built(self) -> Other:
        return Other(self.name or self.case, self.case, self.variant, self.arms, self.again)


@dataclass(frozen=True, slots=True)
class _CheckTable:
    text: str
    source: str
    published: float
    unit: str
    value: Reading | None = None
    not_run: str | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UserError(f"unknown unit {self.unit!r}{nearest(self.unit, UNITS)}")
        if self.value is None and self.not_run is None:
            raise UserError("it lacks 'value', or 'not_run' with the reason")

    def built(self) -> Check:
        reading = self.value if self.not_run is None else None
        return Check(
            *(self.text, self.source, self.published, self.unit, reading), self.not_run or ""
        )


@dataclass(frozen=True, slots=True)
class _ExtraArmTable:
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class _StudyFile(_Heading):
    platforms: tuple[_PlatformTable, ...]
    checks: tuple[_CheckTable, ...] = ()
    others: tuple[_OtherTable, ...] = ()
    extra_arms: tuple[_ExtraArmTable, ...] = ()

    def __post_init__(self) -> None:
        if not self.platforms:
            raise UserError("it has no platforms: write a table [[platforms]] for each")
        known = {TABLE, *(other.built().name for other in self.others)}
        for check in self.checks:
            read = check.built().reading
            if read is None:
                continue
            if read.comparison not in known:
                raise UserError(
                    f"a check reads {read.comparison!r}, which is none of its cases"
                    f"{nearest(read.comparison, known)}"
                )
            if (check.unit == "s") == (read.over is not None):
                raise UserError(f"the check {check.text!r}: seconds need no 'over', others do")

    def built(self) -> Study:
        return Study(
            *(self.name, self.title, self.case, self.volume, self.local, self.source),
            machine=self.machine,
            platforms=tuple(one.built() for one in self.platforms),
            checks=tuple(one.built() for one in self.checks),
            others=tuple(one.built() for one in self.others),
            extra_arms={one.label: one.words for one in self.extra_arms},
        )


STUDY = FileKind("study", _StudyFile, shipped=_SHIPPED)


def study_names() -> list[str]:
    """The names of the studies that ship with the package, sorted."""
    return STUDY.names()


def load_study(name: str) -> Study:
    """Read the shipped study of that name, or the file *name* that ends in .toml. Raises UserError.

    Raises UserError, in one line.
    """
    return STUDY.load(name).built()


def study_from(document: Mapping[str, Any]) -> Study:
    """Make the Study of a parsed TOML *document*. Raises UserError where it is none."""
    return STUDY.build(document).built()
