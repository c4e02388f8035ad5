"""Draws public functions by a seed, as a reader sees them who has never seen the code.

    python scripts/draw_functions.py [PACKAGE] --count 30 --seed 1 [--where]

Of each: its name, its signature, and the first line of its documentation. Whoever reads that
says what it does and what it fails with; ``--where`` prints where each lies, for who compares
the answers with the code. The same seed draws the same functions of the same code.
docs/legibility.md keeps what came of it.
"""

import argparse
import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Function:
    """A public function: *where* is its file and line, *name* has its class in front."""

    where: str
    name: str
    signature: str
    first_line: str


def public_functions(package: Path) -> Iterator[Function]:
    """All of *package*'s but for its cases: module by module, functions and methods.

    Public is what has no underscore in front, and is not in something that has. Methods that
    the protocol of another library names (the requests of FUSE, say) count as all others do.
    """
    for path in sorted(package.rglob("*.py")):
        within = path.relative_to(package)
        if within.parts[0] == "cases" or any(
            part.startswith("_") and part not in ("__init__.py", "__main__.py")
            for part in within.parts
        ):
            continue
        yield from _of(ast.parse(path.read_text()).body, str(within), "")


def _of(body: list[ast.stmt], where: str, prefix: str) -> Iterator[Function]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _of(node.body, where, f"{prefix}{node.name}.")
            continue
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        lines = (ast.get_docstring(node) or "").splitlines()
        yield Function(
            f"{where}:{node.lineno}",
            prefix + node.name,
            f"({ast.unparse(node.args)}){returns}",
            lines[0] if lines else "(no documentation)",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw public functions by a seed.")
    parser.add_argument("package", nargs="?", type=Path, default=Path("osxfs_sim"))
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--where", action="store_true", help="say where each lies")
    given = parser.parse_args()
    functions = list(public_functions(given.package))
    drawn = random.Random(given.seed).sample(functions, min(given.count, len(functions)))
    print(f"{len(drawn)} of {len(functions)} public functions, seed {given.seed}\n")
    for number, each in enumerate(drawn, 1):
        where = f"   [{each.where}]" if given.where else ""
        print(f"{number}. {each.name}{each.signature}{where}\n   {each.first_line}\n")


if __name__ == "__main__":
    main()
