"""A profile as it is written: the tables of the file, and the profile that they make.

A profile may start from another (``extends``): what it does not set is its parent's. So every key
can be left out, and None stands for one that was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from osxfs_sim.model.bugs import BUGS, Bug, FaultSpec, parse_fault, together
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.latency import DataPath, LatencySpec
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.profile import (
    POLICIES,
    CachingSpec,
    FileRules,
    Profile,
    ProfileError,
    Transport,
    ValueSource,
    check_is_heard,
    parse_distribution,
    with_timeout,
)
from osxfs_sim.model.protocol import USUAL, ProtocolSpec
from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.model.units import Duration, Quantity, Rate, Size
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.toml_files import FileKind, example, key_of, within

_COUNT = within(0, 1_000_000_000)


@dataclass(frozen=True, slots=True)
class ShareTable:
    """``[share]``: how the host's directory reaches the guest."""

    transport: Transport | None = None
    """How the host's directory reaches the guest: by requests, as itself, or as a copy."""


@dataclass(frozen=True, slots=True)
class DataPathTable:
    """``[latency.data_path]``: the steps that a round trip is made of."""

    copies: int = field(metadata=_COUNT)
    """How often a round trip's data is copied."""
    context_switches: int = field(metadata=_COUNT)
    """How often the processor is handed to another process or between guest and host."""
    copy: Duration
    """The time of one copy."""
    context_switch: Duration
    """The time of one context switch."""
    hypervisor_hop: Duration
    """The time of leaving the guest and coming back."""


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """``[latency]``: what a round trip costs."""

    factor: Any = None
    """What every round trip of the parent's is multiplied by: a number above 0, at most 1000."""
    metadata: Duration | None = None
    """A round trip of LOOKUP, GETATTR and their like; what no class is said of costs the same."""
    read: Duration | None = None
    """A round trip of READ."""
    write: Duration | None = None
    """A round trip of WRITE."""
    directory: Duration | None = None
    """A round trip of READDIR and READDIRPLUS."""
    sync: Duration | None = None
    """A round trip of FSYNC and FSYNCDIR."""
    bandwidth: Rate | None = None
    """Of the one link that all contents cross."""
    distribution: str | None = field(default=None, metadata=example("'constant'"))
    """What each cost is multiplied by, such as ``lognormal:0.2``."""
    served_at_once: int | None = field(default=None, metadata=_COUNT)
    """How many requests the server works on at a time."""
    data_path: DataPathTable | None = None
    """The steps of a metadata round trip; their sum must be its latency."""


@dataclass(frozen=True, slots=True)
class CachingTable:
    """``[caching]``: what the guest's kernel may cache, and for how long."""

    policy: Any = None
    """One of model.profile.POLICIES."""
    cache_timeout: Duration | None = None
    """The entry and attribute timeout of what the kernel is told."""
    negative_timeout: Duration | None = None
    """The entry timeout of a negative dentry."""
    keep_pages: bool | None = None
    """Whether cached pages outlive an open (FOPEN_KEEP_CACHE)."""


@dataclass(frozen=True, slots=True)
class FilesTable:
    """``[files]``: what the share keeps, refuses and shows of a file."""

    ownership: str | None = None
    """Whose an object is shown to be: a value of model.ownership.Ownership."""
    names: str | None = None
    """Which spellings are one name: a label of model.names.RULES."""
    extended_attributes: str | None = None
    """What becomes of those that the guest sets: a value of GuestAttributes."""
    replaced: str | None = None
    """What the guest has of an object that the host has replaced: a value of Replaced."""


@dataclass(frozen=True, slots=True)
class EventsTable:
    """``[events]``: what the guest hears of the host's changes."""

    stream: Literal["none", "fsevents"] | None = None
    """How the host collects its changes; ``none``: the guest does not hear of them."""
    latency: Duration | None = None
    """The window in which changes are collected."""
    no_defer: bool | None = None
    """Whether the first change after a quiet window is reported at once
    (kFSEventStreamCreateFlagNoDefer)."""
    most_pending: int | None = field(default=None, metadata=_COUNT)
    """How many distinct names wait at most, from 1; with one more they are lost."""
    inotify: bool | None = None
    """Whether the guest's processes hear of changes, too, by inotify."""
    creates: bool | None = None
    """Whether of objects that were made."""
    modifies: Literal["written", "closed", "never"] | None = None
    """When of a changed content: at each write, when its writer closes the file, or never."""
    attributes: bool | None = None
    """Whether of changed attributes."""
    deletes: bool | None = None
    """Whether of removed objects."""
    touches: bool | None = None
    """Whether an agent in the guest touches what has changed, so that all is heard as ATTRIB."""
    debounce_files: Duration | None = None
    """So long nothing must have happened to a file's name before it is reported."""
    debounce_directories: Duration | None = None
    """The same of directories."""


@dataclass(frozen=True, slots=True)
class ProtocolTable:
    """``[protocol]``: what is negotiated with the kernel in FUSE_INIT."""

    readdirplus: Literal["always", "adaptive", "never"] | None = None
    """Whether listings bring attributes (FUSE_DO_READDIRPLUS, FUSE_READDIRPLUS_AUTO)."""
    parallel_directories: bool | None = None
    """Whether lookups and listings of one directory go on side by side (FUSE_PARALLEL_DIROPS)."""


@dataclass(frozen=True, slots=True)
class WriteBackTable:
    """``[write_back]``: which changes of the guest are acknowledged before they are on the host."""

    held: bool | None = None
    """Whether changes are acknowledged before they are on the host."""
    age: Duration | None = None
    """No change waits longer for its turn."""
    changes: int | None = field(default=None, metadata=_COUNT)
    """How many may wait, from 1."""
    bytes: Size | None = None
    """How many bytes of content may wait."""
    in_flight: int | None = field(default=None, metadata=_COUNT)
    """How many changes are applied to the host at once, from 1."""
    kernel: bool | None = None
    """Whether the guest's kernel holds small writes, too (FUSE_WRITEBACK_CACHE)."""


@dataclass(frozen=True, slots=True)
class SynchronizationTable:
    """``[synchronization]``: how the two sides of a copy are kept the same."""

    mode: SyncMode | None = None
    """Which side's changes travel, and what becomes of conflicts."""
    latency: Duration | None = None
    """Changes are collected until nothing has changed for so long."""
    rescan: Duration | None = None
    """Everything is read again after so long, whatever was heard."""
    ignored: tuple[str, ...] | None = field(default=None, metadata=example("['*.tmp', 'build/']"))
    """Patterns of what does not travel, in the syntax of .gitignore."""
    ignore_vcs: bool | None = None
    """Whether the directories of version control systems stay."""
    most_file_size: Size | None = None
    """Nothing larger travels."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """``[sources."TABLE.KEY"]``: where the value of that key comes from."""

    basis: Literal["documented", "fitted", "assumed"]
    """Whether the value was published, was fitted to what was published, or is a guess."""
    text: str
    """Who published it and where, or how it was fitted."""


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A profile's file; None and the empty tables stand for what is not in it."""

    name: str = ""
    """The profile's name; must not be empty."""
    title: str | None = None
    """What it is, in a few words."""
    about: str | None = None
    """What it stands for, in sentences."""
    extends: str | None = None
    """The name or the file of the profile that it starts from; None: the one that costs nothing."""
    share: ShareTable = ShareTable()
    """How the guest reaches the files at all."""
    latency: LatencyTable = LatencyTable()
    """What a round trip costs."""
    caching: CachingTable = CachingTable()
    """What the guest's kernel may cache."""
    files: FilesTable = FilesTable()
    """What the share keeps, refuses and shows of a file."""
    events: EventsTable = EventsTable()
    """What the guest hears of the host's changes."""
    protocol: ProtocolTable = ProtocolTable()
    """What is negotiated with the kernel (FUSE_INIT)."""
    write_back: WriteBackTable = WriteBackTable()
    """Which changes of the guest are deferred."""
    bugs: Mapping[str, bool | int] = field(default_factory=dict)
    """Bugs of real systems, by name: switched on or off, or with their number."""
    synchronization: SynchronizationTable = SynchronizationTable()
    """How the two sides of a copy are kept the same."""
    sources: Mapping[str, SourceTable] = field(default_factory=dict)
    """Where values come from, by ``TABLE.KEY``."""

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("a profile needs a name")


_RENAMED = {
    "caching.lifetime": "cache_timeout",
    "caching.missing_lifetime": "negative_timeout",
}
"""Keys of earlier versions."""
PROFILE = FileKind("profile", ProfileFile, ProfileError, _RENAMED, begins="{name}")
_OF_REQUESTS = ("latency", "caching", "files", "events", "protocol", "write_back", "bugs")
_VALUE_TABLES = ("share", *_OF_REQUESTS, "synchronization")
_OF_THE_STREAM = ("latency", "no_defer", "most_pending")


def _said(table: Any) -> dict[str, Any]:
    """The keys of *table* that are in the file, and their values."""
    if isinstance(table, Mapping):
        return dict(table)
    values = {key_of(each): getattr(table, each.name) for each in fields(table)}
    return {key: value for key, value in values.items() if value is not None}


def profile_from(file: ProfileFile, parent: Profile | None) -> Profile:
    """The Profile that *file* describes, starting from *parent* or none. Raises ProfileError.

    Without *parent* it starts from one that costs nothing.

    Raises ProfileError for a value that cannot be, or one that would have no effect.
    """
    name = file.name
    start = parent or Profile(name=name, title=name)
    transport = _transport(file, start)
    if transport is not start.transport:
        # Nothing of what is said of one way holds for another.
        start = Profile(name=name, title=start.title, about=start.about)
    try:
        synchronization = _synchronization(file.synchronization, start.synchronization, transport)
        latency = _latency(file.latency, start.latency)
        caching = _caching(file.caching, start.caching)
        files = _files(file.files, start.files)
        events = _events(file.events, start.events)
        protocol = _protocol(file.protocol, start.protocol)
        write_back = _write_back(file.write_back, start.write_back)
        bugs = _bugs(file.bugs, start.bugs)
    except ProfileError:
        raise
    except UserError as error:
        raise ProfileError(f"profile {name!r}: {error}") from error
    if protocol != USUAL and write_back is not None:
        raise ProfileError(
            f"profile {name!r}: a protocol of its own cannot be had with write-back: "
            "use readdirplus = 'always' and parallel_directories = false, or held = false"
        )
    return replace(
        start,
        name=name,
        title=start.title if file.title is None else file.title,
        about=" ".join((start.about if file.about is None else file.about).split()),
        latency=latency,
        caching=caching,
        files=files,
        events=events,
        protocol=protocol,
        write_back=write_back,
        sources=_sources(file, start),
        transport=transport,
        synchronization=synchronization,
        bugs=bugs,
    )


def _sources(file: ProfileFile, start: Profile) -> Mapping[str, ValueSource]:
    # What the parent said about a number says nothing about the child's.
    own = {f"{table}.{key}" for table in _VALUE_TABLES for key in _said(getattr(file, table))}
    if "latency.factor" in own:
        own |= {f"latency.{operation_class.label}" for operation_class in OperationClass}
    sources = {key: source for key, source in start.sources.items() if key not in own}
    for key, entry in file.sources.items():
        sources[key] = ValueSource(entry.basis, " ".join(entry.text.split()))
    if "latency.factor" in own and "latency.factor" in sources:
        for operation_class in OperationClass:
            # A product is as well known as its factor.
            sources.setdefault(f"latency.{operation_class.label}", sources["latency.factor"])
    return sources


def _transport(file: ProfileFile, start: Profile) -> Transport:
    transport = file.share.transport or start.transport
    if transport is not Transport.REQUESTS:
        for key in _OF_REQUESTS:
            if _said(getattr(file, key)):
                raise ProfileError(
                    f"[{key}] has no effect where nothing is requested: leave it out, or set "
                    "share.transport = 'requests'"
                )
    return transport


def _synchronization(
    table: SynchronizationTable, start: SyncSpec | None, transport: Transport
) -> SyncSpec | None:
    said = _said(table)
    if said and transport is not Transport.COPY:
        raise ProfileError(
            "[synchronization] has no effect without a copy: set share.transport = 'copy'"
        )
    if not said:
        return start
    if table.rescan == 0:
        raise ProfileError("synchronization.rescan = 0: it would never rest; write such as 10s")
    called = {"latency": "latency_ns", "rescan": "rescan_ns", "most_file_size": "most_file_bytes"}
    values: dict[str, Any] = {
        called.get(key, key): int(value) if isinstance(value, Quantity) else value
        for key, value in said.items()
    }
    return replace(start or SyncSpec(), **values)


def _latency(table: LatencyTable, start: LatencySpec) -> LatencySpec:
    said = _said(table)
    if table.factor is not None:
        start = start.multiplied(_factor(table.factor, start))
    base_ns = list(start.base_ns)
    if table.metadata is not None:
        # A class that a profile does not speak of costs what metadata costs.
        base_ns = [table.metadata if base == start.metadata_ns else base for base in base_ns]
    for operation_class in OperationClass:
        if operation_class.label in said:
            base_ns[operation_class] = said[operation_class.label]
    latency = replace(start, base_ns=tuple(map(int, base_ns)))
    if table.bandwidth is not None:
        latency = replace(latency, bandwidth_bytes_per_s=int(table.bandwidth) or None)
    if table.distribution is not None:
        latency = replace(latency, distribution=parse_distribution(table.distribution))
    if table.served_at_once is not None:
        latency = replace(latency, served_at_once=table.served_at_once)
    if table.data_path is not None:
        path = table.data_path
        data_path = DataPath(
            copies=path.copies,
            context_switches=path.context_switches,
            copy_ns=int(path.copy),
            context_switch_ns=int(path.context_switch),
            hypervisor_hop_ns=int(path.hypervisor_hop),
        )
        if data_path.total_ns != latency.metadata_ns:
            raise ProfileError(
                f"latency.data_path adds up to {data_path.total_ns} ns, "
                f"but latency.metadata is {latency.metadata_ns} ns"
            )
        latency = replace(latency, data_path=data_path)
    elif table.metadata is not None:
        latency = replace(latency, data_path=None)
    return latency


def _factor(factor: Any, start: LatencySpec) -> float:
    """By how much every round trip of the parent's is multiplied."""
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


def _caching(table: CachingTable, start: CachingSpec) -> CachingSpec:
    caching = start
    if table.policy is not None:
        if not isinstance(table.policy, str) or table.policy not in POLICIES:
            hint = nearest(str(table.policy), POLICIES)
            if isinstance(table.policy, str) and ":" in table.policy:
                hint = f"; a policy of your own is given with the option --policy {table.policy}"
            raise ProfileError(f"unknown policy {table.policy!r}{hint}")
        caching = replace(caching, policy=table.policy)
    if table.cache_timeout is not None:
        caching = with_timeout(caching, "cache_timeout", int(table.cache_timeout))
    if table.negative_timeout is not None:
        caching = with_timeout(caching, "negative_timeout", int(table.negative_timeout))
    if table.keep_pages is not None:
        check_is_heard(caching, "keep_pages")
        caching = replace(caching, keep_pages=table.keep_pages)
    return caching


def _files(table: FilesTable, start: FileRules) -> FileRules:
    files = start
    for key, value in _said(table).items():
        files = files.with_value(key, value)
    return files


def _events(table: EventsTable, start: EventSpec) -> EventSpec:
    events = start
    if table.stream == "none":
        events = NO_EVENTS
    elif table.stream is not None and start.stream is None:
        events = EventSpec(StreamSpec(), NotifySpec())
    if events.stream is None:
        for key in _said(table):
            if key != "stream":
                raise ProfileError(
                    f"events.{key} has no effect without a stream: add stream = 'fsevents'"
                )
        return events
    notify = events.notify
    if table.inotify is not None:
        notify = (notify or NotifySpec()) if table.inotify else None
    return EventSpec(_stream(table, events.stream), _notify(table, notify))


def _stream(table: EventsTable, stream: StreamSpec) -> StreamSpec:
    if table.latency is not None:
        stream = replace(stream, latency_ns=int(table.latency))
    if table.no_defer is not None:
        stream = replace(stream, no_defer=table.no_defer)
    if table.most_pending is not None:
        if table.most_pending == 0:
            raise ProfileError("events.most_pending = 0: at least 1 name has to have room")
        stream = replace(stream, most_pending=table.most_pending)
    return stream


def _notify(table: EventsTable, notify: NotifySpec | None) -> NotifySpec | None:
    changes: dict[str, Any] = {}
    for key, value in _said(table).items():
        if key in ("stream", "inotify", *_OF_THE_STREAM):
            continue
        if notify is None:
            raise ProfileError(f"events.{key} has no effect without notices: add inotify = true")
        if isinstance(value, Duration):
            changes[f"{key}_ns"] = int(value)
        else:
            changes[key] = value
    return None if notify is None else replace(notify, **changes)


def _protocol(table: ProtocolTable, start: ProtocolSpec) -> ProtocolSpec:
    return replace(start, **_said(table))


def _write_back(table: WriteBackTable, start: WriteBackSpec | None) -> WriteBackSpec | None:
    spec = start
    if table.held is not None:
        spec = (start or WriteBackSpec()) if table.held else None
    if spec is None:
        for key in _said(table):
            if key != "held":
                raise ProfileError(
                    f"write_back.{key} has no effect where nothing is held: add held = true"
                )
        return None
    for key in ("changes", "in_flight"):
        if getattr(table, key) == 0:
            raise ProfileError(f"write_back.{key} = 0: nothing could ever cross; give 1 or more")
    if table.age is not None:
        spec = replace(spec, age_ns=int(table.age))
    if table.bytes is not None:
        spec = replace(spec, most_bytes=int(table.bytes))
    if table.changes is not None:
        spec = replace(spec, most_changes=table.changes)
    if table.in_flight is not None:
        spec = replace(spec, in_flight=table.in_flight)
    if table.kernel is not None:
        spec = replace(spec, kernel=table.kernel)
    return spec


def _bugs(table: Mapping[str, bool | int], start: Iterable[FaultSpec]) -> tuple[FaultSpec, ...]:
    """Those of *start* and *table*: a bug is had or not, or had with a number of its own."""
    had = {ailment.bug: ailment for ailment in start}
    known = [bug.value for bug in Bug]
    for key, value in table.items():
        if key not in known:
            raise ProfileError(f"unknown key {f'bugs.{key}'!r}{nearest(key, known)}")
        bug = Bug(key)
        had.pop(bug, None)
        if isinstance(value, bool):
            if value:
                had[bug] = parse_fault(key)
        elif not BUGS[bug].limit:
            raise ProfileError(f"bugs.{key} = {value}: write true or false")
        elif value < 0:
            raise ProfileError(f"bugs.{key} = {value}: write a whole number, or true or false")
        else:
            had[bug] = parse_fault(f"{key}={value}")
    return together(had.values())
