"""What may be a host service: looked at before anything is mounted.

Apart from services.py, so that whoever only asks for a share need not import trio.
"""

import os
import re
import stat as modes

from osxfs_sim.mount.mounts.mountpoints import MountError

LONGEST_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its zero

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_host_services(services: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The *services* (name, absolute path). Raises MountError where one cannot be offered.

    Relative paths are of the current directory.
    """
    checked: dict[str, str] = {}
    for name, path in services:
        if not _NAME.fullmatch(name):
            raise MountError(
                f"the host service {name!r} cannot be called so: "
                "a name has 1 to 64 letters, digits, dots, dashes and underscores (ssh-auth)"
            )
        if name in checked:
            raise MountError(f"the host service {name} is given twice: give each its own name")
        if not path:
            raise MountError(
                f"the host service {name} has no path: if it was given as {name}=$VARIABLE, "
                "that variable is not set"
            )
        checked[name] = _checked_socket(name, os.path.abspath(path))
    return tuple(checked.items())


def _checked_socket(name: str, path: str) -> str:
    try:
        is_socket = modes.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise MountError(
            f"the host service {name} cannot be reached at {path} ({(why or '').lower()}): "
            "start it first"
        ) from error
    if not is_socket:
        raise MountError(f"the host service {name}: {path} is not a socket")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        raise MountError(
            f"the host service {name}: the path of a socket has at most "
            f"{LONGEST_SOCKET_PATH_BYTES} bytes: make a shorter link to {path}"
        )
    return path
