"""Finds things by name for the model, which does no I/O itself.

Profiles by name or file, distributions from files, policies from Python
modules. Every error is a ProfileError whose one line names the remedy.
"""

import importlib
import logging
import os
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import ModuleType

from osxfs_sim import profile_file
from osxfs_sim.fs.reading import read_text
from osxfs_sim.model.caching import CachePolicy
from osxfs_sim.model.formatting import format_count
from osxfs_sim.model.latency import Distribution, Empirical
from osxfs_sim.model.own_policy import OwnPolicy, PolicyError, described, place_of
from osxfs_sim.model.profile import Profile, ProfileError, parse_distribution
from osxfs_sim.model.units import parse_duration_ns
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.profile_file import profile_from
from osxfs_sim.sources import digest_of_module

log = logging.getLogger(__name__)

PROFILE = replace(
    profile_file.PROFILE,
    shipped=resources.files("osxfs_sim.model") / "profiles",
    hint=" ('osxfs-sim profiles' lists them; a file of your own ends in .toml)",
)
_MAX_ANCESTORS = 8
_MOST_SAMPLES_BYTES = 1 << 25
_MOST_SAMPLES = 1_000_000


def profile_names() -> list[str]:
    """The names of the profiles that ship with the package, sorted."""
    return PROFILE.names()


def load_profile(name: str) -> Profile:
    """Read the shipped profile of that name, or the .toml file *name*. Raises ProfileError.

    Raises ProfileError for an unknown name (with the nearest), a file that
    cannot be read, or one that is not a valid profile.
    """
    return _load(name, ())


def _load(name: str, descendants: tuple[str, ...]) -> Profile:
    if name in descendants:
        chain = " -> ".join((*descendants, name))
        raise ProfileError(f"profile {name!r} starts from itself: {chain}")
    if len(descendants) > _MAX_ANCESTORS:
        raise ProfileError(f"profile {descendants[0]!r} has more than {_MAX_ANCESTORS} ancestors")
    file = PROFILE.load(name)
    parent = None
    if file.extends is not None:
        ancestor = file.extends
        if ancestor.endswith(".toml") and name.endswith(".toml"):
            # A file names its parent as seen from where it lies.
            ancestor = str(Path(name).parent / ancestor)
        parent = _load(ancestor, (*descendants, name))
    try:
        return profile_from(file, parent)
    except ProfileError as error:
        # In a chain of files it may be any of them.
        named = name.endswith(".toml") and name not in str(error)
        raise ProfileError(f"{name}: {error}" if named else str(error)) from error


def load_distribution(text: str) -> Distribution:
    """The distribution of latencies that *text* names. Raises ProfileError.

    ``constant``, ``lognormal:SIGMA`` or ``empirical:FILE``.
    """
    kind, _, argument = text.partition(":")
    try:
        if kind == "empirical":
            return _read_empirical(argument)
        return parse_distribution(text)
    except UserError as error:
        raise ProfileError(str(error)) from error


def _read_empirical(path: str) -> Empirical:
    """Samples from a text file: a duration a line; bare numbers are nanoseconds.

    Empty lines and lines that begin with # are passed over.
    """
    if not path:
        raise ProfileError("empirical needs a file: write empirical:FILE")
    try:
        lines = read_text(path, _MOST_SAMPLES_BYTES).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ProfileError(f"cannot read the samples {path}: {reason}") from error
    samples_ns = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            samples_ns.append(parse_duration_ns(f"{text}ns" if text.isdecimal() else text))
        except UserError:
            raise ProfileError(
                f"{path}, line {number}: {text[:40]!r} is not a duration: "
                "write one a line, such as 131us, or whole nanoseconds"
            ) from None
        if len(samples_ns) > _MOST_SAMPLES:
            raise ProfileError(
                f"{path} holds more than {format_count(_MOST_SAMPLES)} samples: take a part"
            )
    if not samples_ns:
        raise ProfileError(f"{path} holds no samples: write one duration a line, such as 131us")
    return Empirical(tuple(samples_ns))


def load_policy(text: str) -> OwnPolicy:
    """Import, try and instantiate the cache policy ``module:Class``. Raises ProfileError.

    The current directory is searched too, so that an experiment needs no
    package around it. Raises ProfileError for one that fails, with the line that does.
    """
    module_name, separator, class_name = text.partition(":")
    if not (separator and module_name and class_name):
        raise ProfileError(f"{text!r} names no class: write package.module:Class")
    module = _imported(module_name, class_name)
    policy_class = getattr(module, class_name, None)
    if policy_class is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        hint = nearest(class_name, classes) if classes else ": it defines no class at all"
        raise ProfileError(f"{module_name} has no {class_name!r}{hint}")
    if not (isinstance(policy_class, type) and issubclass(policy_class, CachePolicy)):
        raise ProfileError(
            f"{text} is not a cache policy: derive it from osxfs_sim.model.caching.CachePolicy"
        )
    file = module.__file__ or ""
    try:
        # What is learnt from made-up objects shall not be what it begins with.
        OwnPolicy(policy_class(), text, file=file).try_out()
        policy = policy_class()
    except PolicyError as error:
        raise ProfileError(f"the policy {error}") from error
    except (Exception, SystemExit) as error:
        place = place_of(error, file)
        raise ProfileError(
            f"{text}() fails{f' ({place})' if place else ''}: {described(error)} "
            "(it is made without arguments: give each a default)"
        ) from error
    return OwnPolicy(policy, text, file=file, digest=digest_of_module(module), tell=_tell)


def _tell(line: str, error: BaseException) -> None:
    log.warning("the policy %s", line, exc_info=error)


def _imported(module_name: str, class_name: str) -> ModuleType:
    """The policy's module. Raises ProfileError."""
    path, suffix = os.path.split(module_name)[0], module_name.endswith(".py")
    if path or suffix or module_name.startswith("."):
        named = os.path.basename(module_name).removesuffix(".py").lstrip(".")
        where = os.path.abspath(path or ".")
        raise ProfileError(
            f"a policy is named by its module, not by a path: write --policy {named}:{class_name} "
            f"in the directory {where}, or with PYTHONPATH={where}"
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        where = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module_name.split(".")[0]:
            where = f": it is looked for in {here}, and in the directories of PYTHONPATH"
        raise ProfileError(f"cannot import the policy's module: {error}{where}") from error
    except (Exception, SystemExit) as error:
        raise ProfileError(
            f"the policy's module {module_name} fails when imported{_place_in_module(error)}: "
            f"{described(error)}"
        ) from error


def _place_in_module(error: BaseException) -> str:
    """The last line of a file that it went through; a SyntaxError names its own."""
    if isinstance(error, SyntaxError):
        return ""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<"):
            place = f" ({os.path.basename(file)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
