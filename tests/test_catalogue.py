"""Things found by name: profiles, distributions and policies, and what is said when not."""

import importlib
import os
import sys
import textwrap
import tomllib
from importlib import resources

import pytest
from support.complaints import complaint

from osxfs_sim.catalogue import load_distribution, load_policy, load_profile, profile_names
from osxfs_sim.model.caching import Cached, CacheTimeouts, Complete, Negative
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.latency import Constant, DataPath, Empirical, LogNormal
from osxfs_sim.model.profile import ProfileError

DAY_NS = 24 * 3_600 * 10**9


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Profiles


def test_the_systems_that_ship_are_listed_in_order():
    names = profile_names()
    assert names == sorted(names)
    assert {"none", "osxfs", "osxfs-cached", "osxfs-negative"} <= set(names)


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_loads_and_carries_its_file_name(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title != name
    assert profile.about
    assert profile.caching.build()


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_shipped_profile_says_where_it_comes_from(name):
    text = (resources.files("osxfs_sim.model") / "profiles" / f"{name}.toml").read_text()
    document = tomllib.loads(text)
    set_here = {
        f"{table}.{key}"
        for table in ("share", "latency", "caching", "events", "synchronization")
        for key in document.get(table, ())
    }
    assert set_here <= set(document.get("sources", ()))
    assert set(document.get("sources", ())) <= set(load_profile(name).sources)


def test_osxfs_has_its_published_numbers():
    latency = load_profile("osxfs").latency
    assert latency.base_ns == (130_000, 130_000, 221_000, 130_000, 130_000)
    assert latency.bandwidth_bytes_per_s == 250_000_000
    assert latency.distribution == Constant()
    assert latency.served_at_once is None
    assert latency.data_path == DataPath(7, 5, 5_000, 10_000, 45_000)
    assert load_profile("osxfs").caching.policy == "consistent"


def test_the_cached_systems_cross_as_osxfs_does():
    osxfs, cached, negative, complete = map(
        load_profile, ("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete")
    )
    assert osxfs.latency == cached.latency == negative.latency == complete.latency
    assert cached.caching.build() == Cached(DAY_NS)
    assert negative.caching.build() == Negative(DAY_NS, DAY_NS)
    assert complete.caching.build() == Complete(DAY_NS, DAY_NS)
    assert cached.sources["latency.metadata"] == osxfs.sources["latency.metadata"]


def test_osxfs_tells_of_host_changes_by_its_table_and_every_descendant_does():
    events = load_profile("osxfs").events
    assert events == EventSpec(StreamSpec(10_000_000), NotifySpec())
    for name in profile_names():
        if name.startswith("osxfs-"):
            assert load_profile(name).events == events


@pytest.mark.parametrize("name", ["none", "host"])
def test_a_system_whose_server_tells_nothing_has_no_host_events(name):
    assert load_profile(name).events == NO_EVENTS
    assert load_profile(name).sources["events.stream"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("osxf", "osxfs"), ("osxfs-cashed", "osxfs-cached"), ("OSXFS-negative", "osxfs-negative")],
)
def test_an_unknown_profile_is_answered_with_the_nearest(name, nearest):
    assert complaint(ProfileError, load_profile, name) == (
        f"unknown profile '{name}'; did you mean '{nearest}'? "
        "('osxfs-sim profiles' lists them; a file of your own ends in .toml)"
    )


@pytest.mark.parametrize("name", ["", "xyzxyz", "../profiles/osxfs"])
def test_a_profile_like_no_other_is_never_looked_for_in_the_file_system(name):
    message = complaint(ProfileError, load_profile, name)
    assert message.startswith(f"unknown profile '{name}'")


def test_a_file_is_a_profile_and_may_start_from_a_shipped_one(here):
    (here / "mine.toml").write_text('name = "mine"\nextends = "osxfs"\n[latency]\nsync = "9ms"')
    profile = load_profile("mine.toml")
    assert profile.name == "mine"
    assert profile.latency.base_ns == (130_000, 130_000, 221_000, 130_000, 9_000_000)
    assert load_profile(str(here / "mine.toml")) == profile


def test_a_file_names_its_parent_as_seen_from_where_it_lies(here):
    (here / "below").mkdir()
    (here / "parent.toml").write_text('name = "parent"\n[latency]\nmetadata = "1us"')
    (here / "below" / "child.toml").write_text('name = "child"\nextends = "../parent.toml"')
    assert load_profile("below/child.toml").latency.base_ns == (1_000,) * 5


@pytest.mark.usefixtures("here")
def test_a_file_that_is_not_there_is_named():
    message = complaint(ProfileError, load_profile, "mine.toml")
    assert message == "cannot read the profile mine.toml: No such file or directory"


def test_a_parent_that_is_not_there_is_named(here):
    (here / "mine.toml").write_text('name = "mine"\nextends = "yours.toml"')
    message = complaint(ProfileError, load_profile, "mine.toml")
    assert message == "cannot read the profile yours.toml: No such file or directory"


def test_a_directory_is_no_profile(here):
    (here / "mine.toml").mkdir()
    message = complaint(ProfileError, load_profile, "mine.toml")
    assert message == "cannot read the profile mine.toml: Is a directory"


def test_a_file_that_is_not_text_is_no_profile(here):
    (here / "mine.toml").write_bytes(b"\xff\xfe")
    message = complaint(ProfileError, load_profile, "mine.toml")
    assert message == "cannot read the profile mine.toml: it is not UTF-8 text"


def test_a_file_that_is_not_toml_is_told_where(here):
    (here / "mine.toml").write_text("name = \n")
    message = complaint(ProfileError, load_profile, "mine.toml")
    assert message == ("mine.toml: not valid TOML: Invalid value (at line 1, column 8)")


@pytest.mark.parametrize(
    ("extends", "round_trip"),
    [
        ({"a": "a"}, "a.toml -> a.toml"),
        ({"a": "b", "b": "a"}, "a.toml -> b.toml -> a.toml"),
        ({"a": "b", "b": "c", "c": "a"}, "a.toml -> b.toml -> c.toml -> a.toml"),
    ],
)
def test_a_profile_cannot_start_from_itself(here, extends, round_trip):
    for name, parent in extends.items():
        (here / f"{name}.toml").write_text(f'name = "{name}"\nextends = "{parent}.toml"')
    message = complaint(ProfileError, load_profile, "a.toml")
    assert message == f"profile 'a.toml' starts from itself: {round_trip}"


def test_a_cycle_by_a_longer_path_each_time_ends_too(here):
    (here / "a.toml").write_text(f'name = "a"\nextends = "../{here.name}/a.toml"')
    assert "more than 8 ancestors" in complaint(ProfileError, load_profile, "a.toml")


def test_eight_ancestors_are_not_too_many(here):
    (here / "0.toml").write_text('name = "0"\n[latency]\nmetadata = "1us"')
    for number in range(1, 9):
        (here / f"{number}.toml").write_text(f'name = "{number}"\nextends = "{number - 1}.toml"')
    assert load_profile("8.toml").latency.metadata_ns == 1_000


# Distributions


def test_distributions_are_found_by_kind():
    assert load_distribution("constant") == Constant()
    assert load_distribution("lognormal:0.2") == LogNormal(0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "gauss",
            "unknown distribution 'gauss': write constant, lognormal:SIGMA or empirical:FILE",
        ),
        ("lognormal:-1", "lognormal sigma -1 is out of range: give one above 0 and up to 3"),
        ("empirical", "empirical needs a file: write empirical:FILE"),
        ("empirical:", "empirical needs a file: write empirical:FILE"),
    ],
)
def test_a_distribution_that_is_none_is_told_its_remedy(text, message):
    assert complaint(ProfileError, load_distribution, text) == message


def test_samples_are_a_duration_a_line_and_bare_numbers_are_nanoseconds(here):
    (here / "samples.txt").write_text("# measured at home\n\n131us\n 90000 \n1.5ms\n")
    assert load_distribution("empirical:samples.txt") == Empirical((131_000, 90_000, 1_500_000))


def test_a_file_of_samples_may_have_a_colon_in_its_name(here):
    (here / "12:30.txt").write_text("1us\n")
    assert load_distribution("empirical:12:30.txt") == Empirical((1_000,))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_an_empty_file_of_samples_is_refused(here, text):
    (here / "samples.txt").write_text(text)
    assert complaint(ProfileError, load_distribution, "empirical:samples.txt") == (
        "samples.txt holds no samples: write one duration a line, such as 131us"
    )


@pytest.mark.parametrize("line", ["fast", "131.5", "-131", "131us 132us", "1e3"])
def test_a_line_that_is_no_duration_is_named_by_its_number(here, line):
    (here / "samples.txt").write_text(f"# first\n131us\n{line}\n")
    assert complaint(ProfileError, load_distribution, "empirical:samples.txt") == (
        f"samples.txt, line 3: '{line}' is not a duration: "
        "write one a line, such as 131us, or whole nanoseconds"
    )


def test_a_long_line_that_is_no_duration_is_cut(here):
    (here / "samples.txt").write_text("x" * 5_000)
    assert complaint(ProfileError, load_distribution, "empirical:samples.txt") == (
        f"samples.txt, line 1: '{'x' * 40}' is not a duration: "
        "write one a line, such as 131us, or whole nanoseconds"
    )


@pytest.mark.parametrize("line", ["9" * 30, "9" * 5_000, "9" * 400 + "us"])
def test_a_sample_of_more_than_a_thousand_hours_is_a_slip_with_or_without_its_unit(here, line):
    (here / "samples.txt").write_text(line)
    message = complaint(ProfileError, load_distribution, "empirical:samples.txt")
    assert message.startswith("samples.txt, line 1: ")


@pytest.mark.usefixtures("here")
def test_a_missing_file_of_samples_is_named():
    message = complaint(ProfileError, load_distribution, "empirical:samples.txt")
    assert message == "cannot read the samples samples.txt: No such file or directory"


def test_a_mistake_in_a_chain_of_files_names_the_file(here):
    (here / "parent.toml").write_text('name = "p"\nextends = "osxfs"\n[latency]\nmetdata = "1us"')
    (here / "child.toml").write_text('name = "c"\nextends = "parent.toml"')
    message = complaint(ProfileError, load_profile, "./child.toml")
    assert message == "parent.toml: unknown key 'latency.metdata'; did you mean 'metadata'?"
    (here / "parent.toml").write_text('extends = "osxfs"')
    message = complaint(ProfileError, load_profile, "./child.toml")
    assert message == "parent.toml: a profile needs a name"


def test_a_file_of_samples_that_is_not_text_is_named(here):
    (here / "samples.txt").write_bytes(b"\xff")
    message = complaint(ProfileError, load_distribution, "empirical:samples.txt")
    assert message == "cannot read the samples samples.txt: it is not text"


def test_samples_that_are_mostly_nothing_have_no_shape_to_scale(here):
    (here / "samples.txt").write_text("0\n0\n0\n131us\n")
    message = complaint(ProfileError, load_distribution, "empirical:samples.txt")
    assert message == "the samples have a median of zero: give measured latencies"


# Policies


@pytest.fixture
def module_here(here, monkeypatch):
    """Writes a Python module into the current directory; nothing of it outlives the test."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        (here / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_policy_is_found_in_the_current_directory(module_here):
    module_here(
        "trial",
        """
        from osxfs_sim.model.caching import CachePolicy, CacheTimeouts

        class Trial(CachePolicy):
            def found(self, name, status, now_ns):
                return CacheTimeouts(1, 2)
        """,
    )
    policy = load_policy("trial:Trial")
    assert policy.found(b"", None, 0) == CacheTimeouts(1, 2)
    assert policy.describe() == "trial:Trial"


def test_a_policy_may_come_from_the_package_itself():
    assert load_policy("osxfs_sim.model.caching:Consistent").describe() == (
        "consistent: nothing cached"
    )


def test_a_file_of_the_current_directory_does_not_stand_in_for_a_library(module_here):
    module_here("tomllib", "raise RuntimeError('the wrong one')")
    message = complaint(ProfileError, load_policy, "tomllib:loads")
    assert message.startswith("tomllib:loads is not a cache policy")


@pytest.mark.parametrize("text", ["", "module", "module:", ":Class", ":"])
def test_a_policy_is_named_by_module_and_class(text):
    message = complaint(ProfileError, load_policy, text)
    assert message == f"{text!r} names no class: write package.module:Class"


@pytest.mark.usefixtures("module_here")
def test_a_module_that_is_not_there_is_told_where_it_is_looked_for():
    message = complaint(ProfileError, load_policy, "not_there_at_all:Policy")
    assert message == (
        "cannot import the policy's module: No module named 'not_there_at_all': it is looked for "
        f"in {os.getcwd()}, and in the directories of PYTHONPATH"
    )


@pytest.mark.parametrize("named", ["./trial.py", "./trial", "trial.py", "/srv/trial.py", ".trial"])
def test_a_policy_named_by_a_path_is_told_how_it_is_named(named):
    message = complaint(ProfileError, load_policy, f"{named}:Trial")
    assert message.startswith("a policy is named by its module, not by a path: write --policy ")
    assert "trial:Trial" in message


def test_a_module_that_fails_when_imported_is_told_how(module_here):
    module_here("failing", "raise RuntimeError('out of order')")
    assert complaint(ProfileError, load_policy, "failing:Policy") == (
        "the policy's module failing fails when imported (failing.py, line 1): "
        "RuntimeError: out of order"
    )


def test_a_module_that_is_not_python_is_told_where(module_here):
    module_here("broken", "class Policy(")
    assert complaint(ProfileError, load_policy, "broken:Policy") == (
        "the policy's module broken fails when imported: "
        "SyntaxError: '(' was never closed (broken.py, line 1)"
    )


def test_a_module_that_imports_what_is_not_there_is_told_what(module_here):
    module_here("needy", "import not_there_at_all")
    message = complaint(ProfileError, load_policy, "needy:Policy")
    assert message == "cannot import the policy's module: No module named 'not_there_at_all'"


def test_a_class_that_is_not_there_is_answered_with_the_nearest(module_here):
    module_here("trial", "class Trial: pass\nclass Other: pass")
    message = complaint(ProfileError, load_policy, "trial:Trail")
    assert message == "trial has no 'Trail'; did you mean 'Trial'?"
    message = complaint(ProfileError, load_policy, "trial:Xyz")
    assert message == "trial has no 'Xyz': there are Other, Trial"


def test_a_module_without_any_class_does_not_list_nothing(module_here):
    module_here("empty", "")
    message = complaint(ProfileError, load_policy, "empty:Policy")
    assert not message.endswith("there are "), message


@pytest.mark.parametrize("name", ["Unrelated", "function", "NUMBER"])
def test_what_is_no_policy_is_told_what_to_derive_it_from(module_here, name):
    module_here("trial", "class Unrelated: pass\ndef function(): pass\nNUMBER = 5")
    assert complaint(ProfileError, load_policy, f"trial:{name}") == (
        f"trial:{name} is not a cache policy: derive it from osxfs_sim.model.caching.CachePolicy"
    )


def test_a_policy_with_arguments_must_have_defaults_for_them():
    message = complaint(ProfileError, load_policy, "osxfs_sim.model.caching:Cached")
    assert message == (
        "osxfs_sim.model.caching:Cached() fails: TypeError: "
        "Cached.__init__() missing 1 required positional argument: 'timeout_ns' "
        "(it is made without arguments: give each a default)"
    )


def test_a_policy_that_fails_when_it_is_made_is_a_users_mistake(module_here):
    module_here(
        "failing",
        """
        from osxfs_sim.model.caching import CachePolicy

        class Failing(CachePolicy):
            def __init__(self):
                raise RuntimeError("out of order")
        """,
    )
    message = complaint(ProfileError, load_policy, "failing:Failing")
    assert "failing:Failing" in message
    assert "RuntimeError: out of order" in message
    assert "(failing.py, line 6)" in message


def test_a_policy_is_tried_before_it_is_used(module_here):
    module_here(
        "wrong",
        """
        from osxfs_sim.model.caching import CachePolicy

        class Wrong(CachePolicy):
            def found(self, name, status, now_ns):
                return 5
        """,
    )
    assert complaint(ProfileError, load_policy, "wrong:Wrong") == (
        "the policy wrong:Wrong.found (wrong.py, line 5) gave 5 (int): "
        "return CacheTimeouts(entry_timeout_ns, attr_timeout_ns)"
    )


def test_a_policy_begins_anew_after_it_was_tried(module_here):
    module_here(
        "learning",
        """
        from osxfs_sim.model.caching import CachePolicy, CacheTimeouts

        class Learning(CachePolicy):
            def __init__(self):
                self.seen = 0

            def found(self, name, status, now_ns):
                self.seen += 1
                return CacheTimeouts(self.seen, 0)
        """,
    )
    policy = load_policy("learning:Learning")
    assert policy.found(b"", None, 0) == CacheTimeouts(1, 0)


def test_a_module_that_exits_does_not_end_the_command(module_here):
    module_here("exits", "import sys\nsys.exit(0)")
    message = complaint(ProfileError, load_policy, "exits:Policy")
    assert message.endswith("fails when imported (exits.py, line 2): SystemExit: 0")


def test_the_digest_of_a_policy_is_of_all_files_of_its_own(module_here):
    module_here("helper", "LIFETIME_NS = 7")
    module_here("unrelated", "")
    module_here(
        "uses",
        """
        import helper
        import json
        from osxfs_sim.model.caching import CachePolicy

        class Uses(CachePolicy):
            def negative_timeout_ns(self, name, now_ns):
                return helper.LIFETIME_NS
        """,
    )
    first = load_policy("uses:Uses").digest
    module_here("unrelated", "x = 1")
    assert load_policy("uses:Uses").digest == first
    module_here("helper", "LIFETIME_NS = 8")
    second = load_policy("uses:Uses").digest
    assert second != first
    module_here("helper", "LIFETIME_NS = 7")
    assert load_policy("uses:Uses").digest == first
