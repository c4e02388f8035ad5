"""Bugs by name: what is understood, what is refused, and what each does not hear."""

import pytest
from support.complaints import complaint

from osxfs_sim.model.bugs import BUGS, NOTHING, Bug, FaultSpec, heard, parse_fault, together
from osxfs_sim.model.events import What
from osxfs_sim.model.profile import Profile, ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.profile_file import PROFILE, profile_from
from osxfs_sim.settings import ShareSettings


def test_a_bug_is_understood_by_its_name_and_by_its_number_in_the_museum() -> None:
    for bug, spec in BUGS.items():
        assert parse_fault(bug.value) == parse_fault(spec.id) == parse_fault(spec.id.lower())
        assert parse_fault(bug.value) == FaultSpec(bug, spec.limit)
        assert parse_fault(str(parse_fault(bug.value))) == parse_fault(bug.value)


def test_a_bug_with_a_limit_can_be_given_another() -> None:
    assert parse_fault("descriptors") == FaultSpec(Bug.DESCRIPTORS, 50_000)
    assert parse_fault("V9=7") == FaultSpec(Bug.DESCRIPTORS, 7)
    assert str(parse_fault("V9=7")) == "descriptors=7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phantoms", f"unknown bug 'phantoms': there are {', '.join(Bug)}"),
        ("", f"unknown bug '': there are {', '.join(Bug)}"),
        ("phantom=3", "the bug phantom takes no number: leave =3 out"),
        ("descriptors=0", "descriptors=0: nothing could ever be opened; give 1 or more"),
        ("descriptors=-1", "'descriptors=-1': write a bug's name, or such as descriptors=100"),
        ("descriptors=many", "'descriptors=many': write a bug's name, or such as descriptors=100"),
    ],
)
def test_what_is_no_bug_is_told(text: str, message: str) -> None:
    assert complaint(UserError, parse_fault, text) == message


def test_bugs_that_exclude_each_other_are_not_had_together() -> None:
    size, content = FaultSpec(Bug.STALE_SIZE), FaultSpec(Bug.STALE_CONTENT)
    assert "leave one of them out" in complaint(UserError, together, [size, content])
    assert complaint(UserError, together, [size, size]) == (
        "the bug stale-size is given twice: leave one of them out"
    )
    assert together([size, FaultSpec(Bug.PHANTOM)]) == (size, FaultSpec(Bug.PHANTOM))


@pytest.mark.parametrize(
    ("bug", "happened", "is_heard"),
    [
        (Bug.STALE_SIZE, What.MODIFIED | What.CLOSED | What.ATTRIBUTES, NOTHING),
        (Bug.STALE_CONTENT, What.MODIFIED, NOTHING),
        # A file made anew is heard of, though it was written too.
        (Bug.STALE_CONTENT, What.CREATED | What.MODIFIED, What.CREATED),
        (Bug.STALE_CONTENT, What.REMOVED, What.REMOVED),
        (Bug.STALE_CONTENT, What.ATTRIBUTES | What.DIRECTORY, What.ATTRIBUTES | What.DIRECTORY),
        (Bug.PHANTOM, What.REMOVED, NOTHING),
        (Bug.PHANTOM, What.REMOVED | What.DIRECTORY, What.REMOVED | What.DIRECTORY),
        (Bug.PHANTOM, What.RENAMED, What.RENAMED),
        (Bug.STILL_MISSING, What.CREATED | What.DIRECTORY, NOTHING),
        (Bug.STILL_MISSING, What.CREATED | What.MODIFIED, What.MODIFIED),
        (Bug.FALSE_CREATE, What.REMOVED, What.REMOVED),
        (Bug.DESCRIPTORS, What.CREATED, What.CREATED),
    ],
)
def test_what_a_server_with_the_bug_hears(bug: Bug, happened: What, is_heard: What) -> None:
    assert heard((FaultSpec(bug),), happened) == is_heard
    assert heard((), happened) == happened


def test_what_one_bug_hears_another_may_not() -> None:
    both = (FaultSpec(Bug.PHANTOM), FaultSpec(Bug.STILL_MISSING))
    assert heard(both, What.CREATED | What.REMOVED) == NOTHING
    assert heard(both, What.CREATED | What.REMOVED | What.MODIFIED) == What.MODIFIED


# In a profile, and in settings


def profile(bugs: dict[str, object], parent: Profile | None = None) -> Profile:
    return profile_from(PROFILE.build({"name": "mine", "bugs": bugs}), parent)


def test_a_profile_has_its_bugs_and_its_child_may_have_others() -> None:
    parent = profile({"phantom": True, "descriptors": 9})
    assert parent.bugs == (FaultSpec(Bug.PHANTOM), FaultSpec(Bug.DESCRIPTORS, 9))
    child = profile({"phantom": False, "descriptors": True, "two-locks": True}, parent)
    assert child.bugs == (FaultSpec(Bug.DESCRIPTORS, 50_000), FaultSpec(Bug.TWO_LOCKS))
    assert profile({}, parent).bugs == parent.bugs
    assert profile({}).bugs == ()


@pytest.mark.parametrize(
    ("bugs", "message"),
    [
        ({"phantoms": True}, "unknown key 'bugs.phantoms'; did you mean 'phantom'?"),
        (
            {"phantom": 1},
            "bugs.phantom = 1: write true or false",
        ),
        (
            {"descriptors": 0},
            "profile 'mine': descriptors=0: nothing could ever be opened; give 1 or more",
        ),
        ({"descriptors": -3}, "bugs.descriptors = -3: write a whole number, or true or false"),
        (
            {"stale-size": True, "stale-content": True},
            "profile 'mine': stale-size has data end with each open and stale-content never: "
            "leave one of them out",
        ),
    ],
)
def test_a_profiles_mistakes_are_told(bugs: dict[str, object], message: str) -> None:
    assert complaint(ProfileError, profile, bugs) == message


def settings(**values) -> ShareSettings:
    return ShareSettings("/source", "/guest", **values)


def test_a_share_has_the_bugs_that_it_is_given_beside_its_profiles(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[bugs]\nphantom = true\ndescriptors = 9\n')
    assert settings(profile=str(path), bugs=("V4", "descriptors=3")).system().bugs == (
        FaultSpec(Bug.PHANTOM),
        FaultSpec(Bug.TWO_LOCKS),
        FaultSpec(Bug.DESCRIPTORS, 3),
    )
    assert settings().system().bugs == ()


def test_bugs_reach_the_server_as_they_were_given() -> None:
    wished = settings(bugs=("phantom", "descriptors=3"))
    assert ShareSettings.from_json(wished.to_json()) == wished


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bugs": ("phantoms",)}, f"unknown bug 'phantoms': there are {', '.join(Bug)}"),
        (
            {"bugs": ("one-spelling",)},
            "the bug one-spelling has no effect where names are case-sensitive: use names apfs",
        ),
        (
            {"bugs": ("false-create",), "profile": "docker-vz"},
            "the bug false-create has no effect where no deletion is raised in the guest: use a "
            "profile that has it so, such as osxfs, and its host events",
        ),
        (
            {"bugs": ("false-create",), "host_events": "none"},
            "the bug false-create has no effect where no deletion is raised in the guest: use a "
            "profile that has it so, such as osxfs, and its host events",
        ),
        (
            {"bugs": ("phantom",), "profile": "osxfs-delegated"},
            "bugs cannot be had with write-back, whose answers are the guest's own: use a profile "
            "without it",
        ),
        (
            {"bugs": ("phantom",), "profile": "native"},
            "bugs has no effect with the profile native, whose work makes no requests: leave it "
            "out, or use a profile such as osxfs",
        ),
    ],
)
def test_a_bug_that_could_do_nothing_is_refused(values: dict, message: str) -> None:
    assert complaint(ProfileError, settings(**values).system) == message
