"""What would be executed because a file says so is said first.

A result, a sweep, a study and a share file can name cases, which are folders of scripts, and
policies, which are Python modules. Who opens such a file wants its numbers, and may not know
that. So what it has run is named before it runs, in one line. A result is data: of what only it
names nothing runs, unless it is named on the command line as well, or with --trust. The others
are written to be used; they are refused where another user can write them.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from osxfs_sim.cli.saying import tell
from osxfs_sim.lab.arms import words_of
from osxfs_sim.lab.cases import Case, case_names
from osxfs_sim.lab.results import Comparison, ResultError
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.user_error import UserError

_POLICY = "--policy"

trust_option: Callable[[Any], Any] = click.option(
    "--trust",
    is_flag=True,
    help="Run what a file names, such as the scripts of a case or the module of a policy.",
)


def is_own_case(name: str) -> bool:
    """Whether *name* means a case of the user's own, by its folder, and none that is shipped."""
    return "/" in name or name not in case_names()


def scripts_of(case: str) -> Iterator[str]:
    """Yield in words the scripts that *case* runs; nothing for a case that is shipped."""
    if is_own_case(case):
        yield f"the scripts of the case {quoted(os.path.abspath(case))}"


def modules_of(arms: Iterable[str]) -> Iterator[str]:
    """In words the modules that --policy in *arms* imports. Raises UserError for a bad arm."""
    return modules_named(policy for arm in arms for policy in _policies_in(arm))


def modules_named(policies: Iterable[str]) -> Iterator[str]:
    """In words, each once, the modules of *policies*, which are texts ``module:Class``."""
    modules = dict.fromkeys(policy.partition(":")[0] for policy in policies)
    return (f"the Python module {quoted(module)}" for module in modules)


def _policies_in(arm: str) -> Iterator[str]:
    words = words_of(arm)[1]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == _POLICY:
            yield following
        elif word.startswith(f"{_POLICY}="):
            yield word.partition("=")[2]


def check_result(before: Comparison, where: str, given: set[str], *, trusted: bool) -> None:
    """Raise UserError where resuming *where* would run what only it names, unless *trusted*.

    *given* are the parameters of the command line. Raises UserError, in one line.
    """
    case, arms, aa = (before.plan.get(name) for name in ("case", "arms", "aa"))
    words = [*arms, aa or ""] if isinstance(arms, list) else [aa or ""]
    is_of_lists = isinstance(arms, list | None)
    if not is_of_lists or not all(isinstance(each, str) for each in (case, *words)):
        raise ResultError(f"{where} cannot be resumed: its plan is damaged")
    runs = [] if "case" in given else [*scripts_of(str(case))]
    runs += [] if {"arms", "aa"} & given else modules_of(filter(None, words))
    _check(where, runs, "name the case and the arms on the command line too", trusted=trusted)


def check_file(path: str, runs: Iterable[str], *, trusted: bool) -> None:
    """Tell what *path* has this command run. Raises UserError where others can write it.

    Nothing is refused that is *trusted*.
    """
    runs = list(runs)
    whose = whose_else(path)
    if not runs:
        return
    if not whose or trusted:
        tell(f"osxfs-sim: {path} has this run: {'; '.join(runs)}")
        return
    _check(f"{path}, {whose},", runs, "copy it", trusted=False)


def _check(where: str, runs: Sequence[str], how: str, *, trusted: bool) -> None:
    if not runs:
        return
    if trusted:
        tell(f"osxfs-sim: {where} has this run: {'; '.join(runs)}")
        return
    raise UserError(
        f"{where} would have this run: {'; '.join(runs)}. Look at it, then {how}, or add --trust"
    )


def whose_else(path: str | Path) -> str:
    """Who else can write what is at *path*, in words; "" where nobody, or nothing is there."""
    try:
        status = os.stat(path)
    except OSError:
        return ""  # who reads it will say so
    if status.st_uid not in (0, os.geteuid()):
        return f"which belongs to user {status.st_uid}"
    is_open = status.st_mode & stat.S_IWOTH and not stat.S_ISCHR(status.st_mode)
    return "which everybody may write" if is_open else ""


def tell_whose_case(case: Case) -> None:
    """Print a note where others can write what the case runs; refuses nothing."""
    commands = (case.setup, case.reset, case.measured, case.quick, case.check)
    programs = (case.folder / words[0] for words in commands if words)
    for path in (case.folder, case.folder / "case.toml", *programs):
        if whose := whose_else(path):
            tell(f"osxfs-sim: note: the case {case.name} runs scripts of others: {path}, {whose}")
            return
