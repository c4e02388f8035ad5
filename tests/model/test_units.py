"""Durations and rates as people write them: exact values, exact complaints, round trips."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import complaint, noticed

from osxfs_sim.model import units
from osxfs_sim.model.formatting import format_duration, format_rate
from osxfs_sim.model.units import (
    MAX_DURATION_NS,
    parse_duration_ns,
    parse_rate_bytes_per_s,
)
from osxfs_sim.model.user_error import UserError

NS_OF = {
    "ns": 1,
    "us": 10**3,
    "\N{MICRO SIGN}s": 10**3,
    "\N{GREEK SMALL LETTER MU}s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
}
BYTES_OF = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


@pytest.mark.parametrize(
    ("text", "value_ns"),
    [
        ("130us", 130_000),
        ("1.5ms", 1_500_000),
        ("10s", 10_000_000_000),
        ("1h", 3_600_000_000_000),
        ("2min", 120_000_000_000),
        ("7ns", 7),
        ("0us", 0),
        (" 130 us ", 130_000),
        ("0.3s", 300_000_000),
        ("1.1us", 1_100),
        ("0.4ns", 0),
        ("0.6ns", 1),
        ("1000h", 3_600_000_000_000_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, value_ns):
    assert parse_duration_ns(text) == value_ns


@pytest.mark.parametrize("sign", ["\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"])
def test_both_of_unicodes_micro_signs_are_microseconds(sign):
    assert parse_duration_ns(f"130{sign}s") == 130_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("130", "'130' has no unit: write 130us or 130ms"),
        (" 130 ", "' 130 ' has no unit: write 130us or 130ms"),
        ("130parsec", "'130parsec' has an unknown unit: use ns, us, ms, s, min or h"),
        ("130US", "'130US' has an unknown unit: use ns, us, ms, s, min or h"),
        ("5us/s", "'5us/s' has an unknown unit: use ns, us, ms, s, min or h"),
        ("-130us", "'-130us' is negative: give a duration such as 130us or 1.5ms"),
        (" -1", "' -1' is negative: give a duration such as 130us or 1.5ms"),
        ("", "'' is not a duration: write it like 130us or 1.5ms"),
        ("us", "'us' is not a duration: write it like 130us or 1.5ms"),
        ("fast", "'fast' is not a duration: write it like 130us or 1.5ms"),
        ("1e3us", "'1e3us' is not a duration: write it like 130us or 1.5ms"),
        (".5ms", "'.5ms' is not a duration: write it like 130us or 1.5ms"),
        ("1,5ms", "'1,5ms' is not a duration: write it like 130us or 1.5ms"),
        ("nan", "'nan' is not a duration: write it like 130us or 1.5ms"),
        ("inf", "'inf' is not a duration: write it like 130us or 1.5ms"),
        ("1000.1h", "'1000.1h' is longer than a thousand hours"),
        ("3600000000000001ns", "'3600000000000001ns' is longer than a thousand hours"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_remedy(text, message):
    assert complaint(UserError, parse_duration_ns, text) == message


def test_a_number_beyond_all_floats_is_refused_without_repeating_all_of_it():
    digits = "9" * 400
    message = complaint(UserError, parse_duration_ns, f"{digits}s")
    assert message == f"'{digits[:40]}' is too large to mean anything"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("250MB/s", 250_000_000),
        ("250 MB/s", 250_000_000),
        ("1.5GB/s", 1_500_000_000),
        ("1KiB/s", 1_024),
        ("2MiB/s", 2_097_152),
        ("1GiB/s", 1_073_741_824),
        ("7B/s", 7),
        ("none", None),
        (" None ", None),
    ],
)
def test_a_rate_is_a_size_per_second_or_none(text, rate):
    assert parse_rate_bytes_per_s(text) == rate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("250", "'250' is not a rate: write it like 250MB/s, or none for no limit"),
        ("250MB", "'250MB' is not a rate: write it like 250MB/s, or none for no limit"),
        ("250mb/s", "'250mb/s' is not a rate: write it like 250MB/s, or none for no limit"),
        ("250us", "'250us' is not a rate: write it like 250MB/s, or none for no limit"),
        ("250/s", "'250/s' is not a rate: write it like 250MB/s, or none for no limit"),
        ("250MB/h", "'250MB/h' is not a rate: write it like 250MB/s, or none for no limit"),
        ("", "'' is not a rate: write it like 250MB/s, or none for no limit"),
        ("-1MB/s", "'-1MB/s' is negative: give a rate such as 250MB/s, or none for no limit"),
        ("0MB/s", "'0MB/s' carries nothing: write none for no limit"),
        ("0.4B/s", "'0.4B/s' carries nothing: write none for no limit"),
    ],
)
def test_what_is_no_rate_is_refused_with_its_remedy(text, message):
    assert complaint(UserError, parse_rate_bytes_per_s, text) == message


def test_a_rate_beyond_all_floats_is_refused_as_a_users_mistake():
    assert complaint(UserError, parse_rate_bytes_per_s, "9" * 400 + "MB/s")


@given(unit=st.sampled_from(sorted(NS_OF)), data=st.data())
def test_whole_numbers_of_any_unit_are_exact(unit, data):
    number = data.draw(st.integers(0, MAX_DURATION_NS // NS_OF[unit]))
    assert parse_duration_ns(f"{number}{unit}") == number * NS_OF[unit]


@given(unit=st.sampled_from(sorted(BYTES_OF)), number=st.integers(1, 10**6))
def test_whole_rates_of_any_unit_are_exact(unit, number):
    assert parse_rate_bytes_per_s(f"{number}{unit}/s") == number * BYTES_OF[unit]


def durations_survive_being_shown(format_it, parse_it):
    """Four digits remain: at most one part in two thousand is lost."""

    @given(st.integers(0, MAX_DURATION_NS))
    @example(999)
    @example(999_999)
    @example(3_599_999_999_999)
    @example(MAX_DURATION_NS)
    def check(value_ns):
        assert abs(parse_it(format_it(value_ns)) - value_ns) <= value_ns / 2_000

    check()


def rates_survive_being_shown(format_it, parse_it):
    """Six digits remain."""

    @given(st.integers(1, 10**14))
    @example(999_999)
    @example(10**14)
    def check(rate):
        assert abs(parse_it(format_it(rate)) - rate) <= rate / 200_000

    check()


def test_a_shown_duration_can_be_written_back():
    durations_survive_being_shown(format_duration, parse_duration_ns)


@pytest.mark.takes_seconds
def test_a_shown_rate_can_be_written_back():
    rates_survive_being_shown(format_rate, parse_rate_bytes_per_s)


@pytest.mark.parametrize(
    "format_it",
    [
        lambda value_ns: f"{value_ns / 1000:.2g}us",
        lambda value_ns: f"{value_ns // 1000}us",
        lambda value_ns: f"{value_ns}us",
        lambda value_ns: f"{value_ns}",
    ],
    ids=["too few digits", "cut off", "the wrong unit", "no unit"],
)
def test_the_round_trip_of_durations_notices(format_it):
    with noticed(AssertionError, UserError):
        durations_survive_being_shown(format_it, parse_duration_ns)


def test_the_round_trip_of_durations_notices_a_unit_read_wrongly(monkeypatch):
    monkeypatch.setitem(units._DURATION_UNITS_NS, "ms", 1_000_001_000)
    with noticed(AssertionError, UserError):
        durations_survive_being_shown(format_duration, parse_duration_ns)


def test_the_round_trip_of_rates_notices_binary_units_read_for_decimal_ones():
    def in_binary(rate):
        return format_rate(rate).replace("MB/s", "MiB/s")

    with noticed(AssertionError, UserError):
        rates_survive_being_shown(in_binary, parse_rate_bytes_per_s)


@given(st.text(max_size=12))
@example("\N{ARABIC-INDIC DIGIT ONE}us")
@example("1us\n")
def test_any_text_is_a_value_or_a_users_mistake(text):
    for parse, limit in ((parse_duration_ns, MAX_DURATION_NS), (parse_rate_bytes_per_s, None)):
        try:
            value = parse(text)
        except UserError as error:
            named = repr(text) in str(error)
            assert named, error  # noqa: PT017 (either outcome is fine, no third one)
        else:
            assert value is None or (value >= 0 and (limit is None or value <= limit))
