"""Names, paths and texts of other people, as they may be shown on a terminal.

A name can hold anything but a slash and a zero: a line feed, the sequences by which a terminal
is told to clear itself or to type an answer, marks that turn the direction of writing around,
bytes that are no text. What is shown here is what Python calls printable; everything else is
written as an escape, as ``repr`` does it. A name that holds only what can be seen is itself.
"""

import codecs
import shlex

# What people who read other people's names may do without, where the encoding has it not.
_PLAINER = {
    "…": "...",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "±": "+-",
    "×": "x",
    "·": "-",
    "–": "-",
    "—": "-",
    "−": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "µ": "u",
    "μ": "u",
    "σ": "sigma",
    "≈": "~",
}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FIRST_STRAY_BYTE, _LAST_STRAY_BYTE = 0xDC80, 0xDCFF  # as surrogateescape writes them (PEP 383)

ERRORS = "osxfs-sim.plainer"
"""For streams of text: what their encoding lacks is written in plainer letters, or escaped."""


def printable(text: str) -> str:
    """*text* on one line, what is unprintable escaped as repr() does. Never fails."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def printable_lines(text: str) -> str:
    """*text* with what is unprintable escaped, line feeds and tabs excepted. Never fails."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter in "\n\t" or letter.isprintable() else _escape(letter) for letter in text
    )


def quoted(path: str) -> str:
    """*path*, whatever is in it, quoted as one word for a shell, on one line. Never fails."""
    if path.startswith("-"):
        path = f"./{path}"  # it is no option
    if path.isprintable():
        return shlex.quote(path)
    # ANSI-C quoting, of bash, zsh, ksh and POSIX since 2024.
    return "$'" + "".join(map(_in_shell, path)) + "'"


def _in_shell(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    # Three digits of octal end by themselves; those of \x would take the next letters along.
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", _as_bytes_errors(letter)))


def _as_bytes_errors(letter: str) -> str:
    is_stray = _FIRST_STRAY_BYTE <= ord(letter) <= _LAST_STRAY_BYTE
    return "surrogateescape" if is_stray else "surrogatepass"


def _escape(letter: str) -> str:
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    if _FIRST_STRAY_BYTE <= code <= _LAST_STRAY_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _write_plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAINER.get(letter) or _escape(letter) for letter in letters), error.end


codecs.register_error(ERRORS, _write_plainer)
