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
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath

from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.toml_files import FileKind, shape_of


class CaseError(UserError):
    """A case that does not exist or cannot be run; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class PublishedClaim:
    """What has been published about this workload, and where."""

    text: str
    """What was published, a sentence."""
    source: str
    """Who published it, where and when."""


@dataclass(frozen=True, slots=True)
class Toggle:
    """A change of the case that a user may ask for: environment variables."""

    about: str
    """What it changes, for ``cases`` and --help."""
    environment: Mapping[str, str]
    """The variables that it adds to the command's environment."""


@dataclass(frozen=True, slots=True)
class Case:
    """One workload. Paths are absolute; commands are words, and still hold their placeholders."""

    name: str
    """What it is called on the command line and in results."""
    title: str
    """What it is, in a few words."""
    purpose: str
    """What it is measured for, a sentence or two on one line."""
    folder: Path
    """Where its case.toml and programs lie."""
    commands_needed: tuple[str, ...]
    """Programs that must be in PATH."""
    install: str
    """How to install these, in words; empty where there is nothing to say."""
    setup: tuple[str, ...]
    """The command that makes a tree."""
    reset: tuple[str, ...] | None
    """The command that makes a tree what it was, before each run; None: nothing has to be done."""
    variants: tuple[str, ...]
    """The variants that a user may choose; the first is the default."""
    shared: Mapping[str, PurePosixPath]
    """By variant the directory, relative to the tree, that lies on the share; the whole tree where
    a variant is not in it."""
    measured: tuple[str, ...]
    """The command that is measured."""
    quick: tuple[str, ...] | None
    """Its shortened form; None where there is none."""
    quick_variant: str
    """The variant of the quick form, where nobody asks for another."""
    check: tuple[str, ...] | None
    """The command that says by its exit code whether the work was done; None: a command that exits
    with 0 and has printed something has done it."""
    expected_output: str | None
    """The file, relative to the tree, that has what the command must print; None: it must print
    something."""
    toggles: Mapping[str, Toggle]
    """The options that can be switched on, by name."""
    arms: tuple[str, ...]
    """What is compared where nobody asks for other arms, in words of the command line."""
    claims: tuple[PublishedClaim, ...]
    """What has been published about it."""
    deterministic: tuple[PurePosixPath, ...] = ()
    """Parts of the tree (``.`` is all of it) that each run must leave as a native run does."""
    ignored: tuple[str, ...] = ()
    """Patterns of names in these that may differ."""
    tells: bool = False
    """Whether the last line which the command prints is a result of its own."""
    copied_from: Path | None = None
    """The folder that set-up copies; None where it makes the tree by itself."""

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
        """The variant *wanted*, or the default where None. Raises CaseError for an unknown one."""
        if wanted is None:
            return self.quick_variant if quick else self.variants[0]
        if wanted not in self.variants:
            raise CaseError(
                f"the case {self.name} has no variant {wanted!r}{nearest(wanted, self.variants)}"
            )
        return wanted

    def environment(self, toggles: tuple[str, ...]) -> dict[str, str]:
        """The environment variables that *toggles* (options of the case) set. Raises CaseError."""
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
        """The set-up tree's name: *variant*, or ``all`` where one tree does for all variants."""
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
        """The command line of *words*, placeholders filled in, the program absolute; runs nothing.

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
    """The names of the cases that ship with the package, sorted."""
    return sorted(entry.name for entry in _SHIPPED.iterdir() if (entry / "case.toml").is_file())


def load_case(name: str) -> Case:
    """Read a shipped case by its name, or another by its folder's path. Raises CaseError.

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
    return CASE.read(folder / "case.toml").built(folder)


def _is_case(folder: str | Path) -> bool:
    return (Path(folder) / "case.toml").is_file()


_COMMANDS = ("tree.setup", "tree.reset", "command.measured", "command.quick", "command.check")
PLACEHOLDERS = ("tree", "guest", "host", "variant", "form")


# The tables of a case.toml, as they are written; docs/cases.md explains each key.


@dataclass(frozen=True, slots=True)
class _NeedsTable:
    commands: tuple[str, ...] = ()
    install: str = ""


@dataclass(frozen=True, slots=True)
class _TreeTable:
    setup: tuple[str, ...]
    reset: tuple[str, ...] | None = None
    variants: tuple[str, ...] = ("default",)
    shared: Mapping[str, str] = field(default_factory=dict)
    copied_from: str | None = None


@dataclass(frozen=True, slots=True)
class _CommandTable:
    measured: tuple[str, ...]
    quick: tuple[str, ...] | None = None
    quick_variant: str | None = None
    check: tuple[str, ...] | None = None
    expected_output: str | None = None
    tells: bool = False
    deterministic: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _OptionTable:
    about: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _CaseFile:
    name: str
    title: str
    purpose: str
    tree: _TreeTable
    command: _CommandTable
    arms: tuple[str, ...]
    needs: _NeedsTable = _NeedsTable()
    options: Mapping[str, _OptionTable] = field(default_factory=dict)
    claims: tuple[PublishedClaim, ...] = ()

    def __post_init__(self) -> None:
        # It names directories: of set-up trees, for one.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UserError(f"name {self.name!r} is not made of letters, digits, '.', '_' and '-'")
        tree, command = self.tree, self.command
        for key, values in {
            "arms": self.arms,
            "tree.variants": tree.variants,
            "command.deterministic": command.deterministic,
            **self.commands(),
        }.items():
            if values is not None and not values:
                raise UserError(f'{key} is empty: write such as ["..."], or leave it out')
        for key, words in self.commands().items():
            _check_placeholders(key, words or ())
        for name in (*tree.shared, self.quick_variant):
            if name not in tree.variants:
                raise UserError(
                    f"it speaks of a variant {name!r} that it does not list"
                    f"{nearest(name, tree.variants)}"
                )
        for part in tree.shared.values():
            _inside("tree.shared", part, whole="leave it out, and the whole tree is shared")
        written = [word for words in self.commands().values() for word in words or ()]
        if tree.shared and any("{host}" in word for word in written):
            raise UserError(
                "{host} is the whole tree's path, and tree.shared shares a part: choose one"
            )
        if command.deterministic is None and command.ignored:
            raise UserError("command.ignored has no effect without command.deterministic")
        for part in command.deterministic or ():
            _inside("command.deterministic", part)
        if command.expected_output is not None:
            _inside("command.expected_output", command.expected_output)

    @property
    def quick_variant(self) -> str:
        return self.command.quick_variant or self.tree.variants[0]

    def commands(self) -> Mapping[str, tuple[str, ...] | None]:
        """The words of each command, by its key."""
        tree, command = self.tree, self.command
        words = (tree.setup, tree.reset, command.measured, command.quick, command.check)
        return dict(zip(_COMMANDS, words, strict=True))

    def built(self, folder: Path) -> Case:
        """The case that lies in *folder*."""
        needs, tree, command = self.needs, self.tree, self.command
        return Case(
            name=self.name,
            title=self.title,
            purpose=" ".join(self.purpose.split()),
            folder=folder,
            commands_needed=needs.commands,
            install=needs.install,
            setup=tree.setup,
            reset=tree.reset,
            variants=tree.variants,
            shared={name: PurePosixPath(part) for name, part in tree.shared.items()},
            measured=command.measured,
            quick=command.quick,
            quick_variant=self.quick_variant,
            check=command.check,
            expected_output=(
                None
                if command.expected_output is None
                else str(PurePosixPath(command.expected_output))
            ),
            toggles={
                name: Toggle(" ".join(option.about.split()), dict(option.environment))
                for name, option in self.options.items()
            },
            arms=self.arms,
            claims=self.claims,
            deterministic=tuple(map(PurePosixPath, command.deterministic or ())),
            ignored=command.ignored,
            tells=command.tells,
            copied_from=None if tree.copied_from is None else folder / tree.copied_from,
        )


CASE = FileKind("case", _CaseFile, CaseError, begins="{name}")
KEYS = shape_of(_CaseFile)
"""What a case.toml may hold, table by table; docs/cases.md explains each key."""


def _check_placeholders(key: str, words: tuple[str, ...]) -> None:
    for word in words:
        for placeholder in re.findall(r"\{([a-z]+)\}", word):
            if placeholder not in PLACEHOLDERS:
                raise UserError(
                    f"{key} has an unknown placeholder {{{placeholder}}}"
                    f"{nearest(placeholder, PLACEHOLDERS)}"
                )
            if placeholder == "host" and key not in ("command.measured", "command.quick"):
                raise UserError(f"{key} cannot be told {{host}}: only what is measured can")


def _inside(key: str, part: str, *, whole: str = "") -> None:
    """That *part* is a directory inside the tree; all of it only where *whole* says nothing."""
    path = PurePosixPath(part)
    if path.is_absolute() or ".." in path.parts or (whole and not path.parts):
        what = f"is no directory inside the tree: {whole}" if whole else "is not inside the tree"
        raise UserError(f"{key}: {part!r} {what}")
