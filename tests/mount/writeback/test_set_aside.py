"""What the host will never take is set aside by itself, and everything else goes on.

docs/write-back.md states the rule. Here it is tried with every kind of change and every errno.
"""

import errno
import os
import shutil
import stat as modes
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.controlled import injected_layer
from support.unmounted import GUEST, Unmounted, left, recovered, recovering, tree_of, unmounted

from osxfs_sim.fs.at import new_place
from osxfs_sim.model import write_back as model
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.events.inject import Injector
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback import quarantine, recovery, set_aside
from osxfs_sim.mount.writeback.journal_data import JournalData
from osxfs_sim.mount.writeback.journal_format import Refusal
from osxfs_sim.mount.writeback.journal_reader import discard
from osxfs_sim.mount.writeback.unwritten import all_unwritten, check_unwritten, save

HOST = {"h": "host", "i": "other", "d": None, "d/in": "inside", "e": None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source with a few things in it."""
    source = tmp_path / "source"
    for path, content in HOST.items():
        if content is None:
            (source / path).mkdir(parents=True)
        else:
            (source / path).parent.mkdir(exist_ok=True, parents=True)
            (source / path).write_text(content)
    return source


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


# Every kind of change, with what the guest's tree is like after it.
CHANGES: dict[str, tuple[Kind, Callable[[Unmounted], object], dict[str, str | None]]] = {
    "make a file": (Kind.MAKE, lambda guest: guest.make("new"), {"new": ""}),
    "make a directory": (Kind.MAKE, lambda guest: guest.mkdir("new"), {"new": None}),
    "make a symlink": (Kind.MAKE, lambda guest: guest.symlink("new", "to"), {"new": "to"}),
    "write": (Kind.WRITE, lambda guest: guest.write("h", b"GU"), {"h": "GUst"}),
    "truncate": (Kind.SET, lambda guest: guest.set("h", size=2), {"h": "ho"}),
    "set a mode": (Kind.SET, lambda guest: guest.set("h", mode=0o600), {}),
    "link": (Kind.LINK, lambda guest: guest.link("h", "new"), {"new": "host"}),
    "unlink": (Kind.UNLINK, lambda guest: guest.unlink("h"), {"h": "gone"}),
    "rmdir": (Kind.RMDIR, lambda guest: guest.rmdir("e"), {"e": "gone"}),
    "rename": (Kind.RENAME, lambda guest: guest.rename("h", "new"), {"new": "host", "h": "gone"}),
    "replace": (Kind.RENAME, lambda guest: guest.rename("h", "i"), {"i": "host", "h": "gone"}),
    "move a directory": (
        Kind.RENAME,
        lambda guest: guest.rename("d", "e/d"),
        {"e/d": None, "e/d/in": "inside", "d": "gone", "d/in": "gone"},
    ),
}
REFUSALS: dict[str, Exception] = {
    name: OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
    for name in (
        *(
            "EPERM",
            "EACCES",
            "EXDEV",
            "EINVAL",
            "ENAMETOOLONG",
            "EBUSY",
            "ELOOP",
            "EMLINK",
            "EFBIG",
        ),
        *("ENOTSUP", "EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "ESTALE"),
        *("ETXTBSY", "EOVERFLOW", "ENOENT", "ENOTDIR", "EEXIST", "ENOTEMPTY", "EILSEQ", "ENODEV"),
    )
} | {"a bug": ZeroDivisionError("a bug"), "no errno": OSError("of unknown number")}


def expected(changes: dict[str, str | None]) -> dict[str, str | None]:
    return {path: text for path, text in sorted({**HOST, **changes}.items()) if text != "gone"}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_refused_for_whatever_reason_falls_alone_and_can_be_recovered(
    source: Path, state: Path, change: str, refusal: str
) -> None:
    kind, make, effect = CHANGES[change]
    around = {"before": "precious", "after": "precious"}
    with unmounted(source, state) as guest:
        for name in around:
            if name == "after":
                make(guest)
            guest.make(name)
            guest.write(name, b"precious")
        assert guest.tree() == expected({**effect, **around})

        def refuses(each: Change[Inode]) -> Exception | None:
            is_other = each.name in (b"before", b"after")
            return (
                REFUSALS[refusal]
                if each.kind is kind
                and not is_other
                and (kind is not Kind.WRITE or each.length == 2)
                else None
            )

        guest.refuse(refuses)
        assert guest.finish() == 0
        assert tree_of(source) == guest.tree() == expected(around)
        report = guest.write_back.report()
        assert report.set_aside.count == report.refused == 1
        assert report.set_aside.latest[0].change == kind.value
        assert report.made == report.crossed + report.refused
        assert report.pending_bytes == 0
        assert len(guest.write_back.aside.take_unreported()) == 1
        assert not guest.write_back.aside.take_unreported(), "it is told once"
    (kept,) = left(source, state)
    assert [each.kind for each in kept.aside] == [kind]
    assert not kept.pending
    assert check_unwritten(state, str(source), None, print) == [], "it keeps nobody from mounting"
    assert recovered(source, state) == 1
    assert tree_of(source) == expected({**effect, **around})
    assert left(source, state) == []


def never(*kinds: Kind, names: tuple[bytes, ...] = ()) -> Callable:
    """That the host takes no change of these *kinds*, or of one of these *names*."""

    def refuses(change: Change[Inode]) -> Exception | None:
        is_named = not names or change.name in names
        return OSError(errno.EPERM, "never") if change.kind in kinds and is_named else None

    return refuses


def test_everything_in_a_directory_that_is_refused_is_kept_with_it(
    source: Path, state: Path
) -> None:
    with unmounted(source, state) as guest:
        guest.mkdir("new")
        guest.mkdir("new/deep")
        guest.make("new/deep/file")
        guest.write("new/deep/file", b"precious")
        guest.make("beside")
        guest.refuse(never(Kind.MAKE, names=(b"new",)))
        assert guest.finish() == 0
        assert tree_of(source) == guest.tree() == expected({"beside": ""})
    assert recovered(source, state) == 4
    assert tree_of(source) == expected(
        {"beside": "", "new": None, "new/deep": None, "new/deep/file": "precious"}
    )


def test_half_of_a_file_never_gets_the_name_of_the_whole(source: Path, state: Path) -> None:
    with unmounted(source, state) as guest:
        guest.make("h.new")
        guest.write("h.new", b"first")
        guest.make("between")
        guest.write("h.new", b"second", offset=5)
        guest.rename("h.new", "h")
        guest.refuse(never(Kind.WRITE))
        assert guest.finish() == 0
        assert tree_of(source) == guest.tree() == expected({"between": "", "h.new": ""})
    assert recovered(source, state) == 3
    assert tree_of(source) == expected({"between": "", "h": "firstsecond"})


def test_what_the_guest_has_taken_away_meanwhile_is_nobodys(source: Path, state: Path) -> None:
    with unmounted(source, state) as guest:
        guest.make("new")
        guest.write_back.changes.take()  # it is being carried out
        guest.write("new", b"temporary")
        guest.unlink("new")
        guest.refuse(never(Kind.MAKE))
        assert guest.finish() == 0
        report = guest.write_back.report()
        assert report.set_aside.count == 0
        assert report.cancelled == report.made == 3
    assert left(source, state) == []


def test_who_has_a_refused_file_open_reads_it_and_is_told_when_writing(
    source: Path, state: Path
) -> None:
    with unmounted(source, state) as guest:
        guest.make("new")
        handle = guest.open("new")
        guest.write("new", b"precious", handle=handle)
        guest.refuse(never(Kind.MAKE))
        inode = guest.inode("new")
        guest.finish()
        assert guest.read(inode, handle) == "precious"
        with pytest.raises(OSError, match="Input/output"):
            guest.write("new", b"more", handle=handle)
        with pytest.raises(OSError, match="not permitted"):
            guest.handlers._side.sync_errors.check(handle, inode)
        guest.handlers._side.sync_errors.check(handle, inode)  # once
        assert guest.read(inode, handle) == "precious"
        assert guest.write_back.changes.bytes == 0


@pytest.mark.takes_seconds
def test_nothing_is_made_in_a_directory_that_was_refused(source: Path, state: Path) -> None:
    with unmounted(source, state) as guest:
        directory = guest.mkdir("new")
        guest.refuse(never(Kind.MAKE, names=(b"new",)))
        guest.finish()
        with pytest.raises(OSError, match="Stale"):
            guest.handlers._making.defer_make(directory, b"x", modes.S_IFREG | 0o600, GUEST)
        with pytest.raises(OSError, match="Stale"):
            guest.handlers._renaming.defer_rename(
                *(guest.inode("h"), guest.components.inodes.root, b"h", directory, b"h", 0)
            )
        assert guest.finish() == 0
        assert guest.tree() == tree_of(source) == expected({})


def test_a_removed_file_that_the_host_keeps_has_its_name_again(source: Path, state: Path) -> None:
    with unmounted(source, state) as guest:
        guest.write("h", b"GU")
        handle = guest.open("h")
        guest.unlink("h")
        guest.write("h", b"!", offset=3, handle=handle)
        guest.refuse(never(Kind.UNLINK))
        guest.finish()
        assert guest.tree() == tree_of(source)
        guest.write("h", b"later")
        assert guest.finish() == 0
        assert tree_of(source)["h"] == "later"


def test_what_came_since_is_not_lost_to_what_was_refused(source: Path, state: Path) -> None:
    """Recovery tries what was set aside again, and takes nothing's place with it."""
    with unmounted(source, state) as guest:
        guest.make("made")
        guest.write("made", b"old")
        guest.write("h", b"OLD!")
        guest.unlink("i")
        guest.rename("d/in", "out")
        guest.refuse(lambda change: OSError(errno.EPERM, "never") if change.sequence <= 5 else None)
        guest.finish()
        guest.make("made")
        guest.write("made", b"new")
        guest.write("h", b"new!")
        guest.write("i", b"newer")
        guest.make("out")
        guest.finish()
    now = expected({"made": "new", "h": "new!", "i": "newer", "out": ""})
    assert tree_of(source) == now
    assert recovered(source, state) == 0
    assert tree_of(source) == now
    (kept,) = left(source, state)
    assert len(kept.aside) == 5


def test_its_bytes_can_be_had_without_the_host(source: Path, state: Path, tmp_path: Path) -> None:
    with unmounted(source, state) as guest:
        guest.mkdir("new")
        guest.make("new/file")
        guest.write("new/file", b"precious")
        guest.write("h", b"GU")
        guest.symlink("link", "to")
        guest.refuse(never(Kind.MAKE, Kind.WRITE))
        guest.finish()
        (kept,) = all_unwritten(state, str(source))
        with new_place(tmp_path / "saved") as saved:
            save(kept, saved)
    assert tree_of(tmp_path / "saved") == {
        "h": "GUst",
        "link": "to",
        "new": None,
        "new/file": "precious",
    }


def test_what_was_set_aside_can_be_given_up(source: Path, state: Path) -> None:
    with unmounted(source, state) as guest:
        guest.make("new")
        guest.refuse(never(Kind.MAKE))
    (kept,) = left(source, state)
    discard(kept)
    assert left(source, state) == []


# Crashes


@pytest.mark.parametrize("where", ["before it is kept", "when it is kept", "after it has left"])
def test_who_is_killed_while_setting_aside_has_it_in_one_place_at_least(
    source: Path, state: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    guest = Unmounted(source, state)
    guest.make("new")
    guest.write("new", b"precious")
    guest.make("after")
    guest.refuse(never(Kind.MAKE, names=(b"new",)))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if where == "before it is kept":
        monkeypatch.setattr(os, "fdatasync", killed)
    elif where == "when it is kept":
        monkeypatch.setattr(set_aside.SetAside, "_leave", killed)
    else:
        monkeypatch.setattr(set_aside.SetAside, "_show_the_hosts", killed)
    with pytest.raises(KeyboardInterrupt):
        guest.finish()
    monkeypatch.undo()
    guest.crash()
    found = left(source, state)
    new = [(each.kind, path) for kept in found for each, path in kept.paths() if path == "new"]
    assert new == [(Kind.MAKE, "new"), (Kind.WRITE, "new")], "once, whatever happened"
    recovered(source, state)
    assert tree_of(source) == expected({"new": "precious", "after": ""})
    assert left(source, state) == []


def test_recovery_sets_aside_what_the_host_refuses_and_goes_on(source: Path, state: Path) -> None:
    guest = Unmounted(source, state)
    guest.mkdir("e/new")
    guest.make("e/new/file")
    guest.write("e/new/file", b"precious")
    guest.make("after")
    guest.crash()
    refused = OSError(errno.EPERM, "never")

    class Refusing(recovery.HostWriter):
        def apply(self, change: Change[Inode]) -> None:
            if change.name == b"new":
                raise refused
            super().apply(change)

    with pytest.MonkeyPatch.context() as patched, recovering(source, state) as tree:
        patched.setattr(recovery, "HostWriter", Refusing)
        (found,) = left(source, state)
        assert recovery.recover([found], tree) == 1
    assert (source / "after").exists()
    (kept,) = left(source, state)
    assert [each.kind for each in kept.aside] == [Kind.MAKE, Kind.MAKE, Kind.WRITE]
    assert kept.refused[kept.aside[0].sequence] == Refusal(errno.EPERM, "e/new")
    assert check_unwritten(state, str(source), None, print) == []
    assert recovered(source, state) == 3
    assert (source / "e/new/file").read_text() == "precious"
    assert left(source, state) == []


def test_while_it_cannot_be_kept_it_stays_where_it_is(
    source: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    guest = Unmounted(source, state)
    guest.make("new")
    guest.make("after")
    guest.refuse(never(Kind.MAKE, names=(b"new",)))
    monkeypatch.setattr(os, "fdatasync", full)
    assert guest.finish() == 2
    assert guest.write_back.refusal == (errno.ENOSPC, "new")
    monkeypatch.undo()
    guest.close()
    assert (source / "after").exists()
    assert [len(each.aside) for each in left(source, state)] == [1]


# Random guests

NAMES = ("h", "i", "x", "y")
ERRORS = [each for each in REFUSALS.values() if isinstance(each, OSError)]


class RandomGuest:
    """Does what it may, on a few names; what the host takes of it is drawn, too.

    Each file holds one word that is written once and nowhere else, or nothing.
    """

    def __init__(self, share: Unmounted, random: Random) -> None:
        self.share, self.random = share, random
        self.words = 0
        self.refused: dict[int, Exception | None] = {}
        self.host_is_willing = False
        share.refuse(self.refuses)

    def refuses(self, change: Change[Inode]) -> Exception | None:
        if self.host_is_willing:
            return None
        if change.sequence not in self.refused:
            error = self.random.choice(ERRORS) if self.random.random() < 0.2 else None
            self.refused[change.sequence] = error
        return self.refused[change.sequence]

    def path(self, *, of_directory: bool = False) -> str:
        tree = self.share.tree()
        directories = [path for path, text in tree.items() if text is None]
        if of_directory and directories:
            return self.random.choice(directories)
        above = self.random.choice(["", *(f"{each}/" for each in directories)])
        return above + self.random.choice(NAMES)

    def step(self) -> None:
        share, draw = self.share, self.random
        what = draw.randrange(10)
        path = self.path(of_directory=draw.random() < 0.3)
        try:
            if what == 0:
                share.mkdir(path)
            elif what <= 2:
                with_word = f"word{self.words:06}"
                self.words += 1
                if path not in share.tree():
                    share.make(path)
                share.write(path, with_word.encode())
            elif what == 3:
                share.link(path, self.path())
            elif what == 4:
                share.unlink(path)
            elif what == 5:
                share.rmdir(path)
            elif what <= 7:
                target = self.path()
                if not target.startswith(f"{path}/") and target != path:
                    share.rename(path, target)
            elif what == 8:
                share.set(path, mode=draw.choice([0o600, 0o644, 0o755]))
            elif share.write_back.changes.under_way is None:
                share.write_back.changes.take()  # the guest goes on while it is carried out
        except OSError:
            pass  # natively, too

    def alive(self) -> set[str]:
        """The words that the guest has written, and not taken away or written over."""
        return {text for text in self.share.tree().values() if text and text.startswith("word")}


def saved_words(source: Path, state: Path, directory: Path) -> set[str]:
    words: set[str] = set()
    for number, kept in enumerate(all_unwritten(state, str(source))):
        directory.mkdir(parents=True, exist_ok=True)
        with new_place(directory / f"{number}") as saved:
            save(kept, saved)
        words |= {text for text in tree_of(directory / f"{number}").values() if text}
    return words


def live(source: Path, state: Path, scratch: Path, seed: int) -> None:
    """A random guest lives, and in the end nothing that it was told is lost."""
    random = Random(seed)
    share = Unmounted(source, state)
    try:
        guest = RandomGuest(share, random)
        for turn in range(3):
            for _ in range(random.randrange(5, 25)):
                guest.step()
            alive = guest.alive()
            share.work_until_something_is_set_aside()
            shown = share.tree()
            guest.host_is_willing = draws_willing = random.random() < 0.5
            assert share.finish() == 0, "it does not end"
            if draws_willing:
                assert tree_of(source) == shown, "the guest was shown what the host never got"
            guest.host_is_willing = False
            assert share.tree() == tree_of(source), "the two sides differ"
            on_host = {text for text in tree_of(source).values() if text}
            kept = saved_words(source, state, scratch / f"{turn}")
            assert alive <= on_host | kept, "what was acknowledged is lost"
            report = share.write_back.report()
            assert report.pending_bytes == report.pending_changes == 0
            assert report.made == (
                report.crossed + report.cancelled + report.merged + report.refused
            )
            assert not share.write_back.journal.data.holds_data
            for inode in share.components.inodes.all():
                held = inode.overlay
                assert held is None or held.aside or held.orphan, "something is held still"
    finally:
        share.close()
    recovered(source, state)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("seed", range(40))
def test_nothing_that_a_random_guest_was_told_is_lost_and_it_always_ends(
    source: Path, state: Path, tmp_path: Path, seed: int
) -> None:
    live(source, state, tmp_path / "saved", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_500))
def test_nothing_that_many_random_guests_were_told_is_lost(
    source: Path, state: Path, tmp_path: Path, seed: int
) -> None:
    live(source, state, tmp_path / "saved", seed)


class ForgetsNames(model._Fallen[Inode]):
    """A seeded bug: what gets a name next takes the place of what the host still has there."""

    def _not_freed(self, place: tuple[Inode, bytes]) -> None:
        self._missing.discard(place)


class Zeros(JournalData):
    """Keeps as many bytes as it is given, and none of them."""

    def put(self, position: int, data: bytes) -> None:
        super().put(position, bytes(len(data)))


class KeepsNoBytes(quarantine.Quarantine):
    """A seeded bug: the bytes of what is set aside are not."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.data = Zeros(self.data.fd)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("bug", ["names", "bytes", "view"])
def test_a_server_that_breaks_the_rule_is_found_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    if bug == "names":
        monkeypatch.setattr(model, "_Fallen", ForgetsNames)
    elif bug == "bytes":
        monkeypatch.setattr(quarantine, "Quarantine", KeepsNoBytes)
    else:
        monkeypatch.setattr(set_aside.SetAside, "_name_again", lambda *_: None)
        monkeypatch.setattr(set_aside.SetAside, "_forget_what_was_written", lambda *_: None)
    for seed in range(100, 400):
        place = tmp_path / f"{seed}"
        shutil.copytree(source, place / "source")
        try:
            live(place / "source", place / "state", place / "saved", seed)
        except (AssertionError, OSError):
            return
    pytest.fail("nothing was found wrong")


def test_what_the_host_has_put_in_a_removed_ones_place_just_now_is_looked_up_again(
    field: Path,
) -> None:
    """Between the look at a name and its removal the host may put another object there."""
    (field / "host").mkdir()
    (field / "host" / "new").write_text("the guest does not know it")
    guest = Unmounted(field / "host", field / "state")
    try:
        with pytest.raises(StaleError):
            guest.handlers._removing.defer_removal(
                Kind.UNLINK, guest.components.inodes.root, b"new"
            )
    finally:
        guest.close()
    assert (field / "host" / "new").exists()


def test_the_injector_too_is_told_of_a_file_that_only_the_guest_has(field: Path) -> None:
    """Not of what it is open by: told of another kind of object the kernel would give it up."""
    (field / "host").mkdir()
    with unmounted(field / "host", field / "state") as guest:
        inode = guest.make("new")
        guest.open("new")
        guest.write("new", b"12345")
        layer = injected_layer(guest.components, Injector("/nowhere", lambda: False))
        for attributes in (
            layer._answers.attributes_now(inode.number, GUEST),
            layer._answers.where_it_got_to(inode.number, GUEST),
        ):
            assert modes.S_ISREG(attributes.st_mode)
            assert attributes.st_size == 5
        with pytest.raises(StaleError):
            guest.components.backing.find(inode)
