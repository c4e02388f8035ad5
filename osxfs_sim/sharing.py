"""osxfs_sim.share(): a share for the time of a ``with`` block.

Its keywords are the options of a share (settings.OPTIONS). Whoever asks for its signature is told
them from that table; for type checkers they are written down here, by scripts/share_options.py.
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from osxfs_sim.exports import is_share_file, load_exports
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.mount.launch import Share, mounted
from osxfs_sim.settings import OPTIONS, ShareSettings
from osxfs_sim.share_options import Where

_KEYWORDS = {each.name: each for each in OPTIONS if Where.PYTHON in each.where}


_RENAMED = {
    f"{each.was}_ns" if name.endswith("_ns") else each.was: name
    for name, each in _KEYWORDS.items()
    if each.was
}
"""Keywords of earlier versions."""


def _share(
    source: str | PathLike[str], mountpoint: str | PathLike[str], **options: Any
) -> AbstractContextManager[Share]:
    """Share *source* at *mountpoint* for the time of a ``with`` block.

    The server is a process of its own; the share is unmounted when the block
    ends, however it ends. *source* may be a share file (osxfs_sim.exports): each
    of its exports is then a Share in ``exports``, and the keywords given hold for all
    of them. The keywords are those of ShareSettings, and mean
    what the options of ``osxfs-sim mount`` mean: None leaves a value as the
    profile has it. *host_services* maps names to paths of the host's sockets: each
    is then reached as host-services/NAME.sock in the share. *volumes* maps paths in the
    share to guest-local directories that the guest has there; *copy* is where the guest's copy
    lies, for a profile that has one. *bugs* names bugs of real systems that it shall have, such
    as phantom (docs/museum.md).

    Raises MountError or ProfileError on entering, each with one line that
    names the remedy, and MountError on leaving if the share is still in use.
    """
    fields = {}
    for name, value in options.items():
        if new := _RENAMED.get(name):
            raise TypeError(f"share()'s keyword {name!r} is called {new!r} now")
        if name not in _KEYWORDS:
            raise TypeError(f"share() has no keyword {name!r}{nearest(name, _KEYWORDS)}")
        try:
            fields[name] = _KEYWORDS[name].kind.from_python(value)
        except UserError as error:
            raise ProfileError(f"{name} = {value!r}: {error}") from error
    settings = ShareSettings(fspath(source), fspath(mountpoint), **fields)
    if is_share_file(settings.source):
        return mounted(load_exports(settings.source, settings.mountpoint, settings.given()))
    return mounted(settings)


def signature() -> inspect.Signature:
    """The inspect.Signature of osxfs_sim.share(), made of the table of options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    first = list(inspect.signature(_share).parameters.values())[:2]
    return inspect.Signature(
        [
            *first,
            *(
                inspect.Parameter(name, keyword, default=each.default_in_python)
                for name, each in _KEYWORDS.items()
            ),
        ],
        return_annotation=AbstractContextManager[Share],
    )


if TYPE_CHECKING:

    def share(
        source: str | PathLike[str],
        mountpoint: str | PathLike[str],
        *,
        # the keywords: made by scripts/share_options.py
        profile: str = "osxfs",
        latency_ns: int | None = None,
        bandwidth: str | None = None,
        distribution: str | None = None,
        served_at_once: int | None = None,
        data_path: tuple[int, int] | None = None,
        cache_timeout_ns: int | None = None,
        negative_timeout_ns: int | None = None,
        policy: str | None = None,
        ownership: str | None = None,
        names: str | None = None,
        extended_attributes: str | None = None,
        replaced: str | None = None,
        host_events: str = "auto",
        event_latency_ns: int | None = None,
        write_back_age_ns: int | None = None,
        write_back_changes: int | None = None,
        write_back_bytes: str | None = None,
        kernel_write_back: bool | None = None,
        unwritten: str | None = None,
        dilate: float = 1.0,
        seed: int = 0,
        volumes: Mapping[str, str | PathLike[str]] | None = None,
        bugs: Sequence[str] = (),
        allow_other: bool | None = None,
        user: str | None = None,
        state_directory: str | PathLike[str] | None = None,
        copy: str | PathLike[str] | None = None,
        host_services: Mapping[str, str | PathLike[str]] | None = None,
        calibrate: bool = True,
        # (end of the keywords)
    ) -> AbstractContextManager[Share]:
        """Serve *source* at *mountpoint* within a with statement; see _share. Raises MountError."""
        ...

else:
    share = _share
    share.__name__ = share.__qualname__ = "share"
    share.__signature__ = signature()
