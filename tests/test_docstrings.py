"""What the package says of itself: whoever reads a name can read what it means, beside it.

Every public function, method and class has a docstring whose first line is a sentence, and every
field of a public dataclass, NamedTuple, TypedDict or Struct a line below it. Only the sources are
read, nothing is imported. What a method overrides may speak for it, where that is one of ours and
says something, or another library's.
"""

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import osxfs_sim

PACKAGE = Path(osxfs_sim.__file__).parent

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Classes = Mapping[str, list[ast.ClassDef]]
"""Classes by their names: of one name there may be several."""

# A word of the sentence, the *name* of an argument, ``code``, or a system call: fsync(2).
_BEGINS = re.compile(r"[A-Z\d*`\"'(/]|[a-z]\w*\(\d\)")
_ENDS = re.compile(r"[.!?][)\"'`]*$")
_FEWEST_WORDS = 3

_FIELD_BASES = frozenset({"NamedTuple", "TypedDict", "Struct"})
# Told apart from what it goes with, which has the docstring.
_GOES_WITH_ANOTHER = frozenset({"overload", "setter", "deleter"})


def is_sentence(line: str) -> bool:
    """Whether *line* begins and ends as a sentence does, and can say more than a name."""
    return (
        _BEGINS.match(line) is not None
        and _ENDS.search(line) is not None
        and len(line.split()) >= _FEWEST_WORDS
    )


def last_name(node: ast.expr) -> str:
    """``c`` of ``a.b.c``, ``a.b.c[d]`` and ``a.b.c(d)``; empty of anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=inner) | ast.Call(func=inner):
            return last_name(inner)
    return ""


def decorations(node: Definition) -> set[str]:
    return {last_name(decorator) for decorator in node.decorator_list}


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of *body*, also where they depend on a condition."""
    for node in body:
        yield node
        match node:
            case ast.If(body=one, orelse=other):
                yield from statements([*one, *other])
            case ast.Try(body=one, orelse=other, finalbody=last):
                yield from statements([*one, *other, *last])


def definitions(body: Iterable[ast.stmt], inside: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods, with their names as ``Class.method``."""
    for node in statements(body):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            name = f"{inside}{node.name}"
            yield name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{name}.")


def bases(node: ast.ClassDef, classes: Classes) -> Iterator[ast.ClassDef]:
    """*node*'s bases of ours, and theirs. Of several of one name, all."""
    seen = {id(node)}
    waiting = [node]
    while waiting:
        for base in map(last_name, waiting.pop().bases):
            for found in classes.get(base, ()):
                if id(found) not in seen:
                    seen.add(id(found))
                    waiting.append(found)
                    yield found


def has_fields(node: ast.ClassDef, classes: Classes) -> bool:
    """Whether annotated names in *node* are fields of its instances."""
    of_a_base = any(
        last_name(base) in _FIELD_BASES
        for each in (node, *bases(node, classes))
        for base in each.bases
    )
    return of_a_base or "dataclass" in decorations(node)


def fields_without_a_line(node: ast.ClassDef) -> list[str]:
    lacking = []
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        match statement, following:
            case ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(line))) if line.strip():
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind), _:
                if not name.startswith("_") and last_name(kind) not in {"ClassVar", "InitVar"}:
                    lacking.append(name)
    return lacking


def is_spoken_for(name: str, node: Definition, owner: ast.ClassDef, classes: Classes) -> bool:
    """Whether what the method overrides is documented, or is not ours."""
    if "override" not in decorations(node):
        return False
    overridden = [
        method
        for base in bases(owner, classes)
        for method in statements(base.body)
        if isinstance(method, Definition) and method.name == name
    ]
    return not overridden or any(map(ast.get_docstring, overridden))


def complaints(module: str, tree: ast.Module, classes: Classes) -> Iterator[str]:
    """What is public in *module* and says too little of itself, one line each."""
    public = list(definitions(tree.body))
    owners = {name: node for name, node in public if isinstance(node, ast.ClassDef)}
    for name, node in public:
        place = f"{module}:{node.lineno} {name}"
        owner = owners.get(name.rpartition(".")[0])
        if isinstance(node, ast.ClassDef) and has_fields(node, classes):
            yield from (f"{place}.{field} has no line" for field in fields_without_a_line(node))
        said = ast.get_docstring(node)
        if said:
            if not is_sentence(first := said.splitlines()[0]):
                yield f"{place}: not a sentence: {first}"
        elif not decorations(node) & _GOES_WITH_ANOTHER and not (
            owner is not None and is_spoken_for(node.name, node, owner, classes)
        ):
            yield f"{place} has no docstring"


def all_complaints(sources: Mapping[str, str]) -> list[str]:
    """The same of all *sources*, by their modules' names: bases are looked for in all of them."""
    trees = {module: ast.parse(source) for module, source in sources.items()}
    classes: dict[str, list[ast.ClassDef]] = {}
    for tree in trees.values():
        for node in statements(tree.body):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(node)
    return [line for module, tree in trees.items() for line in complaints(module, tree, classes)]


@functools.cache
def sources_of(package: Path) -> dict[str, str]:
    """All public modules' sources. Cases are scripts of their own."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        within = path.relative_to(package)
        names = (*within.parent.parts, within.stem)
        if within.parts[0] != "cases" and not any(
            name.startswith("_") and name not in {"__init__", "__main__"} for name in names
        ):
            found[str(within)] = path.read_text()
    return found


@pytest.mark.takes_seconds
def test_all_that_is_public_says_what_it_is() -> None:
    sources = sources_of(PACKAGE)
    assert len(sources) > 200
    said = all_complaints(sources)
    assert said == [], "\n".join([f"{len(said)} say too little of themselves:", *said])


# And what it refuses


REFUSED = {
    "a function": ("def reset(): pass", "m.py:1 reset has no docstring"),
    "a coroutine": ("async def reset(): pass", "m.py:1 reset has no docstring"),
    "one of two, by a condition": (
        "if x:\n    def reset(): pass\nelse:\n    reset = None",
        "m.py:2 reset has no docstring",
    ),
    "a class": ("class Reset: pass", "m.py:1 Reset has no docstring"),
    "a method": (
        'class A:\n    "All that is in it."\n    def b(self): pass',
        "m.py:3 A.b has no docstring",
    ),
    "a property": (
        'class A:\n    "All that is in it."\n    @property\n    def b(self): pass',
        "m.py:4 A.b has no docstring",
    ),
    "a property with a setter": (
        'class A:\n    "All that is in it."\n    @property\n    def b(self): pass\n'
        "    @b.setter\n    def b(self, value): pass",
        "m.py:4 A.b has no docstring",
    ),
    "a class within a class": (
        'class A:\n    "All that is in it."\n    class B: pass',
        "m.py:3 A.B has no docstring",
    ),
    "empty words": ('def reset():\n    ""', "m.py:1 reset has no docstring"),
    "no sentence": (
        'def reset():\n    """Resets the share and"""',
        "m.py:1 reset: not a sentence: Resets the share and",
    ),
    "a sentence that goes on below": (
        'def reset():\n    """What was counted\n\n    is nought again."""',
        "m.py:1 reset: not a sentence: What was counted",
    ),
    "a name and nothing more": (
        'def reset():\n    """Reset."""',
        "m.py:1 reset: not a sentence: Reset.",
    ),
    "half a sentence": (
        'def reset():\n    """of all that was counted."""',
        "m.py:1 reset: not a sentence: of all that was counted.",
    ),
    "a field": (
        '@dataclass(frozen=True)\nclass A:\n    "All that is in it."\n    b: int\n    "In ns."\n'
        "    c: int = 0",
        "m.py:2 A.c has no line",
    ),
    "a field above a method": (
        '@dataclasses.dataclass\nclass A:\n    "All that is in it."\n    b: int\n'
        '    def c(self):\n        "What b is."',
        "m.py:2 A.b has no line",
    ),
    "a comment for a line": (
        'class A(NamedTuple):\n    "All that is in it."\n    b: int  # in ns',
        "m.py:1 A.b has no line",
    ),
    "a Struct's": (
        'class A(msgspec.Struct, frozen=True):\n    "All that is in it."\n    b: int',
        "m.py:1 A.b has no line",
    ),
    "a Struct's by its base": (
        'class _A(Struct):\n    pass\nclass B(_A):\n    "All that is in it."\n    c: int',
        "m.py:3 B.c has no line",
    ),
    "an override of what says nothing": (
        'class _A:\n    def c(self): pass\nclass B(_A):\n    "All that is in it."\n'
        "    @override\n    def c(self): pass",
        "m.py:6 B.c has no docstring",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_says_nothing_is_refused(name: str) -> None:
    source, said = REFUSED[name]
    assert all_complaints({"m.py": source}) == [said]


ALLOWED = {
    "what is private": "def _reset(): pass\nclass _A:\n    def b(self): pass\n    c: int",
    "what is inside a function": 'def a():\n    "What is within it."\n    def b(): pass',
    "what begins with an argument": 'def a(b):\n    "*b* without what nobody needs of it."',
    "what begins with a system call": 'def a(b):\n    "fsync(2) of an open file."',
    "a field with its line": (
        '@dataclass\nclass A:\n    "All that is in it."\n    b: int = 0\n    "In ns."\n'
        "    _c: int = 0"
    ),
    "what is no field": (
        '@dataclass\nclass A:\n    "All that is in it."\n    b: ClassVar[int] = 0\n'
        'class C:\n    "What has attributes."\n    d: int'
    ),
    "an override of what says something": (
        'class _A:\n    def c(self):\n        "All of the bytes."\nclass B(_A):\n'
        '    "All that is in it."\n    @override\n    def c(self): pass'
    ),
    "an override of another library's": (
        'class B(pyfuse3.Operations):\n    "All that is in it."\n    @override\n'
        "    def lookup(self): pass"
    ),
    "a setter": (
        'class A:\n    "All that is in it."\n    @property\n    def b(self):\n'
        '        "In ns, ever."\n    @b.setter\n    def b(self, value): pass'
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_says_enough_is_allowed(name: str) -> None:
    assert all_complaints({"m.py": ALLOWED[name]}) == []


def test_a_base_is_found_in_another_module() -> None:
    base = 'class A(Struct):\n    "All that is in it."\n    def b(self): pass'
    derived = (
        'class B(a.A):\n    "All that is in it."\n    c: int\n    @override\n    def b(self): pass'
    )
    assert all_complaints({"a.py": base, "b.py": derived}) == [
        "a.py:3 A.b has no docstring",
        "b.py:1 B.c has no line",
        "b.py:5 B.b has no docstring",
    ]
