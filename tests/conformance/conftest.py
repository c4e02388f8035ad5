"""One body of tests, run on a plain directory and on shares: both must behave the same."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import LiveShare

PLAIN = "plain"
PROFILES = ("none", "osxfs-cached", "osxfs-negative", "osxfs-apfs")

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
    latency = {} if name == "none" else {"latency_ns": 0}
    share = module_share(source, profile=name, **latency)
    return Side(name, share.guest, share)


def _place(side: Side) -> Iterator[Path]:
    directory = side.directory / f"place-{next(_number)}"
    directory.mkdir()
    yield directory
    if side.share is not None:
        assert not side.share.trouble()
        assert side.share.status()["in_flight"] == 0


@pytest.fixture(scope="module", params=(PLAIN, *PROFILES))
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
