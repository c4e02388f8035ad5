"""Whatever guests, hosts, kills and full disks do at once: nothing acknowledged is lost or wedged.

For hours, of another seed each time:

    scripts/test -m slow tests/adversary --adversary-minutes 60
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import LiveShare
from nobody import NOBODY

from adversary.arena import Arena, Plan, ViolationError
from osxfs_sim.mount import launch

MS = 1_000_000
HOUR_NS = 3_600 * 10**9
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0}
ROUNDS = 40
"""Of each plan in every run of the tests."""
MOST_ROUNDS_WITH_A_BUG = 1_500
"""More than any of the seeded bugs needs, by far."""

PLANS = {
    "held for an instant": Plan({**DELEGATED, "write_back_age_ns": MS}),
    "held for a while": Plan({**DELEGATED, "write_back_age_ns": 50 * MS}),
    "held for long": Plan({**DELEGATED, "write_back_age_ns": HOUR_NS}),
    "held for long, nothing cached": Plan(
        {**DELEGATED, "write_back_age_ns": HOUR_NS, "lifetime_ns": 0}
    ),
    "few may be held": Plan(
        {**DELEGATED, "write_back_age_ns": HOUR_NS, "write_back_changes": 5},
    ),
    "killed": Plan({**DELEGATED, "write_back_age_ns": 20 * MS}, kill_rate=0.06),
    "killed, held for long": Plan({**DELEGATED, "write_back_age_ns": HOUR_NS}, kill_rate=0.06),
    "guests alone, killed": Plan(
        {**DELEGATED, "write_back_age_ns": 5 * MS}, hosts=0, guests=3, kill_rate=0.06
    ),
    "a full disk": Plan({**DELEGATED, "write_back_age_ns": 20 * MS}, full_rate=0.1),
    "a full disk, killed": Plan(
        {**DELEGATED, "write_back_age_ns": 20 * MS}, full_rate=0.1, kill_rate=0.04
    ),
    "a server that is not root": Plan(
        {**DELEGATED, "write_back_age_ns": 50 * MS, "user": "nobody"},
        closes=True,
        server_uid=NOBODY,
    ),
}
CACHING = {
    profile: Plan(
        {"profile": profile, "latency_ns": 0},
        host_links=False,
        writes_back=False,
        kill_rate=0.02,
    )
    for profile in ("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete", "grpc-fuse")
}


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, field: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    top = field / "disk"
    top.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "disk", top], check=True)
    else:
        image = field / "image"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, top], check=True)
    yield top
    subprocess.run(["umount", top], check=True)


def arena(seed: int, plan: Plan, disk: Path, share: Callable[..., LiveShare]) -> Arena:
    source, guest, state = disk / "source", disk.parent / "guest", disk.parent / "state"
    for path in (source, guest, state):
        path.mkdir()
        if plan.server_uid is not None:
            os.chown(path, plan.server_uid, plan.server_uid)

    def mount(unwritten: str | None) -> LiveShare:
        live = share(
            source, guest, **plan.settings, state_directory=str(state), unwritten=unwritten
        )
        live.expected_trouble = plan.full_rate > 0 or plan.kill_rate > 0
        return live

    return Arena(seed, plan, source, guest, mount)


def fight(seed: int, plan: Plan, disk: Path, share: Callable[..., LiveShare], rounds: int) -> Arena:
    its = arena(seed, plan, disk, share)
    try:
        left = rounds

        def until() -> bool:
            nonlocal left
            left -= plan.rounds_between
            return left < -plan.rounds_between

        its.run(until)
    finally:
        its.close()
    return its


@pytest.mark.parametrize("name", PLANS)
def test_nothing_that_is_acknowledged_is_lost_or_wedges(
    name: str, disk: Path, share: Callable[..., LiveShare]
) -> None:
    its = fight(1, PLANS[name], disk, share, ROUNDS)
    assert its.comparisons
    assert its.settled_paths


@pytest.mark.parametrize("name", CACHING)
def test_what_a_share_caches_comes_to_the_truth(
    name: str, disk: Path, share: Callable[..., LiveShare]
) -> None:
    its = fight(1, CACHING[name], disk, share, ROUNDS)
    assert its.comparisons


# Each invariant is shown something that it must reject


@pytest.mark.parametrize(
    ("bug", "said"),
    [
        ("forget", "acknowledged, and not on the host|is not shown what the host has"),
        ("end", "the server ended"),
        ("unsync", "synced, and lost by a kill"),
        ("leak", "descriptors more than at the start"),
        ("wedge", "No space left"),
    ],
)
def test_a_server_with_a_bug_is_found_out(
    bug: str,
    said: str,
    field: Path,
    share: Callable[..., LiveShare],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "adversary.seeded")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("ADVERSARY_BUG", bug)
    (field / "disk").mkdir()
    kills = {"kill_rate": 0.05} if bug == "unsync" else {}
    plan = Plan({**DELEGATED, "write_back_age_ns": HOUR_NS}, hosts=0, rounds_between=30, **kills)
    its = arena(1, plan, field / "disk", share)
    its.live.expected_trouble, its.live.expected_end = True, None
    rounds = 0

    def until() -> bool:
        nonlocal rounds
        rounds += plan.rounds_between
        return rounds > MOST_ROUNDS_WITH_A_BUG

    try:
        with pytest.raises(ViolationError, match=said):
            its.run(until)
    finally:
        its.close()
        for live in (its.live,):
            live.expected_trouble, live.expected_end = True, None
            live.server.kill()
