"""A directory with very many entries, and what its listing does to somebody else.

``ls -U`` reads the names in the order they come; a stat of each follows. While
another process lists again and again, a client stats a missing name in another
directory: its tail shows whether a long listing holds up short requests.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import osxfs_sim
from bench import clients
from bench.figures import histogram, per_request
from bench.scratch import MISSING, Scratch, awaited, scratch, server_share
from osxfs_sim import Share

_PROFILES = ("none", "osxfs-cached")


def measure(quick: bool) -> dict[str, Any]:
    """Times of a large listing, and of another client meanwhile; *quick* is shorter."""
    entries, calls = (5_000, 500) if quick else (100_000, 20_000)
    with scratch() as place:
        directory = Path(place.source, "large")
        directory.mkdir()
        for i in range(entries):
            os.close(os.open(directory / f"entry-{i:06}", os.O_CREAT | os.O_WRONLY, 0o644))
        rows = [row for profile in _PROFILES for row in _profile(place, profile, entries, calls)]
    return {"quick": quick, "entries": entries, "rows": rows}


def _profile(place: Scratch, profile: str, entries: int, calls: int) -> list[dict[str, Any]]:
    large = os.path.join(place.mountpoint, "large")
    other = [os.path.join(place.mountpoint, "d0", MISSING)]
    with osxfs_sim.share(place.source, place.mountpoint, profile=profile) as share:
        names, listed = _timed(share, lambda: _names(large))
        assert len(names) == len(set(names)) == entries, (len(names), entries)
        paths = [os.path.join(large, name) for name in names]
        _, stats = _timed(share, lambda: [os.stat(path).st_size for path in paths])
        clients.run("stat", 30, other)
        share.reset()
        alone = clients.run("stat", calls, other)
        per_call = awaited(share.reset()) / calls
        with _listing_again_and_again(large) as listings:
            meanwhile = clients.run("stat", calls, other)
    return [
        {"profile": profile, "what": "list", **listed},
        {"profile": profile, "what": "stat each", **stats},
        *(
            {
                "profile": profile,
                "what": f"another's stat, {label}",
                **per_request(called.taken_ns, per_call),
                "worst_ms": round(int(called.taken_ns.max()) / 1e6, 2),
                "listings": done,
                "histogram": histogram(called.taken_ns),
            }
            for label, called, done in (
                ("alone", alone, 0),
                ("during listings", meanwhile, listings.done()),
            )
        ),
    ]


def _timed(share: Share, work: Callable[[], list[Any]]) -> tuple[list[Any], dict[str, Any]]:
    share.reset()
    start_ns = time.perf_counter_ns()
    made = work()
    taken_ns = time.perf_counter_ns() - start_ns
    status = share.reset()
    return made, {
        "seconds": round(taken_ns / 1e9, 4),
        "requests": awaited(status),
        "us_per_entry": round(taken_ns / 1_000 / len(made), 2),
        "server_share_of_core": server_share(status),
    }


def _names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


class _Listings:
    """How far somebody came who lists a directory again and again."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._started_ns = self._ended_ns = 0
        self._whole = 0

    def go_on(self, directory: str) -> None:
        self._started_ns = time.perf_counter_ns()
        while not self.stop.is_set():
            with os.scandir(directory) as entries:
                for _ in entries:
                    if self.stop.is_set():
                        return
            self._whole += 1

    def done(self) -> int:
        """Listings that came to their end."""
        return self._whole


@contextlib.contextmanager
def _listing_again_and_again(directory: str) -> Iterator[_Listings]:
    # A thread will do: a scandir waits without the interpreter's lock, and the client is C.
    listings = _Listings()
    thread = threading.Thread(target=listings.go_on, args=(directory,), name="listing")
    thread.start()
    try:
        yield listings
    finally:
        listings.stop.set()
        thread.join()
