"""What a user asks of a share, as plain values, and the system that results.

The same settings are given on the command line, from Python, and to the
process that serves the mount: so they hold nothing but text and numbers.
"""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from osxfs_sim.catalogue import load_distribution, load_policy, load_profile
from osxfs_sim.model.bugs import Ailment, Bug, parse_ailment, together
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
    check_believes,
    check_keeps,
    with_event_latency,
    with_lifetime,
)
from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.model.units import MAX_DURATION_NS, parse_rate_bytes_per_s, parse_size_bytes
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec


@dataclass(frozen=True, slots=True)
class EmulatedSystem:
    """A profile with the user's changes applied: what a mount acts by.

    *promise* is what it promises by itself, *mode* what all of it obeys: the
    stronger of that and what an export around it asks for.
    """

    profile: Profile
    latency: LatencySpec
    policy: CachePolicy
    promise: Promise
    mode: Mode
    files: FileRules
    events: EventSpec
    write_back: WriteBackSpec | None
    dilate: float
    synchronization: SyncSpec | None = None
    bugs: tuple[Ailment, ...] = ()
    own_policy: OwnPolicy | None = None
    """The user's, where *policy* is that one, or rests upon it."""


HOST_EVENTS = ("auto", "fanotify", "inotify", "none")
"""How changes of the host can be seen: by itself the best that the machine allows, or not."""


WRITE_BACK_KEYS = (
    "write_back_age_ns",
    "write_back_changes",
    "write_back_bytes",
    "kernel_write_back",
)

OF_REQUESTS = (
    *FILE_RULES,
    *("latency_ns", "bandwidth", "distribution", "served_at_once", "data_path"),
    *("lifetime_ns", "missing_lifetime_ns", "policy"),
    *("host_events", "event_latency_ns"),
    *WRITE_BACK_KEYS,
    *("unwritten", "dilate", "allow_other", "user", "host_services", "trace", "bugs"),
)
"""What can be asked of a share only where the guest's work makes requests."""

UNWRITTEN = ("recover", "discard")
"""What may become of changes that an earlier share of the same source has not written back."""

_COUNTS = re.compile(r"copies=([0-9]+),switches=([0-9]+)")


def parse_data_path(text: str) -> tuple[int, int]:
    """The copies and context switches in ``copies=5,switches=3``. Raises ProfileError."""
    match = _COUNTS.fullmatch(text)
    if match is None:
        raise ProfileError(f"{text!r}: write copies=5,switches=3")
    return int(match[1]), int(match[2])


def parse_volume(text: str) -> tuple[str, str]:
    """The path and the directory in ``PATH=DIR``; no directory where it is not named."""
    path, _, directory = text.partition("=")
    return path, directory


def check_volume_paths(paths: Sequence[str]) -> None:
    """That each is a path inside a share, and no two are the same. Raises ProfileError."""
    for path in paths:
        parts = path.split("/")
        if "\0" in path or {"", ".", ".."} & set(parts):
            raise ProfileError(
                f"the volume {path!r} is no path inside the share: write such as node_modules or "
                "web/node_modules"
            )
        if paths.count(path) > 1:
            raise ProfileError(f"two volumes are at {path}: leave one of them out")


_DURATION = ((int,), "give whole nanoseconds, such as 65_000 for 65us")
_TEXT = ((str,), "give a text")
_TRUTH = ((bool,), "give True or False")
_WHOLE = ((int,), "give a whole number")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("source", "mountpoint", "profile", "distribution", "policy"), _TEXT),
    **dict.fromkeys(("ownership", "names", "extended_attributes", "replaced"), _TEXT),
    **dict.fromkeys(("host_events", "unwritten", "user", "state_directory"), _TEXT),
    **dict.fromkeys(("trace", "copy"), _TEXT),
    **dict.fromkeys(("latency_ns", "lifetime_ns", "missing_lifetime_ns"), _DURATION),
    **dict.fromkeys(("event_latency_ns", "write_back_age_ns"), _DURATION),
    "bandwidth": ((str,), "give a rate such as '250MB/s', or 'none'"),
    "write_back_bytes": ((str,), "give a size such as '64MB'"),
    **dict.fromkeys(("served_at_once", "write_back_changes", "seed"), _WHOLE),
    **dict.fromkeys(("kernel_write_back", "allow_other", "calibrate"), _TRUTH),
    "dilate": ((int, float), "give a number"),
}
"""What a value is, where it is given, and what is said to who gives another."""


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """One share. None means: as the profile has it.

    *latency_ns* is the metadata round trip, every class keeping its proportion
    to it; *data_path* the numbers of copies and context switches; *dilate*
    multiplies every time in the model. *ownership*, *names*,
    *extended_attributes* and *replaced* are the profile's rules for files. *host_events* is
    how changes of the host are seen, one of HOST_EVENTS; *event_latency_ns* the
    window in which they are collected. *write_back_age_ns*, *write_back_changes* and
    *write_back_bytes* (a size such as 64MB) bound what a share with write-back holds;
    *kernel_write_back* is whether the guest's kernel holds small writes, too. *unwritten*, one
    of UNWRITTEN, is for what an earlier share has left unwritten. *allow_other* lets
    other users in (None: if we are root). *user* is the one that the server,
    started by root, becomes. *state_directory* is where owners are kept that
    no attribute can hold (None: the user's own). *calibrate* False leaves out
    the measurements at mount start, for tests that do not look at time.
    *exports* are the directories that the mount point of a share file shows;
    *source* is then empty. *host_services* are names and paths of the host's
    sockets that the guest can reach as host-services/NAME.sock. *stronger* are
    the parts that obey another export's mode (model/consistency.py): paths
    relative to the source, "." for all of it, and labels of modes. A share file's
    reader sets it; a share by itself overlaps nothing. *trace* is a file for a record of
    every request from the first on (trace/format.py). *volumes* are paths in the share and the
    guest-local directories that the guest has there instead of the host's
    (mount/mounts/volumes.py). *copy* is where the guest's copy lies, for a profile that has one
    (None: in the state directory). *bugs* are those that it shall have beside the profile's
    (model/bugs.py), by name, such as phantom or descriptors=100.
    """

    source: str
    mountpoint: str
    profile: str = "osxfs"
    latency_ns: int | None = None
    bandwidth: str | None = None
    distribution: str | None = None
    served_at_once: int | None = None
    data_path: tuple[int, int] | None = None
    lifetime_ns: int | None = None
    missing_lifetime_ns: int | None = None
    policy: str | None = None
    ownership: str | None = None
    names: str | None = None
    extended_attributes: str | None = None
    replaced: str | None = None
    host_events: str = "auto"
    event_latency_ns: int | None = None
    write_back_age_ns: int | None = None
    write_back_changes: int | None = None
    write_back_bytes: str | None = None
    kernel_write_back: bool | None = None
    unwritten: str | None = None
    dilate: float = 1.0
    seed: int = 0
    allow_other: bool | None = None
    user: str | None = None
    state_directory: str | None = None
    calibrate: bool = True
    exports: tuple[str, ...] = ()
    host_services: tuple[tuple[str, str], ...] = ()
    stronger: tuple[tuple[str, str], ...] = ()
    trace: str | None = None
    volumes: tuple[tuple[str, str], ...] = ()
    copy: str | None = None
    bugs: tuple[str, ...] = ()

    def given(self) -> dict[str, Any]:
        """The fields that are not as they are by default, source and mount point apart."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if field.default is not dataclasses.MISSING
            and (value := getattr(self, field.name)) != field.default
        }

    def system(self) -> EmulatedSystem:
        """The profile with these changes. Raises ProfileError for what makes no sense."""
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
        """Of the source of a policy of the user's own; None without one."""
        own = self.system().own_policy
        return None if own is None else own.digest

    def _check_kinds(self) -> None:
        """That each value is of the kind that the command line makes of it. Raises ProfileError."""
        for name, (kinds, hint) in _KINDS.items():
            value = getattr(self, name)
            is_right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
            if (value is not None or name == "profile") and not is_right:
                raise ProfileError(f"{name} = {value!r:.60}: {hint}")
            if name.endswith("_ns") and value is not None and value > MAX_DURATION_NS:
                raise ProfileError(f"{name} = {value}: that is longer than a thousand hours")
        for name in ("exports", "bugs"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not all(isinstance(each, str) for each in values):
                raise ProfileError(f"{name} = {values!r:.60}: give a sequence of texts")

    def _bugs(
        self,
        bugs: tuple[Ailment, ...],
        files: FileRules,
        events: EventSpec,
        write_back: WriteBackSpec | None,
    ) -> tuple[Ailment, ...]:
        """The profile's *bugs* and one's own, if they can do something. Raises ProfileError.

        A bug of what is believed may be had where nothing is: that the policy keeps it from
        showing is what the museum is about.
        """
        try:
            own = [parse_ailment(text) for text in self.bugs]
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
        for key in OF_REQUESTS:
            if key in self.given() and not (key == "dilate" and has_times):
                raise ProfileError(
                    f"{key.removesuffix('_ns')} has no effect with the profile {profile.name}, "
                    "whose work makes no requests: leave it out, or use a profile such as osxfs"
                )

    def stronger_modes(self) -> dict[str, Mode]:
        """The parts that obey another export's mode, by path."""
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
        lifetimes = (("lifetime", self.lifetime_ns), ("missing_lifetime", self.missing_lifetime_ns))
        if self.policy is not None:
            for key, value_ns in lifetimes:
                if value_ns is not None:
                    raise ProfileError(
                        f"{key} has no effect beside a policy of your own: "
                        "set it in the policy's class"
                    )
            return load_policy(self.policy)
        caching = profile.caching
        for key, value_ns in lifetimes:
            if value_ns is not None:
                caching = with_lifetime(caching, key, value_ns)
        check_keeps(profile.caching, profile.name)
        check_believes(caching, profile.name)
        return caching.build()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShareSettings":
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


@dataclass(frozen=True, slots=True)
class Exports:
    """*hub* is what is mounted at the mount point itself, *shares* what is mounted in it."""

    hub: ShareSettings
    shares: tuple[ShareSettings, ...]
