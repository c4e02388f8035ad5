"""Whatever guests, hosts, kills and full disks do at once: nothing acknowledged is lost or wedged.

For hours, of another seed each time, on tmpfs and on ext4:

    scripts/test -m slow tests/adversary --adversary-minutes 60
"""

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import pytest
from support.guests import eventually
from support.live import LiveShare, is_mounted

from adversary.arena import Arena, Plan, ViolationError
from adversary.expected import Seen
from adversary.plans import HOUR_NS, IN_EVERY_RUN, PLANS, held
from adversary.sides import tree
from osxfs_sim.catalogue import load_profile, profile_names
from osxfs_sim.exports import load_exports
from osxfs_sim.model.profile import Transport
from osxfs_sim.mount import launch
from osxfs_sim.settings import ShareSettings

COMPARISONS = 2
"""Of each plan in every run of the tests."""
MANY_COMPARISONS = 12
"""Of each plan and seed where it goes on for hours."""
MOST_COMPARISONS_WITH_A_BUG = 60
"""More than any of the seeded bugs needs, by far."""
CORRECT_SERVER = launch._SERVER
FILE_SYSTEMS = ("tmpfs", "ext4")


@contextlib.contextmanager
def small_disk(top: Path, kind: str) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    disk = top / "disk"
    disk.mkdir()
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "disk", disk], check=True)
    else:
        image = top / "image"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@contextlib.contextmanager
def arena(
    name: str,
    seed: int,
    plan: Plan,
    top: Path,
    kind: str,
    sharing: Callable[[], contextlib.AbstractContextManager[Callable[..., LiveShare]]],
) -> Iterator[Arena]:
    """An adversary by *plan* in the empty directory *top*, on a file system of that *kind*."""
    with small_disk(top, kind) as disk, sharing() as share:
        source, guest, state = disk / "source", top / "guest", top / "state"
        if plan.full_state:
            source, state = top / "source", disk / "state"
        for path in (source, guest, state):
            path.mkdir()
            if plan.server_uid is not None:
                os.chown(path, plan.server_uid, plan.server_uid)

        def mount(unwritten: str | None) -> LiveShare:
            settings = {**plan.settings, "state_directory": str(state), "unwritten": unwritten}
            live = share(source, guest, **settings)
            live.expected_trouble = plan.full_rate > 0 or plan.kill_rate > 0
            return live

        views: tuple[tuple[Path, Path], ...] = ()
        with contextlib.ExitStack() as stack:
            if launch._SERVER == CORRECT_SERVER:
                stack.enter_context(_checked())
            if plan.stays:
                (source / plan.stays).mkdir()
                both = stack.enter_context(_exports(source, guest, state, plan))
                guest, views = guest / "all", ((guest / "part", source / plan.stays),)

                def mount(unwritten: str | None) -> LiveShare:
                    return both.all_of_it(unwritten)

            its = Arena(f"{name} {seed}", plan, source, guest, disk / "ballast", mount, views)
            if plan.stays:
                its.expected.adopt({(plan.stays,): _directory(source / plan.stays)}, {})
            try:
                yield its
            finally:
                its.close()
                its.unmount()


@contextlib.contextmanager
def _checked() -> Iterator[None]:
    """The servers that are started in this block end where what is pending contradicts itself."""
    with (
        mock.patch.object(launch, "_SERVER", "support.checked_server"),
        mock.patch.dict(os.environ, {"PYTHONPATH": str(Path(__file__).parents[1])}),
    ):
        yield


def _directory(path: Path) -> Seen:
    return tree(path.parent)[0][(path.name,)]


@dataclass
class _Exports:
    """All of a source with write-back, and a consistent part of it."""

    hub: launch.Share
    settings: tuple[ShareSettings, ...]
    _lives: list[LiveShare] = field(default_factory=list)

    def all_of_it(self, unwritten: str | None) -> LiveShare:
        """The first time as it is; later after a kill of it. Then the part is killed, too."""
        if self._lives:
            self._lives[-1].wait_for_end()
            part = self.hub.exports[1]
            part._server.kill()
            part._server.wait()
            eventually(lambda: not is_mounted(Path(part.mountpoint)))
            self.hub.exports = ()
            for settings in (replace(self.settings[0], unwritten=unwritten), self.settings[1]):
                self.hub.exports += (launch.launch(settings),)
        share = self.hub.exports[0]
        source, guest = Path(self.settings[0].source or ""), Path(share.mountpoint)
        self._lives.append(LiveShare(source, guest, share, share._server))
        return self._lives[-1]

    def end(self) -> None:
        self.hub.unmount()
        for live in self._lives:
            live._watchdog.cancel()


@contextlib.contextmanager
def _exports(source: Path, guest: Path, state: Path, plan: Plan) -> Iterator[_Exports]:
    text = f"""
        [exports.all]
        source = "{source}"
        profile = "{plan.settings["profile"]}"
        latency = "0us"
        write_back_age = "{plan.settings["write_back_age_ns"]}ns"
        [exports.part]
        source = "{source / plan.stays}"
        profile = "osxfs"
        latency = "0us"
        """
    file = guest.parent / "share.toml"
    file.write_text(text)
    given = {"state_directory": str(state), "calibrate": False}
    exports = load_exports(str(file), str(guest), given)
    both = _Exports(launch.launch_exports(exports), exports.shares)
    try:
        yield both
    finally:
        both.end()


def fight(its: Arena, comparisons: int) -> None:
    its.run(lambda: its.comparisons >= comparisons)


@dataclass
class Tally:
    """What was judged, in one fight or many: so that a judge who judges nothing is found out."""

    comparisons: int = 0
    synced_kills: int = 0
    """Of servers that had something to lose."""
    checked: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, its: Arena) -> None:
        self.comparisons += its.comparisons
        self.checked.update(its.checked)
        if its.plan.writes_back and not its.plan.closes:
            self.synced_kills += its.kills

    def demand(self) -> None:
        """What only the guest has touched, with content, was compared; and what else there was."""
        assert self.comparisons
        assert self.checked["answers"] > 0, self.checked
        if self.comparisons >= MANY_COMPARISONS:
            assert self.checked["reads"] > 0, self.checked
            assert self.checked["kept"] > self.comparisons, self.checked
            assert self.checked["kept bytes"] > 100 * self.comparisons, self.checked
        if self.synced_kills >= 5:
            assert self.checked["synced"], self.checked


def again(name: str, seed: int, kind: str) -> str:
    return (
        f"scripts/test -m slow tests/adversary --adversary-plan '{name}' --adversary-seed {seed} "
        f"-k hours-{kind}"
    )


def test_every_profile_that_caches_anything_has_a_plan() -> None:
    tried = {plan.settings["profile"] for plan in PLANS.values()}
    caching = {
        name
        for name in profile_names()
        if load_profile(name).transport is Transport.REQUESTS
        # Copies are judged by the machine of tests/synchronize; of one machine nothing is cached.
    }
    assert caching <= tried


@pytest.mark.parametrize("name", IN_EVERY_RUN)
def test_nothing_that_is_acknowledged_is_lost_or_wedges(
    name: str, field: Path, sharing: Callable[..., object]
) -> None:
    kind = FILE_SYSTEMS[IN_EVERY_RUN.index(name) % 2]
    with arena(name, 1, PLANS[name], field, kind, sharing) as its:
        its.again = again(name, 1, kind)
        fight(its, COMPARISONS)
        tally = Tally()
        tally.add(its)
        tally.demand()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILE_SYSTEMS, ids="hours-{}".format)
def test_nor_is_it_in_hours_of_that(
    kind: str, field: Path, sharing: Callable[..., object], request: pytest.FixtureRequest
) -> None:
    minutes = request.config.getoption("--adversary-minutes")
    first = request.config.getoption("--adversary-seed")
    only = request.config.getoption("--adversary-plan")
    seed = int(time.time()) if first is None else first
    names, violations, fights = [only] if only else list(PLANS), [], 0
    tally = Tally()
    deadline_s = time.monotonic() + minutes * 60
    while not fights or time.monotonic() < deadline_s:
        name = names[fights % len(names)]
        seed += not fights % len(names) and fights > 0
        fights += 1
        top = field / str(fights)
        top.mkdir()
        with arena(name, seed, PLANS[name], top, kind, sharing) as its:
            its.again = again(name, seed, kind)
            try:
                fight(its, MANY_COMPARISONS)
            except ViolationError as error:
                violations.append(f"{name}: {error}")
                its.live.expected_trouble, its.live.expected_end = True, None
            tally.add(its)
    assert not violations, f"{len(violations)} in {fights}:\n" + "\n\n".join(violations)
    tally.demand()


# Each invariant is shown something that it must reject


@pytest.mark.parametrize(
    ("bug", "said"),
    [
        (
            "forget",
            "acknowledged, and not on the host|is not shown what the host has|it was told|"
            "and the host has not touched it",
        ),
        ("end", "the server ended|the server of .* is gone"),
        ("miscount", "what is pending contradicts itself"),
        ("unsync", "synced, and lost by a kill"),
        ("leak", "descriptors more than at the start"),
        ("wedge", "No space left|refuses"),
        ("lie", "it was told"),
        ("forget attributes", r"has the mode|is of \d+, not|is not shown"),
        ("count", "and the host has not touched it"),
    ],
)
def test_a_server_with_a_bug_is_found_out(
    bug: str,
    said: str,
    field: Path,
    sharing: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "adversary.seeded")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("ADVERSARY_BUG", bug)
    kills = 0.03 if bug == "unsync" else 0.0
    # Of one guest alone everything is known, always.
    plan = Plan(held(HOUR_NS), hosts=0, guests=1, rounds_between=60, kill_rate=kills)
    with arena(bug, 1, plan, field, "tmpfs", sharing) as its:
        its.live.expected_trouble, its.live.expected_end = True, None
        try:
            with pytest.raises(ViolationError, match=said):
                fight(its, MOST_COMPARISONS_WITH_A_BUG)
        finally:
            its.live.expected_trouble = True
            its.live.kill()
