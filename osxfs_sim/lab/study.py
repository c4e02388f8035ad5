"""A study: a published table to be measured again, as a file.

It says which platforms were published, which profile stands for each, and what came
out there; and what else has been published that the profiles were not fitted to
(checks), with the cases that these need (others). The four topologies are those of the
seed's benchmark. Everything published is in the file, and nothing of it in the code.
"""

import enum
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from osxfs_sim.fs.reading import parse_toml, read_text
from osxfs_sim.model.user_error import UserError, nearest

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
    """Seconds: the average, and the range that it was published with, if it was."""

    average_s: float
    least_s: float | None = None
    most_s: float | None = None


@dataclass(frozen=True, slots=True)
class Platform:
    """A row of the table: *times* per topology, and the *profile* that stands for it.

    *dilations* are those at which its bind mount is measured besides the one that makes
    the machines alike.
    """

    name: str
    profile: str
    times: Mapping[Topology, PublishedTime]
    dilations: tuple[float, ...] = ()

    def ratio(self, topology: Topology) -> float:
        """Published: *topology* over native."""
        return self.times[topology].average_s / self.times[Topology.NATIVE].average_s

    @property
    def added_s(self) -> float:
        """Published: what the bind mount takes more than no volumes, in seconds."""
        return self.times[Topology.BIND].average_s - self.times[Topology.NO_VOLUMES].average_s


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read off a comparison: the median of an arm, alone or with another one's.

    *comparison* names it; *over* is the arm to divide by, *minus* the one to subtract.
    """

    comparison: str
    arm: str
    kind: str = "fresh"
    over: str | None = None
    minus: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A published result that nothing was fitted to, and how to read ours.

    *unit* is ``s``, ``times`` or ``less`` (a share by which something takes less time).
    *not_run* says why there is no result of ours; *reading* is None then.
    """

    text: str
    source: str
    published: float
    unit: str
    reading: Reading | None
    not_run: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """Another case that the checks need: its arms in words, ``again`` if measured twice."""

    name: str
    case: str
    variant: str | None
    arms: tuple[str, ...]
    again: bool


@dataclass(frozen=True, slots=True)
class Study:
    """A published table. *volume* is the path that is a volume in the hybrid topology.

    *local* is the profile of a guest's own file system; *extra_arms* are more arms of the
    table's own case, by label, in words.
    """

    name: str
    title: str
    case: str
    volume: str
    local: str
    source: str
    machine: str
    platforms: tuple[Platform, ...]
    checks: tuple[Check, ...] = ()
    others: tuple[Other, ...] = ()
    extra_arms: Mapping[str, str] | None = None


UNITS = ("s", "times", "less")
_KEYS = (
    *("name", "title", "case", "volume", "local", "source", "machine"),
    *("platforms", "checks", "others", "extra_arms"),
)


def study_names() -> list[str]:
    """The studies that ship with the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _SHIPPED.iterdir()
        if entry.name.endswith(".toml")
    )


def load_study(name: str) -> Study:
    """The study of that name, or in the file of that path if *name* ends in ``.toml``.

    Raises UserError, in one line.
    """
    if name.endswith(".toml"):
        try:
            text = read_text(name)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"cannot read the study {name}: {reason}") from error
    elif name in study_names():
        text = (_SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise UserError(f"unknown study {name!r}{nearest(name, study_names())}")
    try:
        return study_from(parse_toml(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"the study {name} is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the study {name}: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]!r}"
    return str(error)


def study_from(document: Mapping[str, Any]) -> Study:
    """The study in a parsed *document*. Raises KeyError, TypeError or ValueError."""
    for key in document:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}{nearest(key, _KEYS)}")
    platforms = tuple(_platform(table) for table in document["platforms"])
    if not platforms:
        raise ValueError("it has no platforms: write a table [[platforms]] for each")
    others = tuple(_other(table) for table in document.get("others", ()))
    known = {TABLE, *(other.name for other in others)}
    checks = tuple(_check(table, known) for table in document.get("checks", ()))
    return Study(
        name=str(document["name"]),
        title=str(document["title"]),
        case=str(document["case"]),
        volume=str(document["volume"]),
        local=str(document["local"]),
        source=str(document["source"]),
        machine=str(document["machine"]),
        platforms=platforms,
        checks=checks,
        others=others,
        extra_arms={str(one["label"]): str(one["words"]) for one in document.get("extra_arms", ())},
    )


def _platform(table: Mapping[str, Any]) -> Platform:
    name = str(table["name"])
    times = {topology: _time(name, topology, table[topology.value]) for topology in Topology}
    dilations = tuple(float(one) for one in table.get("dilations", ()))
    if any(not one > 0 for one in dilations):
        raise ValueError(f"{name}: dilations are numbers above 0")
    return Platform(name, str(table["profile"]), times, dilations)


def _time(name: str, topology: Topology, written: Any) -> PublishedTime:
    values: list[Any] = list(written) if isinstance(written, Sequence) else [written]
    if len(values) not in (1, 3) or not all(isinstance(one, int | float) for one in values):
        raise ValueError(f"{name}: {topology.value} is seconds, or [average, least, most]")
    if not all(one > 0 for one in values):
        raise ValueError(f"{name}: {topology.value} is above 0 s")
    return PublishedTime(*(float(one) for one in values))


def _other(table: Mapping[str, Any]) -> Other:
    case = str(table["case"])
    return Other(
        name=str(table.get("name", case)),
        case=case,
        variant=table.get("variant"),
        arms=tuple(str(arm) for arm in table["arms"]),
        again=bool(table.get("again", False)),
    )


def _check(table: Mapping[str, Any], known: set[str]) -> Check:
    unit = str(table["unit"])
    if unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}{nearest(unit, UNITS)}")
    reading = None
    if "not_run" not in table:
        value = dict(table["value"])
        name = str(value.pop("case"))
        if name not in known:
            raise ValueError(
                f"a check reads {name!r}, which is none of its cases{nearest(name, known)}"
            )
        reading = Reading(name, **value)
        if (unit == "s") == (reading.over is not None):
            raise ValueError(f"the check {table['text']!r}: seconds need no 'over', others do")
    return Check(
        text=str(table["text"]),
        source=str(table["source"]),
        published=float(table["published"]),
        unit=unit,
        reading=reading,
        not_run=str(table.get("not_run", "")),
    )
