"""One emulated system as a value: latency, caching, files, events, and where each value comes from.

A profile is written as TOML (see profiles/osxfs.toml). It may start from
another (``extends``), and must say for each number it sets whether a source
documents it, a measurement was fitted to it, or it is assumed. Knows how to
read a parsed document; finding the file is the catalogue's business.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osxfs_sim.model.bugs import BUGS, Ailment, Bug, parse_ailment, together
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
    WHEN_MODIFIES_ARE_SEEN,
    EventSpec,
    NotifySpec,
    StreamSpec,
)
from osxfs_sim.model.latency import (
    NO_LATENCY,
    Constant,
    DataPath,
    Distribution,
    LatencySpec,
    LogNormal,
)
from osxfs_sim.model.names import RULES
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.protocol import READDIRPLUS, USUAL, ProtocolSpec
from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.model.units import parse_duration_ns, parse_rate_bytes_per_s, parse_size_bytes
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec

BASES = ("documented", "fitted", "assumed")


class ProfileError(UserError, ValueError):
    """A profile that cannot be used; the message is for its author and names the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: *basis* is documented, fitted or assumed."""

    basis: str
    """documented, fitted or assumed."""
    text: str
    """Where it is documented, what it was fitted to, or why it is assumed."""


@dataclass(frozen=True, slots=True)
class CachingSpec:
    """Which policy, its lifetimes in nanoseconds, and whether pages outlive an open.

    A lifetime that nobody has set is None, which believes nothing as 0 does: but 0 was meant.
    """

    policy: str = "consistent"
    lifetime_ns: int | None = None
    missing_lifetime_ns: int | None = None
    keep_pages: bool = True

    @property
    def believes(self) -> bool:
        """Whether any answer of the host outlives the question."""
        heard = POLICIES[self.policy]
        of_missing = "missing_lifetime" in heard and bool(self.missing_lifetime_ns)
        return ("lifetime" in heard and bool(self.lifetime_ns)) or of_missing

    def build(self) -> CachePolicy:
        lifetimes = self.lifetime_ns or 0, self.missing_lifetime_ns or 0
        match self.policy:
            case "consistent":
                return Consistent()
            case "direct":
                return Direct()
            case "default":
                return Default()
            case "cached":
                return Cached(lifetimes[0], keeps_pages=self.keep_pages)
            case "negative":
                return Negative(*lifetimes, keeps_pages=self.keep_pages)
            case "complete":
                return Complete(*lifetimes, keeps_pages=self.keep_pages)
        raise AssertionError(f"unchecked policy {self.policy!r}")


# Which values each policy listens to. One that is set where it is not heard is
# a mistake to report, not to ignore.
POLICIES: Mapping[str, frozenset[str]] = {
    "consistent": frozenset(),
    "direct": frozenset(),
    "default": frozenset(),
    "cached": frozenset({"lifetime", "keep_pages"}),
    "negative": frozenset({"lifetime", "missing_lifetime", "keep_pages"}),
    "complete": frozenset({"lifetime", "missing_lifetime", "keep_pages"}),
}


class GuestAttributes(enum.StrEnum):
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
    extended_attributes: GuestAttributes = GuestAttributes.REFUSED
    """What becomes of those that the guest sets."""
    replaced: Replaced = Replaced.ANEW
    """What the guest has of an object that the host has replaced."""

    def with_value(self, key: str, value: object) -> "FileRules":
        """With one of them set. Raises ProfileError for a value it cannot have."""
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
        return replace(self, extended_attributes=GuestAttributes(value))


FILE_RULES: Mapping[str, tuple[str, ...]] = {
    # As plain texts: an enumeration would be offered by its members' names.
    "ownership": tuple(choice.value for choice in Ownership),
    "names": tuple(RULES),
    "extended_attributes": tuple(choice.value for choice in GuestAttributes),
    "replaced": tuple(choice.value for choice in Replaced),
}
"""The values that each of the rules can have."""


class Transport(enum.StrEnum):
    """How the host's directory reaches the guest."""

    REQUESTS = "requests"
    """Each question that the guest's caches do not answer crosses to a server on the host."""
    HOST = "host"
    """It does not have to: guest and host are one machine, as for containers on Linux."""
    COPY = "copy"
    """As a copy, in a file system of the guest's own."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One emulated system."""

    name: str
    """As it is asked for."""
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
    """How the guest's changes are held; None: they are on the host when they are acknowledged."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """For each value by its key, such as ``latency.metadata``: where it comes from."""
    transport: Transport = Transport.REQUESTS
    """How the host's directory reaches the guest."""
    synchronization: SyncSpec | None = None
    """How a copy and the host's directory are kept the same; None: they are not."""
    protocol: ProtocolSpec = USUAL
    """What the server asks the guest's kernel for."""
    bugs: tuple[Ailment, ...] = ()
    """What it does wrong on purpose (model/bugs.py)."""

    @property
    def is_local(self) -> bool:
        """Whether the guest works in a directory of this machine, without a request."""
        return self.transport is not Transport.REQUESTS


_OF_REQUESTS = ("latency", "caching", "files", "events", "protocol", "write_back", "bugs")
_VALUE_TABLES = ("share", *_OF_REQUESTS, "synchronization")
_TOP_KEYS = ("name", "title", "about", "extends", *_VALUE_TABLES, "sources")
_PATH_KEYS = ("copies", "context_switches", "copy", "context_switch", "hypervisor_hop")
_LATENCY_KEYS = (
    "factor",
    *(operation_class.label for operation_class in OperationClass),
    "bandwidth",
    "distribution",
    "served_at_once",
    "data_path",
)
_CACHING_KEYS = ("policy", "lifetime", "missing_lifetime", "keep_pages")
_STREAMS = ("none", "fsevents")
_STREAM_KEYS = ("latency", "no_defer", "most_pending")
_NOTIFY_KEYS = (
    "creates",
    "modifies",
    "attributes",
    "deletes",
    "touches",
    "debounce_files",
    "debounce_directories",
)
_PROTOCOL_KEYS = ("readdirplus", "parallel_directories")
_WRITE_BACK_KEYS = ("held", "age", "changes", "bytes", "in_flight", "kernel")
_SHARE_KEYS = ("transport",)
_SYNCHRONIZATION_KEYS = ("mode", "latency", "rescan", "ignored", "ignore_vcs", "most_file_size")
_EVENT_KEYS = ("stream", *_STREAM_KEYS, "inotify", *_NOTIFY_KEYS)


def profile_from_document(document: Mapping[str, Any], parent: Profile | None) -> Profile:
    """The profile that a parsed TOML *document* describes, on top of *parent*.

    Raises ProfileError for an unknown key (naming the nearest known one), a
    value that cannot be read, or one that would have no effect.
    """
    _check_keys(document, _TOP_KEYS, "")
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise ProfileError("a profile needs a name")
    start = parent or Profile(name=name, title=name)
    transport = _transport(document, start)
    if transport is not start.transport:
        # Nothing of what is said of one way holds for another.
        start = Profile(name=name, title=start.title, about=start.about)
    try:
        synchronization = _synchronization(
            _table(document, "synchronization"), start.synchronization, transport
        )
        latency = _latency(_table(document, "latency"), start.latency)
        caching = _caching(_table(document, "caching"), start.caching)
        files = _files(_table(document, "files"), start.files)
        events = _events(_table(document, "events"), start.events)
        protocol = _protocol(_table(document, "protocol"), start.protocol)
        write_back = _write_back(_table(document, "write_back"), start.write_back)
        bugs = _bugs(_table(document, "bugs"), start.bugs)
    except ProfileError:
        raise
    except UserError as error:
        raise ProfileError(f"profile {name!r}: {error}") from error
    if protocol != USUAL and write_back is not None:
        raise ProfileError(
            f"profile {name!r}: a protocol of its own cannot be had with write-back: "
            "use readdirplus = 'always' and parallel_directories = false, or held = false"
        )
    # What the parent said about a number says nothing about the child's.
    own = {f"{table}.{key}" for table in _VALUE_TABLES for key in _table(document, table)}
    if "latency.factor" in own:
        own |= {f"latency.{operation_class.label}" for operation_class in OperationClass}
    sources = {key: source for key, source in start.sources.items() if key not in own}
    for key, entry in _table(document, "sources").items():
        sources[key] = _source(key, entry)
    if "latency.factor" in own and "latency.factor" in sources:
        for operation_class in OperationClass:
            # A product is as well known as its factor.
            sources.setdefault(f"latency.{operation_class.label}", sources["latency.factor"])
    return replace(
        start,
        name=name,
        title=str(document.get("title", start.title)),
        about=" ".join(str(document.get("about", start.about)).split()),
        latency=latency,
        caching=caching,
        files=files,
        events=events,
        protocol=protocol,
        write_back=write_back,
        sources=sources,
        transport=transport,
        synchronization=synchronization,
        bugs=bugs,
    )


def _transport(document: Mapping[str, Any], start: Profile) -> Transport:
    table = _table(document, "share")
    _check_keys(table, _SHARE_KEYS, "share.")
    transport = start.transport
    if "transport" in table:
        known = tuple(choice.value for choice in Transport)
        transport = Transport(_word(table, "transport", "share.", known))
    if transport is not Transport.REQUESTS:
        for key in _OF_REQUESTS:
            if _table(document, key):
                raise ProfileError(
                    f"[{key}] has no effect where nothing is requested: leave it out, or set "
                    "share.transport = 'requests'"
                )
    return transport


def _synchronization(
    table: Mapping[str, Any], start: SyncSpec | None, transport: Transport
) -> SyncSpec | None:
    where = "synchronization."
    _check_keys(table, _SYNCHRONIZATION_KEYS, where)
    if table and transport is not Transport.COPY:
        raise ProfileError(
            "[synchronization] has no effect without a copy: set share.transport = 'copy'"
        )
    if not table:
        return start
    spec = start or SyncSpec()
    if "mode" in table:
        known = tuple(choice.value for choice in SyncMode)
        spec = replace(spec, mode=SyncMode(_word(table, "mode", where, known)))
    if "latency" in table:
        spec = replace(spec, latency_ns=parse_duration_ns(_text(table, "latency", where)))
    if "rescan" in table:
        rescan_ns = parse_duration_ns(_text(table, "rescan", where))
        if rescan_ns == 0:
            raise ProfileError("synchronization.rescan = 0: it would never rest; write such as 10s")
        spec = replace(spec, rescan_ns=rescan_ns)
    if "ignored" in table:
        ignored = table["ignored"]
        if not isinstance(ignored, list) or not all(isinstance(each, str) for each in ignored):
            raise ProfileError(
                f"synchronization.ignored = {ignored!r} is no list of patterns: write such as "
                "['*.tmp', 'build/']"
            )
        spec = replace(spec, ignored=tuple(ignored))
    if "ignore_vcs" in table:
        spec = replace(spec, ignore_vcs=_truth(table, "ignore_vcs", where))
    if "most_file_size" in table:
        most_bytes = parse_size_bytes(_text(table, "most_file_size", where))
        spec = replace(spec, most_file_bytes=most_bytes)
    return spec


def _table(document: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, Mapping):
        raise ProfileError(f"{key!r} must be a table: write [{where}{key}]")
    return table


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ProfileError(f"unknown key {where + key!r}{nearest(key, known)}")


_EXAMPLES = {
    "bandwidth": "250MB/s",
    "distribution": "constant",
    "bytes": "128MB",
    "most_file_size": "100MB",
}


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        example = _EXAMPLES.get(key, "130us")
        raise ProfileError(
            f"{where}{key} = {value!r} has no unit: write a text such as '{example}'"
        )
    return value


def _count(table: Mapping[str, Any], key: str, where: str) -> int:
    value = table[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProfileError(f"{where}{key} = {value!r} is not a count: write a whole number")
    return value


def _truth(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table[key]
    if not isinstance(value, bool):
        raise ProfileError(f"{where}{key} = {value!r} says neither yes nor no: write true or false")
    return value


def _word(table: Mapping[str, Any], key: str, where: str, known: Iterable[str]) -> str:
    value = table[key]
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise ProfileError(f"unknown {where}{key} {value!r}{nearest(str(value), known)}")
    return value


def _latency(table: Mapping[str, Any], start: LatencySpec) -> LatencySpec:
    _check_keys(table, _LATENCY_KEYS, "latency.")
    if "factor" in table:
        start = start.multiplied(_factor(table, start))
    base_ns = list(start.base_ns)
    if "metadata" in table:
        # A class that a profile does not speak of costs what metadata costs.
        metadata_ns = parse_duration_ns(_text(table, "metadata", "latency."))
        base_ns = [metadata_ns if base == start.metadata_ns else base for base in base_ns]
    for operation_class in OperationClass:
        if operation_class.label in table:
            text = _text(table, operation_class.label, "latency.")
            base_ns[operation_class] = parse_duration_ns(text)
    latency = replace(start, base_ns=tuple(base_ns))
    if "bandwidth" in table:
        rate = parse_rate_bytes_per_s(_text(table, "bandwidth", "latency."))
        latency = replace(latency, bandwidth_bytes_per_s=rate)
    if "distribution" in table:
        distribution = parse_distribution(_text(table, "distribution", "latency."))
        latency = replace(latency, distribution=distribution)
    if "served_at_once" in table:
        latency = replace(latency, served_at_once=_count(table, "served_at_once", "latency."))
    if "data_path" in table:
        path = _table(table, "data_path", "latency.")
        _check_keys(path, _PATH_KEYS, "latency.data_path.")
        missing = [key for key in _PATH_KEYS if key not in path]
        if missing:
            raise ProfileError(f"latency.data_path lacks {', '.join(missing)}")
        where = "latency.data_path."
        data_path = DataPath(
            copies=_count(path, "copies", where),
            context_switches=_count(path, "context_switches", where),
            copy_ns=parse_duration_ns(_text(path, "copy", where)),
            context_switch_ns=parse_duration_ns(_text(path, "context_switch", where)),
            hypervisor_hop_ns=parse_duration_ns(_text(path, "hypervisor_hop", where)),
        )
        if data_path.total_ns != latency.metadata_ns:
            raise ProfileError(
                f"latency.data_path adds up to {data_path.total_ns} ns, "
                f"but latency.metadata is {latency.metadata_ns} ns"
            )
        latency = replace(latency, data_path=data_path)
    elif "metadata" in table:
        latency = replace(latency, data_path=None)
    return latency


def _factor(table: Mapping[str, Any], start: LatencySpec) -> float:
    """By how much every round trip of the parent's is multiplied."""
    factor = table["factor"]
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor <= 1_000:
        raise ProfileError(
            f"latency.factor = {factor!r} is not a factor: write a number above 0 and up to 1000"
        )
    if not any(start.base_ns):
        raise ProfileError(
            "latency.factor has no effect where nothing costs anything: "
            "let extends name a profile with latency"
        )
    return factor


def parse_distribution(text: str) -> Distribution:
    """``constant`` or ``lognormal:SIGMA``; the catalogue reads ``empirical:FILE``."""
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


def _caching(table: Mapping[str, Any], start: CachingSpec) -> CachingSpec:
    _check_keys(table, _CACHING_KEYS, "caching.")
    caching = start
    if "policy" in table:
        policy = table["policy"]
        if not isinstance(policy, str) or policy not in POLICIES:
            hint = nearest(str(policy), POLICIES)
            if isinstance(policy, str) and ":" in policy:
                hint = f"; a policy of your own is given with the option --policy {policy}"
            raise ProfileError(f"unknown policy {policy!r}{hint}")
        caching = replace(caching, policy=policy)
    for key in ("lifetime", "missing_lifetime"):
        if key in table:
            value_ns = parse_duration_ns(_text(table, key, "caching."))
            caching = with_lifetime(caching, key, value_ns)
    if "keep_pages" in table:
        _check_is_heard(caching, "keep_pages")
        caching = replace(caching, keep_pages=_truth(table, "keep_pages", "caching."))
    return caching


def _files(table: Mapping[str, Any], start: FileRules) -> FileRules:
    _check_keys(table, FILE_RULES, "files.")
    files = start
    for key, value in table.items():
        files = files.with_value(key, value)
    return files


def _events(table: Mapping[str, Any], start: EventSpec) -> EventSpec:
    _check_keys(table, _EVENT_KEYS, "events.")
    events = start
    if "stream" in table:
        if _word(table, "stream", "events.", _STREAMS) == "none":
            events = NO_EVENTS
        elif start.stream is None:
            events = EventSpec(StreamSpec(), NotifySpec())
    if events.stream is None:
        for key in table:
            if key != "stream":
                raise ProfileError(
                    f"events.{key} has no effect without a stream: add stream = 'fsevents'"
                )
        return events
    notify = events.notify
    if "inotify" in table:
        is_told = _truth(table, "inotify", "events.")
        notify = (notify or NotifySpec()) if is_told else None
    return EventSpec(_stream(table, events.stream), _notify(table, notify))


def _stream(table: Mapping[str, Any], stream: StreamSpec) -> StreamSpec:
    if "latency" in table:
        latency_ns = parse_duration_ns(_text(table, "latency", "events."))
        stream = replace(stream, latency_ns=latency_ns)
    if "no_defer" in table:
        stream = replace(stream, no_defer=_truth(table, "no_defer", "events."))
    if "most_pending" in table:
        most_pending = _count(table, "most_pending", "events.")
        if most_pending == 0:
            raise ProfileError("events.most_pending = 0: at least 1 name has to have room")
        stream = replace(stream, most_pending=most_pending)
    return stream


def _notify(table: Mapping[str, Any], notify: NotifySpec | None) -> NotifySpec | None:
    if notify is None:
        for key in _NOTIFY_KEYS:
            if key in table:
                raise ProfileError(
                    f"events.{key} has no effect without notices: add inotify = true"
                )
        return None
    changes: dict[str, Any] = {
        key: _truth(table, key, "events.")
        for key in ("creates", "attributes", "deletes", "touches")
        if key in table
    }
    if "modifies" in table:
        changes["modifies"] = _word(table, "modifies", "events.", WHEN_MODIFIES_ARE_SEEN)
    for key in ("debounce_files", "debounce_directories"):
        if key in table:
            changes[f"{key}_ns"] = parse_duration_ns(_text(table, key, "events."))
    return replace(notify, **changes)


def _protocol(table: Mapping[str, Any], start: ProtocolSpec) -> ProtocolSpec:
    _check_keys(table, _PROTOCOL_KEYS, "protocol.")
    spec = start
    if "readdirplus" in table:
        word = _word(table, "readdirplus", "protocol.", READDIRPLUS)
        spec = replace(spec, readdirplus=word)
    if "parallel_directories" in table:
        is_parallel = _truth(table, "parallel_directories", "protocol.")
        spec = replace(spec, parallel_directories=is_parallel)
    return spec


def _write_back(table: Mapping[str, Any], start: WriteBackSpec | None) -> WriteBackSpec | None:
    _check_keys(table, _WRITE_BACK_KEYS, "write_back.")
    spec = start
    if "held" in table:
        spec = (start or WriteBackSpec()) if _truth(table, "held", "write_back.") else None
    if spec is None:
        for key in table:
            if key != "held":
                raise ProfileError(
                    f"write_back.{key} has no effect where nothing is held: add held = true"
                )
        return None
    if "age" in table:
        age_ns = parse_duration_ns(_text(table, "age", "write_back."))
        spec = replace(spec, age_ns=age_ns)
    if "bytes" in table:
        most_bytes = parse_size_bytes(_text(table, "bytes", "write_back."))
        spec = replace(spec, most_bytes=most_bytes)
    for key in ("changes", "in_flight"):
        if key in table and _count(table, key, "write_back.") == 0:
            raise ProfileError(f"write_back.{key} = 0: nothing could ever cross; give 1 or more")
    if "changes" in table:
        spec = replace(spec, most_changes=table["changes"])
    if "in_flight" in table:
        spec = replace(spec, in_flight=table["in_flight"])
    if "kernel" in table:
        spec = replace(spec, kernel=_truth(table, "kernel", "write_back."))
    return spec


def _bugs(table: Mapping[str, Any], start: tuple[Ailment, ...]) -> tuple[Ailment, ...]:
    """Those of *start* and *table*: a bug is had or not, or had with a number of its own."""
    _check_keys(table, [bug.value for bug in Bug], "bugs.")
    had = {ailment.bug: ailment for ailment in start}
    for key, value in table.items():
        bug = Bug(key)
        had.pop(bug, None)
        if BUGS[bug].limit and isinstance(value, int) and not isinstance(value, bool):
            had[bug] = parse_ailment(f"{key}={_count(table, key, 'bugs.')}")
        elif _truth(table, key, "bugs."):
            had[bug] = parse_ailment(key)
    return together(had.values())


def _either(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def with_event_latency(events: EventSpec, latency_ns: int) -> EventSpec:
    """*events* with the stream's window set.

    Raises ProfileError where there is no stream, or for less than nothing.
    """
    if latency_ns < 0:
        raise ProfileError(f"event latency {latency_ns} ns is negative: 0 means at once")
    if events.stream is None:
        raise ProfileError(
            "an event latency has no effect without a stream of host events: "
            "use a profile that has one, such as osxfs"
        )
    return replace(events, stream=replace(events.stream, latency_ns=latency_ns))


def with_lifetime(caching: CachingSpec, key: str, value_ns: int) -> CachingSpec:
    """*caching* with its ``lifetime`` or ``missing_lifetime`` set.

    Raises ProfileError where the policy would not listen, or for less than nothing.
    """
    if value_ns < 0:
        raise ProfileError(f"{key} {value_ns} ns is negative: 0 means not at all")
    _check_is_heard(caching, key)
    if key == "lifetime":
        return replace(caching, lifetime_ns=value_ns)
    return replace(caching, missing_lifetime_ns=value_ns)


def check_believes(caching: CachingSpec, profile: str) -> None:
    """That the policy has each lifetime that it goes by: else it caches less than its name says.

    Raises ProfileError.
    """
    heard = POLICIES[caching.policy]
    for key, value_ns in (
        ("lifetime", caching.lifetime_ns),
        ("missing_lifetime", caching.missing_lifetime_ns),
    ):
        if key in heard and value_ns is None:
            what = "missing name" if key == "missing_lifetime" else "answer"
            raise ProfileError(
                f"profile {profile!r}: the policy {caching.policy!r} believes no {what} without a "
                f"{key}: set caching.{key}, such as '10s' ('0s': not at all)"
            )


def check_keeps(caching: CachingSpec, profile: str) -> None:
    """That a profile whose policy caches keeps something. Raises ProfileError.

    For a profile alone: who asks for a lifetime of 0 by an option knows why.
    """
    heard = POLICIES[caching.policy]
    said_to_be_0 = heard and not caching.believes and caching.lifetime_ns is not None
    if said_to_be_0 and not caching.keep_pages and caching.policy != "complete":
        raise ProfileError(
            f"profile {profile!r}: the policy {caching.policy!r} keeps nothing with lifetimes of 0 "
            "and without pages: set a lifetime, or take the policy 'consistent'"
        )


def _check_is_heard(caching: CachingSpec, key: str) -> None:
    if key not in POLICIES[caching.policy]:
        heard = [policy for policy, keys in POLICIES.items() if key in keys]
        raise ProfileError(
            f"{key} has no effect under the policy {caching.policy!r}: use it with {_either(heard)}"
        )


def _source(key: str, entry: object) -> Source:
    if not isinstance(entry, Mapping) or set(entry) != {"basis", "text"}:
        raise ProfileError(f"sources.{key!r} needs exactly a basis and a text")
    if entry["basis"] not in BASES:
        raise ProfileError(f"sources.{key!r}: the basis is one of {', '.join(BASES)}")
    return Source(str(entry["basis"]), " ".join(str(entry["text"]).split()))
