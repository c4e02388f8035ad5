"""What the guest has of an object that the host has replaced, while it takes a name for it.

The answers of the real one were taken in a Linux 6.1 guest on virtiofsd of QEMU 7.2, by
`python -m bench.virtiofs_guest SCRIPT --answers`, which does the same again and found no
difference to the profiles, in any of its three modes.
"""

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.guests import eventually, refused
from support.live import LiveShare

from osxfs_sim.model.profile import Replaced
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable

CACHING = {"cache_timeout_ns": 3_600 * 10**9}
"""A timeout that does not pass while a test looks, on however slow a machine."""


def fill(host: Path) -> None:
    for name, content in (("i", "old\n"), ("r", "old-content\n"), ("x", "old\n"), ("z", "old\n")):
        (host / name).write_text(content)
    for directory in ("e", "k"):
        (host / directory).mkdir()
        (host / directory / "x").write_text("old\n")
    os.symlink("old", host / "l")
    (host / "h").write_text("old\n")
    os.link(host / "h", host / "h2")


def replace_everything(host: Path) -> None:
    def put(name: str, content: str) -> None:
        (host / "t").write_text(content)
        os.rename(host / "t", host / name)

    (host / "i").write_text("in-place\n")
    put("r", "replaced, and longer\n")
    (host / "x").unlink()
    put("z", "new\n")
    (host / "z").unlink()
    os.rename(host / "e", host / "e.old")
    (host / "e").mkdir()
    (host / "e" / "y").write_text("new\n")
    os.symlink("new", host / "t")
    os.rename(host / "t", host / "l")
    put("h", "other\n")
    shutil.rmtree(host / "k")


def append_and_read(path: Path) -> str:
    with open(path, "a") as file:
        file.write("guest\n")
    return path.read_text()


LOOKS: dict[str, Callable[[Path], Any]] = {
    "size and links of i": lambda guest: (
        os.stat(guest / "i").st_size,
        os.stat(guest / "i").st_nlink,
    ),
    "content of i": lambda guest: (guest / "i").read_text(),
    "size of r": lambda guest: os.stat(guest / "r").st_size,
    "content of r": lambda guest: (guest / "r").read_text(),
    "links of r": lambda guest: os.stat(guest / "r").st_nlink,
    "content of x": lambda guest: (guest / "x").read_text(),
    "content of z": lambda guest: (guest / "z").read_text(),
    "names in e": lambda guest: os.listdir(guest / "e"),
    "content of e/x": lambda guest: (guest / "e" / "x").read_text(),
    "content of e/y": lambda guest: (guest / "e" / "y").read_text(),
    "target of l": lambda guest: os.readlink(guest / "l"),
    "content of h": lambda guest: (guest / "h").read_text(),
    "content of h2": lambda guest: (guest / "h2").read_text(),
    "links of h and h2": lambda guest: (
        os.stat(guest / "h").st_nlink,
        os.stat(guest / "h2").st_nlink,
    ),
    "content of k/x": lambda guest: (guest / "k" / "x").read_text(),
    "names in k": lambda guest: os.listdir(guest / "k"),
    "r, appended to": lambda guest: append_and_read(guest / "r"),
    "a new name in k": lambda guest: os.mknod(guest / "k" / "new"),
    "a new name for x": lambda guest: os.link(guest / "x", guest / "x2"),
}
REAL = {
    # cache=always, and cache=auto within its second.
    "caching": {
        "size and links of i": (4, 1),
        "content of i": "in-p",
        "size of r": 12,
        "content of r": "old-content\n",
        "links of r": 0,
        "content of x": "old\n",
        "content of z": "old\n",
        "names in e": ["x"],
        "content of e/x": "old\n",
        "content of e/y": "ENOENT",
        "target of l": "old",
        "content of h": "old\n",
        "content of h2": "old\n",
        "links of h and h2": (1, 1),
        "content of k/x": "old\n",
        "names in k": [],
        "r, appended to": "old-content\nguest\n",
        "a new name in k": "ENOENT",
        "a new name for x": "ENOENT",
    },
    # cache=none
    "asking": {
        "size and links of i": (9, 1),
        "content of i": "in-place\n",
        "size of r": 21,
        "content of r": "replaced, and longer\n",
        "links of r": 1,
        "content of x": "ENOENT",
        "content of z": "ENOENT",
        "names in e": ["y"],
        "content of e/x": "ENOENT",
        "content of e/y": "new\n",
        "target of l": "new",
        "content of h": "other\n",
        "content of h2": "old\n",
        "links of h and h2": (1, 1),
        "content of k/x": "ENOENT",
        "names in k": "ENOENT",
        "r, appended to": "replaced, and longer\nguest\n",
        "a new name in k": "ENOENT",
        "a new name for x": "ENOENT",
    },
}


def answers(guest: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for what, look in LOOKS.items():
        try:
            said[what] = look(guest)
        except OSError as error:
            said[what] = errno.errorcode[error.errno or 0]
    return said


def look_and_replace(live: LiveShare) -> dict[str, Any]:
    """What the guest sees after it has looked at everything, and the host has replaced it."""
    fill(live.source)
    for name in ("i", "r", "x", "z", "h", "h2"):
        os.stat(live.guest / name)
    for name in ("r", "x", "z", "h", "e/x", "k/x"):
        (live.guest / name).read_text()
    os.listdir(live.guest / "e")
    os.readlink(live.guest / "l")
    replace_everything(live.source)
    return answers(live.guest)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"profile": "virtiofsd-always"}, "caching"),
        ({"profile": "virtiofsd-auto"} | CACHING, "caching"),
        ({"profile": "lima-vz", "latency_ns": 0} | CACHING, "caching"),
        ({"profile": "virtiofsd-none"}, "asking"),
    ],
)
def test_a_guest_sees_of_what_was_replaced_what_a_real_one_saw(share, settings, kind) -> None:
    assert look_and_replace(share(**settings)) == REAL[kind]


def test_a_server_that_looked_names_up_anew_would_be_caught(share) -> None:
    said = look_and_replace(share(profile="virtiofsd-always", replaced="anew"))
    assert said["content of r"] == "replaced, and longer\n"
    assert said["content of x"] == "ENOENT"
    assert said != REAL["caching"]


def test_osxfs_shows_what_is_there_now_however_long_it_caches(share) -> None:
    live = share(profile="osxfs-cached", host_events="none", latency_ns=0)
    said = look_and_replace(live)
    assert live.status().replaced == "anew"
    assert said["content of r"] == "replaced, and longer\n"
    assert said["content of h"] == "old\n"  # by its other name: an entry leads to its object
    assert (said["content of x"], said["content of z"]) == ("ENOENT", "ENOENT")


def test_when_its_timeout_has_passed_a_name_is_what_is_there_now(share) -> None:
    live = share(profile="virtiofsd-auto")
    (live.source / "file").write_text("old")
    assert (live.guest / "file").read_text() == "old"
    (live.source / "new").write_text("new, and longer")
    os.rename(live.source / "new", live.source / "file")
    eventually(lambda: (live.guest / "file").read_text() == "new, and longer")


def test_an_event_invalidates_the_name_of_what_is_held(share) -> None:
    live = share(profile="docker-vz", latency_ns=0, **CACHING)
    (live.source / "file").write_text("old")
    assert (live.guest / "file").read_text() == "old"
    with open(live.guest / "file") as held:
        (live.source / "new").write_text("new, and longer")
        os.rename(live.source / "new", live.source / "file")
        eventually(lambda: (live.guest / "file").read_text() == "new, and longer")
        assert held.read() == "old"


def test_of_what_the_host_took_away_nothing_is_cached_any_more(share) -> None:
    """It is held, and nobody tells of changes in it."""
    live = share(profile="docker-vz", latency_ns=0, **CACHING)
    (live.source / "file").write_text("old")
    with open(live.guest / "file") as file:
        os.link(live.source / "file", live.source.parent / "elsewhere")
        (live.source / "file").unlink()
        live.settle()
        os.fstat(file.fileno())
        (live.source.parent / "elsewhere").write_text("changed, and longer")
        assert os.fstat(file.fileno()).st_size == len("changed, and longer")


def test_what_the_guest_forgets_is_held_no_longer(share) -> None:
    live = share(profile="virtiofsd-always")
    names = [f"file-{number}" for number in range(50)]
    for name in names:
        (live.source / name).touch()
    before = live.status().descriptors
    for name in names:
        os.stat(live.guest / name)
    assert live.status().descriptors == before + 50
    for name in names:
        (live.guest / name).unlink()
    eventually(lambda: live.status().descriptors == before)


def test_what_was_replaced_is_evicted_when_its_name_is_looked_up_anew(share) -> None:
    live = share(profile="virtiofsd-none")
    (live.source / "file").write_text("old")
    (live.guest / "file").read_text()
    before = live.status().descriptors
    for number in range(20):
        (live.source / "new").write_text(f"{number}")
        os.rename(live.source / "new", live.source / "file")
        assert (live.guest / "file").read_text() == f"{number}"
    eventually(lambda: live.status().descriptors <= before)


def test_what_leaves_the_export_is_refused_although_it_is_held(share) -> None:
    live = share(profile="virtiofsd-always")
    (live.source / "file").write_text("inside")
    (live.source / "directory").mkdir()
    (live.source / "directory" / "file").write_text("inside")
    (live.guest / "file").read_text()
    (live.guest / "directory" / "file").read_text()
    for name in ("file", "directory"):
        os.rename(live.source / name, live.source.parent / f"outside-{name}")
    with refused(errno.ENOENT):
        (live.guest / "file").read_text()
    with refused(errno.ENOENT):
        os.listdir(live.guest / "directory")


def test_a_socket_of_a_host_service_can_be_reached_where_objects_are_held(share, field) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(field / "host"))
        listening.listen()
        live = share(profile="virtiofsd-always", host_services=(("echo", str(field / "host")),))
        path = live.guest / "host-services" / "echo.sock"
        assert os.stat(path) == os.stat(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))


# The descriptors, by themselves


class Held:
    """A tree of which at most *most* objects are held, besides what this one says."""

    def __init__(self, host: Path, most: int) -> None:
        self.host = host
        self.inodes = InodeTable(os.stat(host))
        self.backing = Backing(
            self.inodes.root,
            os.open(host, os.O_RDONLY | os.O_DIRECTORY),
            most_descriptors=most,
            holds_objects=True,
        )

    def look_up(self, name: str) -> Inode:
        dir_fd, encoded = self.inodes.root.path_fd, os.fsencode(name)
        status = os.stat(encoded, dir_fd=dir_fd, follow_symlinks=False)
        known = self.inodes.find(status)
        if known is not None and self.backing.has_been_replaced(known, dir_fd, encoded):
            self.inodes.detach_host_number(known)
        inode = self.inodes.find_or_add(self.inodes.root, encoded, status)
        self.backing.hold(inode, dir_fd, encoded)
        return inode

    def content(self, inode: Inode) -> bytes:
        fd = self.backing.open(inode, os.O_RDONLY)
        try:
            return os.read(fd, 100)
        finally:
            os.close(fd)

    def give_way(self, nameless: int = 0) -> None:
        """Look at so much else that what was held before gives its descriptor up."""
        for number in range(3 * MOST):
            (self.host / f"other-{number}").touch()
            self.look_up(f"other-{number}")
        assert self.backing.descriptors == MOST + nameless


MOST = 4


@pytest.fixture
def held(field: Path) -> Iterator[Held]:
    host = field / "host"
    host.mkdir()
    held = Held(host, MOST)
    yield held
    held.backing.close()


def make(held: Held, name: str, content: str) -> Inode:
    (held.host / name).write_text(content)
    return held.look_up(name)


def needs_handles(held: Held) -> None:
    handle = syscalls.openable_handle(held.inodes.root.path_fd, b"")
    if handle is None:
        pytest.skip("this file system has no file handles")
    try:
        os.close(syscalls.open_by_handle(held.inodes.root.path_fd, handle, os.O_PATH))
    except OSError:
        pytest.skip("nobody may open by handle here")


def test_no_more_than_the_bound_are_held_and_the_rest_is_found_by_name(held: Held) -> None:
    inodes = [make(held, f"file-{number}", f"{number}") for number in range(5 * MOST)]
    assert held.backing.descriptors == MOST
    for number, inode in enumerate(inodes):
        assert held.content(inode) == b"%d" % number
    assert held.backing.descriptors == MOST


def test_what_was_used_lately_gives_way_last(held: Held) -> None:
    used = make(held, "used", "used")
    for number in range(5 * MOST):
        make(held, f"other-{number}", "")
        held.backing.find(used)
    (held.host / "new").write_text("new")
    os.rename(held.host / "new", held.host / "used")
    assert held.content(used) == b"used"


def test_what_gave_its_descriptor_up_and_was_renamed_is_found_by_its_handle(held: Held) -> None:
    needs_handles(held)
    inode = make(held, "file", "old")
    held.give_way()
    assert inode.path_fd < 0
    os.rename(held.host / "file", held.host / "backup")
    (held.host / "file").write_text("new")
    assert held.content(inode) == b"old"


def test_a_directory_that_gave_its_descriptor_up_is_found_by_its_handle(held: Held) -> None:
    needs_handles(held)
    (held.host / "directory").mkdir()
    inode = held.look_up("directory")
    held.give_way()
    os.rename(held.host / "directory", held.host / "backup")
    (held.host / "directory").mkdir()
    assert os.path.samestat(
        os.fstat(held.backing.directory_fd(inode)), os.stat(held.host / "backup")
    )


def test_what_gave_its_descriptor_up_and_was_removed_is_stale(held: Held) -> None:
    inode = make(held, "file", "old")
    held.give_way()
    (held.host / "new").write_text("new")
    os.rename(held.host / "new", held.host / "file")
    with pytest.raises(StaleError):
        held.content(inode)


def test_without_the_right_to_open_by_handle_what_was_renamed_is_stale(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        del arguments
        raise PermissionError(errno.EPERM, "no capability")

    monkeypatch.setattr(syscalls, "open_by_handle", refuse)
    inode = make(held, "file", "old")
    held.give_way()
    os.rename(held.host / "file", held.host / "backup")
    with pytest.raises(StaleError):
        held.content(inode)
    os.rename(held.host / "backup", held.host / "file")
    assert held.content(inode) == b"old"


def test_what_a_handle_leads_out_of_the_export_to_is_stale(held: Held) -> None:
    inode = make(held, "file", "old")
    held.give_way()
    os.rename(held.host / "file", held.host.parent / "outside")
    with pytest.raises(StaleError):
        held.content(inode)


def test_an_object_that_was_given_the_number_of_another_is_not_taken_for_it(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file system does that uses a number again at once, with another generation."""
    inode = make(held, "file", "old")
    held.give_way()
    assert held.look_up("file") is inode  # it has not been replaced
    held.give_way()
    monkeypatch.setattr(syscalls, "openable_handle", lambda *_: b"another generation")
    assert inode.openable_handle is not None
    assert held.look_up("file") is not inode


def test_what_is_being_worked_on_does_not_give_way(held: Held) -> None:
    inode = make(held, "file", "old")
    with held.backing.pinned(inode) as fd:
        held.give_way()
        assert os.fstat(fd).st_size == len("old")


def test_what_the_guest_unlinks_stays_and_is_evicted_when_it_is_forgotten(held: Held) -> None:
    inode = make(held, "file", "old")
    fd = os.open(held.host / "file", os.O_PATH)
    (held.host / "file").unlink()
    held.backing.keep_orphan(inode, fd)
    held.give_way(nameless=1)
    assert held.content(inode) == b"old"
    held.backing.forget(inode)
    assert held.backing.descriptors == MOST
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_words_of_a_profile_are_those_of_the_rule() -> None:
    assert [choice.value for choice in Replaced] == ["held", "anew"]
