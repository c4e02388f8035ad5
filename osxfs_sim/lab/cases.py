"""A case: a workload as a folder that anybody can run again.

``case.toml`` says what the workload is for, what it needs, how its tree is set
up, the command that is measured and what counts as its success; ``README.md``
explains it. In the commands ``{tree}`` stands for the directory to set up or to
run in, ``{guest}`` for the same as the guest sees it, ``{host}`` for the same as
the host sees it, ``{variant}`` for the chosen variant, ``{form}`` for ``whole``
or ``quick``; a command's program is a file of the case's folder.

Two commands are run and not measured: ``reset`` before each run makes the tree
what it was, and ``check`` after it says whether the work was done, by its exit
code. A variant may put only a part of the tree on the share (``shared``). Where a
case is deterministic, it names the parts of the tree that must be what they are
after a native run.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from osxfs_sim.fs.reading import parse_toml, read_text
from osxfs_sim.model.user_error import UserError, nearest


class CaseError(UserError):
    """A case that does not exist or cannot be run; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What has been published about this workload, and where."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Toggle:
    """A change of the case that a user may ask for: environment variables."""

    about: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One workload. Paths are absolute; commands still hold their placeholders.

    *shared* says, per variant, which directory of the tree is on the share;
    the whole tree, where it says nothing. *quick_variant* is the variant of the
    quick form, where nobody asks for another. *deterministic* are the parts of
    the tree (``.`` is all of it) that a run leaves as a native run does, but for
    what one of the patterns of *ignored* matches. *tells* says that the last line
    which the command prints is a result of its own. *copied_from* is the folder that set-up
    copies, where it does.
    """

    name: str
    title: str
    purpose: str
    folder: Path
    commands_needed: tuple[str, ...]
    install: str
    setup: tuple[str, ...]
    reset: tuple[str, ...] | None
    variants: tuple[str, ...]
    shared: Mapping[str, PurePosixPath]
    measured: tuple[str, ...]
    quick: tuple[str, ...] | None
    quick_variant: str
    check: tuple[str, ...] | None
    expected_output: str | None
    toggles: Mapping[str, Toggle]
    arms: tuple[str, ...]
    claims: tuple[Claim, ...]
    deterministic: tuple[PurePosixPath, ...] = ()
    ignored: tuple[str, ...] = ()
    tells: bool = False
    copied_from: Path | None = None

    def check_needs(self) -> None:
        """Raise CaseError, naming the remedy, if a tool or a program of the case is missing."""
        missing = [command for command in self.commands_needed if shutil.which(command) is None]
        if missing:
            remedy = f": install with: {self.install}" if self.install else ""
            raise CaseError(f"the case {self.name} needs {', '.join(missing)}{remedy}")
        for key in _COMMANDS:
            words: tuple[str, ...] | None = getattr(self, key.rpartition(".")[2])
            if words is not None:
                self._check_program(key, self.folder / words[0])

    def _check_program(self, key: str, program: Path) -> None:
        where = f"{self.folder / 'case.toml'}: {key}"
        if not program.is_file():
            raise CaseError(f"{where} names {program}, which is no file: write it, or correct it")
        if not os.access(program, os.X_OK):
            raise CaseError(f"{where} names {program}, which is not executable: chmod +x it")

    def variant(self, wanted: str | None, *, quick: bool = False) -> str:
        """*wanted* if the case has it; the default of the form, where it is None."""
        if wanted is None:
            return self.quick_variant if quick else self.variants[0]
        if wanted not in self.variants:
            raise CaseError(
                f"the case {self.name} has no variant {wanted!r}{nearest(wanted, self.variants)}"
            )
        return wanted

    def environment(self, toggles: tuple[str, ...]) -> dict[str, str]:
        """The variables that the chosen *toggles* set."""
        environment: dict[str, str] = {}
        for name in toggles:
            if name not in self.toggles:
                if not self.toggles:
                    raise CaseError(f"the case {self.name} has nothing to switch on")
                raise CaseError(
                    f"the case {self.name} has no option {name!r}{nearest(name, self.toggles)}"
                )
            environment |= self.toggles[name].environment
        return environment

    def tree_name(self, variant: str) -> str:
        """Of the set-up tree: the variant's, or one for all where set-up does not ask for it."""
        return variant if any("{variant}" in word for word in self.setup) else "all"

    def command(
        self,
        words: tuple[str, ...],
        *,
        tree: Path,
        variant: str,
        form: str = "whole",
        guest: Path | None = None,
        host: Path | None = None,
    ) -> list[str]:
        """*words* with their placeholders filled in and the program's path resolved.

        *guest* is the guest's path of *tree*, where that is the host's, and *host*
        the host's, where that is the guest's.
        """
        meanings = {
            "{tree}": str(tree),
            "{guest}": str(guest or tree),
            "{host}": str(host or tree),
            "{variant}": variant,
            "{form}": form,
        }
        filled = list(words)
        for placeholder, meaning in meanings.items():
            filled = [word.replace(placeholder, meaning) for word in filled]
        return [str(self.folder / filled[0]), *filled[1:]]


_SHIPPED = resources.files("osxfs_sim") / "cases"


def case_names() -> list[str]:
    """The cases that ship with the package, sorted."""
    return sorted(entry.name for entry in _SHIPPED.iterdir() if (entry / "case.toml").is_file())


def load_case(name: str) -> Case:
    """The shipped case of that name, or the one in the folder of that path.

    A shipped name needs no folder; a folder of that name is meant by ``./name``.
    Raises CaseError for an unknown name (with the nearest), or a case.toml that
    cannot be understood.
    """
    if "/" in name or name in (".", "..") or (name not in case_names() and _is_case(name)):
        folder = Path(name).resolve()
        if not _is_case(folder):
            missing = "" if folder.is_dir() else ": there is no such folder"
            raise CaseError(f"{name} is not a case{missing or ': it has no case.toml'}")
    else:
        if name not in case_names():
            raise CaseError(f"unknown case {name!r}{nearest(name, case_names())}")
        folder = Path(str(_SHIPPED / name))
    where = folder / "case.toml"
    try:
        document = parse_toml(read_text(where))
        return _case(document, folder)
    except _MistakeError as error:
        raise CaseError(f"{where}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CaseError(f"{where}: {error}") from error
    except KeyError as error:
        raise CaseError(f"{where} lacks {error.args[0]!r}") from error
    except (TypeError, AttributeError) as error:
        raise CaseError(f"{where} has a value of the wrong kind: {error}") from error


def _is_case(folder: str | Path) -> bool:
    return (Path(folder) / "case.toml").is_file()


class _MistakeError(UserError):
    """Something in a case.toml; where that is, is said by who reads it."""


KEYS = {
    "": {"name", "title", "purpose", "needs", "tree", "command", "options", "arms", "claims"},
    "needs": {"commands", "install"},
    "tree": {"setup", "reset", "variants", "shared", "copied_from"},
    "command": {
        *("measured", "quick", "quick_variant", "check", "expected_output"),
        *("tells", "deterministic", "ignored"),
    },
    "options.NAME": {"about", "environment"},
    "claims": {"text", "source"},
}
"""What a case.toml may hold, table by table; docs/cases.md explains each key."""

_COMMANDS = ("tree.setup", "tree.reset", "command.measured", "command.quick", "command.check")
PLACEHOLDERS = ("tree", "guest", "host", "variant", "form")


def _case(document: Mapping[str, Any], folder: Path) -> Case:
    _check_keys(document)
    needs, tree, command = document.get("needs", {}), document["tree"], document["command"]
    variants = _strings("tree.variants", tree.get("variants", ["default"]))
    shared = {
        name: _inside("tree.shared", part, whole="leave it out, and the whole tree is shared")
        for name, part in tree.get("shared", {}).items()
    }
    quick_variant = command.get("quick_variant", variants[0])
    for name in (*shared, quick_variant):
        if name not in variants:
            raise CaseError(
                f"{folder / 'case.toml'} speaks of a variant {name!r} that it does not list"
                f"{nearest(name, variants)}"
            )
    words = {
        key: _words(key, document[table][name])
        for key in _COMMANDS
        for table, name in [key.split(".")]
        if name in document[table] or key in ("tree.setup", "command.measured")
    }
    if shared and any("{host}" in word for command_ in words.values() for word in command_):
        raise _MistakeError(
            "{host} is the whole tree's path, and tree.shared shares a part: choose one"
        )
    deterministic = _strings("command.deterministic", command.get("deterministic", ["."]))
    ignored = command.get("ignored", [])
    if "deterministic" not in command:
        if ignored:
            raise _MistakeError("command.ignored has no effect without command.deterministic")
        deterministic = ()
    return Case(
        name=_name(document["name"]),
        title=_string("title", document["title"]),
        purpose=" ".join(document["purpose"].split()),
        folder=folder,
        commands_needed=_strings("needs.commands", needs.get("commands", []), may_be_empty=True),
        install=_string("needs.install", needs.get("install", "")),
        setup=words["tree.setup"],
        reset=words.get("tree.reset"),
        variants=variants,
        shared=shared,
        measured=words["command.measured"],
        quick=words.get("command.quick"),
        quick_variant=quick_variant,
        check=words.get("command.check"),
        expected_output=(
            str(_inside("command.expected_output", command["expected_output"]))
            if "expected_output" in command
            else None
        ),
        toggles={
            name: Toggle(" ".join(toggle["about"].split()), dict(toggle["environment"]))
            for name, toggle in document.get("options", {}).items()
        },
        arms=_strings("arms", document["arms"]),
        claims=tuple(Claim(**claim) for claim in document.get("claims", [])),
        deterministic=tuple(_inside("command.deterministic", part) for part in deterministic),
        ignored=_strings("command.ignored", ignored, may_be_empty=True),
        tells=_boolean("command.tells", command.get("tells", False)),
        copied_from=(
            folder / _string("tree.copied_from", tree["copied_from"])
            if "copied_from" in tree
            else None
        ),
    )


def _check_keys(document: Mapping[str, Any]) -> None:
    tables: list[tuple[str, str, Mapping[str, Any]]] = [("", "", document)]
    for table in ("needs", "tree", "command"):
        tables.append((table, f"{table}.", document.get(table, {})))
    for name, toggle in document.get("options", {}).items():
        tables.append(("options.NAME", f"options.{name}.", toggle))
    for claim in document.get("claims", []):
        tables.append(("claims", "claims.", claim))
    for table, prefix, values in tables:
        if not isinstance(values, dict):
            raise _MistakeError(f"{prefix.rstrip('.') or table} is not a table")
        for key in values:
            if key not in KEYS[table]:
                raise _MistakeError(f"unknown key {prefix + key!r}{nearest(key, KEYS[table])}")


def _name(name: str) -> str:
    # It names directories: of set-up trees, for one.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise _MistakeError(f"name {name!r} is not made of letters, digits, '.', '_' and '-'")
    return name


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _MistakeError(f"{key} is not a string")
    return value


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _MistakeError(f"{key} is neither true nor false")
    return value


def _strings(key: str, values: Any, *, may_be_empty: bool = False) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _MistakeError(f'{key} is not a list of strings: write ["...", "..."]')
    if not values and not may_be_empty:
        raise _MistakeError(f"{key} is empty")
    return tuple(values)


def _words(key: str, values: Any) -> tuple[str, ...]:
    words = _strings(key, values)
    for word in words:
        for placeholder in re.findall(r"\{([a-z]+)\}", word):
            if placeholder not in PLACEHOLDERS:
                raise _MistakeError(
                    f"{key} has an unknown placeholder {{{placeholder}}}"
                    f"{nearest(placeholder, PLACEHOLDERS)}"
                )
            if placeholder == "host" and key not in ("command.measured", "command.quick"):
                raise _MistakeError(f"{key} cannot be told {{host}}: only what is measured can")
    return words


def _inside(key: str, part: str, *, whole: str = "") -> PurePosixPath:
    """A directory inside the tree; the tree itself only where there is no *whole* to say."""
    path = PurePosixPath(part)
    if path.is_absolute() or ".." in path.parts or (whole and not path.parts):
        what = f"is no directory inside the tree: {whole}" if whole else "is not inside the tree"
        raise _MistakeError(f"{key}: {part!r} {what}")
    return path
