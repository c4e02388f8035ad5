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
    """``130us`` of nanoseconds: four significant digits at most, h, s, ms, us or ns."""
    if value_ns < 0:
        return "-" + format_duration(-value_ns)
    for unit, size_ns in _DURATIONS:
        if value_ns >= size_ns:
            return f"{value_ns / size_ns:.4g}{unit}"
    return f"{value_ns:.0f}ns" if value_ns else "0us"


def format_wall_time(value_s: float) -> str:
    """``1.23 s`` or ``456 ms`` of seconds: three significant digits, whole seconds from 100."""
    if value_s >= 100:
        return f"{value_s:.0f} s"
    number, unit = (value_s, "s") if value_s >= 1 else (value_s * 1e3, "ms")
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def format_seconds(value_s: float, decimals: int) -> str:
    """``1.230 s`` of seconds, with as many *decimals* in each line of a column."""
    return f"{value_s:.{decimals}f} s"


def format_size(size_bytes: int) -> str:
    """``12.3MB`` of bytes: three significant digits, in decimal units."""
    for unit, size in _SIZES:
        if size_bytes >= size:
            return f"{size_bytes / size:.3g}{unit}"
    return f"{size_bytes}B"


def format_rate(rate_bytes_per_s: int | None) -> str:
    """``250MB/s`` of bytes per second, in decimal units; ``none`` where there is no limit."""
    if rate_bytes_per_s is None:
        return "none"
    for unit, size in _SIZES:
        if rate_bytes_per_s >= size:
            return f"{rate_bytes_per_s / size:g}{unit}/s"
    return f"{rate_bytes_per_s}B/s"


def format_frequency(count: int, interval_s: float) -> str:
    """``12.3/s`` of *count* in an interval: three digits, and ``0/s`` where nothing was counted."""
    if not count or interval_s <= 0:
        return "0/s"
    per_second = count / interval_s
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.3g}/s"


def format_count(number: float) -> str:
    """``12,345`` things; of a mean of counts the next whole number."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.0f}"


def format_percent(part: float, decimals: int, *, of: float = 1) -> str:
    """``12.5%``: which share *part* is *of* the whole; a share between 0 and 1 as it is."""
    return f"{100 * part / of:.{decimals}f}%"


def format_signed_percent(share: float) -> str:
    """``+12 %`` of a relative difference: one decimal where it is below 10 %, no minus zero."""
    share = round(share, 4) + 0.0
    decimals = 0 if abs(share) >= 0.1 else 1
    return f"{100 * share:+.{decimals}f} %"


def format_fixed(value: float, decimals: int) -> str:
    """``1.230``: with as many *decimals* in each line of a column, the unit being around it."""
    return f"{value:.{decimals}f}"


def format_signed(value: float, decimals: int) -> str:
    """``+0.35``: as format_fixed(), with a plus where it is positive."""
    return f"{value:+.{decimals}f}"


def format_significant(value: float, digits: int) -> str:
    """``1.23`` or ``1.2e-05``: so many significant *digits* at most, the unit being around it."""
    return f"{value:.{digits}g}"


def format_grouped(value: float, digits: int) -> str:
    """``12,345``: as format_significant(), its thousands parted."""
    return f"{value:,.{digits}g}"


def format_interval(value: float, low: float, high: float, decimals: int) -> str:
    """``1.23 [1.10, 1.40]``: an estimate and the interval that it was given."""
    return f"{value:.{decimals}f} {format_bounds(low, high, decimals)}"


def format_extremes(least: float, most: float, decimals: int) -> str:
    """``[1.10..1.40]``: the least and the most of what was measured, which is no interval."""
    return f"[{least:.{decimals}f}..{most:.{decimals}f}]"


def format_time_with_interval(
    median_s: float | None, interval_s: tuple[float, float] | None
) -> str:
    """``12.34 s [12.29, 12.41]``: as many digits as the interval's width has to say.

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
    """``[12.29, 12.41]``: the two ends of an interval."""
    return f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def format_tick(value_s: float) -> str:
    """``0``, ``250 ms`` or ``2 s``: a mark on the axis of a picture, given in seconds."""
    if value_s == 0:
        return "0"
    return f"{value_s * 1e3:g} ms" if value_s < 1 else f"{value_s:g} s"


def format_plain(value: float) -> str:
    """``2`` or ``0.25``: a setting as it was given, without zeros that say nothing."""
    return f"{value:g}"


def format_p_value(p: float) -> str:
    """``0.25`` or ``0.013``: two digits, and below a ten thousandth no digit is worth one."""
    if p < _LEAST_P:
        return f"<{_LEAST_P}"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"


def format_ratio(value: float) -> str:
    """``1.23``, ``12.3`` or ``123``: three digits, and no more than two decimals."""
    return format_fixed(value, decimals_of_three_digits(value))


def decimals_of_three_digits(value: float) -> int:
    """How many decimals (0 to 2) show three digits of a *value* of at least 1."""
    return 0 if value >= 100 else 1 if value >= 10 else 2


def decimals_for(width: float, value: float = 0.0) -> int:
    """How many decimals show an interval's *width* with two digits, at most six.

    Where it has no width, as many as show *value* with four digits.
    """
    if width <= 0:
        width = abs(value) / 100
    if width <= 0:
        return 0
    return min(_MOST_DECIMALS, max(0, 1 - math.floor(math.log10(width))))


def three_digits(value: float) -> float:
    """Rounded to three significant digits: more of a sum of many times mean nothing."""
    return rounded(value, 3)


def rounded(value: float, digits: int) -> float:
    """Rounded to so many significant *digits*, still a number."""
    return float(f"{value:.{digits}g}")
