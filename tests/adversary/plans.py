"""What the adversary does, to which shares: plans by name.

Every profile that ships and sends requests has one, by its own caching; test_adversary.py demands
that a new one has.
"""

from support.nobody import NOBODY

from adversary.arena import Plan
from osxfs_sim.catalogue import load_profile, profile_names
from osxfs_sim.model.profile import Profile, Transport, XattrPolicy

MS = 1_000_000
HOUR_NS = 3_600 * 10**9
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0}
PART = "part"
FOLDING = ("a", "A", "b", "B", "c", "C", "\u00e9", "\u00c9", "e\u0301")
"""Nine names, which are four where names fold."""


def held(age_ns: int, **settings: object) -> dict[str, object]:
    return {**DELEGATED, "write_back_age_ns": age_ns, **settings}


WRITING_BACK = {
    "held for an instant": Plan(held(MS)),
    "held for a while": Plan(held(50 * MS), flush_rate=0.05),
    "held for seconds": Plan(held(5_000 * MS), flush_rate=0.02, remount_rate=0.01),
    "held for long": Plan(held(HOUR_NS)),
    "held for long, nothing cached": Plan(held(HOUR_NS, cache_timeout_ns=0), remount_rate=0.01),
    "held for a while, cached for a day": Plan(held(50 * MS, cache_timeout_ns=24 * HOUR_NS)),
    "few may be held": Plan(held(HOUR_NS, write_back_changes=5), flush_rate=0.05),
    "slow to cross": Plan(held(MS, latency_ns=2 * MS), remount_rate=0.01),
    "attributes of the host's": Plan(
        held(50 * MS, extended_attributes="host"), has_attributes=True, flush_rate=0.02
    ),
    "killed": Plan(held(20 * MS), kill_rate=0.03, flush_rate=0.05),
    "killed, held for long": Plan(held(HOUR_NS), kill_rate=0.03, remount_rate=0.01),
    "killed while recovering and while ending": Plan(
        held(HOUR_NS), kill_rate=0.02, remount_rate=0.03, ending_kill_rate=0.6
    ),
    "guests alone, killed": Plan(held(5 * MS), hosts=0, guests=3, kill_rate=0.03),
    "a full disk": Plan(held(20 * MS), full_rate=0.1),
    "a full disk, killed": Plan(held(20 * MS), full_rate=0.1, kill_rate=0.03),
    "a full disk of the state": Plan(held(20 * MS), full_rate=0.1, full_state=True),
    "a full disk of the state, killed": Plan(
        held(HOUR_NS), full_rate=0.1, full_state=True, kill_rate=0.03
    ),
    "a server that is not root": Plan(
        held(50 * MS, user="nobody"), closes=True, server_uid=NOBODY, remount_rate=0.01
    ),
    "a server that is not root, killed": Plan(
        held(HOUR_NS, user="nobody"), closes=True, server_uid=NOBODY, kill_rate=0.03
    ),
    "exports that overlap": Plan(held(20 * MS), stays=PART),
    "exports that overlap, killed": Plan(held(HOUR_NS), stays=PART, kill_rate=0.03),
    "held by the kernel, too": Plan(
        held(50 * MS, profile="osxfs-delegated-kernel"), kernel_holds=True, remount_rate=0.01
    ),
    "held by the kernel, too, killed": Plan(
        held(HOUR_NS, profile="osxfs-delegated-kernel"), kernel_holds=True, kill_rate=0.03
    ),
}


def caching(profile: Profile) -> Plan:
    """For a share that writes nothing back; killed now and then."""
    folds = profile.files.names != "case-sensitive"
    return Plan(
        {"profile": profile.name, "latency_ns": 0},
        writes_back=False,
        kill_rate=0.02,
        has_attributes=profile.files.extended_attributes is XattrPolicy.HOST,
        forgets=profile.events.stream is None and profile.caching.policy != "consistent",
        folds=folds,
        names=FOLDING if folds else Plan.names,
        apart=3 if folds else Plan.apart,
    )


_PROFILES = [
    profile
    for profile in map(load_profile, profile_names())
    if profile.transport is Transport.REQUESTS and profile.write_back is None
]
CACHING = {f"caches as {profile.name}": caching(profile) for profile in _PROFILES}
NAMES_BELIEVED = {
    f"names fold as on {names}, and are believed": Plan(
        {"profile": profile, "latency_ns": 0, "names": names},
        writes_back=False,
        folds=True,
        names=FOLDING,
        apart=3,
        has_attributes=False,
    )
    for profile, names in (("osxfs-cached", "apfs"), ("osxfs-negative", "hfs+"))
}
PLANS = WRITING_BACK | CACHING | NAMES_BELIEVED


def _another_kind() -> set[str]:
    """Of profiles that believe, name and hear alike one is enough."""
    kinds = {
        (each.caching, each.files, each.events.stream): f"caches as {each.name}"
        for each in reversed(_PROFILES)
    }
    return set(kinds.values())


IN_EVERY_RUN = [name for name in PLANS if name not in CACHING or name in _another_kind()]
"""The plans of every run of the tests; where it goes on for hours all are made."""
