"""A profile's protocol, its factor, and what an open does to content: read from a document."""

import tomllib
from fractions import Fraction
from importlib import resources

import pytest
from support.complaints import complaint

from osxfs_sim.catalogue import load_profile
from osxfs_sim.model.caching import Cached, Complete, Dilated, Direct, Negative
from osxfs_sim.model.latency import DataPath, LatencySpec
from osxfs_sim.model.profile import Profile, ProfileError, ValueSource
from osxfs_sim.model.protocol import USUAL, ProtocolSpec
from osxfs_sim.profile_file import PROFILE, profile_from


def profile(text: str, parent: Profile | None = None) -> Profile:
    return profile_from(PROFILE.build({"name": "mine"} | tomllib.loads(text)), parent)


def refused(text: str, parent: Profile | None = None) -> str:
    return complaint(ProfileError, profile, text, parent)


PARENT = profile(
    """
    name = "parent"
    [latency]
    metadata = "100us"
    write = "200us"
    bandwidth = "1GB/s"
    [sources."latency.metadata"]
    basis = "documented"
    text = "a page"
    [sources."latency.bandwidth"]
    basis = "documented"
    text = "another page"
    """
)

# The factor


def test_a_factor_multiplies_every_round_trip_and_leaves_the_link() -> None:
    child = profile("[latency]\nfactor = 0.5", PARENT)
    assert child.latency.base_ns == (50_000, 50_000, 100_000, 50_000, 50_000)
    assert child.latency.bandwidth_bytes_per_s == 1_000_000_000


def test_what_is_set_beside_a_factor_is_not_multiplied() -> None:
    child = profile('[latency]\nfactor = 2\nsync = "1ms"', PARENT)
    assert child.latency.base_ns == (200_000, 200_000, 400_000, 200_000, 1_000_000)


def test_a_factor_scales_the_data_path_with_the_round_trip() -> None:
    path = DataPath(1, 1, 10_000, 20_000, 70_000)
    latency = LatencySpec((100_000,) * 5, data_path=path)
    assert latency.multiplied(0.1).data_path == DataPath(1, 1, 1_000, 2_000, 7_000)


def test_a_product_is_as_well_known_as_its_factor() -> None:
    source = '[sources."latency.factor"]\nbasis = "fitted"\ntext = "to X"'
    child = profile(f"[latency]\nfactor = 0.5\n{source}", PARENT)
    assert child.sources["latency.metadata"] == ValueSource("fitted", "to X")
    assert child.sources["latency.write"] == ValueSource("fitted", "to X")
    assert child.sources["latency.bandwidth"] == PARENT.sources["latency.bandwidth"]
    assert "latency.metadata" not in profile("[latency]\nfactor = 0.5", PARENT).sources


@pytest.mark.parametrize("factor", ["0", "-1", "1001", "'2'", "true", "inf", "nan"])
def test_what_is_no_factor_is_told_the_remedy(factor: str) -> None:
    message = refused(f"[latency]\nfactor = {factor}", PARENT)
    assert message.endswith("is not a factor: write a number above 0 and up to 1000")


def test_a_factor_of_nothing_has_no_effect() -> None:
    assert refused("[latency]\nfactor = 2") == (
        "latency.factor has no effect where nothing costs anything: "
        "let extends name a profile with latency"
    )


@pytest.mark.parametrize(
    ("name", "ratio"), [("lima-vz", "0.92"), ("docker-vmm", "0.83"), ("orbstack", "0.16")]
)
def test_the_systems_on_virtiofs_keep_the_published_ratios(name: str, ratio: str) -> None:
    vz, other = load_profile("docker-vz").latency, load_profile(name).latency
    for base_ns, other_ns in zip(vz.base_ns, other.base_ns, strict=True):
        assert abs(other_ns - base_ns * Fraction(ratio)) <= 1
    assert vz.bandwidth_bytes_per_s == other.bandwidth_bytes_per_s


@pytest.mark.parametrize(
    ("name", "bind_s", "without_s"),
    [("lima-vz", 8.99, 3.70), ("docker-vmm", 8.47, 3.65), ("orbstack", 4.22, 3.28)],
)
def test_the_ratios_are_those_of_the_published_seconds(
    name: str, bind_s: float, without_s: float
) -> None:
    text = (resources.files("osxfs_sim.model") / "profiles" / f"{name}.toml").read_text()
    factor = tomllib.loads(text)["latency"]["factor"]
    assert factor == round((bind_s - without_s) / (9.53 - 3.75), 2)


# What an open does to content


def test_content_is_kept_unless_a_profile_says_otherwise() -> None:
    cached = '[caching]\npolicy = "cached"\ncache_timeout = "1s"'
    assert profile(cached).caching.build() == Cached(10**9)
    fresh = profile(f"{cached}\nkeep_pages = false")
    assert fresh.caching.build() == Cached(10**9, keeps_pages=False)
    assert profile('[caching]\ncache_timeout = "5s"', fresh).caching.keep_pages is False


@pytest.mark.parametrize(("policy", "made"), [("negative", Negative), ("complete", Complete)])
def test_every_policy_that_caches_can_read_anew(policy: str, made: type) -> None:
    built = profile(f'[caching]\npolicy = "{policy}"\nkeep_pages = false').caching.build()
    assert isinstance(built, made)
    assert not built.keep_pages(None, 0)


@pytest.mark.parametrize("policy", ["consistent", "default", "direct"])
def test_a_policy_that_caches_nothing_keeps_nothing(policy: str) -> None:
    assert refused(f'[caching]\npolicy = "{policy}"\nkeep_pages = true') == (
        f"keep_pages has no effect under the policy '{policy}': "
        "use it with cached, negative or complete"
    )


def test_a_direct_policy_stays_direct_when_time_runs_slower() -> None:
    assert isinstance(profile('[caching]\npolicy = "direct"').caching.build(), Direct)
    assert Dilated(Direct(), 10.0).direct
    assert not Dilated(Cached(1), 10.0).direct


# The protocol


def test_pyfuse3s_own_protocol_is_the_usual_one() -> None:
    assert profile("").protocol == USUAL == ProtocolSpec("always", parallel_directories=False)
    assert not USUAL.lists_names


def test_a_child_changes_one_key_of_the_protocol() -> None:
    parent = profile('[protocol]\nreaddirplus = "never"\nparallel_directories = true')
    assert parent.protocol == ProtocolSpec("never", parallel_directories=True)
    child = profile('[protocol]\nreaddirplus = "adaptive"', parent)
    assert child.protocol == ProtocolSpec("adaptive", parallel_directories=True)
    assert child.protocol.lists_names


def test_an_unknown_word_of_the_protocol_is_answered_with_the_nearest() -> None:
    assert refused('[protocol]\nreaddirplus = "adaptiv"') == (
        "unknown protocol.readdirplus 'adaptiv'; did you mean 'adaptive'?"
    )
    assert "did you mean 'readdirplus'?" in refused('[protocol]\nreaddir_plus = "never"')


def test_a_protocol_of_its_own_cannot_be_had_with_write_back() -> None:
    message = refused('[protocol]\nreaddirplus = "never"\n[write_back]\nheld = true')
    assert message.startswith("profile 'mine': a protocol of its own cannot be had with write-back")
