"""Numbers with as many digits as mean something, and their unit."""


def format_seconds(value_s: float) -> str:
    """A wall time for reading: three significant digits, whole seconds from 100."""
    if value_s >= 100:
        return f"{value_s:.0f} s"
    number, unit = (value_s, "s") if value_s >= 1 else (value_s * 1e3, "ms")
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def three_digits(value: float) -> float:
    """Rounded to three significant digits: more of a sum of many times mean nothing."""
    return float(f"{value:.3g}")
