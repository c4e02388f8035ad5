"""Durations, sizes and rates as people write them, read into integers.

A bare number is refused on purpose: "130" has been microseconds to one author
and milliseconds to the next, and a lab must not guess.
"""

import re
from typing import ClassVar, Self

from osxfs_sim.model.user_error import UserError

_DURATION_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
}
# Decimal, as disks and links are rated; the binary units are spelled out.
_SIZE_UNITS_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµμ]*(?:/s)?)\s*")

MAX_DURATION_NS = 1_000 * 3_600 * 1_000_000_000
"""A thousand hours: beyond it a value is a slip, not a wish."""


_MAX_NUMBER = 1e18


class Quantity(int):
    """A number that people write with its unit, as in a file; parsed() reads it."""

    EXAMPLE: ClassVar[str]

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The quantity that *text* says. Raises UserError; in this base, NotImplementedError."""
        raise NotImplementedError


class Duration(Quantity):
    """A duration, in nanoseconds."""

    EXAMPLE = "130us"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The duration in ns that *text*, such as 130us, says. Raises UserError."""
        return cls(parse_duration_ns(text))


class Size(Quantity):
    """A size, in bytes."""

    EXAMPLE = "128MB"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The size in bytes that *text*, such as 128MB, says. Raises UserError."""
        return cls(parse_size_bytes(text))


class Rate(Quantity):
    """A rate, in bytes per second; 0 where nothing limits it."""

    EXAMPLE = "250MB/s"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The rate *text* says in bytes per second, 0 for ``none``. Raises UserError."""
        return cls(parse_rate_bytes_per_s(text) or 0)


def _quantity(text: str, what: str, example: str) -> tuple[float, str]:
    if text.strip().startswith("-"):
        raise UserError(f"{text!r} is negative: give {what} such as {example}")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is not {what}: write it like {example}")
    number = float(match[1])
    if number > _MAX_NUMBER:
        raise UserError(f"{text.strip()[:40]!r} is too large to mean anything")
    return number, match[2]


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as ``130us``, ``1.5ms``, ``10s`` or ``1h``. Raises UserError.

    Raises UserError for a missing or unknown unit, a negative value, or one
    above a thousand hours.
    """
    number, unit = _quantity(text, "a duration", "130us or 1.5ms")
    if unit not in _DURATION_UNITS_NS:
        if not unit:
            raise UserError(f"{text!r} has no unit: write {text.strip()}us or {text.strip()}ms")
        raise UserError(f"{text!r} has an unknown unit: use ns, us, ms, s, min or h")
    value_ns = round(number * _DURATION_UNITS_NS[unit])
    if value_ns > MAX_DURATION_NS:
        raise UserError(f"{text!r} is longer than a thousand hours")
    return value_ns


def parse_rate_bytes_per_s(text: str) -> int | None:
    """Bytes per second of ``250MB/s``; returns None for ``none`` (no limit). Raises UserError.

    Raises UserError for anything else, zero included: a link that carries
    nothing would hold its first request for ever.
    """
    if text.strip().lower() == "none":
        return None
    number, unit = _quantity(text, "a rate", "250MB/s, or none for no limit")
    size_unit = unit.removesuffix("/s")
    if not unit.endswith("/s") or size_unit not in _SIZE_UNITS_BYTES:
        raise UserError(f"{text!r} is not a rate: write it like 250MB/s, or none for no limit")
    rate = round(number * _SIZE_UNITS_BYTES[size_unit])
    if rate < 1:
        raise UserError(f"{text!r} carries nothing: write none for no limit")
    return rate


def parse_size_bytes(text: str) -> int:
    """Bytes of a size such as ``128MB`` or ``64KiB``. Raises UserError for anything else."""
    number, unit = _quantity(text, "a size", "128MB or 64KiB")
    if unit not in _SIZE_UNITS_BYTES:
        raise UserError(f"{text!r} is not a size: write it like 128MB or 64KiB")
    size = round(number * _SIZE_UNITS_BYTES[unit])
    if size < 1:
        raise UserError(f"{text!r} holds nothing: give at least 1B")
    return size
