"""Sweeps: the shipped ones are what the command line understands, and mistakes are said."""

from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.cli.arms import parse_arms
from osxfs_sim.lab.arms import check_arms
from osxfs_sim.lab.sweep import DEFAULT, load_sweep, sweep_from, sweep_names
from osxfs_sim.model.user_error import UserError

GROUP = {"name": "all", "arms": ["osxfs", "osxfs-cached"]}


@pytest.mark.parametrize("name", sweep_names())
def test_every_arm_of_a_shipped_sweep_is_one(name: str) -> None:
    arms = parse_arms(load_sweep(name).arms)
    check_arms(arms)
    assert [arm.is_native for arm in arms].count(True) == 1
    assert arms[0].is_native  # the reference


def test_the_default_sweep_is_shipped_and_shorter_ones_are_parts_of_it() -> None:
    assert DEFAULT in sweep_names()
    for name in ("brief", "short"):
        assert set(load_sweep(name).arms) < set(load_sweep(DEFAULT).arms)


def test_arms_are_in_the_order_of_the_file_and_the_reference_first() -> None:
    other = {"name": "other", "arms": ["docker-vz"]}
    sweep = sweep_from({"title": "t", "reference": "native", "groups": [GROUP, other]})
    assert sweep.arms == ("native", "osxfs", "osxfs-cached", "docker-vz")
    assert sweep_from({"title": "t", "groups": [GROUP]}).arms == ("osxfs", "osxfs-cached")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"groups": [GROUP]}, "it lacks 'title'"),
        ({"title": "t"}, "it lacks 'groups'"),
        ({"title": "t", "groups": []}, "it has no groups: write a table"),
        ({"title": "t", "group": [GROUP]}, "unknown key 'group'; did you mean 'groups'"),
        ({"title": 3, "groups": [GROUP]}, "title = 3: write a text between quotes"),
        ({"title": "t", "groups": [GROUP, GROUP]}, "two groups are called 'all'"),
        ({"title": "t", "groups": ["osxfs"]}, "groups are tables"),
        (
            {"title": "t", "groups": [{"name": "a", "arms": "osxfs"}]},
            "arms = 'osxfs': write such as",
        ),
        ({"title": "t", "groups": [{"name": "a", "arms": []}]}, "groups[1]: arms is empty"),
        (
            {"title": "t", "groups": [{"name": "a", "arms": [1]}]},
            "arms = [1]: write such as",
        ),
        (
            {"title": "t", "reference": "osxfs", "groups": [GROUP]},
            "the arm 'osxfs' is in it twice",
        ),
    ],
)
def test_a_mistake_is_said(document: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        sweep_from(document)
    assert said in str(caught.value)


def test_a_sweep_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\n[[groups]]\nname = "a"\narms = ["osxfs"]\n')
    assert load_sweep(str(path)).groups[0].arms == ("osxfs",)
    path.write_text('title = "t"')
    with pytest.raises(UserError, match=r"the sweep .*mine.toml: it lacks 'groups'"):
        load_sweep(str(path))
    path.write_text("title = ")
    with pytest.raises(UserError, match="not valid TOML"):
        load_sweep(str(path))
    with pytest.raises(UserError, match=r"cannot read the sweep .*: No such file"):
        load_sweep(str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match=r"unknown sweep 'defalt'.*default"):
        load_sweep("defalt")
