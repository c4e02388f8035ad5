"""Makes the tables of docs/reference.md, "Status", of the classes in osxfs_sim/model/status.py.

A row a field: its key, and the line of documentation below it in the class. What stands between
the two marks of the page is made here, and nothing there is written by hand:
``python scripts/status_table.py`` writes it anew.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from osxfs_sim.model import status
from osxfs_sim.model.documents import key_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
BEGIN, END = "<!-- made by scripts/status_table.py -->", "<!-- until here -->"
_TOP = "ShareStatus"


@dataclasses.dataclass(frozen=True)
class Row:
    """A field: the key in the document, its line of documentation, and the class that it holds."""

    key: str
    line: str
    part: str


def classes_of(source: str) -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Each class: its own line, and of each field name, annotation and documentation."""
    return {
        node.name: ((ast.get_docstring(node) or "").split("\n")[0], list(_fields(node)))
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for each, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            line = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                line = str(below.value.value)
            yield each.target.id, ast.unparse(each.annotation), line


def rows_of(name: str) -> list[Row]:
    """The fields of a class of the module, as they are documented."""
    documented = classes_of(Path(str(status.__file__)).read_text())
    keys = {each.name: key_of(each) for each in dataclasses.fields(getattr(status, name))}
    rows = []
    for field, annotation, line in documented[name][1]:
        parts = [word for word in re.findall(r"\w+", annotation) if word in documented]
        rows.append(Row(keys[field], line, parts[0] if parts else ""))
    return rows


def tables() -> str:
    """All tables, the parts after the whole in the order in which they are met."""
    lines = list(_table(_TOP))
    shown, waiting = {_TOP}, [(row.key, row) for row in rows_of(_TOP)]
    documented = classes_of(Path(str(status.__file__)).read_text())
    while waiting:
        path, row = waiting.pop(0)
        if not row.part or row.part in shown:
            continue
        shown.add(row.part)
        about = documented[row.part][0]
        lines += ["", f"`{path}`: {about[0].lower()}{about[1:]}", ""]
        lines += _table(row.part)
        waiting[:0] = [(f"{path}.{below.key}", below) for below in rows_of(row.part)]
    return "\n".join(lines)


def _table(name: str) -> Iterator[str]:
    yield "| key | meaning |"
    yield "| --- | --- |"
    for row in rows_of(name):
        yield f"| `{row.key}` | {row.line} |"


def filled(page: str) -> str:
    """The *page* with the tables between its marks."""
    before, _, rest = page.partition(f"{BEGIN}\n")
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
