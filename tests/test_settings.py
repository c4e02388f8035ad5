"""What a user asks of a share, and the system that results."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import complaint, noticed

import osxfs_sim
from osxfs_sim.catalogue import load_profile
from osxfs_sim.model.caching import Cached, Complete, Consistent, Dilated, Negative
from osxfs_sim.model.consistency import Mode, Promise
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.latency import DataPath, Empirical, LogNormal
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.settings import EmulatedSystem, ShareSettings


def system(**values) -> EmulatedSystem:
    return ShareSettings("/source", "/mountpoint", **values).system()


def refused(**values) -> str:
    return complaint(ProfileError, system, **values)


@pytest.fixture
def samples(tmp_path):
    """The name of a distribution with a median of 50 us."""
    path = tmp_path / "samples.txt"
    path.write_text("40us\n50us\n90us\n")
    return f"empirical:{path}"


# What is asked for


def test_without_a_wish_the_system_is_osxfs_as_its_profile_has_it():
    profile = load_profile("osxfs")
    osxfs = system()
    assert (osxfs.profile, osxfs.latency, osxfs.dilate) == (profile, profile.latency, 1.0)
    assert type(osxfs.policy) is Consistent


def test_another_latency_keeps_the_proportions_of_the_profile():
    assert system(latency_ns=65_000).latency.base_ns == (65_000, 65_000, 110_500, 65_000, 65_000)


def test_a_latency_of_nothing_is_a_wish_and_not_its_absence():
    assert system(latency_ns=0).latency.base_ns == (0,) * 5


def test_the_floor_of_the_emulator_can_be_given_a_latency():
    assert system(profile="none", latency_ns=42).latency.base_ns == (42,) * 5


@pytest.mark.parametrize(("text", "rate"), [("1MB/s", 1_000_000), ("none", None)])
def test_a_bandwidth_replaces_the_profiles(text, rate):
    assert system(bandwidth=text).latency.bandwidth_bytes_per_s == rate


def test_a_distribution_replaces_the_profiles_and_leaves_its_medians():
    latency = system(distribution="lognormal:0.2").latency
    assert latency.distribution == LogNormal(0.2)
    assert latency.base_ns == load_profile("osxfs").latency.base_ns


def test_measured_samples_bring_their_own_round_trip(samples):
    latency = system(distribution=samples).latency
    assert latency.distribution == Empirical((40_000, 50_000, 90_000))
    assert latency.base_ns == (50_000, 50_000, 85_000, 50_000, 50_000)


def test_beside_a_latency_measured_samples_give_only_their_shape(samples):
    latency = system(distribution=samples, latency_ns=130_000).latency
    assert latency.base_ns == load_profile("osxfs").latency.base_ns


def test_a_server_can_be_limited():
    assert system(served_at_once=3).latency.served_at_once == 3


def test_the_planned_data_path_is_thirty_microseconds_shorter():
    latency = system(data_path=(5, 3)).latency
    assert latency.base_ns == (100_000, 100_000, 191_000, 100_000, 100_000)
    assert latency.data_path == DataPath(5, 3, 5_000, 10_000, 45_000)


def test_timeouts_replace_the_profiles():
    assert system(profile="osxfs-cached", cache_timeout_ns=5).policy == Cached(5)
    assert system(profile="osxfs-negative", cache_timeout_ns=5, negative_timeout_ns=0).policy == (
        Negative(5, 0)
    )


def test_a_policy_of_ones_own_replaces_the_profiles():
    found = system(profile="osxfs-cached", policy="osxfs_sim.model.caching:Consistent")
    assert found.policy is found.own_policy
    assert found.own_policy is not None
    assert type(found.own_policy.policy) is Consistent


@pytest.mark.parametrize(
    ("values", "promise"),
    [
        ({"profile": "osxfs"}, Promise(Mode.CONSISTENT)),
        ({"profile": "osxfs-default"}, Promise(Mode.CONSISTENT, strengthens=False)),
        ({"profile": "osxfs-complete"}, Promise(Mode.CACHED)),
        # Whatever it believes today.
        ({"policy": "osxfs_sim.model.caching:Consistent"}, Promise(Mode.CACHED)),
    ],
)
def test_what_a_share_promises_and_obeys_is_of_its_own_caching(values, promise):
    asked = system(**values)
    assert (asked.promise, asked.mode) == (promise, promise.mode)


def test_default_believes_what_consistent_does():
    assert isinstance(system(profile="osxfs-default").policy, Consistent)
    assert system(profile="osxfs-default").latency == system().latency


def test_a_share_that_all_obeys_another_mode_has_its_policy():
    cached = {"profile": "osxfs-cached", "cache_timeout_ns": 5, "dilate": 2.0}
    wholly = system(**cached, stronger=((".", "consistent"),))
    assert (wholly.promise, wholly.mode) == (Promise(Mode.CACHED), Mode.CONSISTENT)
    assert type(wholly.policy) is Consistent
    in_part = system(**cached, stronger=(("a/b", "consistent"),))
    assert in_part.mode is Mode.CACHED
    assert in_part.policy == Dilated(Cached(5), 2.0)


def test_dilation_reaches_latency_link_and_lifetimes():
    slow = system(profile="osxfs-cached", dilate=10.0)
    assert slow.latency.base_ns == (1_300_000, 1_300_000, 2_210_000, 1_300_000, 1_300_000)
    assert slow.latency.bandwidth_bytes_per_s == 25_000_000
    assert slow.policy == Dilated(load_profile("osxfs-cached").caching.build(), 10.0)
    assert slow.dilate == 10.0


def test_dilation_comes_after_every_other_wish():
    slow = system(latency_ns=65_000, bandwidth="100MB/s", dilate=2.0)
    assert slow.latency.metadata_ns == 130_000
    assert slow.latency.bandwidth_bytes_per_s == 50_000_000


def test_without_dilation_the_policy_is_not_wrapped():
    assert system(profile="osxfs-cached", dilate=1.0).policy == Cached(24 * 3_600 * 10**9)


# Host events


@pytest.mark.parametrize("how", ["auto", "fanotify", "inotify"])
def test_host_events_are_those_of_the_profile_however_they_are_seen(how):
    assert system(host_events=how).events == load_profile("osxfs").events


def test_a_share_can_be_blind_to_its_host():
    assert system(host_events="none").events == NO_EVENTS
    assert system(profile="none", host_events="none").events == NO_EVENTS


def test_an_event_latency_replaces_the_profiles():
    assert system(event_latency_ns=0).events == EventSpec(StreamSpec(0), NotifySpec())


def test_dilation_reaches_the_window_of_host_events():
    slow = system(event_latency_ns=5, dilate=10.0)
    assert slow.events == EventSpec(StreamSpec(50), NotifySpec())


def test_a_complete_policy_stays_complete_when_it_is_dilated():
    assert system(profile="osxfs-complete", cache_timeout_ns=5).policy == Complete(
        5, 24 * 3_600 * 10**9
    )
    assert system(profile="osxfs-complete", dilate=2.0).policy.complete
    assert not system(profile="osxfs-negative", dilate=2.0).policy.complete


def test_an_unknown_way_to_see_the_host_is_answered_with_the_nearest():
    assert refused(host_events="inotfy") == (
        "unknown host_events 'inotfy'; did you mean 'inotify'?"
    )


@pytest.mark.parametrize("how", ["fanotify", "inotify"])
def test_where_there_are_no_host_events_no_way_to_see_them_has_an_effect(how):
    assert refused(profile="none", host_events=how) == (
        f"host_events {how} has no effect without a stream of host events: "
        "use a profile that has one, such as osxfs"
    )


def test_an_event_latency_that_nobody_listens_to_is_a_mistake():
    assert refused(profile="none", event_latency_ns=5) == (
        "an event latency has no effect without a stream of host events: "
        "use a profile that has one, such as osxfs"
    )
    assert refused(host_events="none", event_latency_ns=5) == (
        "an event latency has no effect beside host_events none: leave one of them out"
    )


def test_an_event_latency_is_not_negative():
    assert refused(event_latency_ns=-1) == "event latency -1 ns is negative: 0 means at once"


class CompleteOfOnesOwn(Consistent):
    complete = True


@pytest.mark.parametrize(
    "values",
    [
        {"profile": "osxfs-complete", "host_events": "none"},
        {"profile": "none", "policy": f"{__name__}:CompleteOfOnesOwn"},
    ],
)
def test_complete_names_cannot_be_kept_true_by_who_does_not_see_the_host(values):
    assert refused(**values) == (
        "policy complete needs to see the host's changes: use a profile with a stream of host "
        "events, such as osxfs-complete, and not host_events none"
    )


# What makes no sense


def test_an_unknown_profile_is_answered_with_the_nearest():
    assert refused(profile="osxfs-cahced") == (
        "unknown profile 'osxfs-cahced'; did you mean 'osxfs-cached'? "
        "('osxfs-sim profiles' lists them; a file of your own ends in .toml)"
    )


@pytest.mark.parametrize("dilate", [0.0, -1.0, math.nan, math.inf, 1_000_001.0])
def test_time_cannot_stand_still_run_backwards_or_end(dilate):
    message = "dilate multiplies time: give a number from 0.001 to a million"
    assert refused(dilate=dilate) == message


def test_a_seed_is_not_negative():
    assert refused(seed=-1) == "a seed is a whole number from 0 on"


def test_a_latency_is_not_negative():
    assert refused(latency_ns=-1) == "a latency cannot be negative"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"bandwidth": "250"},
            "'250' is not a rate: write it like 250MB/s, or none for no limit",
        ),
        ({"bandwidth": "0MB/s"}, "'0MB/s' carries nothing: write none for no limit"),
        (
            {"served_at_once": 0},
            "a server serves from 1 to 65536 requests at once, not 0",
        ),
        (
            {"distribution": "gauss"},
            "unknown distribution 'gauss': write constant, lognormal:SIGMA or empirical:FILE",
        ),
        (
            {"data_path": (-1, 3)},
            "a data path has from 0 to 1000 copies and switches",
        ),
        (
            {"data_path": (5, 3), "profile": "none"},
            "this profile does not take its round trip apart: it has no data path",
        ),
        (
            {"data_path": (5, 3), "latency_ns": 65_000},
            "a latency and a data path both set the round trip: give one of them",
        ),
        (
            {"cache_timeout_ns": 1},
            "cache_timeout has no effect under the policy 'consistent': "
            "use it with cached, negative or complete",
        ),
        (
            {"negative_timeout_ns": 1, "profile": "osxfs-cached"},
            "negative_timeout has no effect under the policy 'cached': "
            "use it with negative or complete",
        ),
        (
            {"cache_timeout_ns": 1, "policy": "module:Class"},
            "cache_timeout has no effect beside a policy of your own: set it in the policy's class",
        ),
        (
            {"negative_timeout_ns": 0, "policy": "module:Class"},
            "negative_timeout has no effect beside a policy of your own: "
            "set it in the policy's class",
        ),
        ({"policy": "Class"}, "'Class' names no class: write package.module:Class"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(values, message):
    assert refused(**values) == message


def test_samples_and_a_data_path_cannot_both_set_the_round_trip(samples):
    assert refused(distribution=samples, data_path=(5, 3)) == (
        "measured samples and a data path both set the round trip: give one of them"
    )


@pytest.mark.parametrize(
    ("profile", "values"),
    [("osxfs-cached", {"cache_timeout_ns": -1}), ("osxfs-negative", {"negative_timeout_ns": -1})],
)
def test_a_timeout_is_not_negative(profile, values):
    assert "negative" in refused(profile=profile, **values)


# On the way to the process that serves the mount


SETTINGS = st.builds(
    ShareSettings,
    source=st.text(),
    mountpoint=st.text(),
    profile=st.text(),
    latency_ns=st.none() | st.integers(),
    bandwidth=st.none() | st.text(),
    distribution=st.none() | st.text(),
    served_at_once=st.none() | st.integers(),
    data_path=st.none() | st.tuples(st.integers(), st.integers()),
    cache_timeout_ns=st.none() | st.integers(),
    negative_timeout_ns=st.none() | st.integers(),
    policy=st.none() | st.text(),
    host_events=st.text(),
    event_latency_ns=st.none() | st.integers(),
    dilate=st.floats(allow_nan=False),
    seed=st.integers(),
    allow_other=st.none() | st.booleans(),
    calibrate=st.booleans(),
    host_services=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    stronger=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    volumes=st.lists(st.tuples(st.text(), st.text())).map(tuple),
)


def settings_survive_the_journey(decode):
    @given(SETTINGS)
    def check(settings):
        assert decode(settings.to_json()) == settings

    check()


def test_settings_arrive_as_they_were_sent():
    settings_survive_the_journey(ShareSettings.from_json)


def test_names_that_are_not_utf8_arrive_as_they_were_sent():
    settings = ShareSettings("/source/\udcff", "/mountpoint/\udcfe")
    assert ShareSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    "lost",
    [
        "data_path",
        "seed",
        "calibrate",
        "allow_other",
        "host_services",
        "host_events",
        "event_latency_ns",
        "stronger",
        "volumes",
    ],
)
def test_the_check_of_the_journey_notices_what_is_lost(lost):
    default = {field.name: field.default for field in dataclasses.fields(ShareSettings)}[lost]

    def decode(text):
        return dataclasses.replace(ShareSettings.from_json(text), **{lost: default})

    with noticed():
        settings_survive_the_journey(decode)


# Volumes


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", ".", "a\0"])
def test_a_volume_is_inside_the_share(path):
    assert "no path inside the share" in refused(volumes=((path, "/directory"),))


def test_two_volumes_at_one_place_are_one_too_many():
    assert "two volumes are at a" in refused(volumes=(("a", "/x"), ("a/b", "/y"), ("a", "/z")))


def test_a_share_with_volumes_obeys_the_strongest_mode_as_a_whole():
    volumes = (("a", "/directory"),)
    stronger = (("b", "consistent"),)
    cached = system(profile="osxfs-cached", stronger=stronger)
    assert cached.mode is Mode.CACHED
    assert system(profile="osxfs-cached", stronger=stronger, volumes=volumes).mode is (
        Mode.CONSISTENT
    )


# Without requests


def test_without_requests_an_option_of_requests_is_a_mistake():
    for key, value in (("latency_ns", 1), ("cache_timeout_ns", 1), ("host_events", "inotify")):
        assert "whose work makes no requests" in refused(profile="native", **{key: value})
    assert "copy has no effect" in refused(profile="osxfs", copy="/copy")
    assert system(profile="volume", copy="/copy", seed=7).profile.is_local


def test_a_synchronizers_times_are_dilated_and_no_others():
    spec = system(profile="docker-vz-sync", dilate=3).synchronization
    assert (spec.latency_ns, spec.rescan_ns) == (30_000_000, 30_000_000_000)
    assert system(profile="docker-vz-sync").synchronization.latency_ns == 10_000_000
    assert "dilate has no effect" in refused(profile="volume", dilate=3)


# Write-back


def test_limits_of_write_back_can_be_asked_for():
    delegated = system(
        profile="osxfs-delegated",
        write_back_age_ns=7,
        write_back_changes=8,
        write_back_bytes="9KB",
        kernel_write_back=True,
    )
    assert delegated.write_back == WriteBackSpec(7, 8, 9_000, in_flight=8, kernel=True)
    assert delegated.mode is Mode.DELEGATED


def test_dilated_changes_may_be_held_for_longer():
    assert system(profile="osxfs-delegated", dilate=3).write_back.age_ns == 15_000_000_000


def test_delegated_as_it_shipped_holds_nothing():
    shipped, cached = system(profile="osxfs-delegated-17.06"), system(profile="osxfs-cached")
    assert shipped.write_back is None
    assert (shipped.policy, shipped.mode) == (cached.policy, Mode.CACHED)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"write_back_age_ns": 5}, "write_back_age has no effect without write-back"),
        ({"kernel_write_back": False}, "kernel_write_back has no effect without write-back"),
        ({"profile": "osxfs-delegated", "write_back_changes": 0}, "at least 1 change"),
        ({"profile": "osxfs-delegated", "write_back_age_ns": -1}, "a duration from 0 on"),
        ({"profile": "osxfs-delegated", "write_back_bytes": "9"}, "write_back_bytes"),
        ({"profile": "osxfs-delegated", "names": "apfs"}, "use case-sensitive"),
        ({"profile": "osxfs-delegated", "ownership": "host"}, "use osxfs"),
        ({"profile": "osxfs-delegated", "replaced": "held"}, "use anew"),
        ({"unwritten": "forget"}, "unknown unwritten 'forget'"),
    ],
)
def test_what_write_back_cannot_be_is_refused(values, message):
    assert message in refused(**values)


def test_a_delegated_share_inside_a_stronger_one_holds_nothing():
    inside = system(profile="osxfs-delegated", stronger=((".", "cached"),))
    assert (inside.mode, inside.write_back) == (Mode.CACHED, None)


def test_the_kernel_holds_nothing_where_a_part_must_not():
    overlapped = system(
        profile="osxfs-delegated", kernel_write_back=True, stronger=(("part", "consistent"),)
    )
    assert overlapped.write_back == WriteBackSpec(kernel=False)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"latency_ns": "65us"}, "latency_ns = '65us': give whole nanoseconds, such as 65_000"),
        ({"latency_ns": 65.0}, "latency_ns = 65.0: give whole nanoseconds"),
        ({"latency_ns": True}, "latency_ns = True: give whole nanoseconds"),
        ({"latency_ns": 10**25}, "that is longer than a thousand hours"),
        ({"bandwidth": 250}, "bandwidth = 250: give a rate such as '250MB/s'"),
        ({"write_back_bytes": 64}, "write_back_bytes = 64: give a size such as '64MB'"),
        ({"profile": None}, "profile"),
        ({"profile": 3}, "profile = 3: give a text"),
        ({"policy": object}, "give a text"),
        ({"calibrate": "no"}, "calibrate = 'no': give True or False"),
        ({"dilate": "2"}, "dilate = '2': give a number"),
        ({"seed": 1.5}, "seed = 1.5: give a whole number"),
        ({"bugs": "phantom"}, "bugs = 'phantom': give a sequence of texts"),
        ({"bugs": (5,)}, "give a sequence of texts"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_as_the_command_line_would(values, said):
    with pytest.raises(ProfileError) as caught:
        ShareSettings("", "", **values).system()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bug_by_itself_is_not_taken_for_its_letters():
    with pytest.raises(ProfileError, match=r"give a sequence of names, such as \['phantom'\]"):
        osxfs_sim.share("a", "b", bugs="phantom")
