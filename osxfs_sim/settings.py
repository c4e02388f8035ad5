"""What a user asks of a share, as plain values, and the system that results.

The same settings are given on the command line, from Python, and to the
process that serves the mount: so they hold nothing but text and numbers.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, replace
from typing import Any

from osxfs_sim.catalogue import load_distribution, load_policy, load_profile
from osxfs_sim.model.bugs import Bug, FaultSpec, parse_fault, together
from osxfs_sim.model.caching import CachePolicy, Consistent, Dilated
from osxfs_sim.model.consistency import Mode, Promise, promised
from osxfs_sim.model.events import NO_EVENTS, EventSpec
from osxfs_sim.model.latency import Empirical, LatencySpec
from osxfs_sim.model.names import RULES
from osxfs_sim.model.own_policy import OwnPolicy
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.profile import (
    FILE_RULES,
    FileRules,
    Profile,
    ProfileError,
    Replaced,
    Transport,
    check_caches,
    check_keeps,
    with_event_latency,
    with_timeout,
)
from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.model.units import parse_rate_bytes_per_s, parse_size_bytes
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.share_options import (
    BUGS,
    COUNT,
    DURATION,
    HOST_EVENTS,
    NUMBER,
    PLACE,
    PROFILE,
    RATE,
    SERVICES,
    SIZE,
    STEPS,
    SWITCH,
    TEXT,
    UNWRITTEN,
    VOLUMES,
    Where,
    check_volume_paths,
    option,
    options_of,
)


@dataclass(frozen=True, slots=True)
class EmulatedSystem:
    """A profile with the user's changes applied: what a mount acts by."""

    profile: Profile
    """What the settings started from."""
    latency: LatencySpec
    """What a round trip costs, not dilated."""
    policy: CachePolicy
    """What the guest's kernel may cache."""
    promise: Promise
    """What the share promises by itself."""
    mode: Mode
    """What all of it obeys: the stronger of its own promise and of what an export around it asks
    for."""
    files: FileRules
    """What the share keeps, refuses and shows of a file."""
    events: EventSpec
    """What the guest hears of the host's changes."""
    write_back: WriteBackSpec | None
    """Which changes are deferred; None: every change is on the host when it is acknowledged."""
    dilate: float
    """What every time is multiplied by."""
    synchronization: SyncSpec | None = None
    """How a copy is kept the same; None: the guest works on no copy."""
    bugs: tuple[FaultSpec, ...] = ()
    """Bugs of real systems that it has on purpose."""
    own_policy: OwnPolicy | None = None
    """The user's, where *policy* is that one, or rests upon it."""


WRITE_BACK_KEYS = (
    "write_back_age_ns",
    "write_back_changes",
    "write_back_bytes",
    "kernel_write_back",
)


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """One share, as plain text and numbers. None means: as the profile has it.

    This is the table of the options of a share, too: whatever is an option() can be given on the
    command line, in Python and in a share file, and says where. The others are set by this
    program alone.
    """

    source: str
    """The host's directory that is shared; empty for the mount point of a share file."""
    mountpoint: str
    """The directory where the guest has it."""
    profile: str = option(
        "osxfs",
        PROFILE,
        "The system to be; 'osxfs-sim profiles' lists them. [osxfs]",
        docs="the system; a path ending in `.toml` is a profile of your own (in `run`, arms are "
        "profiles)",
        example='"osxfs-cached"',
        where=Where.MOUNT | Where.PYTHON | Where.EXPORT,
        letter="p",
        metavar="NAME",
        is_of_requests=False,
        is_shown=False,
    )
    """The system that the share behaves like: a profile's name, or the path of a .toml file."""
    latency_ns: int | None = option(
        None,
        DURATION,
        "Round trip of a metadata request, such as 65us; other classes keep their proportion "
        "to it.",
        docs="the metadata round trip; other classes keep their proportion (`factor` in a profile; "
        "`metadata` there leaves [those of another cost](#profiles) as they are)",
        example='"65us"',
    )
    """The metadata round trip, every other class keeping its proportion to it."""
    bandwidth: str | None = option(
        None,
        RATE,
        "Of the link, such as 250MB/s; none: no limit.",
        docs="of the shared link; `none` for no limit",
        example='"250MB/s"',
    )
    """Of the link, with its unit; ``none`` for no limit."""
    distribution: str | None = option(
        None,
        TEXT,
        "How latencies scatter: constant, lognormal:SIGMA, or empirical:FILE (a duration a line; "
        "without --latency the file's median is the round trip).",
        docs="`constant`, `lognormal:SIGMA`, `empirical:FILE` (the last not in a profile; a file "
        "of up to 32 MB and a million durations)",
        example='"lognormal:0.2"',
        metavar="KIND",
    )
    """How latencies scatter around the profile's."""
    served_at_once: int | None = option(
        None,
        COUNT,
        "How many requests the server works on at a time; others queue.",
        docs="requests the server works on at a time",
        example="4",
        least=1,
    )
    """Requests that the server works on at a time."""
    data_path: tuple[int, int] | None = option(
        None,
        STEPS,
        "Copies and context switches that remain, such as copies=5,switches=3.",
        docs="what remains of the data path",
        example='"copies=5,switches=3"',
    )
    """The numbers of copies and of context switches on the way of data."""
    cache_timeout_ns: int | None = option(
        None,
        DURATION,
        "How long names, attributes and pages are cached (cached, negative, complete).",
        docs="how long names, attributes and pages are cached, under the policies `cached`, "
        "`negative` and `complete`",
        example='"10s"',
        was="lifetime",
    )
    """How long the guest's kernel may keep names, attributes and pages, in nanoseconds."""
    negative_timeout_ns: int | None = option(
        None,
        DURATION,
        "How long a negative entry, of a missing name, is cached (negative, complete).",
        docs="how long a negative entry, of a missing name, is cached, under the policies "
        "`negative` and `complete`",
        example='"1s"',
        was="missing_lifetime",
    )
    """How long the guest's kernel may keep a negative entry, in nanoseconds."""
    policy: str | None = option(
        None,
        TEXT,
        "A cache policy of your own instead of the profile's.",
        docs="a cache policy of your own, [tried](#a-policy-of-your-own) before it is mounted",
        example='"package.module:Class"',
        metavar="MODULE:CLASS",
    )
    """A cache policy of the user's own, as ``module:Class``."""
    ownership: str | None = option(
        None,
        TEXT,
        "Whose files are: whoever asks (osxfs), or the host's real owners, with permission checks "
        "by the kernel (host).",
        docs="whose files are: whoever asks, or the host's real owners with permission checks by "
        "the kernel; see [semantics](semantics.md)",
        example='"host"',
        choices=FILE_RULES["ownership"],
    )
    """Whose files are, as the profile's rule of that name."""
    names: str | None = option(
        None,
        TEXT,
        "How the host's file system compares and stores names.",
        example='"apfs"',
        choices=FILE_RULES["names"],
    )
    """How the host compares and stores names, as the profile's rule of that name."""
    extended_attributes: str | None = option(
        None,
        TEXT,
        "Of the guest: refused, or kept on the host.",
        example='"host"',
        choices=FILE_RULES["extended_attributes"],
    )
    """What becomes of the guest's extended attributes, as the profile's rule of that name."""
    replaced: str | None = option(
        None,
        TEXT,
        "What the guest has of a file that the host has replaced, while it still takes the name "
        "for it: the old one (held), or the new one (anew).",
        docs="what the guest has of an object that the host has replaced or removed, while it "
        "takes a name for it: the old one, of which the server holds a descriptor, or [what is "
        "there now](semantics.md#objects-that-the-host-replaces). `held` not with write-back",
        example='"held"',
        choices=FILE_RULES["replaced"],
    )
    """What the guest has of what the host has replaced, as the profile's rule of that name."""
    host_events: str = option(
        "auto",
        TEXT,
        "How changes of the host are seen: by fanotify, by inotify, or not. [auto]",
        docs="how changes of the host are [seen](events.md#seeing-whose-change-it-was): `auto` "
        "(fanotify where it can be had, else inotify), `fanotify`, `inotify`, or `none`: no change "
        "reaches the guest before its caches time out",
        example='"inotify"',
        choices=HOST_EVENTS,
    )
    """How changes of the host are seen, one of HOST_EVENTS."""
    event_latency_ns: int | None = option(
        None,
        DURATION,
        "The window in which changes of the host are collected, such as 10ms.",
        docs="the window in which changes of the host are collected before they are reported",
        example='"10ms"',
    )
    """The window in which changes of the host are collected."""
    write_back_age_ns: int | None = option(
        None,
        DURATION,
        "How long a change may be pending before it is written back, such as 5s.",
        docs="how long a share with [write-back](write-back.md) may defer a change",
        example='"5s"',
    )
    """How long a share with write-back defers a change at most."""
    write_back_changes: int | None = option(
        None,
        COUNT,
        "How many changes may be pending; who makes more waits.",
        docs="how many changes a share with write-back may have pending; who makes more waits",
        example="1000",
        least=1,
    )
    """How many changes a share with write-back has pending at most."""
    write_back_bytes: str | None = option(
        None,
        SIZE,
        "How many bytes may be pending, such as 64MB; who writes more waits.",
        docs="how many bytes a share with write-back may have pending; who writes more waits",
        example='"64MB"',
    )
    """How many bytes a share with write-back has pending at most, with their unit."""
    kernel_write_back: bool | None = option(
        None,
        SWITCH,
        "Let the guest's kernel hold small writes as well (FUSE_WRITEBACK_CACHE).",
        docs="whether the guest's kernel [holds small writes]"
        "(write-back.md#the-kernels-own-write-back) as well",
        example="true",
    )
    """Whether the guest's kernel holds small writes, too."""
    unwritten: str | None = option(
        None,
        TEXT,
        "What becomes of changes that an earlier share of SOURCE has not written back.",
        docs="what becomes of changes that an earlier share of SOURCE has not written back; "
        "without it they keep SOURCE from being mounted, but for those that the host [has refused]"
        "(write-back.md#when-the-host-refuses)",
        example='"recover"',
        choices=UNWRITTEN,
        is_shown=False,
    )
    """What becomes of what an earlier share has left unwritten, one of UNWRITTEN."""
    dilate: float = option(
        1.0,
        NUMBER,
        "Multiply every time in the model by K, for a processor K times slower than the published "
        "machine, or for latencies below this machine's floor.",
        docs="every time in the model multiplied",
        example="2",
        is_shown=False,
    )
    """A factor of every time in the model."""
    seed: int = option(
        0,
        COUNT,
        "Of all randomness. [0]",
        docs="of all randomness",
        example="7",
        least=0,
        is_of_requests=False,
        is_shown=False,
    )
    """Of all randomness."""
    volumes: tuple[tuple[str, str], ...] = option(
        (),
        VOLUMES,
        "A guest-local directory DIR at PATH in the share, which the host does not see. In an arm "
        "of a case: without DIR, an empty one for each mount. [root only]",
        docs="a directory of the guest's own at PATH in the share, see [topologies]"
        "(topologies.md#volumes); several times; root only. In an arm `--volume PATH`: an empty "
        "one for each mount",
        example='{ "node_modules" = "volume" }',
        flag="volume",
        is_of_requests=False,
        is_shown=False,
    )
    """Paths in the share and the guest-local directories that the guest has there instead of the
    host's (mount/mounts/volumes.py)."""
    bugs: tuple[str, ...] = option(
        (),
        BUGS,
        "A bug of a real system that the share shall have, such as phantom; see museum.",
        docs="a bug of a real system that the share shall have on purpose, by its name or its "
        "number in the [museum](museum.md), such as `phantom`, `V5` or `descriptors=100`; several "
        "times. Not with write-back, nor where the guest's work makes no requests",
        example='["phantom"]',
        flag="bug",
    )
    """Bugs that the share shall have beside the profile's (model/bugs.py), by name."""
    allow_other: bool | None = option(
        None,
        SWITCH,
        "Let other users in, with the server's rights. [yes for root, no for others]",
        docs="lets other users in, with the rights of the server's user (the default for root; an "
        "ordinary user needs `user_allow_other` in /etc/fuse.conf): [who may do what]"
        "(security.md#who-may-do-what-under-each-option)",
        where=Where.MOUNT | Where.PYTHON | Where.WHOLE,
        is_shown=False,
    )
    """Whether other users are let in; None: if we are root."""
    user: str | None = option(
        None,
        TEXT,
        "Once mounted, let the server be this user: all access is then that user's. [root only]",
        docs="once mounted, the server is this user (a name or a number that the machine knows) "
        "for good, and all access is that user's: root in the guest is refused what that user may "
        "not do (by root; needs fusermount3)",
        where=Where.MOUNT | Where.PYTHON | Where.WHOLE,
        metavar="NAME",
        is_shown=False,
    )
    """The user that the server, started by root, becomes."""
    state_directory: str | None = option(
        None,
        PLACE,
        "Where owners are kept that no attribute can hold. [/var/lib/osxfs-sim for root, "
        "~/.local/state/osxfs-sim for others; /var/lib/osxfs-sim-UID for a --user without a home]",
        docs="where owners are kept that no attribute can hold (`/var/lib/osxfs-sim` for root, "
        "`~/.local/state/osxfs-sim` for others, and `/var/lib/osxfs-sim-UID`, made by root, for a "
        "`--user` without a home). Servers with different directories do not know each other's",
        where=Where.MOUNT | Where.PYTHON | Where.WHOLE,
        flag="state",
        is_of_requests=False,
        is_shown=False,
    )
    """Where owners are kept that no attribute can hold; None: the user's own."""
    copy: str | None = option(
        None,
        PLACE,
        "Where the guest's copy of SOURCE lies, for a profile that has one. [below --state]",
        docs="where the guest's copy lies, for `volume` and synchronized profiles [below "
        "`--state`]",
        example='"copies/project"',
        where=Where.MOUNT | Where.PYTHON | Where.EXPORT,
        is_of_requests=False,
        is_shown=False,
    )
    """Where the guest's copy lies, for a profile that has one; None: in the state directory."""
    host_services: tuple[tuple[str, str], ...] = option(
        (),
        SERVICES,
        "A socket of the host that the guest reaches as MOUNTPOINT/host-services/NAME.sock, such "
        "as ssh-auth=$SSH_AUTH_SOCK. Whoever may use the share may use it.",
        docs="leads `MOUNTPOINT/host-services/NAME.sock` to a socket of the host (repeatable); "
        "see [below](#host-services)",
        where=Where.MOUNT | Where.PYTHON | Where.WHOLE,
        flag="host-service",
        is_shown=False,
    )
    """Names and paths of the host's sockets that the guest reaches as host-services/NAME.sock."""
    trace: str | None = option(
        None,
        replace(PLACE, word="FILE"),
        "Record every request in this file (Parquet), until the share ends; see analyze.",
        docs="records every request from the first on, in a [trace](analysis.md) that is complete "
        "once the share has ended; where it could not be written whole, `umount` says so and exits "
        "with 1",
        where=Where.MOUNT,
        is_shown=False,
    )
    """A file for a record of every request from the first on (trace/format.py)."""
    calibrate: bool = option(
        True,
        SWITCH,
        "Measure at the start of the mount how long the machine itself takes.",
        where=Where.PYTHON,
        is_of_requests=False,
        is_shown=False,
    )
    """False leaves out the measurements at mount start, for tests that do not look at time."""
    exports: tuple[str, ...] = ()
    """The directories that the mount point of a share file shows."""
    stronger: tuple[tuple[str, str], ...] = ()
    """The parts that obey another export's mode (model/consistency.py): paths relative to the
    source, "." for all of it, and labels of modes. The reader of a share file sets it; a share by
    itself overlaps nothing."""

    def changed(self) -> tuple[str, ...]:
        """The sorted names of options that differ from the profile's, as its status has them."""
        given = self.given()
        return tuple(sorted(each.name for each in OPTIONS if each.is_shown and each.name in given))

    def given(self) -> dict[str, Any]:
        """A dict of the fields that differ from their defaults, without source and mount point."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if field.default is not dataclasses.MISSING
            and (value := getattr(self, field.name)) != field.default
        }

    def system(self) -> EmulatedSystem:
        """The EmulatedSystem: the profile with these changes. Raises ProfileError."""
        self._check_kinds()
        profile = load_profile(self.profile)
        if not (math.isfinite(self.dilate) and 0.001 <= self.dilate <= 1_000_000):
            raise ProfileError("dilate multiplies time: give a number from 0.001 to a million")
        self._check_transport(profile)
        check_volume_paths([path for path, _ in self.volumes])
        if self.seed < 0:
            raise ProfileError("a seed is a whole number from 0 on")
        try:
            latency = self._latency(profile.latency)
        except UserError as error:
            raise ProfileError(str(error)) from error
        policy = self._policy(profile)
        own_policy = policy if isinstance(policy, OwnPolicy) else None
        events = self._events(profile.events)
        files = self._files(profile.files)
        write_back = self._write_back(profile.write_back, files)
        if self.unwritten is not None and self.unwritten not in UNWRITTEN:
            raise ProfileError(
                f"unknown unwritten {self.unwritten!r}{nearest(self.unwritten, UNWRITTEN)}"
            )
        if policy.complete and events.stream is None:
            raise ProfileError(
                "policy complete needs to see the host's changes: "
                "use a profile with a stream of host events, such as osxfs-complete, "
                "and not host_events none"
            )
        if self.dilate != 1.0:
            latency = latency.dilated(self.dilate)
            policy = policy if profile.is_local else Dilated(policy, self.dilate)
            events = events.dilated(self.dilate)
            write_back = write_back and write_back.dilated(self.dilate)
        policy_name = "own" if self.policy is not None else profile.caching.policy
        promise = promised(policy_name, writes_back=write_back is not None)
        mode = max(promise.mode, self.stronger_modes().get(".", promise.mode))
        if self.volumes:
            # What moves from one part to another cannot be ended at once (mount/mounts/volumes.py).
            mode = max(mode, *self.stronger_modes().values(), promise.mode)
        if mode > promise.mode and mode is Mode.CONSISTENT:
            policy = Consistent()
        if mode > Mode.DELEGATED:
            write_back = None  # all of it obeys an export that holds nothing back
        if write_back is not None and self.stronger:
            # The kernel's own write-back is for a whole mount, or not at all.
            write_back = replace(write_back, kernel=False)
        return EmulatedSystem(
            *(profile, latency, policy, promise, mode, files, events, write_back, self.dilate),
            synchronization=self._synchronization(profile.synchronization),
            bugs=self._bugs(profile.bugs, files, events, write_back),
            own_policy=own_policy,
        )

    def policy_digest(self) -> str | None:
        """Hex digest of the user's own policy. None without one. Raises ProfileError."""
        own = self.system().own_policy
        return None if own is None else own.digest

    def _check_kinds(self) -> None:
        """That each value is of the kind that the command line makes of it. Raises ProfileError."""
        for name in ("source", "mountpoint"):
            if not isinstance(getattr(self, name), str):
                raise ProfileError(f"{name} = {getattr(self, name)!r:.60}: give a text")
        for each in OPTIONS:
            value = getattr(self, each.name)
            if value is not None or each.default is not None:
                each.check(value)

    def _bugs(
        self,
        bugs: tuple[FaultSpec, ...],
        files: FileRules,
        events: EventSpec,
        write_back: WriteBackSpec | None,
    ) -> tuple[FaultSpec, ...]:
        """The profile's *bugs* and one's own, if they can do something. Raises ProfileError.

        A bug of what is cached may be had where nothing is: that the policy keeps it from
        showing is what the museum is about.
        """
        try:
            own = [parse_fault(text) for text in self.bugs]
            chosen = {ailment.bug for ailment in own}
            bugs = together([each for each in bugs if each.bug not in chosen] + own)
        except UserError as error:
            raise ProfileError(str(error)) from error
        has = {ailment.bug for ailment in bugs}
        if has and write_back is not None:
            raise ProfileError(
                "bugs cannot be had with write-back, whose answers are the guest's own: use a "
                "profile without it"
            )
        if Bug.ONE_SPELLING in has and not RULES[files.names].folds:
            raise ProfileError(
                f"the bug {Bug.ONE_SPELLING} has no effect where names are {files.names}: use "
                "names apfs"
            )
        if Bug.FALSE_CREATE in has and (events.notify is None or not events.notify.deletes):
            raise ProfileError(
                f"the bug {Bug.FALSE_CREATE} has no effect where no deletion is raised in the "
                "guest: use a profile that has it so, such as osxfs, and its host events"
            )
        return bugs

    def _synchronization(self, spec: SyncSpec | None) -> SyncSpec | None:
        if spec is None or self.dilate == 1.0:
            return spec
        return replace(
            spec,
            latency_ns=round(spec.latency_ns * self.dilate),
            rescan_ns=round(spec.rescan_ns * self.dilate),
        )

    def _check_transport(self, profile: Profile) -> None:
        """That nothing is asked of a share that its transport cannot do. Raises ProfileError."""
        if self.copy is not None and profile.transport is not Transport.COPY:
            raise ProfileError(
                f"copy has no effect with the profile {profile.name}, which has none: use one "
                "that has, such as volume"
            )
        if not profile.is_local:
            return
        has_times = profile.synchronization is not None
        given = self.given()
        for each in OPTIONS:
            if not each.is_of_requests or each.name not in given:
                continue
            if not (each.name == "dilate" and has_times):
                raise ProfileError(
                    f"{each.key} has no effect with the profile {profile.name}, "
                    "whose work makes no requests: leave it out, or use a profile such as osxfs"
                )

    def stronger_modes(self) -> dict[str, Mode]:
        """The Mode of each part, by path, that obeys another export's stronger mode."""
        return {path: Mode[label.upper()] for path, label in self.stronger}

    def _write_back(self, spec: WriteBackSpec | None, files: FileRules) -> WriteBackSpec | None:
        if spec is None:
            for key in WRITE_BACK_KEYS:
                if getattr(self, key) is not None:
                    raise ProfileError(
                        f"{key.removesuffix('_ns')} has no effect without write-back: "
                        "use a profile that has it, such as osxfs-delegated"
                    )
            return None
        if RULES[files.names].folds:
            raise ProfileError(
                f"names {files.names} cannot be had with write-back, whose names are compared "
                "exactly: use case-sensitive, or a profile without write-back"
            )
        if files.ownership is Ownership.HOST:
            raise ProfileError(
                "ownership host cannot be had with write-back: the host's checks would come when "
                "the guest has been answered; use osxfs, or a profile without write-back"
            )
        if files.replaced is Replaced.HELD:
            raise ProfileError(
                "replaced held cannot be had with write-back, which finds what it writes by name: "
                "use anew, or a profile without write-back"
            )
        if self.write_back_age_ns is not None:
            if self.write_back_age_ns < 0:
                raise ProfileError("a write-back age is a duration from 0 on")
            spec = replace(spec, age_ns=self.write_back_age_ns)
        if self.write_back_changes is not None:
            if self.write_back_changes < 1:
                raise ProfileError("write-back holds at least 1 change")
            spec = replace(spec, most_changes=self.write_back_changes)
        if self.write_back_bytes is not None:
            try:
                spec = replace(spec, most_bytes=parse_size_bytes(self.write_back_bytes))
            except UserError as error:
                raise ProfileError(f"write_back_bytes: {error}") from error
        if self.kernel_write_back is not None:
            spec = replace(spec, kernel=self.kernel_write_back)
        return spec

    def _events(self, events: EventSpec) -> EventSpec:
        if self.host_events not in HOST_EVENTS:
            raise ProfileError(
                f"unknown host_events {self.host_events!r}{nearest(self.host_events, HOST_EVENTS)}"
            )
        if self.host_events == "none":
            if self.event_latency_ns is not None:
                raise ProfileError(
                    "an event latency has no effect beside host_events none: leave one of them out"
                )
            return NO_EVENTS
        if self.host_events != "auto" and events.stream is None:
            raise ProfileError(
                f"host_events {self.host_events} has no effect without a stream of host events: "
                "use a profile that has one, such as osxfs"
            )
        if self.event_latency_ns is not None:
            events = with_event_latency(events, self.event_latency_ns)
        return events

    def _files(self, files: FileRules) -> FileRules:
        for key in FILE_RULES:
            value = getattr(self, key)
            if value is not None:
                files = files.with_value(key, value)
        return files

    def _latency(self, latency: LatencySpec) -> LatencySpec:
        if self.data_path is not None:
            if self.latency_ns is not None:
                raise ProfileError(
                    "a latency and a data path both set the round trip: give one of them"
                )
            copies, context_switches = self.data_path
            latency = latency.with_data_path(copies=copies, context_switches=context_switches)
        if self.distribution is not None:
            distribution = load_distribution(self.distribution)
            latency = replace(latency, distribution=distribution)
            if isinstance(distribution, Empirical) and self.latency_ns is None:
                if self.data_path is not None:
                    raise ProfileError(
                        "measured samples and a data path both set the round trip: give one of them"
                    )
                latency = latency.scaled_to(distribution.median_ns)
        if self.latency_ns is not None:
            latency = latency.scaled_to(self.latency_ns)
        if self.bandwidth is not None:
            rate = parse_rate_bytes_per_s(self.bandwidth)
            latency = replace(latency, bandwidth_bytes_per_s=rate)
        if self.served_at_once is not None:
            latency = replace(latency, served_at_once=self.served_at_once)
        return latency

    def _policy(self, profile: Profile) -> CachePolicy:
        timeouts = (
            ("cache_timeout", self.cache_timeout_ns),
            ("negative_timeout", self.negative_timeout_ns),
        )
        if self.policy is not None:
            for key, value_ns in timeouts:
                if value_ns is not None:
                    raise ProfileError(
                        f"{key} has no effect beside a policy of your own: "
                        "set it in the policy's class"
                    )
            return load_policy(self.policy)
        caching = profile.caching
        for key, value_ns in timeouts:
            if value_ns is not None:
                caching = with_timeout(caching, key, value_ns)
        check_keeps(profile.caching, profile.name)
        check_caches(caching, profile.name)
        return caching.build()

    def to_json(self) -> str:
        """The settings as a JSON object, which from_json() reads in the server's process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShareSettings":
        """The settings that to_json() wrote. Raises ValueError or TypeError for other JSON."""
        values = json.loads(text)
        if values.get("data_path") is not None:
            values["data_path"] = tuple(values["data_path"])
        values["exports"] = tuple(values.get("exports", ()))
        services = values.get("host_services", ())
        values["host_services"] = tuple((name, path) for name, path in services)
        volumes = values.get("volumes", ())
        values["volumes"] = tuple((path, directory) for path, directory in volumes)
        stronger = values.get("stronger", ())
        values["stronger"] = tuple((path, label) for path, label in stronger)
        values["bugs"] = tuple(values.get("bugs", ()))
        return cls(**values)


OPTIONS = options_of(ShareSettings)
"""The options of a share, in the order in which help lists them."""


@dataclass(frozen=True, slots=True)
class Exports:
    """The shares that the exports of one mount come to."""

    root: ShareSettings
    """The share that is mounted at the mount point itself."""
    shares: tuple[ShareSettings, ...]
    """Those that are mounted in it, one for each export."""
