"""Files that people name, read with a bound: whatever lies there, and however large it is.

A device has no end, a pipe may never have a beginning, and a file of somebody else may be
larger than memory, or nested deeper than any reader goes. Each of these is an OSError, or a
ValueError of its text, with words for who named the file.
"""

import errno
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

MOST_RESULT_BYTES = 1 << 26
"""Of a result, a history, or another file that this program has written as JSON."""
MOST_TEXT_BYTES = 1 << 20
"""Of a file that people write: a profile, a case, a share file, a sweep."""
_AT_ONCE_BYTES = 1 << 20
# Of who names them: what a shell puts there for <(...) and for standard input.
_OWN_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(path: str | Path) -> int:
    """A descriptor to read the regular file *path*, or a pipe of one's own. Raises OSError."""
    fd = os.open(path, _OPEN)
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISFIFO(kind) and os.fspath(path).startswith(_OWN_PIPES):
            os.set_blocking(fd, True)
        elif stat.S_ISDIR(kind):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        elif not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_bytes(path: str | Path, most_bytes: int) -> bytes:
    """All bytes of *path*. Raises OSError where it is no file, or over *most_bytes*."""
    content = bytearray()
    with open(open_regular(path), "rb", buffering=0) as file:
        while piece := file.read(_AT_ONCE_BYTES):
            content += piece
            if len(content) > most_bytes:
                why = f"it is larger than {_in_words(most_bytes)}"
                raise OSError(errno.EFBIG, why, os.fspath(path))
    return bytes(content)


def read_text(path: str | Path, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """The text (UTF-8) of the file *path*. Raises OSError as read_bytes(), UnicodeDecodeError."""
    return read_bytes(path, most_bytes).decode("utf-8")


def parse_json(text: str | bytes) -> Any:
    """The value that *text* has in JSON. Raises ValueError, also for NaN and Infinity."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_toml(text: str) -> dict[str, Any]:
    """The document that *text* is in TOML. Raises TOMLDecodeError, also if nested too deeply."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from error
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        raise tomllib.TOMLDecodeError(str(error)) from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KB"
