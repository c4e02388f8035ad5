"""Profiles from parsed documents: what they make, and what their authors are told."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import complaint

from osxfs_sim.model.caching import Cached, Complete, Consistent, Negative
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.latency import Constant, DataPath, LatencySpec, LogNormal
from osxfs_sim.model.profile import (
    CachingSpec,
    FileRules,
    Profile,
    ProfileError,
    Transport,
    ValueSource,
    parse_distribution,
    with_timeout,
)
from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.model.user_error import UserError, nearest
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.profile_file import PROFILE, profile_from

NO_LATENCY = LatencySpec((0, 0, 0, 0, 0))
PATH = """
[latency.data_path]
copies = 7
context_switches = 5
copy = "5us"
context_switch = "10us"
hypervisor_hop = "45us"
"""


def profile(text: str, parent: Profile | None = None) -> Profile:
    document = tomllib.loads(text)
    return profile_from(PROFILE.build({"name": "mine"} | document), parent)


def refused(text: str, parent: Profile | None = None) -> str:
    return complaint(ProfileError, profile, text, parent)


PARENT = profile(
    """
    name = "parent"
    title = "The parent"
    about = "Of the child."
    [latency]
    metadata = "100us"
    write = "200us"
    bandwidth = "1MB/s"
    distribution = "lognormal:0.5"
    served_at_once = 4
    [caching]
    policy = "negative"
    cache_timeout = "2s"
    negative_timeout = "1s"
    [sources."latency.metadata"]
    basis = "documented"
    text = "A page."
    """
)


# What a document makes


def test_a_profile_that_says_nothing_costs_nothing_and_caches_nothing():
    assert profile("") == Profile(
        "mine", "mine", "", NO_LATENCY, CachingSpec(), FileRules(), NO_EVENTS, None, {}
    )


def test_a_class_that_a_profile_does_not_speak_of_costs_what_metadata_costs():
    mine = profile('[latency]\nmetadata = "130us"\nwrite = "221us"')
    assert mine.latency.base_ns == (130_000, 130_000, 221_000, 130_000, 130_000)


def test_every_class_can_have_a_latency_of_its_own():
    mine = profile(
        '[latency]\nmetadata = "1us"\nread = "2us"\nwrite = "3us"\ndirectory = "4us"\nsync = "5ms"'
    )
    assert mine.latency.base_ns == (1_000, 2_000, 3_000, 4_000, 5_000_000)


def test_a_profile_sets_the_link_the_scatter_and_the_server():
    mine = profile(
        '[latency]\nbandwidth = "250MB/s"\ndistribution = "lognormal:0.2"\nserved_at_once = 8'
    )
    assert mine.latency == LatencySpec(
        (0,) * 5, 250_000_000, distribution=LogNormal(0.2), served_at_once=8
    )


def test_a_profile_can_take_its_round_trip_apart():
    mine = profile('[latency]\nmetadata = "130us"' + PATH)
    assert mine.latency.data_path == DataPath(7, 5, 5_000, 10_000, 45_000)


@pytest.mark.parametrize(
    ("text", "spec", "policy"),
    [
        ('policy = "consistent"', CachingSpec(), Consistent()),
        (
            'policy = "cached"\ncache_timeout = "1h"',
            CachingSpec("cached", 3_600 * 10**9),
            Cached(3_600 * 10**9),
        ),
        (
            'policy = "negative"\ncache_timeout = "1h"\nnegative_timeout = "5s"',
            CachingSpec("negative", 3_600 * 10**9, 5 * 10**9),
            Negative(3_600 * 10**9, 5 * 10**9),
        ),
        (
            'policy = "complete"\ncache_timeout = "1h"\nnegative_timeout = "5s"',
            CachingSpec("complete", 3_600 * 10**9, 5 * 10**9),
            Complete(3_600 * 10**9, 5 * 10**9),
        ),
    ],
)
def test_a_profile_chooses_its_policy_and_timeouts(text, spec, policy):
    mine = profile(f"[caching]\n{text}")
    assert mine.caching == spec
    built = mine.caching.build()
    assert type(built) is type(policy)
    assert built.describe() == policy.describe()


EVENTS = """
[events]
stream = "fsevents"
latency = "20ms"
no_defer = false
most_pending = 9
creates = false
modifies = "closed"
attributes = false
deletes = false
debounce_files = "100ms"
debounce_directories = "500ms"
touches = true
"""
MS = 1_000_000


def test_a_profile_says_how_host_changes_are_told_and_seen():
    assert profile(EVENTS).events == EventSpec(
        StreamSpec(20 * MS, no_defer=False, most_pending=9),
        NotifySpec(False, "closed", False, False, 100 * MS, 500 * MS, touches=True),
    )


def test_a_stream_needs_no_more_than_its_name():
    assert profile("[events]\nstream = 'fsevents'").events == EventSpec(StreamSpec(), NotifySpec())
    assert profile("[events]\nstream = 'none'").events == NO_EVENTS


def test_the_guests_caches_can_be_told_and_its_processes_not():
    mine = profile("[events]\nstream = 'fsevents'\ninotify = false")
    assert mine.events == EventSpec(StreamSpec(), None)


def test_a_child_changes_only_what_it_sets_of_its_parents_events():
    parent = profile(EVENTS)
    child = profile("[events]\nlatency = '1ms'\ndeletes = true", parent)
    assert child.events == EventSpec(
        StreamSpec(MS, no_defer=False, most_pending=9),
        NotifySpec(False, "closed", False, True, 100 * MS, 500 * MS, touches=True),
    )
    assert profile("[events]\nstream = 'fsevents'", parent).events == parent.events
    assert profile("[events]\nstream = 'none'", parent).events == NO_EVENTS
    silent = profile("[events]\ninotify = false", parent)
    assert silent.events == EventSpec(parent.events.stream, None)
    assert profile("[events]\ninotify = true", silent).events.notify == NotifySpec()


@pytest.mark.parametrize(
    "key",
    [
        "latency = '1ms'",
        "no_defer = true",
        "most_pending = 5",
        "inotify = false",
        "creates = true",
        "debounce_files = '1ms'",
    ],
)
@pytest.mark.parametrize("stream", ["", "stream = 'none'\n"])
def test_without_a_stream_no_other_key_has_an_effect(stream, key):
    assert refused(f"[events]\n{stream}{key}") == (
        f"events.{key.split()[0]} has no effect without a stream: add stream = 'fsevents'"
    )


@pytest.mark.parametrize("key", ["creates = true", "modifies = 'closed'", "debounce_files = '1s'"])
def test_without_notices_no_rule_for_them_has_an_effect(key):
    assert refused(f"[events]\nstream = 'fsevents'\ninotify = false\n{key}") == (
        f"events.{key.split()[0]} has no effect without notices: add inotify = true"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latncy = '1ms'", "unknown key 'events.latncy'; did you mean 'latency'?"),
        ("stream = 'fsevent'", "unknown events.stream 'fsevent'; did you mean 'fsevents'?"),
        ("stream = 5", "unknown events.stream 5: there are fsevents, none"),
        ("stream = []", "unknown events.stream []: there are fsevents, none"),
        (
            "stream = 'fsevents'\nmodifies = 'close'",
            "unknown events.modifies 'close'; did you mean 'closed'?",
        ),
        (
            "stream = 'fsevents'\nno_defer = 1",
            "events.no_defer = 1: write true or false",
        ),
        (
            "stream = 'fsevents'\ninotify = 'no'",
            "events.inotify = 'no': write true or false",
        ),
        (
            "stream = 'fsevents'\nmost_pending = 0",
            "events.most_pending = 0: at least 1 name has to have room",
        ),
        (
            "stream = 'fsevents'\nmost_pending = true",
            "events.most_pending = True: write a whole number",
        ),
        (
            "stream = 'fsevents'\nlatency = 10",
            "events.latency = 10 has no unit: write a text such as '130us'",
        ),
        (
            "stream = 'fsevents'\ndebounce_files = '100'",
            "events.debounce_files: '100' has no unit: write 100us or 100ms",
        ),
    ],
)
def test_a_mistake_about_events_is_named_with_its_remedy(text, message):
    assert refused(f"[events]\n{text}") == message


def test_prose_may_be_broken_into_lines():
    mine = profile(
        'about = """\n  As it was\n  in 2016.\n"""\n'
        "[sources.'latency.metadata']\nbasis = 'assumed'\ntext = '''\nFrom\nmemory.\n'''"
    )
    assert mine.about == "As it was in 2016."
    assert mine.sources == {"latency.metadata": ValueSource("assumed", "From memory.")}


# On top of another


def test_a_child_that_says_nothing_is_its_parent_by_another_name():
    child = profile('name = "child"', PARENT)
    assert child == Profile(
        "child",
        "The parent",
        "Of the child.",
        PARENT.latency,
        PARENT.caching,
        PARENT.files,
        PARENT.events,
        PARENT.write_back,
        PARENT.sources,
    )


# Write-back


def test_write_back_is_a_table_of_its_own():
    assert profile("[write_back]\nheld = true").write_back == WriteBackSpec()
    mine = profile(
        '[write_back]\nheld = true\nage = "2s"\nchanges = 7\nbytes = "1MB"\n'
        "in_flight = 3\nkernel = true"
    )
    assert mine.write_back == WriteBackSpec(2_000_000_000, 7, 1_000_000, 3, True)


def test_a_child_of_a_profile_with_write_back_may_go_without():
    parent = profile("[write_back]\nheld = true\nchanges = 7")
    assert profile("[write_back]\nheld = false", parent).write_back is None
    assert profile('[write_back]\nage = "0s"', parent).write_back == WriteBackSpec(0, 7)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('age = "1s"', "write_back.age has no effect where nothing is held: add held = true"),
        (
            "held = true\nchanges = 0",
            "write_back.changes = 0: nothing could ever cross; give 1 or more",
        ),
        (
            "held = true\nbytes = 5",
            "write_back.bytes = 5 has no unit: write a text such as '128MB'",
        ),
        ("held = 1", "write_back.held = 1: write true or false"),
        ("hold = true", "unknown key 'write_back.hold'; did you mean 'held'?"),
    ],
)
def test_a_mistaken_write_back_is_refused(table, message):
    assert refused(f"[write_back]\n{table}") == message


def test_a_child_changes_only_what_it_sets():
    child = profile('[latency]\nsync = "7ms"\n[caching]\ncache_timeout = "9s"', PARENT)
    assert child.latency.base_ns == (100_000, 100_000, 200_000, 100_000, 7_000_000)
    assert child.latency.bandwidth_bytes_per_s == 1_000_000
    assert child.latency.served_at_once == 4
    assert child.caching == CachingSpec("negative", 9 * 10**9, 10**9)


def test_a_child_can_lift_its_parents_limit_on_the_link():
    child = profile('[latency]\nbandwidth = "none"', PARENT)
    assert child.latency.bandwidth_bytes_per_s is None


def test_a_childs_source_replaces_its_parents():
    child = profile("[sources.'latency.metadata']\nbasis = 'fitted'\ntext = 'A run.'", PARENT)
    assert child.sources == {"latency.metadata": ValueSource("fitted", "A run.")}
    assert PARENT.sources == {"latency.metadata": ValueSource("documented", "A page.")}


def test_a_childs_metadata_latency_is_that_of_every_class_nobody_spoke_of():
    # PARENT speaks of writes only: reads, directories and sync go by metadata there.
    child = profile('[latency]\nmetadata = "60us"', PARENT)
    assert child.latency.base_ns == (60_000, 60_000, 200_000, 60_000, 60_000)


def test_another_round_trip_is_no_longer_its_parents_sum_of_steps():
    parent = profile('[latency]\nmetadata = "130us"' + PATH)
    assert profile('[latency]\nmetadata = "60us"', parent).latency.data_path is None
    assert profile('[latency]\nwrite = "60us"', parent).latency.data_path is not None


def test_a_childs_steps_may_add_up_to_its_parents_round_trip():
    parent = profile('[latency]\nmetadata = "130us"')
    assert profile(PATH, parent).latency.data_path.total_ns == 130_000


# What authors are told


def test_a_profile_needs_a_name():
    assert refused('name = ""') == "a profile needs a name"


@pytest.mark.parametrize("name", ["5", "[]"])
def test_a_name_is_a_text(name):
    assert refused(f"name = {name}") == f"name = {name}: write a text between quotes"


def test_a_document_without_a_name_is_told_so():
    assert complaint(ProfileError, PROFILE.build, {}) == "a profile needs a name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'", "unknown key 'titel'; did you mean 'title'?"),
        (
            "[latency]\nmetdata = '1us'",
            "unknown key 'latency.metdata'; did you mean 'metadata'?",
        ),
        (
            "[caching]\ncache_timeouts = '1s'",
            "unknown key 'caching.cache_timeouts'; did you mean 'cache_timeout'?",
        ),
        (
            "[caching]\nxyz = '1s'",
            "unknown key 'caching.xyz': there are cache_timeout, keep_pages, "
            "negative_timeout, policy",
        ),
        (
            PATH + "hops = 3",
            "unknown key 'latency.data_path.hops'; did you mean 'copies'?",
        ),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(text, message):
    assert refused(text) == message


@pytest.mark.parametrize("key", ["latency", "caching", "events"])
def test_a_table_must_be_a_table(key):
    assert refused(f"{key} = 5") == f"{key} must be a table: write [{key}]"


def test_sources_are_tables():
    assert refused("sources = 5") == "sources = 5: write a table [sources.NAME] for each"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[latency]\nmetadata = 130",
            "latency.metadata = 130 has no unit: write a text such as '130us'",
        ),
        (
            "[latency]\nread = 1.5",
            "latency.read = 1.5 has no unit: write a text such as '130us'",
        ),
        (
            "[latency]\ndistribution = 'empirical:lat.txt'",
            "profile 'mine': 'empirical:lat.txt': a profile has no file of samples, write constant "
            "or lognormal:SIGMA; samples are given with the option --distribution "
            "empirical:lat.txt",
        ),
        (
            "[caching]\npolicy = 'aging:Aging'",
            "unknown policy 'aging:Aging'; a policy of your own is given with the option --policy "
            "aging:Aging",
        ),
        (
            "[caching]\npolicy = 'cached'\ncache_timeout = 3600",
            "caching.cache_timeout = 3600 has no unit: write a text such as '130us'",
        ),
        (
            "[latency]\nmetadata = '130'",
            "latency.metadata: '130' has no unit: write 130us or 130ms",
        ),
        (
            "[latency]\nmetadata = '-130us'",
            "latency.metadata: '-130us' is negative: give a duration such as 130us or 1.5ms",
        ),
        (
            "[latency]\nbandwidth = '250'",
            "latency.bandwidth: '250' is not a rate: write it like 250MB/s, or none for no limit",
        ),
        (
            "[latency]\nserved_at_once = 0",
            "profile 'mine': a server serves from 1 to 65536 requests at once, not 0",
        ),
        (
            "[latency]\nserved_at_once = -1",
            "latency.served_at_once = -1: give a number from 0 to 1000000000",
        ),
        (
            "[latency]\nserved_at_once = true",
            "latency.served_at_once = True: write a whole number",
        ),
        (
            "[latency]\nserved_at_once = '8'",
            "latency.served_at_once = '8': write a whole number",
        ),
        (
            "[latency]\ndistribution = 'normal'",
            "profile 'mine': unknown distribution 'normal': "
            "write constant, lognormal:SIGMA or empirical:FILE",
        ),
        (
            "[latency]\ndistribution = 'lognormal:9'",
            "profile 'mine': lognormal sigma 9 is out of range: give one above 0 and up to 3",
        ),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_its_remedy(text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy = 'cashed'", "unknown policy 'cashed'; did you mean 'cached'?"),
        (
            "policy = 'zzz'",
            "unknown policy 'zzz': there are cached, complete, consistent, "
            "default, direct, negative",
        ),
        (
            "policy = 5",
            "unknown policy 5: there are cached, complete, consistent, default, direct, negative",
        ),
    ],
)
def test_an_unknown_policy_is_answered_with_the_nearest(text, message):
    assert refused(f"[caching]\n{text}") == message


@pytest.mark.parametrize("value", ["['cached']", "{ name = 'cached' }"])
def test_a_policy_that_is_no_word_is_a_users_mistake_too(value):
    assert "policy" in refused(f"[caching]\npolicy = {value}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "policy = 'consistent'\ncache_timeout = '1s'",
            "cache_timeout has no effect under the policy 'consistent': "
            "use it with cached, negative or complete",
        ),
        (
            "cache_timeout = '1s'",
            "cache_timeout has no effect under the policy 'consistent': "
            "use it with cached, negative or complete",
        ),
        (
            "policy = 'cached'\nnegative_timeout = '1s'",
            "negative_timeout has no effect under the policy 'cached': "
            "use it with negative or complete",
        ),
    ],
)
def test_a_timeout_that_nobody_listens_to_is_a_mistake(text, message):
    assert refused(f"[caching]\n{text}") == message


def test_a_timeout_is_set_where_its_policy_listens():
    caching = CachingSpec("negative", 1, 2)
    assert with_timeout(caching, "cache_timeout", 5) == CachingSpec("negative", 5, 2)
    assert with_timeout(caching, "negative_timeout", 5) == CachingSpec("negative", 1, 5)


def test_a_data_path_must_add_up_to_the_round_trip():
    message = "latency.data_path adds up to 130000 ns, but latency.metadata is 129000 ns"
    assert refused('[latency]\nmetadata = "129us"' + PATH) == message
    assert profile('[latency]\nmetadata = "130us"' + PATH)


def test_a_data_path_needs_all_its_steps():
    text = "[latency]\nmetadata = '130us'\n[latency.data_path]\ncopies = 7\ncopy = '5us'"
    message = "latency.data_path lacks 'context_switches', 'context_switch', 'hypervisor_hop'"
    assert refused(text) == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "copies = 7",
            "copies = 7.5",
            "latency.data_path.copies = 7.5: write a whole number",
        ),
        (
            'copy = "5us"',
            "copy = 5",
            "latency.data_path.copy = 5 has no unit: write a text such as '130us'",
        ),
    ],
)
def test_the_steps_of_a_data_path_are_counts_and_durations(old, new, message):
    assert refused('[latency]\nmetadata = "130us"' + PATH.replace(old, new)) == message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "'a page'",
            "sources.'latency.metadata' must be a table: write [sources.'latency.metadata']",
        ),
        ("{ basis = 'fitted' }", "sources.'latency.metadata' lacks 'text'"),
        (
            "{ basis = 'fitted', text = 'a', url = 'b' }",
            "unknown key \"sources.'latency.metadata'.url\": there are basis, text",
        ),
        (
            "{ basis = 'guessed', text = 'a' }",
            "unknown sources.'latency.metadata'.basis 'guessed'; did you mean 'assumed'?",
        ),
    ],
)
def test_a_source_says_its_basis_and_its_text(entry, message):
    assert refused(f"[sources]\n'latency.metadata' = {entry}") == message


# Distributions by name, and the nearest word


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("constant", Constant()),
        ("lognormal:0.2", LogNormal(0.2)),
        ("lognormal:3", LogNormal(3.0)),
    ],
)
def test_a_distribution_is_written_as_its_kind_and_parameter(text, distribution):
    assert parse_distribution(text) == distribution


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lognormal",
            "'lognormal': write lognormal and its sigma, such as lognormal:0.2",
        ),
        (
            "lognormal:wide",
            "'lognormal:wide': write lognormal and its sigma, such as lognormal:0.2",
        ),
        ("lognormal:0", "lognormal sigma 0 is out of range: give one above 0 and up to 3"),
        ("lognormal:nan", "lognormal sigma nan is out of range: give one above 0 and up to 3"),
        (
            "constant:5",
            "unknown distribution 'constant:5': write constant, lognormal:SIGMA or empirical:FILE",
        ),
        ("", "unknown distribution '': write constant, lognormal:SIGMA or empirical:FILE"),
    ],
)
def test_a_distribution_that_cannot_be_read_is_answered_with_how_to_write_it(text, message):
    assert complaint(UserError, parse_distribution, text) == message


def test_the_nearest_word_is_offered_and_else_all_of_them():
    assert nearest("osxf", ["none", "osxfs"]) == "; did you mean 'osxfs'?"
    assert nearest("qqqq", ["osxfs", "none"]) == ": there are none, osxfs"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "metadata",
                        "write",
                        "bandwidth",
                        "distribution",
                        "served_at_once",
                        "data_path",
                        "cache_timeout",
                        "policy",
                        "copies",
                        "copy",
                        "basis",
                        "text",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=6,
    ),
    st.sampled_from(["name", "title", "about", "latency", "caching", "sources", "else"]),
)
def test_any_value_of_any_key_makes_a_profile_or_a_users_mistake(value, key):
    try:
        made = profile_from(PROFILE.of({"name": "mine", key: value}, "mine.toml"), None)
    except ProfileError as error:
        assert str(error)  # noqa: PT017 (either outcome is fine, no third one)
    else:
        assert isinstance(made, Profile)


# Without requests

COPY = """
[share]
transport = "copy"
[synchronization]
mode = "one-way-replica"
latency = "20ms"
rescan = "1min"
ignored = ["*.o", "build/"]
ignore_vcs = true
most_file_size = "10MB"
[sources."synchronization.mode"]
basis = "documented"
text = "A page."
"""


def test_a_profile_says_how_its_copy_is_synchronized():
    mine = profile(COPY)
    assert (mine.transport, mine.is_local) == (Transport.COPY, True)
    assert mine.synchronization == SyncSpec(
        SyncMode.ONE_WAY_REPLICA, 20 * MS, 60_000 * MS, ("*.o", "build/"), True, 10_000_000
    )
    child = profile('[synchronization]\nlatency = "5ms"\n[sources]', mine)
    assert child.synchronization is not None
    assert child.synchronization.latency_ns == 5 * MS
    assert child.synchronization.mode is SyncMode.ONE_WAY_REPLICA
    assert child.sources == mine.sources


def test_what_is_said_of_one_transport_does_not_hold_for_another():
    local = profile('[share]\ntransport = "host"', PARENT)
    assert local == Profile("mine", "The parent", "Of the child.", transport=Transport.HOST)
    again = profile('[share]\ntransport = "requests"', profile(COPY))
    assert again == Profile("mine", "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[share]\ntransport = "hots"',
            "unknown share.transport 'hots'; did you mean 'host'?",
        ),
        ('[share]\nkind = "host"', "unknown key 'share.kind': there are transport"),
        (
            '[share]\ntransport = "host"\n[latency]\nmetadata = "1us"',
            "[latency] has no effect where nothing is requested: leave it out, or set "
            "share.transport = 'requests'",
        ),
        (
            '[synchronization]\nmode = "two-way-safe"',
            "[synchronization] has no effect without a copy: set share.transport = 'copy'",
        ),
        (
            COPY.replace("one-way-replica", "one-way-replika"),
            "unknown synchronization.mode 'one-way-replika'; did you mean 'one-way-replica'?",
        ),
        (
            COPY.replace('"1min"', '"0s"'),
            "synchronization.rescan = 0: it would never rest; write such as 10s",
        ),
        (
            COPY.replace('["*.o", "build/"]', "[3]"),
            "synchronization.ignored = [3]: write such as ignored = ['*.tmp', 'build/']",
        ),
        (
            COPY.replace('"10MB"', "10"),
            "synchronization.most_file_size = 10 has no unit: write a text such as '128MB'",
        ),
    ],
)
def test_a_mistake_about_a_share_without_requests_is_explained(text, message):
    assert refused(text) == message
