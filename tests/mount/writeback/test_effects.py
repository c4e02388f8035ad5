"""The host writer tells what it does, and changes nothing of what a server knows by itself.

That what it tells is enough is shown in test_writer_process.py, where it has nothing else.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from osxfs_sim.mount import writeback

PACKAGE = Path(writeback.__file__).parent
WRITERS = ("host_writer", "host_places", "host_contents")
READS_OF_BACKING = {"directory_fd", "open", "pinned", "status"}
CHANGES_OF_INODES = {
    *("add_name", "drop_name", "moved", "moved_by_host", "drop_sent_dentries", "unpin"),
    *("named", "mark_name_clean", "named_before"),
}
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
