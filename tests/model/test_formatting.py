"""Numbers as people read them, and that nothing else decides on their digits."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import osxfs_sim
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_frequency,
    format_percent,
    format_rate,
    format_ratio,
    format_signed_percent,
    format_size,
    format_tick,
    rounded,
)

PACKAGE = Path(osxfs_sim.__file__).parent
READ_BY_PEOPLE = ("cli", "lab", "report")
# A dot is not among them: a precision alone cuts a text.
DIGITS = set(",%eEfFgG")


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (0, "0us"),
        (1, "1ns"),
        (999, "999ns"),
        (1_000, "1us"),
        (130_000, "130us"),
        (131_400, "131.4us"),
        (1_500_000, "1.5ms"),
        (12_345_678, "12.35ms"),
        (10**9, "1s"),
        (90 * 10**9, "90s"),
        (3_600 * 10**9, "1h"),
        (-5_000, "-5us"),
    ],
)
def test_a_duration_is_shown_in_the_largest_unit_that_fits(value_ns, text):
    assert format_duration(value_ns) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "none"),
        (1, "1B/s"),
        (999, "999B/s"),
        (1_000, "1KB/s"),
        (1_024, "1.024KB/s"),
        (250_000_000, "250MB/s"),
        (1_500_000_000, "1.5GB/s"),
    ],
)
def test_a_rate_is_shown_in_decimal_units(rate, text):
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1_000, "1KB"), (1_234_567, "1.23MB")]
)
def test_a_size_is_shown_with_three_digits(size, text):
    assert format_size(size) == text


def test_counts_and_means_of_counts_are_whole_and_their_thousands_parted():
    assert [format_count(each) for each in (0, 999, 12_345, 2**60 + 1, 1_234.5)] == [
        *("0", "999", "12,345", "1,152,921,504,606,846,977", "1,234"),
    ]


def test_shares_are_shown_in_percent():
    assert format_percent(0.125, 1) == "12.5%"
    signed = [format_signed_percent(each) for each in (0.1234, -0.0123, -0.000_01)]
    assert signed == ["+12 %", "-1.2 %", "+0.0 %"]


def test_a_frequency_of_nothing_or_in_no_time_is_none():
    assert [format_frequency(0, 2.0), format_frequency(5, 0.0), format_frequency(5, 2.0)] == [
        *("0/s", "0/s", "2.5/s"),
    ]


def test_a_ratio_and_a_number_keep_three_digits():
    assert [format_ratio(each) for each in (1.2345, 12.345, 123.45)] == ["1.23", "12.3", "123"]
    assert rounded(1_234_567.0, 3) == 1_230_000.0


def test_ticks_say_their_unit():
    assert [format_tick(each) for each in (0, 0.25, 2.0)] == ["0", "250 ms", "2 s"]


def formatted_on_their_own(source: str) -> Iterator[int]:
    """The lines in which a number is given digits, a thousands separator or a percent sign."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            parts = (part for part in ast.walk(node.format_spec) if isinstance(part, ast.Constant))
            if DIGITS & set("".join(part.value for part in parts)):
                yield node.lineno


def test_whatever_people_read_leaves_digits_to_the_one_module():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for package in READ_BY_PEOPLE
        for path in sorted((PACKAGE / package).rglob("*.py"))
        for line in formatted_on_their_own(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source", ['f"{x:.2f} s"', 'f"{x:,}"', 'f"{x:.0%}"', 'f"{x:.{n}f}"', 'f"{x:g}"']
)
def test_a_number_that_is_formatted_elsewhere_is_noticed(source):
    assert list(formatted_on_their_own(source)) == [1]


def test_texts_that_are_padded_or_cut_are_not_numbers():
    assert list(formatted_on_their_own('f"{x:>9} {x:.60} {x!r:.{n}} {x:04}"')) == []
