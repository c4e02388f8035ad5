"""Numbers as people read them: the only place that decides on digits and units.

``model.units`` reads what people write; this writes what they read. A number never stands
without its unit, except where the unit is in the sentence or the column around it.
"""

import math
from typing import Final

_DURATIONS: Final = (("h", 3_600e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3))
_SIZES: Final = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
"""Decimal, as disks and links are rated."""
_LEAST_P: Final = 0.0001
_MOST_DECIMALS: Final = 6


def format_duration(value_ns: float) -> str:
    """*value_ns* as ``130us``: four significant digits at most, with h, s, ms, us or ns."""
    if value_ns < 0:
        return "-" + format_duration(-value_ns)
    for unit, size_ns in _DURATIONS:
        if value_ns >= size_ns:
            return f"{value_ns / size_ns:.4g}{unit}"
    return f"{value_ns:.0f}ns" if value_ns else "0us"


def format_wall_time(value_s: float) -> str:
    """*value_s* as ``1.23 s`` or ``456 ms``: three digits, whole seconds from 100 s on."""
    if value_s >= 100:
        return f"{value_s:.0f} s"
    number, unit = (value_s, "s") if value_s >= 1 else (value_s * 1e3, "ms")
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def format_seconds(value_s: float, decimals: int) -> str:
    """*value_s* as ``1.230 s``, with so many *decimals*, the same in all lines of a column."""
    return f"{value_s:.{decimals}f} s"


def format_size(size_bytes: int) -> str:
    """*size_bytes* as ``12.3MB``: three significant digits, decimal units from KB to GB."""
    for unit, size in _SIZES:
        if size_bytes >= size:
            return f"{size_bytes / size:.3g}{unit}"
    return f"{size_bytes}B"


def format_rate(rate_bytes_per_s: int | None) -> str:
    """*rate_bytes_per_s* as ``250MB/s``, in decimal units; ``none`` for None, no limit."""
    if rate_bytes_per_s is None:
        return "none"
    for unit, size in _SIZES:
        if rate_bytes_per_s >= size:
            return f"{rate_bytes_per_s / size:g}{unit}/s"
    return f"{rate_bytes_per_s}B/s"


def format_frequency(count: int, interval_s: float) -> str:
    """*count* per second of *interval_s*, as ``12.3/s``; ``0/s`` for none or no interval."""
    if not count or interval_s <= 0:
        return "0/s"
    per_second = count / interval_s
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.3g}/s"


def format_count(number: float) -> str:
    """*number* of things as ``12,345``; a mean of counts is rounded to a whole number."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.0f}"


def format_percent(part: float, decimals: int, *, of: float = 1) -> str:
    """The share *part* of the whole *of*, as ``12.5%``. Raises ZeroDivisionError if that is 0."""
    return f"{100 * part / of:.{decimals}f}%"


def format_signed_percent(share: float) -> str:
    """The relative difference *share* as ``+12 %``; one decimal below 10 %, never -0."""
    share = round(share, 4) + 0.0
    decimals = 0 if abs(share) >= 0.1 else 1
    return f"{100 * share:+.{decimals}f} %"


def format_fixed(value: float, decimals: int) -> str:
    """*value* as ``1.230``, with so many *decimals*; the unit is written around it."""
    return f"{value:.{decimals}f}"


def format_signed(value: float, decimals: int) -> str:
    """*value* as ``+0.35``, with so many *decimals*, and a plus where it is not negative."""
    return f"{value:+.{decimals}f}"


def format_significant(value: float, digits: int) -> str:
    """*value* as ``1.23`` or ``1.2e-05``: at most so many significant *digits*, no unit."""
    return f"{value:.{digits}g}"


def format_grouped(value: float, digits: int) -> str:
    """*value* as ``12,345``: at most so many significant *digits*, thousands parted, no unit."""
    return f"{value:,.{digits}g}"


def format_interval(value: float, low: float, high: float, decimals: int) -> str:
    """The estimate *value* and its interval, as ``1.23 [1.10, 1.40]``, without a unit."""
    return f"{value:.{decimals}f} {format_bounds(low, high, decimals)}"


def format_extremes(least: float, most: float, decimals: int) -> str:
    """The least and the most of what was measured, as ``[1.10..1.40]``, without a unit."""
    return f"[{least:.{decimals}f}..{most:.{decimals}f}]"


def format_time_with_interval(
    median_s: float | None, interval_s: tuple[float, float] | None
) -> str:
    """A median time as ``12.34 s [12.29, 12.41]``; ``none counts`` for None.

    Milliseconds below a second. Without an interval as many digits as a tenth of it has; without
    a median, that none of the runs counts.
    """
    if median_s is None:
        return "none counts"
    scale, unit = (1, "s") if median_s >= 1 else (1_000, "ms")
    median = median_s * scale
    if interval_s is None:
        return f"{format_fixed(median, decimals_for(median / 10))} {unit}"
    low, high = (bound * scale for bound in interval_s)
    decimals = decimals_for(high - low, value=median)
    return f"{format_fixed(median, decimals)} {unit} {format_bounds(low, high, decimals)}"


def format_bounds(low: float, high: float, decimals: int) -> str:
    """The two ends of an interval, as ``[12.29, 12.41]``, without a unit."""
    return f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def format_tick(value_s: float) -> str:
    """The time *value_s* at a mark of a picture's axis: ``0``, ``250 ms`` or ``2 s``."""
    if value_s == 0:
        return "0"
    return f"{value_s * 1e3:g} ms" if value_s < 1 else f"{value_s:g} s"


def format_plain(value: float) -> str:
    """A setting's *value* as it was given: ``2`` or ``0.25``, without zeros that say nothing."""
    return f"{value:g}"


def format_p_value(p: float) -> str:
    """The p-value *p* as ``0.25`` or ``0.013``: two digits; ``<0.0001`` for any that is less."""
    if p < _LEAST_P:
        return f"<{_LEAST_P}"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"


def format_ratio(value: float) -> str:
    """The ratio *value* as ``1.23``, ``12.3`` or ``123``: three digits, at most two decimals."""
    return format_fixed(value, decimals_of_three_digits(value))


def decimals_of_three_digits(value: float) -> int:
    """How many decimals (0, 1, 2) show a *value* of 1 or more with three digits."""
    return 0 if value >= 100 else 1 if value >= 10 else 2


def decimals_for(width: float, value: float = 0.0) -> int:
    """How many decimals (0 to 6) show an interval of this *width* with two digits.

    Where it has no width, as many as show *value* with four digits.
    """
    if width <= 0:
        width = abs(value) / 100
    if width <= 0:
        return 0
    return min(_MOST_DECIMALS, max(0, 1 - math.floor(math.log10(width))))


def three_digits(value: float) -> float:
    """*value* rounded to three significant digits, as a number."""
    return rounded(value, 3)


def rounded(value: float, digits: int) -> float:
    """*value* rounded to so many significant *digits*, as a number."""
    return float(f"{value:.{digits}g}")
