"""Several host trees below one mount point, as a share file describes them.

    [exports.project]
    source = "~/project"            # a relative path is meant from where the file lies
    profile = "osxfs-cached"
    latency = "65us"

    [exports.home]
    source = "/home/me"
    ownership = "host"

Each export is a share of its own, with its own consistency, ownership and so on,
mounted at MOUNTPOINT/NAME. The mount point itself shows the exports and nothing
else. The keys are the options of ``osxfs-sim mount``; what is given on the
command line holds for every export. Where sources overlap, the overlapping part
obeys the stronger mode of consistency (model/consistency.py).
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from osxfs_sim.fs.reading import parse_toml, read_text
from osxfs_sim.model.consistency import Tree, stronger_parts
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.units import parse_duration_ns
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.settings import Exports, ShareSettings, parse_data_path

_NAME = re.compile(r"[A-Za-z0-9._+-]{1,100}")
RESERVED_NAMES = ("host-services",)
_MOST_EXPORTS = 64


def _volumes(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    for path, directory in table.items():
        if not isinstance(directory, str) or not directory:
            raise ProfileError(f"{path!r} = {directory!r}: name a directory")
    return tuple(table.items())


def _bugs(names: list[Any]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise ProfileError(f'{name!r} is no name of a bug: write such as "phantom"')
    return tuple(names)


# Each key of an export: its field of ShareSettings, the type it must have, how
# its value is read, and an example for who wrote it wrongly.
_Reader = Callable[[Any], Any]
_KEYS: Mapping[str, tuple[str, type | tuple[type, ...], _Reader, str]] = {
    "profile": ("profile", str, str, '"osxfs-cached"'),
    "latency": ("latency_ns", str, parse_duration_ns, '"65us"'),
    "bandwidth": ("bandwidth", str, str, '"250MB/s"'),
    "distribution": ("distribution", str, str, '"lognormal:0.2"'),
    "served_at_once": ("served_at_once", int, int, "4"),
    "data_path": ("data_path", str, parse_data_path, '"copies=5,switches=3"'),
    "lifetime": ("lifetime_ns", str, parse_duration_ns, '"10s"'),
    "missing_lifetime": ("missing_lifetime_ns", str, parse_duration_ns, '"1s"'),
    "policy": ("policy", str, str, '"package.module:Class"'),
    "ownership": ("ownership", str, str, '"host"'),
    "names": ("names", str, str, '"apfs"'),
    "extended_attributes": ("extended_attributes", str, str, '"host"'),
    "replaced": ("replaced", str, str, '"held"'),
    "host_events": ("host_events", str, str, '"inotify"'),
    "event_latency": ("event_latency_ns", str, parse_duration_ns, '"10ms"'),
    "write_back_age": ("write_back_age_ns", str, parse_duration_ns, '"5s"'),
    "write_back_changes": ("write_back_changes", int, int, "1000"),
    "write_back_bytes": ("write_back_bytes", str, str, '"64MB"'),
    "kernel_write_back": ("kernel_write_back", bool, bool, "true"),
    "unwritten": ("unwritten", str, str, '"recover"'),
    "dilate": ("dilate", (int, float), float, "2"),
    "seed": ("seed", int, int, "7"),
    "copy": ("copy", str, str, '"copies/project"'),
    "bugs": ("bugs", list, _bugs, '["phantom"]'),
    "volumes": ("volumes", dict, _volumes, '{ "node_modules" = "volume" }'),
}


def is_share_file(source: str) -> bool:
    """Whether *source* names a share file rather than a directory."""
    return source.endswith(".toml") and not os.path.isdir(source)


def load_exports(
    path: str,
    mountpoint: str,
    given: Mapping[str, Any],
    before_import: Callable[[Sequence[str]], None] | None = None,
) -> Exports:
    """The exports of the share file at *path*, to be mounted at *mountpoint*.

    *given* are fields of ShareSettings that hold for all of them. *before_import* is told of
    the policies that the file names, before their modules are imported. Raises ProfileError,
    in one line that names the file and the export.
    """
    try:
        document = parse_toml(read_text(path))
        tables = _tables(document)
        policies = [str(table["policy"]) for table in tables.values() if "policy" in table]
        if before_import is not None and policies and "policy" not in given:
            before_import(policies)
        directory = Path(path).absolute().parent
        shares = tuple(
            _share(name, table, directory, mountpoint, given) for name, table in tables.items()
        )
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ProfileError(f"cannot read the share file {path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"share file {path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ProfileError(f"share file {path}: nested too deeply") from error
    except (UserError, ValueError, OverflowError) as error:
        raise ProfileError(f"share file {path}: {error}") from error
    hub = ShareSettings(
        source="",
        mountpoint=mountpoint,
        profile="none",
        exports=tuple(tables),
        calibrate=False,
        **{key: given[key] for key in _FOR_THE_HUB if key in given},
    )
    return Exports(hub, _strengthened(shares))


def _strengthened(shares: tuple[ShareSettings, ...]) -> tuple[ShareSettings, ...]:
    """*shares*, each told which of its parts obey the mode of another one."""
    trees = [
        Tree(PurePosixPath(os.path.realpath(share.source)), share.system().promise)
        for share in shares
    ]
    return tuple(
        replace(
            share,
            stronger=tuple((path, mode.label) for path, mode in stronger_parts(tree, trees)),
        )
        for share, tree in zip(shares, trees, strict=True)
    )


def export_keys(settings: ShareSettings) -> dict[str, Any]:
    """What *settings* differ in from the profile, as the keys of an export: text and numbers.

    The profile is among them; where the trees lie, and what holds for a whole mount, is not.
    """
    given = settings.given()
    keys: dict[str, Any] = {"profile": settings.profile}
    for key, (field, _, _, _) in _KEYS.items():
        if field not in given or key in ("profile", "volumes", "copy"):
            continue
        value = given[field]
        if field == "data_path":
            value = f"copies={value[0]},switches={value[1]}"
        elif field.endswith("_ns"):
            value = f"{value}ns"
        keys[key] = value
    return keys


_FOR_ALL = ("user", "state", "allow_other", "host_service", "host_services")
_FOR_THE_HUB = ("allow_other", "user", "state_directory", "host_services")


def _tables(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    for key in document:
        if key != "exports":
            raise ProfileError(
                f"unknown key {key!r}: write a table [exports.NAME] for each tree "
                "(what holds for all of them goes on the command line)"
            )
    tables = document.get("exports", {})
    if not isinstance(tables, Mapping) or not tables:
        raise ProfileError("it exports nothing: write a table [exports.NAME] for each tree")
    if len(tables) > _MOST_EXPORTS:
        raise ProfileError(f"more than {_MOST_EXPORTS} exports: each has a server of its own")
    for name, table in tables.items():
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise ProfileError(
                f"the export {name!r} cannot be a directory's name: use letters, digits and . _ + -"
            )
        if name in RESERVED_NAMES:
            raise ProfileError(f"the name {name!r} is kept for host services: choose another")
        if not isinstance(table, Mapping):
            raise ProfileError(f"exports.{name} must be a table: write [exports.{name}]")
    return tables


def _share(
    name: str,
    table: Mapping[str, Any],
    directory: Path,
    mountpoint: str,
    given: Mapping[str, Any],
) -> ShareSettings:
    source = table.get("source", "")
    if not isinstance(source, str):
        raise ProfileError(f'exports.{name}.source = {source!r}: write such as source = "project"')
    if not source:
        raise ProfileError(f"exports.{name} needs a source: the host's directory")
    source = os.path.expanduser(source)
    if source.startswith("~"):
        raise ProfileError(f"exports.{name}.source: there is no user {source.split('/')[0][1:]!r}")
    fields: dict[str, Any] = {}
    for key, value in table.items():
        if key == "source":
            continue
        if key in _FOR_ALL:
            raise ProfileError(
                f"exports.{name}.{key} holds for the whole mount: give it on the command line"
            )
        if key not in _KEYS:
            raise ProfileError(
                f"unknown key exports.{name}.{key}{nearest(key, ('source', *_KEYS))}"
            )
        field, kind, read, example = _KEYS[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ProfileError(f"exports.{name}.{key} = {value!r}: write such as {key} = {example}")
        try:
            fields[field] = read(value)
        except UserError as error:
            raise ProfileError(f"exports.{name}.{key}: {error}") from error
    if "volumes" in fields:
        fields["volumes"] = tuple(
            (path, str(directory / os.path.expanduser(place))) for path, place in fields["volumes"]
        )
    if "copy" in fields:
        fields["copy"] = str(directory / os.path.expanduser(fields["copy"]))
    if str(fields.get("profile", "")).endswith(".toml"):
        fields["profile"] = str(directory / fields["profile"])
    settings = ShareSettings(
        source=str(directory / source),
        mountpoint=os.path.join(mountpoint, name),
        **fields,
    )
    settings = replace(
        settings, **{key: value for key, value in given.items() if key != "host_services"}
    )
    try:
        settings.system()
    except ProfileError as error:
        beside = " (with the options of the command line)" if given else ""
        raise ProfileError(f"exports.{name}{beside}: {error}") from error
    return settings
