"""Somebody on the host watches while the guest works: what is seen is what the guest once had,
and never what it had before that.

Crossings take 2 ms and are made one at a time, so that the host stands still between them. A
sight counts if two walks in a row have found the same.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from support.live import LiveShare
from support.prefixes import History, Tree, Verdict, difference, snapshot
from support.scribbler import Scribbler, furnish

from osxfs_sim.mount import launch

_MS = 1_000_000
PROFILE = """
name = "one-at-a-time"
title = "osxfs-delegated, one crossing at a time"
about = "For tests."
extends = "osxfs-delegated"

[write_back]
in_flight = 1

[sources."write_back.in_flight"]
basis = "assumed"
text = "So that the host stands still in between."
"""


@dataclass
class Observer:
    """Looks at *source* again and again. A sight is a tree and the latest state it may be of."""

    source: Path
    history: History
    sights: list[tuple[Tree, int]] = field(default_factory=list)

    def look(self) -> None:
        before = None
        with contextlib.suppress(OSError):  # it has changed during the walk
            before = _walk(self.source)
            after = _walk(self.source)
            if before == after:
                # What is under way in the guest may be on the host already.
                self.sights.append((after[0], len(self.history.states)))

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                self.look()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def verdicts(self) -> Iterator[Verdict]:
        """One for each sight, up to the first that is rejected."""
        point = 0
        last = len(self.history.states) - 1
        for tree, until in self.sights:
            verdict = self.history.judge(tree, since=point, until=min(until, last))
            yield verdict
            if verdict.point is None:
                return
            point = verdict.point


def _walk(root: Path) -> tuple[Tree, dict[str, int]]:
    """The tree, and when each directory and file in it changed."""
    tree = snapshot(root)
    return tree, {path: os.lstat(root / path).st_ctime_ns for path in tree}


def observe(
    base: Path, share: Callable[..., LiveShare], seed: int
) -> tuple[LiveShare, Scribbler, Observer]:
    """Let a guest work under observation."""
    source, guest, profile = base / "source", base / "guest", base / "profile.toml"
    source.mkdir()
    guest.mkdir()
    furnish(source)
    profile.write_text(PROFILE)
    random = Random(seed)
    live = share(
        source,
        guest,
        profile=str(profile),
        latency_ns=2 * _MS,
        write_back_age_ns=random.choice((1, 20, 100)) * _MS,
        write_back_changes=random.choice((10, 60)),
    )
    scribbler = Scribbler(guest, snapshot(source), random, sync_rate=0.01)
    observer = Observer(source, scribbler.history)
    with observer.looking():
        assert scribbler.run(150)
        live.share.flush()
    observer.look()
    return live, scribbler, observer


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 60))]
)
def test_the_host_shows_one_state_of_the_guest_after_the_other(
    field: Path, share: Callable[..., LiveShare], seed: int
) -> None:
    live, scribbler, observer = observe(field, share, seed)
    *_, verdict = observer.verdicts()
    assert verdict.point is not None, (
        f"{verdict.why}\nthe guest: {'; '.join(scribbler.log)}\n"
        f"again: .venv/bin/python -m pytest -m 'slow or not slow' "
        f"'{os.environ['PYTEST_CURRENT_TEST'].rpartition(' ')[0]}'"
    )
    points = {each.point for each in observer.verdicts()}
    assert len(points) > 5, f"too little was seen: {sorted(points)}"
    assert not difference(scribbler.tree, snapshot(field / "source"))
    assert not difference(scribbler.tree, snapshot(field / "guest"))
    status = live.status().write_back
    assert status.lost_host_changes == status.kept_host_changes == 0


def test_a_server_that_breaks_the_rule_is_found_out(
    field: Path, share: Callable[..., LiveShare], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "support.disorderly_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for seed in range(10):
        (field / str(seed)).mkdir()
        live, _, observer = observe(field / str(seed), share, seed)
        live.expected_trouble = True
        *_, verdict = observer.verdicts()
        live.unmount()
        if verdict.point is None:
            return
    pytest.fail("nothing was found wrong")
