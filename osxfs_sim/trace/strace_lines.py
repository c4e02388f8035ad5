r"""Reads the lines of ``strace -f -ttt -T``: what was called, with what, and what came of it.

A line is one of

    1234  1700000000.123456 openat(AT_FDCWD, "lib", O_RDONLY) = 3 <0.000012>
    [pid 1234] 1700000000.123456 read(3,  <unfinished ...>
    1234  1700000000.123456 <... read resumed>"...", 832) = 832 <0.000010>
    1234  1700000000.123456 --- SIGCHLD {si_signo=SIGCHLD, ...} ---
    1234  1700000000.123456 +++ exited with 0 +++

where the process is left out without -f, and with -y a descriptor is followed by
its path: ``3</work/lib>``. Bytes that are not plain ASCII are written ``\303`` or
``\xc3``, and a string that was cut short ends in three dots.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(r"(?:\[pid +(\d{1,9})\] +|(\d{1,9}) +)?(\d{1,12})\.(\d{1,9}) +(\S.*)")
_CALL = re.compile(r"([a-z_][a-z0-9_]*)\((.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. ([a-z_][a-z0-9_]*) resumed> ?(.*)", re.DOTALL)
_UNFINISHED = re.compile(r"(.*?)(,?) *<unfinished \.\.\.>\)?$", re.DOTALL)
_RESULT = re.compile(
    r" *= (-?\d{1,20}|0x[0-9a-f]{1,16}|\?)(?:<((?:[^<>\\]|\\.)*)>)?"
    r"(?: (E[A-Z0-9]+)\b)?.*?(?:<(\d{1,12})\.(\d{1,9})>)?$",
    re.DOTALL,
)
# A string; a descriptor's path; what opens, closes or divides.
_TOKEN = re.compile(
    r'"((?:[^"\\]|\\.)*)"|(?<=[0-9D])<((?:[^<>\\]|\\.)+)>|([\[({])|([\])}])|(,)', re.DOTALL
)
_DESCRIPTOR = re.compile(r"(-?\d{1,10}|AT_FDCWD)(?:<((?:[^<>\\]|\\.)*)>)?", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"f": b"\f", b"v": b"\v", b"a": b"\a"}
_NOISE = re.compile(r"strace: .*|\s*", re.DOTALL)
_LONGEST_NS = 1 << 62


class UnreadableLineError(Exception):
    """A line that is none of strace's, or was cut."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that has returned.

    *error* is a name such as ENOENT, *took_ns* None where the log was made without -T.
    """

    process: int
    """The id of the thread."""
    at_ns: int
    """When it was made, since the epoch."""
    took_ns: int | None
    """How long it took; None where the log was made without -T."""
    name: str
    """The system call's."""
    arguments: tuple[str, ...]
    """As they stand in the log."""
    result: int
    """What it returned."""
    result_path: str | None
    """The path of a returned descriptor, where the log was made with -y."""
    error: str | None
    """A name such as ENOENT; None where it succeeded."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A system call that has not returned yet: its process goes on in a later line."""

    process: int
    """The id of the thread."""
    at_ns: int
    """When it was made, since the epoch."""
    name: str
    """The system call's."""


class LineReader:
    """Puts together what was interleaved. Lines that cannot be read are counted."""

    def __init__(self) -> None:
        self.lines = 0
        self.unreadable = 0
        self.first_unreadable = ""
        self.calls = 0
        self._unfinished: dict[int, tuple[int, str, str]] = {}

    @property
    def unfinished(self) -> int:
        """How many system calls of the lines read so far have begun and not returned."""
        return len(self._unfinished)

    def read(self, line: str) -> Iterator[Call | Begun]:
        """Yield calls that *line* of a log tells of; an unreadable one is counted, not raised.

        A line that cannot be read is counted in *unreadable*, and yields nothing.
        """
        self.lines += 1
        line = line.rstrip("\n")
        try:
            yield from self._read(line)
        except UnreadableLineError:
            self.unreadable += 1
            self.first_unreadable = self.first_unreadable or line[:100]

    def _read(self, line: str) -> Iterator[Call | Begun]:
        match = _LINE.fullmatch(line)
        if match is None:
            if _NOISE.fullmatch(line):
                return
            raise UnreadableLineError
        process = int(match[1] or match[2] or 0)
        at_ns = _ns(match[3], match[4])
        text = match[5]
        if text.startswith(("--- ", "+++ ")):
            if text.startswith("+++ "):
                self._unfinished.pop(process, None)  # it never will return
            return
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None:
            begun = self._unfinished.pop(process, None)
            if begun is None or begun[1] != resumed[1]:
                raise UnreadableLineError
            at_ns, name, before = begun
            rest = before + resumed[2]
        else:
            call = _CALL.fullmatch(text)
            if call is None:
                raise UnreadableLineError
            name, rest = call[1], call[2]
        cut = _UNFINISHED.fullmatch(rest) if rest.endswith(("...>", "...>)")) else None
        if cut is not None:
            self._unfinished[process] = (at_ns, name, f"{cut[1]}{cut[2]} ")
            yield Begun(process, at_ns, name)
            return
        yield self._finished(process, at_ns, name, rest)

    def _finished(self, process: int, at_ns: int, name: str, rest: str) -> Call:
        arguments, end = _split(rest)
        match = _RESULT.fullmatch(rest, end)
        if match is None:
            raise UnreadableLineError
        self.calls += 1
        result = -1 if match[1] == "?" else int(match[1], 0)
        error = match[3] or ("EINTR" if match[1] == "?" else None)
        took_ns = None if match[4] is None else _ns(match[4], match[5])
        return Call(process, at_ns, took_ns, name, arguments, result, match[2], error)


def _ns(whole: str, fraction: str) -> int:
    value_ns = int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    if value_ns > _LONGEST_NS:
        raise UnreadableLineError
    return value_ns


def _split(text: str) -> tuple[tuple[str, ...], int]:
    """The arguments, and where the text goes on after the parenthesis that ends them."""
    depth = 0
    start = 0
    arguments: list[str] = []
    for match in _TOKEN.finditer(text):
        if match[3]:
            depth += 1
        elif match[4]:
            if depth == 0:
                last = text[start : match.start()].strip()
                if last or arguments:
                    arguments.append(last)
                return tuple(arguments), match.end()
            depth -= 1
        elif match[5] and depth == 0:
            arguments.append(text[start : match.start()].strip())
            start = match.end()
    raise UnreadableLineError


def string_of(argument: str) -> str | None:
    """The text in an argument's quotes, without escapes; returns None if it has none (NULL)."""
    if len(argument) < 2 or not argument.startswith('"') or not argument.endswith('"'):
        return None
    return unescaped(argument[1:-1])


def descriptor_of(argument: str) -> tuple[int | None, str | None]:
    """Number (None: AT_FDCWD) and path of a descriptor argument. Raises UnreadableLineError."""
    match = _DESCRIPTOR.fullmatch(argument)
    if match is None:
        raise UnreadableLineError
    path = None
    if match[2] is not None and match[2].startswith("/"):
        path = unescaped(match[2]).removesuffix(" (deleted)")
    return (None if match[1] == "AT_FDCWD" else int(match[1])), path


def unescaped(text: str) -> str:
    """The *text* of a strace log without its escapes; bytes that are no UTF-8 stay as \\xNN."""
    if "\\" not in text:
        return text
    data = _ESCAPE.sub(_plain, text.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "backslashreplace")


def _plain(match: "re.Match[bytes]") -> bytes:
    if match[1] is not None:
        return bytes([int(match[1], 8) & 0xFF])
    if match[2] is not None:
        return bytes([int(match[2], 16)])
    return _PLAIN_ESCAPES.get(match[3], match[3])
