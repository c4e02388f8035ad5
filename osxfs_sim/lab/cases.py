"""A case: a workload as a folder that anybody can run again.

``case.toml`` says what the workload is for, what it needs, how its tree is set
up, the command that is measured and what counts as its success; ``README.md``
explains it. In the commands ``{tree}`` stands for the directory to set up or to
run in, ``{guest}`` for the same as the guest sees it, ``{variant}`` for the
chosen variant, ``{form}`` for ``whole`` or ``quick``; a command's program is a
file of the case's folder.

Two commands are run and not measured: ``reset`` before each run makes the tree
what it was, and ``check`` after it says whether the work was done, by its exit
code. A variant may put only a part of the tree on the share (``shared``).
"""

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from osxfs_sim.model.profile import nearest


class CaseError(Exception):
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
    quick form, where nobody asks for another.
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

    def check_needs(self) -> None:
        """Raise CaseError, naming the command that installs it, if a tool is missing."""
        missing = [command for command in self.commands_needed if shutil.which(command) is None]
        if missing:
            raise CaseError(
                f"the case {self.name} needs {', '.join(missing)}: install with: {self.install}"
            )

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
    ) -> list[str]:
        """*words* with their placeholders filled in and the program's path resolved.

        *guest* is the guest's path of *tree*, where that is the host's.
        """
        meanings = {
            "{tree}": str(tree),
            "{guest}": str(guest or tree),
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

    Raises CaseError for an unknown name (with the nearest), or a case.toml that
    cannot be understood.
    """
    if "/" in name or name == ".":
        folder = Path(name).resolve()
        if not (folder / "case.toml").is_file():
            raise CaseError(f"{name} is not a case: it has no case.toml")
    else:
        if name not in case_names():
            raise CaseError(f"unknown case {name!r}{nearest(name, case_names())}")
        folder = Path(str(_SHIPPED / name))
    try:
        document = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
        return _case(document, folder)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CaseError(f"{folder / 'case.toml'}: {error}") from error
    except KeyError as error:
        raise CaseError(f"{folder / 'case.toml'} lacks {error.args[0]!r}") from error
    except (TypeError, AttributeError) as error:
        raise CaseError(f"{folder / 'case.toml'} has a value of the wrong kind: {error}") from error


_KEYS = {
    "": {"name", "title", "purpose", "needs", "tree", "command", "options", "arms", "claims"},
    "needs": {"commands", "install"},
    "tree": {"setup", "reset", "variants", "shared"},
    "command": {"measured", "quick", "quick_variant", "check", "expected_output"},
}


def _case(document: Mapping[str, Any], folder: Path) -> Case:
    for table, known in _KEYS.items():
        for key in document.get(table, {}) if table else document:
            if key not in known:
                where = f"{table}.{key}" if table else key
                raise CaseError(
                    f"{folder / 'case.toml'}: unknown key {where!r}{nearest(key, known)}"
                )
    needs, tree, command = document["needs"], document["tree"], document["command"]
    variants = tuple(tree.get("variants", ["default"]))
    shared = {name: PurePosixPath(part) for name, part in tree.get("shared", {}).items()}
    quick_variant = command.get("quick_variant", variants[0])
    for name in (*shared, quick_variant):
        if name not in variants:
            raise CaseError(
                f"{folder / 'case.toml'} speaks of a variant {name!r} that it does not list"
                f"{nearest(name, variants)}"
            )
    for part in shared.values():
        if part.is_absolute() or ".." in part.parts or not part.parts:
            raise CaseError(
                f"{folder / 'case.toml'}: {str(part)!r} is no directory inside the tree: "
                "leave it out, and the whole tree is shared"
            )
    return Case(
        name=document["name"],
        title=document["title"],
        purpose=" ".join(document["purpose"].split()),
        folder=folder,
        commands_needed=tuple(needs["commands"]),
        install=needs["install"],
        setup=tuple(tree["setup"]),
        reset=tuple(tree["reset"]) if "reset" in tree else None,
        variants=variants,
        shared=shared,
        measured=tuple(command["measured"]),
        quick=tuple(command["quick"]) if "quick" in command else None,
        quick_variant=quick_variant,
        check=tuple(command["check"]) if "check" in command else None,
        expected_output=command.get("expected_output"),
        toggles={
            name: Toggle(" ".join(toggle["about"].split()), dict(toggle["environment"]))
            for name, toggle in document.get("options", {}).items()
        },
        arms=tuple(document["arms"]),
        claims=tuple(Claim(**claim) for claim in document.get("claims", [])),
    )
