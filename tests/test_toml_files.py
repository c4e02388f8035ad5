"""Files that people write: read by a class, and each mistake told in one line with its remedy."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import complaint

from osxfs_sim.model.units import Duration, Rate, Size
from osxfs_sim.model.user_error import UserError
from osxfs_sim.toml_files import FileKind, example, keys_of, shape_of, within, written


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Wheel:
    spokes: int = field(metadata=within(1, 100))
    tyre: str = "none"

    def __post_init__(self) -> None:
        if self.tyre == "square":
            raise UserError("a square tyre does not roll: take a round one")


@dataclass(frozen=True, slots=True)
class Owner:
    name: str
    lent: bool = False


@dataclass(frozen=True, slots=True)
class Bicycle:
    name: str
    colour: Colour = Colour.RED
    kind: Literal["city", "race"] = "city"
    wheels: tuple[Wheel, ...] = ()
    owner: Owner | None = None
    keepers: Mapping[str, Owner] = field(default_factory=dict)
    weight: Size | None = None
    stops_within: Duration | None = field(default=None, metadata=example('"2s"'))
    speed: Rate | None = None
    gears: tuple[float, ...] = ()
    load: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = field(default=False, metadata=written("new"))


BICYCLE = FileKind(
    "bicycle",
    Bicycle,
    elsewhere={"keepers.NAME.key": "belongs on the ring: hang it there"},
    renamed={"brakes_within": "stops_within", "wheels.rays": "spokes", "keepers.NAME.who": "name"},
)


def test_a_file_becomes_what_its_class_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        name = "mine"
        colour = "blue"
        weight = "12KB"
        stops_within = "1.5s"
        speed = "none"
        gears = [1, 2.5]
        load = 3
        new = true
        labels = { front = "A" }
        wheels = [{ spokes = 36 }, { spokes = 32, tyre = "wide" }]
        [owner]
        name = "I"
        [keepers.home]
        name = "You"
        """
    )
    assert BICYCLE.read(path) == Bicycle(
        "mine",
        Colour.BLUE,
        wheels=(Wheel(36), Wheel(32, "wide")),
        owner=Owner("I"),
        keepers={"home": Owner("You")},
        weight=Size(12_000),
        stops_within=Duration(1_500_000_000),
        speed=Rate(0),
        gears=(1.0, 2.5),
        load=3.0,
        labels={"front": "A"},
        is_new=True,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it lacks 'name'"),
        ("nam = 1", "unknown key 'nam'; did you mean 'name'?"),
        ("name = 1", "name = 1: write a text between quotes"),
        ("name = 2026-12-01", "name = datetime.date(2026, 12, 1): write a text between quotes"),
        ("colour = 'rad'", "unknown colour 'rad'; did you mean 'red'?"),
        ("colour = 1", "unknown colour 1: there are blue, red"),
        ("kind = 'rice'", "unknown kind 'rice'; did you mean 'race'?"),
        ("new = 1", "new = 1: write true or false"),
        ("load = true", "load = True: write a number"),
        ("gears = 3", "gears = 3: write a list of numbers, such as [1, 2.5]"),
        ("weight = 12", "weight = 12 has no unit: write a text such as '128MB'"),
        ("weight = '12s'", "weight: '12s' is not a size: write it like 128MB or 64KiB"),
        ("stops_within = '2'", "stops_within: '2' has no unit: write 2us or 2ms"),
        ("speed = '0B/s'", "speed: '0B/s' carries nothing: write none for no limit"),
        ("owner = 'me'", "owner must be a table: write [owner]"),
        ("owner = {}", "owner lacks 'name'"),
        ("owner = { nme = 'x' }", "unknown key 'owner.nme'; did you mean 'name'?"),
        ("keepers = 3", "keepers = 3: write a table [keepers.NAME] for each"),
        ("keepers.home = 3", "keepers.home must be a table: write [keepers.home]"),
        ("keepers.home.name = 3", "keepers.home.name = 3: write a text between quotes"),
        ("labels.front = 3", "labels.front = 3: write a text between quotes"),
        ("wheels = 3", "wheels are tables: write [[wheels]] for each"),
        ("wheels = [3]", "wheels are tables: write [[wheels]] for each"),
        ("wheels = [{ spokes = 0 }]", "wheels[1].spokes = 0: give a number from 1 to 100"),
        (
            "wheels = [{ spokes = 3 }, { spokes = 3, tyre = 'square' }]",
            "wheels[2]: a square tyre does not roll: take a round one",
        ),
        ("brakes_within = '2s'", "brakes_within is called stops_within now"),
        ("wheels = [{ rays = 3 }]", "wheels[1].rays is called spokes now"),
        ("keepers.home.key = 1", "keepers.home.key belongs on the ring: hang it there"),
        ("stops_within = 2", 'stops_within = 2: write such as stops_within = "2s"'),
        ("keepers.home.who = 'x'", "keepers.home.who is called name now"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(text: str, said: str) -> None:
    if text and not text.startswith("name"):
        text = f"{text}\nname = 'mine'"
    assert complaint(UserError, BICYCLE.parse, text, "a.toml") == f"the bicycle a.toml: {said}"


def test_what_is_no_toml_is_told_and_so_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    said = complaint(UserError, BICYCLE.parse, "name =", "a.toml")
    assert said.startswith("the bicycle a.toml: not valid TOML: ")
    missing = tmp_path / "none.toml"
    assert complaint(UserError, BICYCLE.read, missing) == (
        f"cannot read the bicycle {missing}: No such file or directory"
    )
    missing.write_bytes(b"\xff")
    assert complaint(UserError, BICYCLE.read, missing).endswith("it is not UTF-8 text")


def test_a_kind_of_file_has_an_error_of_its_own_where_somebody_tells_it_apart() -> None:
    class BicycleError(UserError):
        pass

    kind = FileKind("bicycle", Bicycle, BicycleError, begins="{name}")
    assert complaint(BicycleError, kind.parse, "", "a.toml") == "a.toml: it lacks 'name'"


def test_those_that_come_with_the_program_have_names(tmp_path: Path) -> None:
    (tmp_path / "blue.toml").write_text("name = 'b'")
    (tmp_path / "notes.txt").touch()
    kind = FileKind("bicycle", Bicycle, shipped=tmp_path, hint=" (a file ends in .toml)")
    assert kind.names() == ["blue"]
    assert kind.load("blue") == kind.load(str(tmp_path / "blue.toml")) == Bicycle("b")
    assert complaint(UserError, kind.load, "blu") == (
        "unknown bicycle 'blu'; did you mean 'blue'? (a file ends in .toml)"
    )


def test_what_a_file_may_hold_can_be_listed() -> None:
    assert keys_of(Owner) == ("name", "lent")
    shape = shape_of(Bicycle)
    assert set(shape) == {"", "wheels", "owner", "keepers.NAME"}
    assert "new" in shape[""]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=100),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(keys_of(Bicycle)) | st.text(max_size=8), ANYTHING))
def test_whatever_is_in_a_file_ends_in_its_class_or_in_one_line(document) -> None:
    try:
        read = BICYCLE.of(document, "a.toml")
    except UserError as error:
        read, said = None, str(error)
    assert isinstance(read, Bicycle) or re.fullmatch("the bicycle a.toml: .+", said)
