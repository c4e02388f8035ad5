"""A sweep: the arms among which the frontier is looked for, as a file.

Arms are in groups, and only those of one group compete: what a user can choose
instead of each other. A policy is chosen; a latency is what the hypervisor has.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from osxfs_sim.fs.reading import parse_toml, read_text
from osxfs_sim.model.user_error import UserError, nearest

DEFAULT = "default"
_SHIPPED = resources.files("osxfs_sim.lab") / "sweeps"
_KEYS = ("title", "reference", "groups")
_GROUP_KEYS = ("name", "arms")


@dataclass(frozen=True, slots=True)
class Group:
    """Arms, as words of the command line, that can be chosen instead of each other."""

    name: str
    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """*reference* is an arm without a share, to which none of the others is a rival."""

    title: str
    groups: tuple[Group, ...]
    reference: str | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """All of them, in words, the reference first."""
        reference = () if self.reference is None else (self.reference,)
        return (*reference, *(arm for group in self.groups for arm in group.arms))


def sweep_names() -> list[str]:
    """The sweeps that ship with the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _SHIPPED.iterdir()
        if entry.name.endswith(".toml")
    )


def load_sweep(name: str) -> Sweep:
    """The sweep of that name, or in the file of that path if *name* ends in ``.toml``.

    Raises UserError.
    """
    if name.endswith(".toml"):
        try:
            text = read_text(name)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"cannot read the sweep {name}: {reason}") from error
    elif name in sweep_names():
        text = (_SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise UserError(f"unknown sweep {name!r}{nearest(name, sweep_names())}")
    try:
        return sweep_from(parse_toml(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"the sweep {name} is not valid TOML: {error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"the sweep {name}: {error}") from error


def sweep_from(document: Mapping[str, Any]) -> Sweep:
    """The sweep in a parsed *document*. Raises TypeError or ValueError."""
    _check_keys(document, _KEYS, ("title", "groups"))
    groups = tuple(_group(table) for table in document["groups"])
    for name, times in Counter(group.name for group in groups).items():
        if times > 1:
            raise ValueError(f"two groups are called {name!r}: put their arms into one")
    sweep = Sweep(
        title=_text(document["title"], "title"),
        groups=groups,
        reference=_text(document["reference"], "reference") if "reference" in document else None,
    )
    if not groups:
        raise ValueError("it has no groups: write a table [[groups]] with a name and arms")
    for arm, times in Counter(sweep.arms).items():
        if times > 1:
            raise ValueError(f"the arm {arm!r} is in it twice: an arm is in one group")
    return sweep


def _group(table: Any) -> Group:
    if not isinstance(table, Mapping):
        raise TypeError("groups are tables: write [[groups]] with a name and arms")
    _check_keys(table, _GROUP_KEYS, _GROUP_KEYS)
    name = _text(table["name"], "name")
    arms = table["arms"]
    if isinstance(arms, str) or not isinstance(arms, Sequence) or not arms:
        raise ValueError(f'the group {name!r}: arms is a list such as ["osxfs", "osxfs-cached"]')
    return Group(name, tuple(_text(arm, "arms") for arm in arms))


def _check_keys(table: Mapping[str, Any], known: Sequence[str], needed: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"unknown key {key!r}{nearest(key, known)}")
    for key in needed:
        if key not in table:
            raise ValueError(f"it lacks {key!r}")


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{key} is text between quotes, and not {value!r}")
    return value
