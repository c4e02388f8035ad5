"""Puts the parts of one share together, as its settings ask for them."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyfuse3

from osxfs_sim.fs import at
from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.model.latency import LatencyModel
from osxfs_sim.model.names import RULES
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.profile import Replaced, XattrPolicy
from osxfs_sim.mount.events.host_events import HostEvents
from osxfs_sim.mount.events.inject import Injector
from osxfs_sim.mount.events.injected_requests import InjectedRequests
from osxfs_sim.mount.events.invalidate import Invalidator, LateInvalidator
from osxfs_sim.mount.events.suppressed_answers import SuppressedAnswers
from osxfs_sim.mount.faults.chosen import change_filter, faults_of, injection_mapper
from osxfs_sim.mount.faults.fault import Fault
from osxfs_sim.mount.latency.crossings import ClientOverhead, Crossings
from osxfs_sim.mount.loop.notifications import Invalidate
from osxfs_sim.mount.loop.reactor import Reactor
from osxfs_sim.mount.mounts import services
from osxfs_sim.mount.mounts.identity import ServerUser, state_directory
from osxfs_sim.mount.mounts.mountpoints import EXPORTS_ROOT_NAME, MountError
from osxfs_sim.mount.requests.attributes import Show, show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.dispatch import Dispatcher
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import HostListing
from osxfs_sim.mount.requests.host_operations import Capabilities, HostOperations
from osxfs_sim.mount.requests.identities import Identify, Identities
from osxfs_sim.mount.requests.listing import Listings
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.requests.open_handles import OpenHandles, most_handles
from osxfs_sim.mount.requests.tracing import Tracing
from osxfs_sim.mount.server.synthetic_directories import (
    PrivateDirectory,
    SyntheticBacking,
    SyntheticDirectory,
    SyntheticListing,
    SyntheticNode,
)
from osxfs_sim.mount.tree.backing import Backing, descriptor_budget
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import KnownCaller, Owners, open_owners
from osxfs_sim.mount.tree.spellings import ExactNames, FoldedNames, Spellings
from osxfs_sim.mount.tree.xattrs import GuestAttributes
from osxfs_sim.mount.watch.open_watcher import open_watcher
from osxfs_sim.mount.watch.watcher import Watcher
from osxfs_sim.mount.writeback.conflicts import Conflicts
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.guest_side import GuestSide, PendingEviction
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.handlers import WriteBackHandlers
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.journal import Journal, open_journal
from osxfs_sim.mount.writeback.overlay_layers import OverlayListing, OverlayOperations
from osxfs_sim.mount.writeback.writeback import WriteBack
from osxfs_sim.settings import EmulatedSystem, ShareSettings

_MOST_DIRECTORIES = 1024
_MOST_OBJECTS = 65_536


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of one share that serve its requests, put together by build()."""

    reactor: Reactor
    """The event loop that drives the requests."""
    handlers: Any
    """The uppermost of the layers that a trace sees; all have what Handlers has."""
    dispatcher: Dispatcher
    """What pyfuse3 calls."""
    tracing: Tracing
    """Traces and live counters."""
    owners: Owners
    """Who owns what, by the ownership policy."""
    spellings: Spellings
    """How names are found: exactly, or case-insensitively."""
    inodes: InodeTable
    """The inode table."""
    backing: Backing
    """The host's directory, by descriptors."""
    crossings: Crossings
    """Latency model and receipt."""
    caching: Caching
    """What the kernel may cache, without the faults laid over it."""
    handles: HandleTable
    """What the guest has open."""
    synthetic: SyntheticDirectory | None
    """The layer of the directory host-services; None where there are no host services."""
    host_events: HostEvents | None
    """The way of host changes to the guest; None on a share without host events."""
    write_back: WriteBack | None
    """The guest's pending changes; None on a share that writes through."""
    closes: tuple[Callable[[], None], ...]
    """What else is to be closed, in this order."""

    def close(self) -> None:
        """Close all parts of the share, in the order in which they need each other."""
        if self.host_events is not None:
            self.host_events.close()
        self.reactor.close()
        for close in self.closes:
            close()
        self.owners.close()
        self.backing.close()


def build(
    settings: ShareSettings,
    system: EmulatedSystem,
    user: ServerUser,
    source: str,
    mountpoint: str,
    private_directory: PrivateDirectory | None,
) -> Components:
    """Make all parts that serve requests for *source*. Raises OSError, MountError.

    From the tree upwards: each part is given those that it uses when it is made. Requests then pass
    the layers in the other direction: injected requests, a trace while there is one, synthetic
    directories, write-back, written through.
    """
    with user.acting():
        root_fd = at.open_place(source)
    has_events = system.events.stream is not None and not settings.exports
    kernel_writes_back = system.write_back is not None and system.write_back.kernel
    server_is_root = user.uid == 0

    # The tree, and what is said of it
    inodes = InodeTable(os.fstat(root_fd), tracks_dentries=has_events)
    watcher: Watcher | None = None
    if has_events:
        # While the server may still be root, whatever it becomes.
        watcher = open_watcher(settings.host_events, inodes.root, root_fd)
        inodes.root.watched = watcher.watch(inodes.root, root_fd, b".")
    holds_objects = system.files.replaced is Replaced.HELD
    most_descriptors = descriptor_budget(_MOST_OBJECTS if holds_objects else _MOST_DIRECTORIES)
    backing_class = Backing if private_directory is None else SyntheticBacking
    backing = backing_class(
        inodes.root, root_fd, most_descriptors=most_descriptors, holds_objects=holds_objects
    )
    # What has a name, and what has none any more; and with write-back what was made.
    server_descriptors = 2 * most_descriptors
    crossings = Crossings(LatencyModel(system.latency, settings.seed), ClientOverhead({0: 0}))
    reactor = Reactor(pyfuse3._session_loop, keeps_dentries=bool(settings.volumes))  # type: ignore[attr-defined]
    pyfuse3.trio = reactor.as_trio()  # type: ignore[attr-defined]
    owners = open_owners(
        system.files.ownership, kept_in(settings, user), KnownCaller(user.uid, user.gid)
    )
    rules = RULES[system.files.names]
    spellings: Spellings = (
        FoldedNames(rules, reactor.increment_epoch, mountpoint) if rules.folds else ExactNames()
    )
    synthetic_node = None
    if private_directory is not None:
        assert isinstance(backing, SyntheticBacking)
        synthetic_node = SyntheticNode(private_directory, inodes, backing)
    overlaps = None
    parts = settings.stronger_modes()
    if any(mode > system.mode for mode in parts.values()):
        with user.acting():
            overlaps = Overlaps(system.mode, parts.items(), inodes, root_fd)
    faults = faults_of(system.bugs, inodes, backing, spellings)

    # What an answer is made of
    calls = HostCalls(crossings, reactor.internal_errors, may_change=not settings.exports)
    complete_directories: CompleteDirectories[Inode] | None = None
    if system.policy.complete:
        complete_directories = CompleteDirectories()
    real_caching = Caching(
        system.policy, inodes.root, backing, spellings, complete_directories, overlaps
    )
    caching = _layered(faults, "over_caching", real_caching)
    identities = Identities(inodes, backing, watcher, overlaps, reactor.increment_epoch)
    namespace = Namespace(
        *(inodes, backing, owners, spellings, complete_directories, watcher),
        before_move=identities.moves_in,
        on_name_added=functools.partial(_on_name_added, faults) if faults else None,
    )
    identify: Identify = _layered(faults, "over_identify", identities.identify)
    shown: Show = _layered(faults, "over_show", show)
    evict: Callable[[Inode], None] = namespace.forget
    handles = HandleTable(direct=system.policy.direct, kernel_appends=kernel_writes_back)
    view = None
    if system.write_back is not None:
        view = GuestView(inodes, backing, owners, caching, identify, shown)
        identify, shown = view.identify, view.show

    # What the host does
    injector = None
    host_events = None
    if watcher is not None:
        if system.events.notify is not None:
            injector = Injector(mountpoint, reactor.has_requests)
        host_events = HostEvents(
            *(system.events, watcher, reactor, inodes, backing, spellings),
            *(real_caching, complete_directories, injector, settings.seed),
            forgets=kernel_writes_back,
            filter_change=change_filter(system.bugs),
            map_injection=injection_mapper(system.bugs),
        )

    # What the guest's changes wait for
    closes: list[Callable[[], None]] = []
    write_back = side = None
    if system.write_back is not None:
        if host_events is not None:
            invalidate: Invalidate = host_events.invalidate
        else:
            invalidate, close = _late_invalidator(reactor, forgets=kernel_writes_back)
            closes.append(close)
        with user.acting():
            journal = _journal(settings, user, source, inodes)
        side = GuestSide(
            calls, inodes, backing, spellings, complete_directories, handles, evict, invalidate
        )
        conflicts = Conflicts(None if host_events is None else host_events.host_kept_name)
        effects = EffectApplier(namespace, inodes, backing, watcher, conflicts)
        writer = HostWriter(
            *(inodes.root, backing, owners, journal.data.read, effects.apply),
            tells_handles=watcher is not None,
        )
        write_back = WriteBack(
            *(system.write_back, reactor, crossings, inodes, backing, writer, effects, journal),
            *(side.evict_if_forgotten, side.created_on_host, side.attributes_set_on_host),
            side.was_set_aside,
        )
        server_descriptors += write_back.most_descriptors
        evict = PendingEviction(write_back, side.sync_errors, evict)
    evict = _layered(faults, "over_eviction", evict)

    # The layers of requests, from below
    capabilities = Capabilities(
        guest_devices=system.files.ownership is Ownership.HOST,
        kernel_checks=system.files.ownership is Ownership.HOST,
        server_is_root=server_is_root,
    )
    guest_attributes = GuestAttributes(
        owners, allowed=system.files.extended_attributes is XattrPolicy.HOST
    )
    entries = _layered(
        faults,
        "over_entries",
        Entries(inodes, backing, owners, caching, namespace, identify, shown),
    )
    operations: Any = HostOperations(
        *(inodes, backing, owners, spellings, namespace, crossings),
        *(caching, entries, shown, handles, capabilities),
    )
    for fault in faults:
        operations = fault.over_operations(operations, evict)
    listing: Any = HostListing(inodes, backing, owners, spellings, caching, identify, shown, evict)
    if view is not None:
        operations = OverlayOperations(operations, inodes, view)
        listing = OverlayListing(listing, view)
    if synthetic_node is not None:
        listing = SyntheticListing(listing, synthetic_node, spellings)
    handlers: Any = Handlers(
        *(calls, crossings, reactor.internal_errors, inodes, backing, spellings, namespace),
        *(caching, complete_directories, entries, handles, operations),
        Listings(
            calls, crossings, backing, spellings, caching, complete_directories, handles, listing
        ),
        guest_attributes,
        evict,
    )
    if write_back is not None and view is not None and side is not None:
        deferral = Deferral(
            *(calls, inodes, backing, owners, view, overlaps),
            server_is_root=server_is_root,
            never=frozenset() if synthetic_node is None else frozenset({synthetic_node.directory}),
        )
        identities.on_move_in(functools.partial(_flush_if_stronger, deferral, write_back, reactor))
        handlers = WriteBackHandlers(
            *(handlers, write_back, view, side, deferral),
            calls=calls,
            crossings=crossings,
            inodes=inodes,
            backing=backing,
            owners=owners,
            caching=caching,
            handles=handles,
            operations=operations,
            listing=listing,
            guest_attributes=guest_attributes,
            overlaps=overlaps,
            server_is_root=server_is_root,
            kernel_writes_back=kernel_writes_back,
        )
        closes.append(handlers.close)
    synthetic = None
    if synthetic_node is not None:
        handlers = synthetic = SyntheticDirectory(
            handlers, synthetic_node, calls, inodes, spellings, operations
        )

    def add_layer(below: Any) -> Any:
        """What answers the requests that raise events, and lets all others pass."""
        if injector is None:
            return below
        layer: Any = InjectedRequests(
            *(below, injector, calls),
            SuppressedAnswers(injector, inodes, backing, spellings, entries, operations),
            is_synthetic=None if synthetic is None else synthetic.is_synthetic,
        )
        for fault in faults:
            layer = fault.over_injected(layer, injector)
        return layer

    dispatcher = Dispatcher(
        add_layer(handlers),
        reactor,
        OpenHandles(most_handles(server_descriptors), user.uid),
        is_suppressed=None if injector is None else injector.is_injected_request,
        kernel_writes_back=kernel_writes_back,
    )
    return Components(
        reactor=reactor,
        handlers=handlers,
        dispatcher=dispatcher,
        tracing=Tracing(
            *(dispatcher, handlers, inodes, crossings, reactor.call_soon),
            names_answer=complete_directories is not None,
            add_layer=add_layer,
        ),
        owners=owners,
        spellings=spellings,
        inodes=inodes,
        backing=backing,
        crossings=crossings,
        caching=real_caching,
        handles=handles,
        synthetic=synthetic,
        host_events=host_events,
        write_back=write_back,
        closes=(handles.close, *(fault.close for fault in faults), *closes),
    )


def _layered(faults: list[Fault], over: str, below: Any) -> Any:
    """*below* with each of the *faults* laid over it that has something to lay there."""
    for fault in faults:
        below = getattr(fault, over)(below)
    return below


def _on_name_added(faults: list[Fault], parent: Inode, requested: bytes) -> None:
    for fault in faults:
        fault.on_name_added(parent, requested)


def _flush_if_stronger(
    deferral: Deferral, write_back: WriteBack, reactor: Reactor, directory: Inode
) -> None:
    """Something has come to *directory*: what is pending below it must perhaps wait no longer."""
    if deferral.is_stronger(directory):
        wanted = write_back.changes.last_sequence
        reactor.call_soon(lambda: write_back.flush_up_to(wanted))


def _late_invalidator(reactor: Reactor, *, forgets: bool) -> tuple[Invalidate, Callable[[], None]]:
    """What ends answers where no host events do, and what closes it."""

    def begin() -> Invalidator | None:
        if not reactor.serves or reactor.ended:
            return None
        return Invalidator(forgets=forgets, device=reactor.device)

    invalidator = LateInvalidator(begin)
    return invalidator.invalidate, invalidator.close


def _journal(settings: ShareSettings, user: ServerUser, source: str, inodes: InodeTable) -> Journal:
    """A new journal for what is pending. Raises MountError."""
    state = kept_in(settings, user)
    try:
        return open_journal(state, source, inodes.root)
    except OSError as error:
        raise MountError(
            f"cannot keep a journal of changes in {state}: {error.strerror}; "
            "let --state name a directory that can be written"
        ) from error


def kept_in(settings: ShareSettings, user: ServerUser) -> Path:
    """The path of the directory for what outlives *user*'s share: journals, owners, copies."""
    if settings.state_directory is not None:
        return Path(settings.state_directory)
    return state_directory(user)


def mount_options(settings: ShareSettings, system: EmulatedSystem, allow_other: bool) -> set[str]:
    """The options of mount(8) for libfuse, as text: name, type, who may enter."""
    name = EXPORTS_ROOT_NAME if settings.exports else f"osxfs-sim#{_plain(system.profile.name)}"
    options = {f"fsname={name}", "subtype=osxfs-sim"}
    if allow_other:
        options.add("allow_other")
    if system.files.ownership is Ownership.HOST:
        options.add("default_permissions")
    return options


def make_private_directory(runtime: Path, source: str) -> PrivateDirectory:
    """Make the private directory behind host-services. Raises MountError."""
    if os.path.commonpath((source, os.path.realpath(runtime))) == source:
        raise MountError(
            f"the source {source} holds {runtime}, where host services are kept out of "
            "the guest's reach: share a directory below it, or no host services"
        )
    try:
        return PrivateDirectory(runtime, services.DIRECTORY)
    except OSError as error:
        raise MountError(f"cannot make a directory in {runtime}: {error.strerror}") from error


def _plain(name: str) -> str:
    """*name* without what would need escaping in a mount option."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
