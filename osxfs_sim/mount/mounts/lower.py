"""What a mount rests on, where that are files or directories of another: by what the kernel tells.

    a block device      the file behind a loop device, also below a partition, device mapper or RAID
    overlay             its layers
    FUSE, ecryptfs      the directory that is named as the source, as bindfs and most others do
    NFS                 the directory that is exported, if by this very machine

It is read in the table of mounts and in sysfs: nothing is entered. What is not told there is not
known: an NFSv4 export below a pseudo-root has another path, other network file systems name no
path at all, and a path in another mount namespace leads somewhere else here.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_BLOCK_DEVICES = Path("/sys/dev/block")
# Only there: what else is below /dev may be a share, and must not be looked at.
_DIRECTORIES_OF_DEVICES = ("/dev", "/dev/mapper")
_LAYERS = frozenset({"lowerdir", "upperdir", "workdir"})
_DEEPEST = 16
_NAMED_BY_PATH = ("fuse", "ecryptfs")


def lower_paths(kind: str, source: str, device: str, options: str) -> list[str]:
    """The paths a mount rests on (image, layers, export), as far as known; never fails.

    *kind* is the file system's type, *device* ``major:minor``; *source* and *options* are those of
    the table of mounts.
    """
    found = [*_behind_block_device(device)]
    is_named_by_path = kind.partition(".")[0] in _NAMED_BY_PATH
    if not (found or is_named_by_path) and os.path.dirname(source) in _DIRECTORIES_OF_DEVICES:
        # btrfs and others give their mounts numbers that are no device's.
        with contextlib.suppress(OSError):
            number = os.stat(source).st_rdev
            found += _behind_block_device(f"{os.major(number)}:{os.minor(number)}")
    if kind == "overlay":
        for option in options.split(","):
            name, _, places = option.partition("=")
            if name.rstrip("+") in _LAYERS:
                found += filter(None, places.split(":"))
    elif is_named_by_path and source.startswith("/"):
        found.append(source)
    elif kind in ("nfs", "nfs4"):
        path = source.partition(":/")[2]
        address = dict(option.partition("=")[::2] for option in options.split(",")).get("addr", "")
        if _is_own(address):
            found.append(f"/{path}")
    # An overlay's layers may be named relative to who knows what.
    return list(dict.fromkeys(os.path.normpath(path) for path in found if path.startswith("/")))


def _behind_block_device(device: str, depth: int = 0) -> Iterator[str]:
    place = _BLOCK_DEVICES / device
    if depth > _DEEPEST or not place.exists():
        return
    place = place.resolve()
    for each in (place, place.parent):  # that of a partition is the whole device's
        with contextlib.suppress(OSError):
            path = (each / "loop" / "backing_file").read_text(errors="surrogateescape")
            yield path.removesuffix("\n")
    with contextlib.suppress(OSError):
        for slave in (place / "slaves").iterdir():
            yield from _behind_block_device((slave / "dev").read_text().strip(), depth + 1)


def _is_own(address: str) -> bool:
    """Whether *address* is one of this machine's: only to those a socket can be bound."""
    if not address:
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
