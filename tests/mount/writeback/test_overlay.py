"""Each field of what is shown of a pending object is written by the modules that it names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from osxfs_sim.mount.tree import pending
from osxfs_sim.mount.writeback import overlay

PACKAGE = Path(overlay.__file__).parent
STATE = Path(pending.__file__)
CLASSES = ("Overlay", "OverlayName")


def documented(source: str) -> dict[str, set[str]]:
    """Who may write each field, by what is said below it."""
    found: dict[str, set[str]] = {}
    for each in ast.parse(source).body:
        if isinstance(each, ast.ClassDef) and each.name in CLASSES:
            said = {
                statement.target.id: following.value.value
                for statement, following in zip(each.body, each.body[1:], strict=False)
                if isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            } | {
                statement.name: ast.get_docstring(statement)
                for statement in each.body
                if isinstance(statement, ast.FunctionDef)
                and statement.decorator_list
                and ast.get_docstring(statement)
            }
            for field, text in said.items():
                by = re.search(r"Written by\s+([\w,\s]+)\.", str(text))
                if by is not None:
                    found.setdefault(field, set()).update(re.findall(r"\w+", by[1]))
    return found


def fields() -> set[str]:
    return {
        name for each in CLASSES for name in getattr(pending, each).__slots__ if name[0] != "_"
    } | {"place", "guest_place"}


def is_overlay(value: ast.expr) -> bool:
    """Whether an expression is an overlay, by what it is called wherever there is one."""
    match value:
        case ast.Name(id="overlay" | "entry" | "known") | ast.Attribute(attr="overlay"):
            return True
        case ast.Call(func=ast.Name(id="overlay_of")):
            return True
    return False


def written(source: str) -> Iterator[str]:
    """The fields of overlays that a module writes."""
    for node in ast.walk(ast.parse(source)):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(each, ast.Attribute) and is_overlay(each.value):
                    yield each.attr


def writers() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (STATE, *PACKAGE.glob("*.py")):
        for field in set(written(path.read_text())) & fields():
            found.setdefault(field, set()).add(path.stem)
    return found


def test_each_field_says_who_writes_it_and_nobody_else_does() -> None:
    said = documented(STATE.read_text())
    assert said.keys() == fields()
    assert not {
        field: modules - said[field]
        for field, modules in writers().items()
        if modules - said[field]
    }


def test_nobody_outside_of_write_back_writes_any() -> None:
    others = [
        f"{path.relative_to(PACKAGE.parent)} writes {field}"
        for path in PACKAGE.parent.rglob("*.py")
        if PACKAGE not in path.parents and path != STATE
        for field in set(written(path.read_text())) & (fields() - {"inode", "mode", "size"})
    ]
    assert not others


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("overlay.orphan, overlay.aside = True, code", "aside"),
        ("inode.overlay.fd = -1", "fd"),
        ("overlay_of(inode).links += 2", "links"),
        ("if overlay:\n    overlay.content = overlay.size = None", "size"),
    ],
)
def test_who_writes_a_field_is_noticed(source: str, field: str) -> None:
    assert field in set(written(source))


def test_who_only_reads_one_is_not() -> None:
    assert not set(written("size = overlay.size\nother.fd = overlay.fd"))
