"""A study: what has been published, in a file, and what is wrong with a wrong one."""

from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.lab.cases import load_case
from osxfs_sim.lab.study import Topology, load_study, study_from, study_names
from osxfs_sim.model.user_error import UserError

TIMES = {"native": 2, "no_volumes": [2.1, 2.0, 2.2], "hybrid": 2.1, "bind": 6}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "title": "A tiny table",
        "case": "walk",
        "volume": "made",
        "local": "none",
        "source": "nobody",
        "machine": "a big one",
        "platforms": [{"name": "One", "profile": "osxfs", "dilations": [1, 2], **TIMES}],
        **changes,
    }


def test_the_shipped_study_has_the_seeds_six_platforms_and_names_what_exists() -> None:
    assert study_names() == ["npm-install"]
    study = load_study("npm-install")
    assert [one.name for one in study.platforms] == [
        *("Lima", "Docker VZ", "Docker VMM", "Docker VZ sync", "OrbStack", "Linux")
    ]
    # As the seed's text says: 3x slower than native, and 59 % faster with synchronization.
    vz, sync = study.platforms[1], study.platforms[3]
    assert round(vz.ratio(Topology.BIND)) == 3
    faster = 1 - sync.times[Topology.BIND].average_s / vz.times[Topology.BIND].average_s
    assert round(faster, 2) == 0.59
    for name in (study.case, *(other.case for other in study.others)):
        load_case(name)
    for other in study.others:
        load_case(other.case).variant(other.variant)


def test_each_check_of_the_shipped_study_reads_an_arm_that_is_measured() -> None:
    study = load_study("npm-install")
    measured = {other.name: {*other.arms} for other in study.others}
    again = {other.name for other in study.others if other.again}
    for check in study.checks:
        reading = check.reading
        assert (reading is None) == bool(check.not_run)
        if reading is None or reading.comparison == "table":
            continue
        arms = {reading.arm, reading.over or reading.arm, reading.minus or reading.arm}
        assert arms <= measured[reading.comparison]
        assert reading.kind == "fresh" or reading.comparison in again


def test_a_time_is_seconds_alone_or_with_their_range() -> None:
    platform = study_from(document()).platforms[0]
    assert platform.times[Topology.NATIVE].least_s is None
    assert platform.times[Topology.NO_VOLUMES].most_s == 2.2
    assert platform.ratio(Topology.BIND) == 3
    assert platform.added_s == pytest.approx(3.9)


def check(**changes: Any) -> dict[str, Any]:
    return {
        "text": "as fast",
        "source": "somebody",
        "published": 2,
        "unit": "times",
        "value": {"case": "table", "arm": "osxfs bind", "over": "native"},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"platform": []}, "unknown key 'platform'; did you mean 'platforms'"),
        ({"platforms": []}, "no platforms"),
        ({"platforms": [{"name": "One", "profile": "osxfs"}]}, "lacks 'native'"),
        (
            {"platforms": [{"name": "One", "profile": "osxfs", **TIMES, "bind": [1, 2]}]},
            "One: bind is seconds, or",
        ),
        (
            {"platforms": [{"name": "One", "profile": "osxfs", **TIMES, "bind": 0}]},
            "One: bind is above 0",
        ),
        (
            {"platforms": [{"name": "One", "profile": "osxfs", **TIMES, "dilations": [0]}]},
            "dilations are numbers above 0",
        ),
        ({"checks": [check(unit="x")]}, "unknown unit 'x'"),
        ({"checks": [check(value={"case": "tabel", "arm": "native"})]}, "did you mean 'table'"),
        ({"checks": [check(unit="s")]}, "seconds need no 'over'"),
        ({"checks": [check(value={"case": "table", "arm": "native"})]}, "others do"),
        ({"checks": [check(value={"case": "table", "arn": "native"})]}, "arn"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError):
        study_from(document(**changes))
    path = tmp_path / "study.toml"
    path.write_text(toml(document(**changes)))
    with pytest.raises(UserError, match=said) as raised:
        load_study(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name = ", "not valid TOML"), (b"\xff", "not UTF-8"), (None, "cannot read the study")],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_study(str(path))


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'npm-install'"):
        load_study("npm-instal")


def toml(value: dict[str, Any]) -> str:
    """*value* as TOML, tables as inline tables."""
    return "".join(f"{key} = {_inline(one)}\n" for key, one in value.items())


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case str():
            return f"'{value}'"
    return str(value)
