"""The arms of a comparison: a case under one configuration each, under a name.

An arm is written as one word of the command line: ``native``, ``osxfs``,
``osxfs --latency 65us``, or with a name of one's own,
``cached=osxfs-cached --cache-timeout 1s``. Here it is only taken apart; what its
options mean is known where the options of a share are (cli/arms.py).
"""

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osxfs_sim.model.user_error import UserError

NATIVE = "native"
"""The profile of an arm without a share: the host's tree itself."""

_NAMED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._+-]*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arm:
    """A case under one configuration, under a name."""

    label: str
    """The arm's name, unique in a comparison."""
    profile: str
    """``native``, or a profile's name or file. ``native`` by itself is the tree itself, without a
    share; with a volume it is the profile of that name, since something is mounted then."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of a share that were given: plain values, named as the fields of ShareSettings."""

    @property
    def is_native(self) -> bool:
        """Whether nothing is mounted: the command runs in the host's tree itself."""
        return self.profile == NATIVE and "volumes" not in self.options

    def spec(self) -> dict[str, Any]:
        """A dict of the arm's ``profile`` and ``options``, as a result file keeps an arm."""
        return {"profile": self.profile, "options": dict(self.options)}


def words_of(text: str) -> tuple[str, list[str]]:
    """Split *text*, ``[label=]profile --option ...``, into label and words. Raises UserError."""
    named = _NAMED.fullmatch(text)
    try:
        words = shlex.split(named[2] if named else text)
    except ValueError as error:
        raise UserError(f"the arm {text!r} cannot be read: {error}") from error
    if not words:
        raise UserError(f"the arm {text!r} is empty: write native, or a profile such as osxfs")
    return (named[1] if named else " ".join(words)), words


def check_labels(arms: Sequence[Arm]) -> None:
    """Raise UserError unless the labels of *arms* all differ."""
    for label, times in Counter(arm.label for arm in arms).items():
        if times > 1:
            raise UserError(
                f"two arms are called {label!r}: name one of them, as in 'other={label}'; "
                "to compare an arm with itself, use --aa"
            )


def check_arms(arms: Sequence[Arm]) -> None:
    """Raise UserError unless *arms* can be compared: two or more, no label twice."""
    check_labels(arms)
    if len(arms) < 2:
        raise UserError("a comparison takes two arms: add --arm native, for one")


def twins_of(arm: Arm) -> tuple[Arm, Arm]:
    """*arm* twice, labelled (A) and (B), for a comparison of an arm with itself."""
    return (
        Arm(f"{arm.label} (A)", arm.profile, arm.options),
        Arm(f"{arm.label} (B)", arm.profile, arm.options),
    )
