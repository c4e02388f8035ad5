"""The guest's kernel holds small writes: what that gains, and what it costs in coherence."""

import os
from collections.abc import Callable

from support.live import LiveShare

HOUR_NS = 3_600 * 10**9
HELD = {"latency_ns": 0, "write_back_age_ns": HOUR_NS}


def host_writes(live: LiveShare, content: bytes) -> None:
    """A file, before the guest asks for it: of one that is just made the kernel may learn, by its
    event, that it is empty, and then goes by that until the next event.
    """
    (live.source / "file").write_bytes(content)
    live.settle()


def grow_on_the_host(live: LiveShare) -> int:
    """The size that the guest sees of a file that it has open and the host makes longer."""
    host_writes(live, b"short")
    with open(live.guest / "file") as file:
        assert file.read() == "short"
        host_writes(live, b"much longer")
        return os.stat(live.guest / "file").st_size


def test_small_writes_reach_the_server_together(share: Callable[..., LiveShare]) -> None:
    live = share(profile="osxfs-delegated-kernel", **HELD)
    with open(live.guest / "file", "wb", buffering=0) as file:
        for _ in range(1_000):
            file.write(bytes(1_024))
    held = live.share.flush().write_back
    assert held.made < 50
    assert os.path.getsize(live.source / "file") == 1_024_000


def test_the_hosts_growth_is_not_seen_where_the_kernel_holds_writes(
    share: Callable[..., LiveShare],
) -> None:
    assert grow_on_the_host(share(profile="osxfs-delegated", **HELD)) == 11
    assert grow_on_the_host(share(profile="osxfs-delegated-kernel", **HELD)) == 5


def test_of_a_file_that_is_not_open_it_is_seen(share: Callable[..., LiveShare]) -> None:
    """By the event the kernel forgets the file; its own size is not asked for after that."""
    live = share(profile="osxfs-delegated-kernel", **HELD)
    host_writes(live, b"short")
    assert (live.guest / "file").read_text() == "short"
    host_writes(live, b"much longer")
    assert os.stat(live.guest / "file").st_size == 11
    assert (live.guest / "file").read_text() == "much longer"


def test_a_partial_page_of_a_write_only_file_is_filled(share: Callable[..., LiveShare]) -> None:
    live = share(profile="osxfs-delegated-kernel", **HELD)
    host_writes(live, b"x" * 10_000)
    fd = os.open(live.guest / "file", os.O_WRONLY)
    try:
        os.pwrite(fd, b"guest", 5_000)
    finally:
        os.close(fd)
    expected = b"x" * 5_000 + b"guest" + b"x" * 4_995
    assert (live.guest / "file").read_bytes() == expected
    live.share.flush()
    assert (live.source / "file").read_bytes() == expected


def test_fsync_brings_what_the_kernel_holds(share: Callable[..., LiveShare]) -> None:
    live = share(profile="osxfs-delegated-kernel", **HELD)
    with open(live.guest / "file", "wb", buffering=0) as file:
        file.write(b"synced")
        os.fsync(file.fileno())
        assert (live.source / "file").read_bytes() == b"synced"
