"""The host writer tells what it does, and changes nothing of what a server knows by itself.

That what it tells is enough is shown in test_writer_process.py, where it has nothing else.
"""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.both_sides import is_applied
from support.unmounted import Unmounted

from osxfs_sim.model.events import What
from osxfs_sim.mount import writeback
from osxfs_sim.mount.watch.watcher import HostChange
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.effects import Changed, Effect, Named, Unnamed

PACKAGE = Path(writeback.__file__).parent
WRITERS = ("host_writer", "host_places", "host_contents")
READS_OF_BACKING = {"directory_fd", "open", "pinned", "status"}
CHANGES_OF_INODES = {
    *("add_name", "drop_name", "moved", "moved_by_host", "drop_sent_dentries", "unpin"),
    *("named", "mark_name_clean", "named_before"),
}
NAMES_OR_CONTENT = What.CREATED | What.REMOVED | What.RENAMED | What.MODIFIED
SERVERS_OWN = {"InodeTable", "Namespace", "drop_overlay", "overlay_of", "PendingState"}


def owner_of(node: ast.expr) -> str:
    """The name that the chain of attributes *node* begins with; empty where it is no name."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def writes(text: str) -> Iterator[str]:
    """Where a module changes what is not its own, in words."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=value, attr=attr, ctx=ast.Store() | ast.Del()):
                if owner_of(value) != "self":
                    yield f"{node.lineno}: sets {attr} of {ast.unparse(value)}"
            case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                receiver = ast.unparse(value)
                if receiver == "self._backing" and attr not in READS_OF_BACKING:
                    yield f"{node.lineno}: has the descriptors {attr}"
                elif owner_of(value) != "self" and attr in CHANGES_OF_INODES:
                    yield f"{node.lineno}: calls {attr} of {receiver}"
            case ast.ImportFrom(names=names):
                for each in names:
                    if each.name in SERVERS_OWN:
                        yield f"{node.lineno}: imports {each.name}"


@pytest.mark.parametrize("module", WRITERS)
def test_who_writes_to_the_host_changes_nothing_of_what_the_server_knows(module: str) -> None:
    assert list(writes((PACKAGE / f"{module}.py").read_text())) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("inode.shown = None", "1: sets shown of inode"),
        ("change.target.overlay.fd = 3", "1: sets fd of change.target.overlay"),
        ("inode.overlay.place, x = 1, 2", "1: sets place of inode.overlay"),
        ("del inode.overlay.names[b'']\ndel inode.facts", "2: sets facts of inode"),
        ("inode.moved(parent, b'', parent, b'')", "1: calls moved of inode"),
        ("self._backing.keep_orphan(inode, 3)", "1: has the descriptors keep_orphan"),
        ("from osxfs_sim.mount.tree.inodes import Inode, InodeTable", "1: imports InodeTable"),
    ],
)
def test_it_would_be_found_out(line: str, told: str) -> None:
    assert list(writes(line)) == [told]


# What the guest has changed is no host event: who watches the host is told of it


def watched(base: Path, kind: str) -> Unmounted:
    """A share of a directory with a file and a directory in it, whose changes are watched."""
    source = base / "source"
    (source / "gone").mkdir(parents=True)
    (source / "a").write_text("host")
    return Unmounted(source, base / "state", host_events=kind)


def heard_after_work(guest: Unmounted) -> list[str]:
    """What the watcher takes for changes of the host, when the guest has made all kinds."""
    guest.mkdir("new")
    guest.make("new/file")
    guest.write("new/file", b"content")
    guest.link("new/file", "new/also")
    guest.symlink("new/link", "../a")
    heard = heard_while_written_back(guest)
    guest.write("a", b"guest")
    guest.set("a", mode=0o600)
    guest.rename("a", "new/a")
    guest.rename("new/link", "link")
    guest.unlink("new/also")
    guest.rmdir("gone")
    return heard + heard_while_written_back(guest)


def heard_while_written_back(guest: Unmounted) -> list[str]:
    host_events = guest.components.host_events
    assert host_events is not None
    heard = []
    while guest.write_back.changes.all():
        is_applied(guest)
        heard += [each for each in host_events.watcher.read(100) if isinstance(each, HostChange)]
    # By inotify the times that a thing is given once it is made pass for the host's.
    return [f"{each.what} {each.name!r}" for each in heard if each.what & NAMES_OR_CONTENT]


@pytest.mark.starts_processes
@pytest.mark.parametrize("kind", ["inotify", "fanotify"])
def test_a_change_that_is_written_back_is_no_host_event(tmp_path: Path, kind: str) -> None:
    guest = watched(tmp_path, kind)
    try:
        assert heard_after_work(guest) == []
        subprocess.run(["touch", tmp_path / "source/by the host"], check=True)
        assert guest.components.host_events is not None
        assert guest.components.host_events.watcher.read(100), "the host's are heard of"
    finally:
        guest.crash()


@pytest.mark.starts_processes
@pytest.mark.parametrize("left_out", [Named, Unnamed, Changed])
def test_an_effect_that_the_watcher_is_not_told_of_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: type[Any]
) -> None:
    apply = EffectApplier.apply

    def hard_of_hearing(self: EffectApplier, effect: Effect) -> None:
        if not isinstance(effect, left_out):
            apply(self, effect)

    monkeypatch.setattr(EffectApplier, "apply", hard_of_hearing)
    guest = watched(tmp_path, "inotify")
    try:
        assert heard_after_work(guest) != []
    finally:
        guest.crash()
