"""One body of tests, run on a plain directory and on shares: both must behave the same."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.live import LiveShare

PLAIN = "plain"
SOON = "osxfs-delegated, soon"
"""Changes are written back while the test goes on."""
PROFILES = (
    "none",
    "osxfs-cached",
    "osxfs-negative",
    "osxfs-apfs",
    "osxfs-delegated",
    SOON,
    "osxfs-delegated-kernel",
)
"""Those that keep and refuse what osxfs does."""
SETTINGS: dict[str, dict[str, object]] = {
    "none": {},
    SOON: {"latency_ns": 0, "profile": "osxfs-delegated", "write_back_age_ns": 2_000_000},
}
HOST = "host"
"""The profile whose shares behave as the host's own file system does."""

_number = itertools.count()


@dataclass(frozen=True)
class Side:
    """Where a test runs: a plain directory, or the guest's side of a share."""

    name: str
    directory: Path
    share: LiveShare | None

    @property
    def is_mount(self) -> bool:
        return self.share is not None


def _side(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    module_share: Callable[..., LiveShare],
) -> Side:
    if name == PLAIN:
        return Side(name, tmp_path_factory.mktemp(PLAIN), None)
    # One source on a file system on a disk, the others in memory: they differ in
    # what they support, and in how they number and list.
    source = tmp_path_factory.mktemp("source") if name == "none" else None
    settings = {"profile": name} | SETTINGS.get(name, {"latency_ns": 0})
    share = module_share(source, **settings)
    return Side(name, share.guest, share)


def _place(side: Side) -> Iterator[Path]:
    directory = side.directory / f"place-{next(_number)}"
    directory.mkdir()
    yield directory
    if side.share is not None:
        assert not side.share.trouble()
        assert side.share.status().in_flight == 0


@pytest.fixture(scope="module", params=(PLAIN, *PROFILES, HOST))
def side(request, tmp_path_factory, module_share) -> Side:
    """Each of the sides in turn."""
    return _side(request.param, tmp_path_factory, module_share)


@pytest.fixture
def place(side: Side) -> Iterator[Path]:
    """An empty directory on each of the sides in turn."""
    yield from _place(side)


@pytest.fixture(scope="module", params=PROFILES)
def mount_side(request, tmp_path_factory, module_share) -> Side:
    """Each of the shares in turn, for what differs from a plain directory."""
    return _side(request.param, tmp_path_factory, module_share)


@pytest.fixture
def mount_place(mount_side: Side) -> Iterator[Path]:
    """An empty directory on each of the shares in turn."""
    yield from _place(mount_side)


@pytest.fixture(scope="module")
def host_side(module_share) -> Side:
    """The guest's side of a share with the host's own rules, open to every user."""
    if os.geteuid():
        pytest.skip("only root can act as other users")
    share = module_share(profile=HOST)
    for directory in (share.guest.parent, share.source, share.guest):
        directory.chmod(0o755)
    return Side(HOST, share.guest, share)


@pytest.fixture(scope="module", params=(PLAIN, pytest.param(HOST, marks=pytest.mark.mounts)))
def posix_side(request, ground: Path) -> Side:
    """A plain directory and a share that must keep POSIX's rules; both lie in memory."""
    if request.param == HOST:
        return request.getfixturevalue("host_side")
    if os.geteuid():
        pytest.skip("only root can act as other users")
    directory = ground / f"{PLAIN}-{next(_number)}"
    directory.mkdir()
    directory.chmod(0o755)
    return Side(PLAIN, directory, None)


def _open_place(side: Side) -> Iterator[Path]:
    place = side.directory / f"place-{next(_number)}"
    umask = os.umask(0o022)
    try:
        place.mkdir()
        place.chmod(0o777)
        yield place
    finally:
        os.umask(umask)
    # Not status(), as for other places: it takes longer than most of these tests.
    assert side.share is None or not side.share.trouble()


@pytest.fixture
def posix_place(posix_side: Side) -> Iterator[Path]:
    """An empty directory in which every user may act, on each of the posix sides in turn.

    The umask is 022 meanwhile.
    """
    yield from _open_place(posix_side)


@pytest.fixture
def host_place(host_side: Side) -> Iterator[Path]:
    """As posix_place, on the share only: for what differs."""
    yield from _open_place(host_side)
