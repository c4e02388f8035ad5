"""While root synchronizes, the source's owner swaps names for links, at every call in its turn."""

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pairs import Pair
from support.swapping import Swapper, state_of
from support.sync_trees import write_tree

from osxfs_sim.synchronize import roots, stage, transition
from osxfs_sim.synchronize.errors import SyncError

NAMES = ["d", "d/f", "f", "g", "gone", "new", "made"]
OTHERS = (
    *((roots, "_open"), (roots, "birth_of"), (transition, "rename")),
    (transition, "set_owner"),
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    (secret / "d").mkdir(parents=True)
    (secret / "d").chmod(0o700)
    for name in ("d/f", "f", "g", "gone", "new", "made"):
        (secret / name).write_text("secret")
        (secret / name).chmod(0o600)
    return secret


def exposed(base: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> int:
    """A cycle with edits of all kinds, with the swap at that call; how many there were."""
    base.mkdir()
    pair = Pair(base)
    try:
        write_tree(pair.host, {"d": None, "d/f": "1", "f": "1", "g": "1", "gone": "1"})
        pair.engine.cycle()
        (pair.guest / "d" / "f").write_text("guest's")
        (pair.guest / "f").write_text("guest's")
        (pair.guest / "g").chmod(0o755)
        (pair.guest / "gone").unlink()
        write_tree(pair.guest, {"new": "guest's", "made": None, "made/f": "guest's"})
        (pair.host / "d").chmod(0o755)
        with monkeypatch.context() as patched:
            swapper = Swapper(patched, pair.host, secret, NAMES, OTHERS)
            with swapper.during(number), contextlib.suppress(OSError, SyncError):
                pair.engine.cycle()
        with contextlib.suppress(OSError, SyncError):
            pair.engine.cycle()
        texts = {path.read_text() for path in pair.guest.rglob("*") if _is_file(path)}
        assert "secret" not in texts, number
    finally:
        pair.engine.close()
    return swapper.calls


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@pytest.fixture(params=["in the state", "in the root"])
def staging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one file system with the state, or on another: then it lies in the source."""
    if request.param == "in the root":
        monkeypatch.setattr(stage, "_can_rename", lambda *_: False)


@pytest.mark.takes_seconds
@pytest.mark.usefixtures("staging")
def test_a_swapped_name_leads_the_synchronizer_nowhere(tmp_path, secret, monkeypatch):
    before = state_of(secret)
    calls = exposed(tmp_path / "all", secret, monkeypatch, 100_000)
    assert calls > 100
    for number in range(calls):
        exposed(tmp_path / f"{number}", secret, monkeypatch, number)
        assert state_of(secret) == before, number


@pytest.mark.takes_seconds
def test_a_mode_that_is_set_by_name_would_be_caught(tmp_path, secret, monkeypatch):
    """As it was with the staging: chmod follows the name."""
    real: Callable[[int, int], None] = os.fchmod

    def fchmod(fd: int, mode: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.startswith(str(tmp_path)) and "/host/" in path:
            os.chmod(path, mode)
        else:
            real(fd, mode)

    monkeypatch.setattr(os, "fchmod", fchmod)
    before = state_of(secret)
    calls = exposed(tmp_path / "all", secret, monkeypatch, 100_000)
    # Where a file looks young, some calls more are made: its place among them is another.
    for sweep, number in itertools.product(range(10), range(calls + 10)):
        with contextlib.suppress(AssertionError):
            exposed(tmp_path / f"{sweep}-{number}", secret, monkeypatch, number)
        if state_of(secret) != before:
            return
    pytest.fail("nothing was caught")
