"""An arm is one word of the command line, and means what the options of a share mean."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.cli.arms import parse_arm, parse_arms
from osxfs_sim.emulated_shares import settings_of
from osxfs_sim.lab.arms import Arm, check_arms, twins_of, words_of
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError


def test_an_arm_is_called_as_it_is_written_unless_it_has_a_name() -> None:
    assert words_of("native") == ("native", ["native"])
    assert words_of("  osxfs   --latency 65us ") == (
        "osxfs --latency 65us",
        ["osxfs", "--latency", "65us"],
    )
    assert words_of("fast=osxfs --latency 65us") == ("fast", ["osxfs", "--latency", "65us"])
    assert words_of("osxfs --distribution empirical:'my file'")[1][-1] == "empirical:my file"


def test_what_is_no_name_is_not_taken_for_one() -> None:
    # An equals sign in an option's value, or in the path of a profile.
    assert words_of("osxfs --data-path copies=5,switches=3")[0].startswith("osxfs --data-path")
    assert words_of("./a=b.toml") == ("./a=b.toml", ["./a=b.toml"])


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,8}", fullmatch=True),
    words=st.lists(st.from_regex(r"[A-Za-z0-9:/.-]{1,8}", fullmatch=True), min_size=1),
)
def test_a_name_changes_nothing_but_the_label(name: str, words: list[str]) -> None:
    text = " ".join(words)
    assert words_of(f"{name}={text}") == (name, words_of(text)[1])


@pytest.mark.parametrize("text", ["", "  ", "name=", 'osxfs "'])
def test_an_arm_that_says_nothing_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(UserError, match=r"write native|cannot be read"):
        words_of(text)


def test_the_words_are_those_of_a_share() -> None:
    arm = parse_arm(
        "cached=osxfs-cached --cache-timeout 1s --seed 3 --data-path copies=5,switches=3"
    )
    assert arm == Arm(
        "cached",
        "osxfs-cached",
        {"cache_timeout_ns": 1_000_000_000, "seed": 3, "data_path": (5, 3)},
    )
    settings = settings_of(arm, "/source", "/mountpoint")
    assert (settings.profile, settings.cache_timeout_ns, settings.seed) == (
        "osxfs-cached",
        1_000_000_000,
        3,
    )
    assert settings.source == "/source"


def test_only_what_was_given_is_kept_even_if_it_is_the_default() -> None:
    assert parse_arm("osxfs").options == {}
    assert parse_arm("osxfs --seed 0").options == {"seed": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("osxfs --latency 65", "the arm 'osxfs --latency 65': .*65us"),
        ("osxfs --latencee 65us", "the arm .*--latencee"),
        ("osxfs extra", "the arm 'osxfs extra': .*extra"),
        ("osxfs --lifetime 1s", "the arm .*: --lifetime is called --cache-timeout now"),
        ("--latency 65us", "the arm '--latency 65us': "),
        ("native --seed 3", "no effect natively: name a profile"),
    ],
)
def test_a_mistake_in_an_arm_names_the_arm_and_the_remedy(text: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        parse_arm(text)


def test_an_arm_dilates_time_by_itself_or_as_all_arms_do() -> None:
    own, other = parse_arms(["osxfs --dilate 2", "osxfs"])
    assert settings_of(own, dilate=5).dilate == 2
    assert settings_of(other, dilate=5).dilate == 5
    assert settings_of(other).dilate == 1


@pytest.mark.parametrize("text", ["osxsf", "osxfs --cache-timeout 1s"])
def test_what_a_profile_cannot_do_is_found_before_anything_runs(text: str) -> None:
    with pytest.raises(ProfileError):
        parse_arm(text)


def test_two_arms_need_two_labels() -> None:
    check_arms(parse_arms(["native", "osxfs", "other=osxfs"]))
    with pytest.raises(UserError, match=r"two arms are called 'osxfs': .*'other=osxfs'.*--aa"):
        check_arms(parse_arms(["osxfs", "osxfs"]))
    with pytest.raises(UserError, match="takes two arms"):
        check_arms(parse_arms(["osxfs"]))


def test_twins_differ_in_their_labels_only() -> None:
    first, second = twins_of(parse_arm("osxfs --latency 65us"))
    check_arms([first, second])
    assert (first.profile, first.options) == (second.profile, second.options)
