"""One emulated system as a value: latency, caching, files, events, and where each value comes from.

A profile is written as TOML (see profiles/osxfs.toml). It may start from
another (``extends``), and must say for each number it sets whether a source
documents it, a measurement was fitted to it, or it is assumed. It is read by profile_file.py;
finding the file is the catalogue's business.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from osxfs_sim.model.bugs import FaultSpec
from osxfs_sim.model.caching import (
    Cached,
    CachePolicy,
    Complete,
    Consistent,
    Default,
    Direct,
    Negative,
)
from osxfs_sim.model.events import (
    NO_EVENTS,
    EventSpec,
)
from osxfs_sim.model.latency import (
    NO_LATENCY,
    Constant,
    Distribution,
    LatencySpec,
    LogNormal,
)
from osxfs_sim.model.names import RULES
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.protocol import USUAL, ProtocolSpec
from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec

BASES = ("documented", "fitted", "assumed")


class ProfileError(UserError, ValueError):
    """A profile that cannot be used; the message is for its author and names the remedy."""


@dataclass(frozen=True, slots=True)
class ValueSource:
    """Where a value of a profile comes from."""

    basis: str
    """documented, fitted or assumed."""
    text: str
    """Where it is documented, what it was fitted to, or why it is assumed."""


@dataclass(frozen=True, slots=True)
class CachingSpec:
    """What a profile caches: a policy and its numbers.

    A timeout that was not set is None, which caches nothing as 0 does: but 0 was meant.
    """

    policy: str = "consistent"
    """The name of the policy: a key of POLICIES."""
    cache_timeout_ns: int | None = None
    """The entry and attribute timeout of what exists; None: not set, which caches nothing."""
    negative_timeout_ns: int | None = None
    """The timeout of negative entries; None: not set, which caches none."""
    keep_pages: bool = True
    """Whether the page cache outlives an open (FOPEN_KEEP_CACHE)."""

    @property
    def caches(self) -> bool:
        """Whether a timeout above 0 applies, so that any answer of the host is cached at all."""
        heard = POLICIES[self.policy]
        of_missing = "negative_timeout" in heard and bool(self.negative_timeout_ns)
        return ("cache_timeout" in heard and bool(self.cache_timeout_ns)) or of_missing

    def build(self) -> CachePolicy:
        """A new cache policy of this name and numbers. Raises AssertionError if name is unknown."""
        timeouts = self.cache_timeout_ns or 0, self.negative_timeout_ns or 0
        match self.policy:
            case "consistent":
                return Consistent()
            case "direct":
                return Direct()
            case "default":
                return Default()
            case "cached":
                return Cached(timeouts[0], keeps_pages=self.keep_pages)
            case "negative":
                return Negative(*timeouts, keeps_pages=self.keep_pages)
            case "complete":
                return Complete(*timeouts, keeps_pages=self.keep_pages)
        raise AssertionError(f"unchecked policy {self.policy!r}")


# Which values each policy uses. One that is set where it is not used is a mistake to report, not
# to ignore.
POLICIES: Mapping[str, frozenset[str]] = {
    "consistent": frozenset(),
    "direct": frozenset(),
    "default": frozenset(),
    "cached": frozenset({"cache_timeout", "keep_pages"}),
    "negative": frozenset({"cache_timeout", "negative_timeout", "keep_pages"}),
    "complete": frozenset({"cache_timeout", "negative_timeout", "keep_pages"}),
}


class XattrPolicy(enum.StrEnum):
    """What becomes of extended attributes that the guest sets."""

    REFUSED = "refused"
    HOST = "host"


class Replaced(enum.StrEnum):
    """What the guest has of an object that the host has replaced, removed or moved.

    It matters for as long as the guest's kernel still takes a name for that object.
    """

    HELD = "held"
    """The object itself, as it is: the server holds a descriptor (O_PATH) of each object that
    was looked up, until the guest forgets it."""
    ANEW = "anew"
    """Whatever is there now: an object that none of its names leads to any more is ESTALE,
    which makes the guest's kernel look its path up anew."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """What the share keeps, refuses and shows of a file.

    *names* is a label of model.names.RULES.
    """

    ownership: Ownership = Ownership.OSXFS
    """Whose an object is shown to be."""
    names: str = "case-sensitive"
    """Which spellings are one name: a label of model.names.RULES."""
    extended_attributes: XattrPolicy = XattrPolicy.REFUSED
    """What becomes of those that the guest sets."""
    replaced: Replaced = Replaced.ANEW
    """What the guest has of an object that the host has replaced."""

    def with_value(self, key: str, value: object) -> "FileRules":
        """A copy with rule *key* set. Raises ProfileError for *value*, KeyError for *key*."""
        known = FILE_RULES[key]
        if not isinstance(value, str) or value not in known:
            raise ProfileError(f"unknown {key} {value!r}{nearest(str(value), known)}")
        match key:
            case "ownership":
                return replace(self, ownership=Ownership(value))
            case "names":
                return replace(self, names=value)
            case "replaced":
                return replace(self, replaced=Replaced(value))
        return replace(self, extended_attributes=XattrPolicy(value))


FILE_RULES: Mapping[str, tuple[str, ...]] = {
    # As plain texts: an enumeration would be offered by its members' names.
    "ownership": tuple(choice.value for choice in Ownership),
    "names": tuple(RULES),
    "extended_attributes": tuple(choice.value for choice in XattrPolicy),
    "replaced": tuple(choice.value for choice in Replaced),
}
"""The values that each of the rules can have."""


class Transport(enum.StrEnum):
    """How the host's directory reaches the guest."""

    REQUESTS = "requests"
    """Each request that the guest's caches do not answer crosses to a server on the host."""
    HOST = "host"
    """It does not have to: guest and host are one machine, as for containers on Linux."""
    COPY = "copy"
    """As a copy, in a file system of the guest's own."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One emulated system, with the source of each of its numbers."""

    name: str
    """What it is chosen by."""
    title: str
    """One line for lists."""
    about: str = ""
    """What it stands for, in sentences."""
    latency: LatencySpec = NO_LATENCY
    """What a round trip costs."""
    caching: CachingSpec = CachingSpec()
    """What the guest may keep, and for how long."""
    files: FileRules = FileRules()
    """Owners, names, extended attributes."""
    events: EventSpec = NO_EVENTS
    """What becomes of a change on the host."""
    write_back: WriteBackSpec | None = None
    """How the guest's changes are written back; None: they are written through."""
    sources: Mapping[str, ValueSource] = field(default_factory=dict)
    """For each value by its key, such as ``latency.metadata``: where it comes from."""
    transport: Transport = Transport.REQUESTS
    """How the host's directory reaches the guest."""
    synchronization: SyncSpec | None = None
    """How a copy and the host's directory are kept the same; None: they are not."""
    protocol: ProtocolSpec = USUAL
    """What the server asks the guest's kernel for."""
    bugs: tuple[FaultSpec, ...] = ()
    """What it does wrong on purpose (model/bugs.py)."""

    @property
    def is_local(self) -> bool:
        """Whether the guest works in a local directory, so that there are no requests at all."""
        return self.transport is not Transport.REQUESTS


def parse_distribution(text: str) -> Distribution:
    """The distribution that *text* says: ``constant`` or ``lognormal:SIGMA``. Raises UserError.

    The catalogue reads ``empirical:FILE``. Raises UserError for anything else.
    """
    kind, _, argument = text.partition(":")
    if kind == "constant" and not argument:
        return Constant()
    if kind == "lognormal":
        try:
            sigma = float(argument)
        except ValueError:
            raise UserError(
                f"{text!r}: write lognormal and its sigma, such as lognormal:0.2"
            ) from None
        return LogNormal(sigma)
    if kind == "empirical":
        raise UserError(
            f"{text!r}: a profile has no file of samples, write constant or lognormal:SIGMA; "
            f"samples are given with the option --distribution {text}"
        )
    raise UserError(
        f"unknown distribution {text!r}: write constant, lognormal:SIGMA or empirical:FILE"
    )


def _either(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def with_event_latency(events: EventSpec, latency_ns: int) -> EventSpec:
    """A copy of *events*, window *latency_ns*. Raises ProfileError if negative, or no stream.

    Raises ProfileError where there is no stream, and for a negative one.
    """
    if latency_ns < 0:
        raise ProfileError(f"event latency {latency_ns} ns is negative: 0 means at once")
    if events.stream is None:
        raise ProfileError(
            "an event latency has no effect without a stream of host events: "
            "use a profile that has one, such as osxfs"
        )
    return replace(events, stream=replace(events.stream, latency_ns=latency_ns))


def with_timeout(caching: CachingSpec, key: str, value_ns: int) -> CachingSpec:
    """A copy of *caching*, timeout *key* set. Raises ProfileError if unused or negative.

    Raises ProfileError where the policy does not use it, and for a negative one.
    """
    if value_ns < 0:
        raise ProfileError(f"{key} {value_ns} ns is negative: 0 means not at all")
    check_is_heard(caching, key)
    if key == "cache_timeout":
        return replace(caching, cache_timeout_ns=value_ns)
    return replace(caching, negative_timeout_ns=value_ns)


def check_caches(caching: CachingSpec, profile: str) -> None:
    """Raise ProfileError if the policy uses a timeout that is None, and so would cache nothing.

    *profile* is the name that the message says.
    """
    heard = POLICIES[caching.policy]
    for key, value_ns in (
        ("cache_timeout", caching.cache_timeout_ns),
        ("negative_timeout", caching.negative_timeout_ns),
    ):
        if key in heard and value_ns is None:
            what = "missing name" if key == "negative_timeout" else "answer"
            raise ProfileError(
                f"profile {profile!r}: the policy {caching.policy!r} caches no {what} without a "
                f"{key}: set caching.{key}, such as '10s' ('0s': not at all)"
            )


def check_keeps(caching: CachingSpec, profile: str) -> None:
    """Raise ProfileError if the policy of profile *profile* caches, but timeouts of 0 keep nothing.

    For a profile alone: a timeout of 0 that is given by an option is meant.
    """
    heard = POLICIES[caching.policy]
    said_to_be_0 = heard and not caching.caches and caching.cache_timeout_ns is not None
    if said_to_be_0 and not caching.keep_pages and caching.policy != "complete":
        raise ProfileError(
            f"profile {profile!r}: the policy {caching.policy!r} keeps nothing with timeouts of 0 "
            "and without pages: set a cache_timeout, or take the policy 'consistent'"
        )


def check_is_heard(caching: CachingSpec, key: str) -> None:
    """Raise ProfileError where *caching*'s policy does not use *key*, such as cache_timeout."""
    if key not in POLICIES[caching.policy]:
        heard = [policy for policy, keys in POLICIES.items() if key in keys]
        raise ProfileError(
            f"{key} has no effect under the policy {caching.policy!r}: use it with {_either(heard)}"
        )
