"""Whatever tells a user of a mistake is a UserError: who catches that one class catches them all.

Any other exception of the package is an answer to the kernel (an OSError), or a signal between
two parts of it, which one of them catches by its name and shows nobody.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import osxfs_sim
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError, nearest

PACKAGE = Path(osxfs_sim.__file__).parent
EXCEPTIONS = {"Exception", "ValueError", "RuntimeError", "LookupError", "KeyError", "TypeError"}


def _names(node: ast.expr | None) -> list[str]:
    """The last words of what is caught or derived from: one, or a tuple of them."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return [name]
        case ast.Tuple(elts=elements):
            return [name for element in elements for name in _names(element)]
    return []


def _trees(package: Path) -> Iterator[ast.Module]:
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] != "cases":  # scripts of their own
            yield ast.parse(path.read_text())


def _derived(tree_of_bases: dict[str, list[str]], name: str) -> set[str]:
    """All that *name* is derived from, itself included.

    By name alone: a class may be called as the one of a library that it is derived from.
    """
    found: set[str] = set()
    left = [name]
    while left:
        if (each := left.pop()) not in found:
            found.add(each)
            left.extend(tree_of_bases.get(each, ()))
    return found


def _shows(handler: ast.ExceptHandler, user_errors: set[str]) -> bool:
    """Whether what it catches goes on, in words, as the mistake of a user."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            words = {each.id for each in ast.walk(node.exc) if isinstance(each, ast.Name)}
            if handler.name in words and {*_names(node.exc.func)} & user_errors:
                return True
    return False


def beside_user_error(package: Path) -> list[str]:
    """The exceptions of *package* that can reach a user and are no UserError."""
    bases: dict[str, list[str]] = {}
    handlers: list[ast.ExceptHandler] = []
    for tree in _trees(package):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [name for base in node.bases for name in _names(base)]
            elif isinstance(node, ast.ExceptHandler):
                handlers.append(node)
    lines = {name: _derived(bases, name) for name in bases}
    user_errors = {name for name, line in lines.items() if "UserError" in line}
    wrong = []
    for name, line in sorted(lines.items()):
        if name in user_errors or "OSError" in line or not line & EXCEPTIONS:
            continue
        catching = [each for each in handlers if name in _names(each.type)]
        if not catching:
            wrong.append(f"{name} is no UserError, and nobody catches it by its name")
        elif any(_shows(each, user_errors) for each in catching):
            wrong.append(f"{name} is no UserError, and is told to users all the same")
    return wrong


def test_whatever_tells_a_user_of_a_mistake_is_a_user_error() -> None:
    assert beside_user_error(PACKAGE) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (
            "class NewError(Exception): ...\ndef f():\n    raise NewError('no')",
            "NewError is no UserError, and nobody catches it by its name",
        ),
        (
            "class OldError(ValueError): ...\nclass NewError(OldError): ...\n"
            "try:\n    f()\nexcept OldError:\n    pass",
            "NewError is no UserError, and nobody catches it by its name",
        ),
        (
            "class UserError(Exception): ...\nclass CaseError(UserError): ...\n"
            "class NewError(Exception): ...\n"
            "try:\n    f()\nexcept NewError as error:\n    raise CaseError(str(error))",
            "NewError is no UserError, and is told to users all the same",
        ),
    ],
)
def test_an_exception_beside_it_is_noticed(tmp_path: Path, source: str, wrong: str) -> None:
    (tmp_path / "new.py").write_text(source)
    assert beside_user_error(tmp_path) == [wrong]


def test_a_signal_between_two_parts_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text(
        "class UserError(Exception): ...\n"
        "class GoneError(UserError): ...\n"
        "class _AgainError(Exception): ...\n"
        "class StaleError(OSError): ...\n"
        "try:\n    f()\nexcept (_AgainError, OSError):\n    pass"
    )
    assert beside_user_error(tmp_path) == []


def test_who_uses_the_package_catches_one_class() -> None:
    assert issubclass(osxfs_sim.MountError, UserError)
    assert issubclass(osxfs_sim.ProfileError, UserError)
    with (
        pytest.raises(UserError, match="unknown profile 'oxfs'"),
        osxfs_sim.share("/", "/mnt", profile="oxfs"),
    ):
        pass


def test_a_profile_error_is_still_a_value_error() -> None:
    assert issubclass(ProfileError, ValueError)


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("Lantency", ["latency", "names"], "; did you mean 'latency'?"),
        ("xyz", ["b", "a"], ": there are a, b"),
    ],
)
def test_the_nearest_word_is_named_or_all_of_them_are(word, known, said) -> None:
    assert nearest(word, known) == said
