"""Random operations in random spellings, on a share whose names fold together and on a model.

The model is a plain directory and the rules of osxfs_sim.model.names: every name is
resolved by reading the directory anew, and the kernel does the rest. So it can have
no index and no cache that is out of date, and answers and errnos are Linux's own.
After each step the answers, the host's spellings, and what the guest finds under
spellings chosen at random must be the model's.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import stat as modes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.live import LiveShare
from support.machines import run_machine

from osxfs_sim.model.names import RULES, NameRules

HOUR_NS = 3_600 * 10**9
NOREPLACE, EXCHANGE = 1, 2
# Names that fold together, by one rule or another: e with an acute accent as one
# character and as two, sharp s, long s, dotless i, the Kelvin sign; and what is no text.
_GROUPS = (
    (b"a", b"A"),
    (b"\xc3\xa9", b"e\xcc\x81", b"E\xcc\x81"),
    (b"\xc3\x9f", b"SS", b"s\xc5\xbf"),
    (b"i", b"I", b"\xc4\xb1"),
    (b"k", b"\xe2\x84\xaa"),
    (b"no\xfftext", b"NO\xfftext"),
)
_GROUP_OF = {name: group for group in _GROUPS for name in group}
# Few, so that operations meet: those that come first come most.
_groups = st.sampled_from([*_GROUPS[:2] * 4, *_GROUPS[:3] * 2, *_GROUPS])
_names = _groups.flatmap(st.sampled_from)
_pairs = _groups.flatmap(lambda group: st.tuples(st.sampled_from(group), st.sampled_from(group)))
_ways = st.sampled_from([(), (), (), (b"a",), (b"A",), (b"A", b"a"), (b"E\xcc\x81",)])
_paths = st.tuples(_ways, _names).map(lambda path: (*path[0], path[1]))
# Which spellings are looked at after a step; few, because looking makes the kernel ask again.
_looks = st.lists(st.integers(0, 2), max_size=2)
# Half the time, what was made last is meant, in the spelling of this number.
_again = st.sampled_from([None, None, None, 0, 1, 2])
_flags = st.sampled_from([0, 0, 0, NOREPLACE, EXCHANGE])
_number = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)

WayOf = tuple[bytes, ...]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returned, or the name of its errno."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def rename(old: bytes, new: bytes, flags: int) -> None:
    if _libc.renameat2(-100, old, -100, new, ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def make(path: bytes, flags: int, content: bytes) -> int:
    fd = os.open(path, flags | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        return os.write(fd, content)
    finally:
        os.close(fd)


def seen(path: bytes) -> tuple:
    """What is there: kind, links, and content or target."""
    status = os.lstat(path)
    if modes.S_ISDIR(status.st_mode):
        return modes.S_IFDIR, 0, b""
    if modes.S_ISLNK(status.st_mode):
        return modes.S_IFLNK, status.st_nlink, os.readlink(path)
    with open(path, "rb") as file:
        return modes.S_IFREG, status.st_nlink, file.read()


def tree(root: bytes) -> dict[bytes, tuple]:
    return {
        os.path.relpath(os.path.join(above, name), root): seen(os.path.join(above, name))
        for above, below, files in os.walk(root)
        for name in sorted(below + files)
    }


class Model:
    """A plain directory whose names are resolved by the rules, each time from its listing."""

    def __init__(self, root: bytes, rules: NameRules) -> None:
        self.root = root
        self.rules = rules

    def find(self, directory: bytes, asked: bytes) -> bytes | None:
        """What *asked* is called in *directory*."""
        names = os.listdir(directory)
        if asked in names:
            return asked
        key = self.rules.key(asked)
        return min((name for name in names if self.rules.key(name) == key), default=None)

    def directory(self, way: WayOf) -> bytes:
        path = self.root
        for asked in way:
            os.listdir(path)  # raises what a walk through it would
            path = os.path.join(path, self.find(path, asked) or asked)
        os.listdir(path)
        return path

    def existing(self, path: WayOf) -> bytes:
        directory = self.directory(path[:-1])
        return os.path.join(directory, self.find(directory, path[-1]) or path[-1])

    def new(self, path: WayOf) -> bytes:
        """Where *path* is to be made; what is there already if there is."""
        directory = self.directory(path[:-1])
        name = self.find(directory, path[-1])
        return os.path.join(directory, self.rules.stored(path[-1]) if name is None else name)

    def rename(self, old: WayOf, new: WayOf, flags: int) -> None:
        old_directory, new_directory = self.directory(old[:-1]), self.directory(new[:-1])
        old_name = self.find(old_directory, old[-1])
        new_name = self.find(new_directory, new[-1])
        old_path = os.path.join(old_directory, old_name or old[-1])
        if old_name is None or new_name is None:
            if old_name is None:
                raise FileNotFoundError(errno.ENOENT, "nothing to rename")
            if flags & EXCHANGE:
                raise FileNotFoundError(errno.ENOENT, "nothing to exchange with")
            # Its own subdirectory is refused before its name is looked at.
            if not (new_directory + b"/").startswith(old_path + b"/"):
                new_name = self.rules.stored(new[-1])
            rename(old_path, os.path.join(new_directory, new_name or new[-1]), flags)
            return
        new_path = os.path.join(new_directory, new_name)
        if old_path == new_path:
            if old[-1] == new[-1] or new_name in (new[-1], self._stored(new[-1])):
                rename(old_path, new_path, flags)  # nothing, or EEXIST
            elif not flags & EXCHANGE:
                rename(old_path, os.path.join(new_directory, self.rules.stored(new[-1])), flags)
            return
        same = os.path.samestat(os.lstat(old_path), os.lstat(new_path))
        rename(old_path, new_path, flags)
        stored = os.path.join(new_directory, self._stored(new[-1]))
        if not same and not flags and not os.path.lexists(stored):
            os.rename(new_path, stored)

    def listing(self, way: WayOf) -> list[bytes]:
        names = os.listdir(self.directory(way))
        # Of two that would be listed as one, each is listed as it is.
        shown = [(name, self.rules.shown(name)) for name in names]
        return sorted(name if other in names else other for name, other in shown)

    def _stored(self, name: bytes) -> bytes:
        try:
            return self.rules.stored(name)
        except OSError:
            return name


class Spelled(RuleBasedStateMachine):
    """The same operation on share and model. A test's subclass names the share and its rules."""

    share: LiveShare
    name_rules: NameRules
    host_acts_too = False

    def __init__(self) -> None:
        super().__init__()
        name = f"example-{next(_number)}"
        self.model = Model(os.fsencode(self.share.source.parent / "plain" / name), self.name_rules)
        os.makedirs(self.model.root)
        self.guest = os.fsencode(self.share.guest / name)
        os.mkdir(self.guest)
        self.host = os.fsencode(self.share.source / name)
        self.content = itertools.count()
        self.made: WayOf = (b"a",)
        for way in ([b"a"], [b"a", b"a"]):
            os.mkdir(os.path.join(self.guest, *way))
            os.mkdir(os.path.join(self.model.root, *way))

    def at(self, path: WayOf) -> bytes:
        return os.path.join(self.guest, *path)

    def both(
        self,
        looks: list[int],
        paths: tuple[WayOf, ...],
        guest: Callable[..., Any],
        model: Callable[[], Any],
    ) -> None:
        found = outcome(lambda: guest(*map(self.at, paths)))
        expected = outcome(model)
        assert found == expected
        if not isinstance(found, str):
            self.made = paths[-1]
        for path in paths:
            self.compare(path, looks)
        assert tree(self.host) == tree(self.model.root)

    def meant(self, path: WayOf, again: int | None) -> WayOf:
        if again is None:
            return path
        group = _GROUP_OF[self.made[-1]]
        return (*self.made[:-1], group[again % len(group)])

    def compare(self, path: WayOf, looks: list[int]) -> None:
        """Look at the last name of *path*, spelled in some of its ways."""
        group = _GROUP_OF[path[-1]]
        for look in looks:
            other = (*path[:-1], group[look % len(group)])
            found = outcome(lambda: seen(self.at(other)))  # noqa: B023
            assert found == outcome(lambda: seen(self.model.existing(other))), other  # noqa: B023

    @rule(path=_paths, excl=st.booleans(), looks=_looks)
    def create(self, path: WayOf, excl: bool, looks: list[int]) -> None:
        content = b"%d" % next(self.content)
        flags = os.O_EXCL if excl else os.O_TRUNC
        self.both(
            looks,
            (path,),
            lambda guest: make(guest, flags, content),
            lambda: make(self.model.new(path), flags, content),
        )

    @rule(path=_paths, looks=_looks)
    def mkdir(self, path: WayOf, looks: list[int]) -> None:
        self.both(looks, (path,), os.mkdir, lambda: os.mkdir(self.model.new(path)))

    @rule(path=_paths, looks=_looks)
    def symlink(self, path: WayOf, looks: list[int]) -> None:
        self.both(
            looks,
            (path,),
            lambda guest: os.symlink(b"no/where", guest),
            lambda: os.symlink(b"no/where", self.model.new(path)),
        )

    @rule(path=_paths, again=_again, looks=_looks)
    def unlink(self, path: WayOf, again: int | None, looks: list[int]) -> None:
        path = self.meant(path, again)
        self.both(looks, (path,), os.unlink, lambda: os.unlink(self.model.existing(path)))

    @rule(path=_paths, again=_again, looks=_looks)
    def rmdir(self, path: WayOf, again: int | None, looks: list[int]) -> None:
        path = self.meant(path, again)
        self.both(looks, (path,), os.rmdir, lambda: os.rmdir(self.model.existing(path)))

    @rule(old=_paths, again=_again, new=_paths, looks=_looks)
    def link(self, old: WayOf, again: int | None, new: WayOf, looks: list[int]) -> None:
        old = self.meant(old, again)

        def link() -> None:
            source = self.model.existing(old)
            os.lstat(source)
            if os.path.isdir(source) and not os.path.lexists(self.model.existing(new)):
                raise PermissionError(errno.EPERM, "no links to directories")
            os.link(source, self.model.new(new), follow_symlinks=False)

        self.both(looks, (old, new), lambda *p: os.link(*p, follow_symlinks=False), link)

    @rule(old=_paths, again=_again, new=_paths, flags=_flags, looks=_looks)
    def rename(
        self, old: WayOf, again: int | None, new: WayOf, flags: int, looks: list[int]
    ) -> None:
        old = self.meant(old, again)
        self.both(
            looks,
            (old, new),
            lambda *paths: rename(*paths, flags),
            lambda: self.model.rename(old, new, flags),
        )

    @rule(way=_ways, names=_pairs, flags=_flags, looks=_looks)
    def respell(self, way: WayOf, names: tuple[bytes, bytes], flags: int, looks: list[int]) -> None:
        self.rename((*way, names[0]), None, (*way, names[1]), flags, looks)

    @rule(path=_paths, looks=_looks)
    def look(self, path: WayOf, looks: list[int]) -> None:
        self.compare(path, looks)

    @rule(way=_ways)
    def list_directory(self, way: WayOf) -> None:
        found = outcome(lambda: sorted(os.listdir(self.at(way))))
        assert found == outcome(lambda: self.model.listing(way))

    @rule(old=_paths, new=_paths, which=st.integers(0, 3), looks=_looks)
    def host_acts(self, old: WayOf, new: WayOf, which: int, looks: list[int]) -> None:
        """The host knows no rules; on it the tree comes to hold names that fold together."""
        if not self.host_acts_too:
            return
        call: Callable[[bytes], Any] = [
            lambda root: make(os.path.join(root, *old), 0, b"host"),
            lambda root: os.mkdir(os.path.join(root, *old)),
            lambda root: os.unlink(os.path.join(root, *old)),
            lambda root: os.rename(os.path.join(root, *old), os.path.join(root, *new)),
        ][which]
        assert outcome(lambda: call(self.host)) == outcome(lambda: call(self.model.root))
        self.compare(old, looks)
        self.compare(new, looks)

    def teardown(self) -> None:
        try:
            assert not self.share.trouble()
            for above, below, files in os.walk(self.host):
                way = tuple(part for part in above[len(self.host) :].split(b"/") if part)
                assert sorted(os.listdir(self.at(way))) == self.model.listing(way)
                for name in below + files:
                    self.compare((*way, name), [0, 1, 2])
        finally:
            # By the host: it knows every name for itself.
            for directory in (self.model.root, self.host):
                with contextlib.suppress(OSError):
                    shutil.rmtree(directory)


def _run(machine: type[Spelled], *, examples: int, shrink: bool = True) -> None:
    run_machine(machine, examples=examples, steps=30, shrink=shrink)


POLICIES: dict[str, dict[str, Any]] = {
    "consistent": {},
    "cached": {"profile": "osxfs-cached", "latency_ns": 0, "cache_timeout_ns": HOUR_NS},
    "negative": {
        "profile": "osxfs-negative",
        "latency_ns": 0,
        "cache_timeout_ns": HOUR_NS,
        "negative_timeout_ns": HOUR_NS,
    },
}


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        *itertools.product(POLICIES, ("apfs", "hfs+")),
        ("negative", "apfs-case-sensitive"),
    ],
)
def test_every_spelling_of_the_guest_reaches_what_the_rules_say(share, policy, names) -> None:
    class Guest(Spelled):
        pass

    Guest.share = share(names=names, **POLICIES[policy])
    Guest.name_rules = RULES[names]
    _run(Guest, examples=25)


@pytest.mark.parametrize("names", ["apfs", "hfs+"])
def test_changes_by_the_host_are_seen_at_once_when_nothing_is_believed(share, names) -> None:
    class GuestAndHost(Spelled):
        host_acts_too = True

    GuestAndHost.share = share(names=names)
    GuestAndHost.name_rules = RULES[names]
    _run(GuestAndHost, examples=25)


# Imported by the server, as a policy of the user's own is; each is as the policy of
# the same name, on a share that has one mistake.
_MISTAKEN = """
import sys

from osxfs_sim.model.caching import Cached, Negative
from osxfs_sim.mount.tree import spellings
from osxfs_sim.mount.loop.reactor import Reactor

HOUR_NS = 3600 * 10**9
# Settings are checked in the process of the test too: no mistakes there.
spec = getattr(sys.modules["__main__"], "__spec__", None)
if spec is None or spec.name != "osxfs_sim.mount.server.main":
    class spellings:
        class FoldedNames: ...
        class _Index: ...
    class Reactor: ...

class NeverEndsNames(Negative):
    def __init__(self):
        super().__init__(HOUR_NS, negative_ns=HOUR_NS)
        spellings.FoldedNames._invalidate_all_names = lambda self: None

class NeverEndsNamesCached(Cached):
    def __init__(self):
        super().__init__(HOUR_NS)
        spellings.FoldedNames._invalidate_all_names = lambda self: None

class BelievesEverySpelling(Cached):
    def __init__(self):
        super().__init__(HOUR_NS)
        spellings.FoldedNames.entry_timeouts = lambda self, name, asked, timeouts: timeouts

class NeverRespells(Cached):
    def __init__(self):
        super().__init__(0)
        spellings.FoldedNames._is_respelled = lambda *_: False

# No mistake, but a kernel that does not know how to end names.
class OlderKernel(Negative):
    def __init__(self):
        super().__init__(HOUR_NS, negative_ns=HOUR_NS)
        Reactor.increment_epoch = lambda self: False

class KeepsOldIndices(Cached):
    def __init__(self):
        super().__init__(0)
        spellings._Index.is_of = lambda self, status: True
        spellings.FoldedNames.added = lambda *_: None
"""


@pytest.fixture
def mistaken_policies(field: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (field / "policies_of_mistaken_shares.py").write_text(_MISTAKEN)
    monkeypatch.setenv("PYTHONPATH", str(field), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(field))
    return "policies_of_mistaken_shares"


def test_a_kernel_that_cannot_end_names_is_never_given_one(share, mistaken_policies) -> None:
    class Older(Spelled):
        pass

    Older.share = share(names="apfs", policy=f"{mistaken_policies}:OlderKernel")
    Older.name_rules = RULES["apfs"]
    assert Older.share.status().names.names_can_be_invalidated is False
    _run(Older, examples=15)


@pytest.mark.parametrize(
    "mistake",
    [
        "NeverEndsNames",
        "NeverEndsNamesCached",
        "BelievesEverySpelling",
        "NeverRespells",
        "KeepsOldIndices",
    ],
)
def test_a_share_with_a_mistake_would_be_caught(share, mistaken_policies, mistake) -> None:
    class Mistaken(Spelled):
        pass

    Mistaken.share = share(names="apfs", policy=f"{mistaken_policies}:{mistake}")
    Mistaken.name_rules = RULES["apfs"]
    with pytest.raises((AssertionError, ExceptionGroup)):
        _run(Mistaken, examples=100, shrink=False)
