"""What a share tells of itself: the answer to ``status``, and Share.status() in Python.

The server builds it in one place (mount/server/status.py), it travels as JSON
(model/documents.py), and whoever asked reads it by attributes. The line below each field is its
documentation: the table of docs/reference.md is made of these lines, and a test holds both equal.

A field with a default is one that older versions did not tell: their documents, in saved results,
are read all the same. The server gives every field by its name, so that mypy misses none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osxfs_sim.model.documents import ABSENT_IF_NONE, KEY, document_of, parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPolicyStatus:
    """A cache policy of the user's own."""

    name: str
    """module and class, as it was given"""
    digest: str
    """SHA-256 of the file that it is written in"""
    errors: int
    """calls that failed, since reset"""
    first_error: str | None
    """the first failure since mount, in one line, or null"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapStatus:
    """A part of an export that obeys another export's mode."""

    path: str
    """relative to the source, `.` for all of it"""
    mode: str
    """the mode that holds there"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipStatus:
    """Whose the guest's files are."""

    policy: str
    """`osxfs`, `host`, or the kernel's own"""
    malformed: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """osxfs only: objects with a malformed owner attribute, taken as unset"""
    first_malformed: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """osxfs only: path of the first of them, or empty"""
    store_trouble: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """osxfs only: why owners that no attribute can hold are not kept, or empty"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesStatus:
    """Which spellings are one name."""

    rules: str
    """`case-sensitive`, or the rules by which names fold, such as `apfs`"""
    directories_with_collisions: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """where names fold: directories that hold several names which are one"""
    first_collision: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """where names fold: the first such directory and its names, or empty"""
    names_indexed: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """where names fold: names that are kept in memory by what they fold to"""
    names_can_be_invalidated: bool | None = field(default=None, metadata=ABSENT_IF_NONE)
    """where names fold: whether the kernel can invalidate all names at once (Linux 6.16)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyStatus:
    """What a round trip is to cost, dilation applied."""

    base_ns: Mapping[str, int]
    """round trip per class, in nanoseconds"""
    bandwidth_bytes_per_s: int | None
    """of the link, in bytes per second; null: unlimited"""
    distribution: str
    """how costs scatter around their base"""
    served_at_once: int | None
    """requests that the emulated server works on at a time; null: any number"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationStatus:
    """What this machine itself takes of each request."""

    calibrated: bool
    """whether it was measured when the share was mounted"""
    floor_ns: int
    """a request at a target of 0, in nanoseconds: no target below it can be met"""
    client_overhead_ns: Mapping[str, int]
    """per target latency: what a client waits outside the server, in nanoseconds; subtracted"""
    wake_ns: Mapping[str, int]
    """per state of the reactor: what waking up takes, in nanoseconds"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLine:
    """The answers of one class: target and observed latency."""

    count: int
    """answers since mount or reset"""
    target_p50_ns: int
    """median of the targets, in nanoseconds"""
    observed_p50_ns: int
    """median that clients observed, in nanoseconds"""
    observed_p90_ns: int
    """90th percentile observed, in nanoseconds"""
    observed_p99_ns: int
    """99th percentile observed, in nanoseconds"""
    target_total_ns: int = 0
    """targets of all answers together, in nanoseconds"""
    observed_total_ns: int = 0
    """taken by all answers together, in nanoseconds"""
    late: int
    """answers later than their target by more than 20 us or 5 %, whichever is more"""
    within_tolerance: bool | None
    """whether observed is the target; null where there is none, or of below 50 answers"""
    target_histogram: str
    """all targets, in HdrHistogram's encoding"""
    observed_histogram: str
    """all that were observed, in HdrHistogram's encoding"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalErrorsStatus:
    """Bugs that the share has met and survived since mount; the first of each is in the log."""

    count: int
    """how many"""
    latest: str | None
    """the latest, in one line, or null"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidatedStatus:
    """Cached answers that host events have made the guest's kernel invalidate."""

    entries: int
    """names"""
    attributes: int
    """attributes of files and directories"""
    pages: int
    """contents of files, with their attributes"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteDirectoriesStatus:
    """Complete negative caching: directories of which all names are known."""

    directories: int
    """how many"""
    names: int
    """names in them, and 8 for each directory"""
    answers: int
    """lookups that were answered by them, without a crossing"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEventsStatus:
    """Host events, since mount."""

    watcher: str
    """`fanotify` or `inotify`"""
    latency_ns: int
    """the window in which changes are collected, in nanoseconds"""
    seen: int
    """changes read, of directories that the guest knows"""
    delivered: int
    """changes delivered as events"""
    coalesced: int
    """changes joined with one that waited"""
    dropped: int
    """changes lost"""
    must_scans: int
    """scans that the stream asked for after losses"""
    rescans: int
    """scans made"""
    kernel_losses: int
    """overflows of the kernel's queue"""
    waiting: int
    """changes and notices on their way; Share.settle() waits for them"""
    invalidated: InvalidatedStatus
    """cached answers that were invalidated"""
    raised: Mapping[str, int]
    """events raised in the guest, per kind: `delete`, `create`, `modify`, `attrib`"""
    not_raised: int = 0
    """events that could not be raised"""
    complete_directories: CompleteDirectoriesStatus
    """directories of which all names are known"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatus:
    """The change that the host refuses, and that is tried again each second."""

    reason: str
    """what the host says"""
    path: str
    """what it is about"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSetAside:
    """A change that the host does not take."""

    change: str
    """its kind, such as `write` or `unlink`"""
    path: str
    """what it is about"""
    from_path: str | None = field(metadata={KEY: "from"})
    """of a rename: where it was to come from; else null"""
    reason: str
    """what the host said"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideStatus:
    """Changes that the host does not take, since mount."""

    count: int
    """how many"""
    bytes: int
    """their data, in bytes"""
    latest: Sequence[ChangeSetAside]
    """the latest of them"""
    kept_in: str
    """the directory that they are kept in"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBackStatus:
    """Changes: `made` = `crossed` + `cancelled` + `merged` + `refused` + `pending_changes`."""

    age_ns: int
    """limit: how long a change may be pending, in nanoseconds"""
    limit_changes: int
    """limit: pending changes"""
    limit_bytes: int
    """limit: dirty data, in bytes"""
    in_flight: int
    """limit: crossings under way at once"""
    kernel: bool = False
    """whether the guest's kernel holds small writes as well"""
    made: int
    """changes that the guest has made"""
    crossed: int
    """changes that went to the host by a crossing of their own"""
    cancelled: int
    """changes that others have undone before they crossed"""
    merged: int
    """changes that went along with others in one crossing"""
    refused: int = 0
    """changes that the host refused, and that were set aside"""
    pending_changes: int
    """changes pending now"""
    pending_bytes: int
    """dirty data now, in bytes"""
    oldest_ns: int
    """age of the oldest pending change, in nanoseconds; 0 without one"""
    bytes_written_back: int
    """data written to the host, in bytes"""
    longest_lag_ns: int
    """the longest that a change was pending, in nanoseconds"""
    most_changes_at_risk: int
    """the most changes that the guest alone had at a time"""
    most_bytes_at_risk: int
    """the most data that the guest alone had at a time, in bytes"""
    throttled: int
    """changes that waited for room"""
    throttled_ns: int
    """how long they waited in all, in nanoseconds"""
    lost_host_changes: int
    """changes of the host that were lost to changes of the guest's (DEL-7)"""
    lost_paths: Sequence[str]
    """the latest paths of these"""
    kept_host_changes: int = 0
    """removals of the guest's that spared what the host had put there meanwhile"""
    kept_paths: Sequence[str] = field(default_factory=list)
    """the latest paths of these"""
    refusal: RefusalStatus | None
    """the change that the host refuses and that is tried again, or null"""
    journal: str
    """the directory of the journal"""
    set_aside: SetAsideStatus | None = None
    """changes that the host does not take, since mount"""
    crossings: Mapping[str, int]
    """crossings to the host, per request"""
    receipt: Mapping[str, ReceiptLine]
    """latency of these crossings, per class, as in `receipt`"""
    acknowledged: Mapping[str, ReceiptLine] = field(default_factory=dict)
    """how long deferred changes took for the guest, per class, as in `receipt`"""
    recovered: int
    """changes of an earlier share that were written to the host when it was mounted"""
    sync_waits: bool = False
    """whether sync(2) of the guest waits for the host"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStatus:
    """The trace that is being written."""

    path: str
    """its file"""
    rows: int
    """requests in the file so far: it gets some every 8,192, or two seconds"""
    lost: int
    """requests for which there was no room"""
    failure: str | None
    """why it could not be written, or null"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatus:
    """A guest-local directory in the share."""

    path: str
    """in the share"""
    directory: str
    """where it lies"""
    mounted: bool
    """whether it is still mounted"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServiceStatus:
    """A socket of the host that the guest reaches."""

    name: str
    """its name in the share"""
    path: str
    """the host's socket"""
    connections: int
    """connections so far"""
    open: int
    """connections open now"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideStatus:
    """What one side of a synchronized share holds."""

    path: str
    """its directory"""
    files: int
    """regular files"""
    directories: int
    """directories"""
    symlinks: int
    """symbolic links"""
    bytes: int
    """size of the files, in bytes"""
    ignored: int
    """objects that are ignored, as the profile says"""
    not_synchronized: int
    """objects that cannot be synchronized"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictStatus:
    """What both sides have changed: a kind of object for each."""

    path: str
    """relative to both sides"""
    host: str
    """what the host has there"""
    guest: str
    """what the guest has there"""
    agreed: str
    """what both had last"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProblemStatus:
    """What cannot be synchronized."""

    path: str
    """relative to both sides, or empty"""
    side: str
    """`host`, `guest`, or empty"""
    why: str
    """in one line"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynchronizationStatus:
    """How the two sides of a synchronized share stand, as `osxfs-sim sync status` tells it."""

    mode: str
    """who wins, as the profile says"""
    phase: str
    """what it does just now, such as `watching` or `halted`"""
    halted: str | None
    """why nothing moves until it is resumed, or null"""
    cycles: int
    """cycles so far"""
    last_cycle_ns: int
    """how long the last one took, in nanoseconds"""
    full_scans: int
    """cycles that have read both sides wholly"""
    last_full_scan_ns: int
    """how long the last of these took, in nanoseconds"""
    host: SideStatus
    """what the host's side holds"""
    guest: SideStatus
    """what the guest's side holds"""
    changes_to_host: int
    """changes that went to the host"""
    changes_to_guest: int
    """changes that went to the guest"""
    changes_put_off: int
    """changes left for the next cycle, because somebody changed the same meanwhile"""
    conflicts: Sequence[ConflictStatus]
    """the first of what both sides have changed"""
    conflicts_total: int
    """how many there are"""
    problems: Sequence[SyncProblemStatus]
    """the first of what cannot be synchronized"""
    problems_total: int
    """how many there are"""
    watching: str
    """`inotify`, or `polling` where not all can be watched"""
    directories_not_watched: int
    """directories for which there was no watch"""
    latency_ns: int
    """how long changes are collected, in nanoseconds"""
    rescan_ns: int
    """how often everything is read anew, in nanoseconds"""
    state: str = ""
    """the directory of its state"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareStatus:
    """A share at one moment. Counts are since mount or reset, where nothing else is said."""

    mountpoint: str
    """where it is mounted"""
    source: str
    """the host's directory that it shares"""
    pid: int
    """the process that serves it"""
    profile: str
    """its profile's name"""
    title: str
    """its profile's title"""
    transport: str = "requests"
    """how it reaches the guest: `requests`, `host` (the directory itself) or `copy`"""
    copy: str | None = None
    """where the guest's copy lies, or null"""
    synchronization: SynchronizationStatus | None = None
    """of a synchronized share, else null: how its two sides stand"""
    policy: str
    """how long answers may be cached"""
    own_policy: OwnPolicyStatus | None = None
    """of a share with `--policy`, else null"""
    user: str = ""
    """the user that the server works as"""
    exports: Sequence[str] = field(default_factory=list)
    """of a share file's mount point: its exports (with `status --json`, the status of each)"""
    overlaps: Sequence[OverlapStatus] = field(default_factory=list)
    """of an export: the parts that obey another export's mode"""
    bugs: Sequence[str] = field(default_factory=list)
    """bugs that it has on purpose, such as `phantom` or `descriptors=100`"""
    changed: Sequence[str] = field(default_factory=list)
    """settings by which it is not what its profile says"""
    log: str = ""
    """where the server logs; the file is taken away with the share if it is empty"""
    ownership: OwnershipStatus = field(default_factory=lambda: OwnershipStatus(policy=""))
    """whose the guest's files are"""
    names: NamesStatus = field(default_factory=lambda: NamesStatus(rules=""))
    """which spellings are one name"""
    extended_attributes: str = ""
    """`refused`, `host`, or the kernel's own"""
    replaced: str = ""
    """what the guest has of a file that the host has replaced: `held`, `anew`, the kernel's own"""
    seed: int
    """of all randomness"""
    dilate: float
    """the factor by which its time runs slower"""
    latency: LatencyStatus
    """what a round trip is to cost, dilation applied"""
    calibration: CalibrationStatus
    """what this machine itself takes of each request"""
    warnings: Sequence[str]
    """what to know before trusting a number, a line each"""
    up_s: float
    """since mount, in seconds"""
    counting_s: float
    """since mount or reset, in seconds"""
    server_processor_s: float
    """the server's processor time since mount or reset, in seconds"""
    requests: Mapping[str, int]
    """requests per operation"""
    missing_lookups: int
    """LOOKUPs of names that do not exist"""
    wakes: Mapping[str, int]
    """requests by what the reactor was doing when they came"""
    receipt: Mapping[str, ReceiptLine]
    """per class of requests: target and observed latency"""
    in_flight: int
    """requests read and not answered yet"""
    internal_errors: InternalErrorsStatus = field(
        default_factory=lambda: InternalErrorsStatus(count=0, latest=None)
    )
    """bugs that it has met and survived since mount"""
    inodes: int
    """files and directories that the guest's kernel knows"""
    open_handles: int
    """files and directories open in the guest"""
    most_handles: int = 0
    """how many files and directories can be open at once"""
    handles_refused: int = 0
    """how often one was not opened (EMFILE), because others need the rest"""
    descriptors: int
    """descriptors of the host's directories that are kept open"""
    pm_qos_held: bool
    """whether the processors are kept awake just now"""
    events: HostEventsStatus | None = None
    """host events; null where it hears none"""
    write_back: WriteBackStatus | None = None
    """of a share with write-back, else null"""
    trace: TraceStatus | None = None
    """the trace that is being written, or null"""
    volumes: Sequence[VolumeStatus] = field(default_factory=list)
    """guest-local directories in it"""
    host_services: Sequence[HostServiceStatus] = field(default_factory=list)
    """sockets of the host that the guest reaches"""

    def as_dict(self) -> dict[str, Any]:
        """The status as ``osxfs-sim status --json`` prints it: plain values, keys as documented."""
        document: dict[str, Any] = document_of(self)
        return document

    @classmethod
    def from_dict(cls, document: Any) -> "ShareStatus":
        """The status in *document*, of any version. Raises LookupError or TypeError.

        Raises LookupError or TypeError where it is none.
        """
        return parsed(cls, with_current_keys(document))


EARLIER_KEYS: Mapping[str, str] = {
    "asked_p50_ns": "target_p50_ns",
    "asked_total_ns": "target_total_ns",
    "asked_histogram": "target_histogram",
    **{f"achieved_{name}": f"observed_{name}" for name in ("p50_ns", "p90_ns", "p99_ns")},
    "achieved_total_ns": "observed_total_ns",
    "achieved_histogram": "observed_histogram",
    "name_sets": "complete_directories",
    "ended": "invalidated",
    "outside_ns": "client_overhead_ns",
    "names_can_be_ended": "names_can_be_invalidated",
}
"""Keys of a status until 2026-12, and what they have been called since."""


def with_current_keys(document: Any) -> Any:
    """*document* (of any version, parsed JSON) with each old key renamed to today's."""
    if isinstance(document, list):
        return [with_current_keys(each) for each in document]
    if not isinstance(document, Mapping):
        return document
    return {
        EARLIER_KEYS.get(name, name): with_current_keys(value) for name, value in document.items()
    }
