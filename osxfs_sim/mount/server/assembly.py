"""Puts the parts of one share together, as its settings ask for them."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyfuse3

from osxfs_sim.fs import at
from osxfs_sim.model.latency import LatencyModel
from osxfs_sim.model.names import RULES
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.profile import GuestAttributes, Replaced
from osxfs_sim.mount.events.host_events import HostEvents
from osxfs_sim.mount.events.injected_requests import AcknowledgingHandlers
from osxfs_sim.mount.faults.bugs import afflicted, hearing
from osxfs_sim.mount.latency.crossings import Crossings, Outside
from osxfs_sim.mount.loop.reactor import Reactor
from osxfs_sim.mount.mounts import services
from osxfs_sim.mount.mounts.identity import ServerUser, state_directory
from osxfs_sim.mount.mounts.mountpoints import HUB_NAME, MountError
from osxfs_sim.mount.requests.dispatch import Dispatcher
from osxfs_sim.mount.requests.handlers import Rights
from osxfs_sim.mount.requests.open_handles import OpenHandles, most_handles
from osxfs_sim.mount.server.synthetic_directories import (
    Graft,
    GraftedBacking,
    GraftedHandlers,
    GraftedWriteBackHandlers,
)
from osxfs_sim.mount.tree.backing import Backing, affordable
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import KnownCaller, Owners, open_owners
from osxfs_sim.mount.tree.spellings import ExactNames, FoldedNames, Spellings
from osxfs_sim.mount.watch.watcher import Watcher, open_watcher
from osxfs_sim.mount.writeback.handlers import WriteBackHandlers
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.journal import Journal, open_journal
from osxfs_sim.mount.writeback.writeback import WriteBack
from osxfs_sim.settings import EmulatedSystem, ShareSettings

_MOST_DIRECTORIES = 1024
_MOST_OBJECTS = 65_536


@dataclass(frozen=True, slots=True)
class Machinery:
    """What serves the requests of one share."""

    reactor: Reactor
    handlers: AcknowledgingHandlers
    dispatcher: Dispatcher
    owners: Owners
    spellings: Spellings
    inodes: InodeTable
    backing: Backing
    crossings: Crossings
    host_events: HostEvents | None
    write_back: WriteBack | None

    def close(self) -> None:
        if self.host_events is not None:
            self.host_events.close()
        self.reactor.close()
        self.handlers.close()
        self.owners.close()
        self.backing.close()


def build(
    settings: ShareSettings,
    system: EmulatedSystem,
    user: ServerUser,
    source: str,
    mountpoint: str,
    graft: Graft | None,
) -> Machinery:
    """All that serves requests for the directory *source*. Raises OSError and MountError."""
    with user.acting():
        root_fd = at.open_place(source)
    has_events = system.events.stream is not None and not settings.exports
    inodes = InodeTable(os.fstat(root_fd), remembers_names=has_events)
    watcher: Watcher | None = None
    if has_events:
        # While the server may still be root, whatever it becomes.
        watcher = open_watcher(settings.host_events, inodes.root, root_fd)
        inodes.root.followed = watcher.follow(inodes.root, root_fd, b".")
    backing_class = Backing if graft is None else GraftedBacking
    holds_objects = system.files.replaced is Replaced.HELD
    most_descriptors = affordable(_MOST_OBJECTS if holds_objects else _MOST_DIRECTORIES)
    backing = backing_class(
        inodes.root, root_fd, most_descriptors=most_descriptors, holds_objects=holds_objects
    )
    # What has a name, and what has none any more; and with write-back what was made.
    held = 2 * most_descriptors
    crossings = Crossings(LatencyModel(system.latency, settings.seed), Outside({0: 0}))
    reactor = Reactor(pyfuse3._session_loop)  # type: ignore[attr-defined]
    reactor.keeps_names = bool(settings.volumes)
    pyfuse3.trio = reactor.as_trio()  # type: ignore[attr-defined]
    owners = open_owners(
        system.files.ownership, kept_in(settings, user), KnownCaller(user.uid, user.gid)
    )
    rules = RULES[system.files.names]
    spellings = (
        FoldedNames(rules, reactor.end_all_names, mountpoint) if rules.folds else ExactNames()
    )
    rights = Rights(
        guest_attributes=system.files.extended_attributes is GuestAttributes.HOST,
        guest_devices=system.files.ownership is Ownership.HOST,
        guest_changes=not settings.exports,
        kernel_checks=system.files.ownership is Ownership.HOST,
        server_is_root=user.uid == 0,
    )
    arguments = (
        *(reactor, inodes, backing, crossings, system.policy),
        *(owners, spellings, rights, watcher),
    )
    if graft is None:
        usual = WriteBackHandlers if system.write_back else AcknowledgingHandlers
        handlers = afflicted(usual, system.bugs)(*arguments)
    else:
        assert isinstance(backing, GraftedBacking)
        grafted = GraftedWriteBackHandlers if system.write_back else GraftedHandlers
        handlers = afflicted(grafted, system.bugs)(graft, inodes, backing, *arguments)
    handlers.mode = system.mode
    parts = settings.stronger_modes()
    if any(mode > system.mode for mode in parts.values()):
        with user.acting():
            handlers.overlaps = Overlaps(system.mode, parts.items(), inodes, root_fd)
    host_events = None
    if watcher is not None:
        host_events = hearing(
            system.bugs,
            system.events,
            watcher,
            reactor,
            inodes,
            backing,
            spellings,
            handlers,
            mountpoint,
            settings.seed,
        )
    write_back = None
    if system.write_back is not None:
        assert isinstance(handlers, WriteBackHandlers)
        with user.acting():
            journal = _journal(settings, user, source, inodes)
        writer = HostWriter(handlers.namespace, inodes, backing, owners, watcher, journal.read)
        write_back = WriteBack(
            system.write_back,
            reactor,
            crossings,
            inodes,
            writer,
            journal,
            handlers.let_go_if_forgotten,
            handlers.created_on_host,
            handlers.attributes_set_on_host,
        )
        handlers.write_back = write_back
        held += write_back.most_descriptors
        write_back.aside.on_aside = handlers.was_set_aside
        handlers.enable_writeback_cache = system.write_back.kernel
        if host_events is not None:
            writer.conflicts.on_conflict = host_events.overruled
            handlers.end_answers = host_events.end_answers
    return Machinery(
        *(
            reactor,
            handlers,
            Dispatcher(
                handlers,
                reactor,
                OpenHandles(most_handles(held), user.uid),
                kernel_writes_back=system.write_back is not None and system.write_back.kernel,
            ),
            owners,
            spellings,
            inodes,
            backing,
            crossings,
        ),
        *(host_events, write_back),
    )


def _journal(settings: ShareSettings, user: ServerUser, source: str, inodes: InodeTable) -> Journal:
    """A new journal for what is held. Raises MountError."""
    state = kept_in(settings, user)
    try:
        return open_journal(state, source, inodes.root)
    except OSError as error:
        raise MountError(
            f"cannot keep a journal of changes in {state}: {error.strerror}; "
            "let --state name a directory that can be written"
        ) from error


def kept_in(settings: ShareSettings, user: ServerUser) -> Path:
    """The directory for what outlives a share."""
    if settings.state_directory is not None:
        return Path(settings.state_directory)
    return state_directory(user)


def mount_options(settings: ShareSettings, system: EmulatedSystem, allow_other: bool) -> set[str]:
    """Of mount(8), as libfuse takes them."""
    name = HUB_NAME if settings.exports else f"osxfs-sim#{_plain(system.profile.name)}"
    options = {f"fsname={name}", "subtype=osxfs-sim"}
    if allow_other:
        options.add("allow_other")
    if system.files.ownership is Ownership.HOST:
        options.add("default_permissions")
    return options


def make_graft(runtime: Path, source: str) -> Graft:
    """The private directory behind the one for host services. Raises MountError."""
    if os.path.commonpath((source, os.path.realpath(runtime))) == source:
        raise MountError(
            f"the source {source} holds {runtime}, where host services are kept out of "
            "the guest's reach: share a directory below it, or no host services"
        )
    try:
        return Graft(runtime, services.DIRECTORY)
    except OSError as error:
        raise MountError(f"cannot make a directory in {runtime}: {error.strerror}") from error


def _plain(name: str) -> str:
    """*name* without what would need escaping in a mount option."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
