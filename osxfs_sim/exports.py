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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from osxfs_sim.model.consistency import Tree, stronger_parts
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.settings import OPTIONS, Exports, ShareSettings
from osxfs_sim.share_options import Where
from osxfs_sim.toml_files import FileKind, example

_NAME = re.compile(r"[A-Za-z0-9._+-]{1,100}")
RESERVED_NAMES = ("host-services",)
_MOST_EXPORTS = 64


_OF_AN_EXPORT = tuple(each for each in OPTIONS if Where.EXPORT in each.where)
_FOR_ALL = tuple(each for each in OPTIONS if Where.WHOLE in each.where)
_Export = make_dataclass(
    "_Export",
    [
        ("source", str, field(metadata=example('"project"'))),
        *(
            (
                each.key,
                each.kind.in_file | None,
                field(default=None, metadata=example(each.example)),
            )
            for each in _OF_AN_EXPORT
        ),
    ],
    frozen=True,
)
"""An export, as it is written: the options of a share that can be said in a file."""


def _exports_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The exports in a parsed *document*, by their names. Raises UserError."""
    for key in document:
        if key != "exports":
            raise UserError(
                f"unknown key {key!r}: write a table [exports.NAME] for each tree "
                "(what holds for all of them goes on the command line)"
            )
    exports: Mapping[str, Any] = _SHARE_FILE.build(document).exports
    return exports


@dataclass(frozen=True)
class _ShareFile:
    exports: Mapping[str, _Export] = field(default_factory=dict)  # type: ignore[valid-type]

    def __post_init__(self) -> None:
        if not self.exports:
            raise UserError("it exports nothing: write a table [exports.NAME] for each tree")
        if len(self.exports) > _MOST_EXPORTS:
            raise UserError(f"more than {_MOST_EXPORTS} exports: each has a server of its own")
        for name in self.exports:
            if not _NAME.fullmatch(name) or name in (".", ".."):
                raise UserError(
                    f"the export {name!r} cannot be a directory's name: use letters, digits and "
                    ". _ + -"
                )
            if name in RESERVED_NAMES:
                raise UserError(f"the name {name!r} is kept for host services: choose another")


_SHARE_FILE = FileKind(
    "share file",
    _ShareFile,
    ProfileError,
    begins="share file {name}",
    renamed={f"exports.NAME.{each.was}": each.key for each in OPTIONS if each.was},
    elsewhere={
        f"exports.NAME.{key}": "holds for the whole mount: give it on the command line"
        for each in _FOR_ALL
        for key in {each.key, each.flags[0].removeprefix("--").replace("-", "_")}
    },
)


def is_share_file(source: str) -> bool:
    """Whether *source* names a share file: it ends in .toml, and is no directory."""
    return source.endswith(".toml") and not os.path.isdir(source)


def load_exports(
    path: str,
    mountpoint: str,
    given: Mapping[str, Any],
    before_import: Callable[[Sequence[str]], None] | None = None,
) -> Exports:
    """Read the share file *path*, to be mounted at *mountpoint*. Raises ProfileError.

    *given* are fields of ShareSettings that hold for all of them. *before_import* is told of
    the policies that the file names, before their modules are imported. Raises ProfileError,
    in one line that names the file and the export.
    """
    document = _SHARE_FILE.document(_SHARE_FILE.text_of(path), path)
    directory = Path(path).absolute().parent
    try:
        exports = _exports_of(document)
        policies = [export.policy for export in exports.values() if export.policy is not None]
        if before_import is not None and policies and "policy" not in given:
            before_import(policies)
        shares = tuple(
            _share(name, export, directory, mountpoint, given) for name, export in exports.items()
        )
    except (UserError, ValueError, OverflowError) as error:
        raise ProfileError(f"share file {path}: {error}") from error
    root = ShareSettings(
        source="",
        mountpoint=mountpoint,
        profile="none",
        exports=tuple(exports),
        calibrate=False,
        **{each.name: given[each.name] for each in _FOR_ALL if each.name in given},
    )
    return Exports(root, _strengthened(shares))


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
    """The keys of a share file for what *settings* change of the profile: text and numbers.

    The profile is among them; where the trees lie, and what holds for a whole mount, is not.
    """
    given = settings.given()
    keys: dict[str, Any] = {"profile": settings.profile}
    for each in _OF_AN_EXPORT:
        if each.name in given and each.name not in ("profile", "volumes", "copy"):
            keys[each.key] = each.kind.to_file(given[each.name])
    return keys


def _share(
    name: str,
    export: Any,
    directory: Path,
    mountpoint: str,
    given: Mapping[str, Any],
) -> ShareSettings:
    if not export.source:
        raise UserError(f"exports.{name} needs a source: the host's directory")
    source = os.path.expanduser(export.source)
    if source.startswith("~"):
        raise UserError(f"exports.{name}.source: there is no user {source.split('/')[0][1:]!r}")
    fields: dict[str, Any] = {}
    for each in _OF_AN_EXPORT:
        value = getattr(export, each.key)
        if value is not None:
            try:
                fields[each.name] = each.kind.from_file(value)
            except UserError as error:
                raise UserError(f"exports.{name}.{each.key}: {error}") from error
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
