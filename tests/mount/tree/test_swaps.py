"""While root writes back, recovers, takes away and copies, another user swaps names for links.

At every system call in its turn (support/swapping.py): what the links lead to must stay as it is.
"""

import contextlib
import os
import stat as modes
from pathlib import Path

import pytest
from support.acting import need_root  # noqa: F401
from support.swapping import Swapper, by_name, state_of
from support.unmounted import Unmounted, recovered, unmounted

from osxfs_sim.mount.mounts.copying import make_copy
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.writeback.journal_directory import journals_of
from osxfs_sim.mount.writeback.unwritten import all_unwritten, check_unwritten, save

NAMES = ["d", "e", "f", "g", "n", "new", "link", "d/f", "d/new"]
NOBODY = 65_534


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """What the same names lead to where only root may go."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    for name in ("d", "e", "n"):
        (secret / name).mkdir(mode=0o700)
    for name in ("f", "g", "new", "link", "d/f", "d/new"):
        (secret / name).write_text("secret")
        (secret / name).chmod(0o600)
    return secret


def make_source(source: Path) -> Path:
    for name in ("d", "e"):
        (source / name).mkdir(parents=True)
    for name in ("f", "g", "d/f"):
        (source / name).write_text("host's")
    return source


def live(guest: Unmounted) -> None:
    """A guest that has done something of each kind, and a host that has made one of them too."""
    guest.mkdir("n")
    guest.make("new")
    guest.write("new", b"guest's")
    guest.make("d/new")
    guest.symlink("link", "f")
    guest.write("d/f", b"G")
    guest.set("f", size=2, mode=0o666)
    guest.set("d", mode=0o777)
    guest.link("f", "e/again")
    guest.rename("g", "e/g")
    guest.unlink("f")
    (guest.source / "n").mkdir(mode=0o755)


def write_back(guest: Unmounted, swapper: Swapper, number: int) -> None:
    live(guest)
    with swapper.during(number), contextlib.suppress(OSError, MountError):
        guest.finish()
    with contextlib.suppress(OSError, MountError):
        guest.finish()


def exposed(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> tuple[int, bool]:
    """Write back with the swap at that call: how many calls there were, and whether it held."""
    place = tmp_path / f"{number}"
    source = make_source(place / "source")
    before = state_of(secret)
    with monkeypatch.context() as patched:
        swapper = Swapper(patched, source, secret, NAMES)
        with unmounted(source, place / "state") as guest:
            write_back(guest, swapper, number)
    return swapper.calls, state_of(secret) == before


@pytest.mark.takes_seconds
def test_write_back_changes_nothing_where_a_swapped_name_leads(tmp_path, secret, monkeypatch):
    calls, _ = exposed(tmp_path, secret, monkeypatch, 10_000)
    assert calls > 50
    for number in range(calls):
        _, holds = exposed(tmp_path, secret, monkeypatch, number)
        assert holds, number


@pytest.mark.takes_seconds
def test_one_chmod_by_name_would_be_caught(tmp_path, secret, monkeypatch):
    """As it was: the mode of a directory that both sides had made was set by its name."""
    by_name(monkeypatch)
    calls, _ = exposed(tmp_path, secret, monkeypatch, 10_000)
    outcomes = [exposed(tmp_path, secret, monkeypatch, number)[1] for number in range(calls)]
    assert not all(outcomes)


@pytest.mark.takes_seconds
def test_recovery_changes_nothing_where_a_swapped_name_leads(tmp_path, secret, monkeypatch):
    def recover(number: int) -> int:
        place = tmp_path / f"{number}"
        source = make_source(place / "source")
        guest = Unmounted(source, place / "state")
        live(guest)
        guest.crash()
        with monkeypatch.context() as patched:
            swapper = Swapper(patched, source, secret, NAMES)
            with swapper.during(number), contextlib.suppress(OSError, MountError):
                recovered(source, place / "state")
        return swapper.calls

    before = state_of(secret)
    calls = recover(10_000)
    for number in range(0, calls, 3):
        recover(number)
        assert state_of(secret) == before, number


def test_a_copy_holds_nothing_of_where_a_swapped_name_leads(tmp_path, secret, monkeypatch):
    before = state_of(secret)

    def copied(number: int) -> int:
        place = tmp_path / f"{number}"
        source = make_source(place / "source")
        copy = place / "copy"
        with monkeypatch.context() as patched:
            swapper = Swapper(patched, source, secret, NAMES)
            with swapper.during(number):
                make_copy(str(source), copy, lambda: False)
        texts = {path.read_text() for path in copy.rglob("*") if path.is_file() and _is_real(path)}
        assert "secret" not in texts, number
        assert state_of(secret) == before, number
        return swapper.calls

    for number in range(copied(10_000)):
        copied(number)


def _is_real(path: Path) -> bool:
    return modes.S_ISREG(path.lstat().st_mode)


# What is kept: the state of a user, which root looks into


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Path]:
    """A source, and the state of another user with what was left of it."""
    source, state = make_source(tmp_path / "source"), tmp_path / "state"
    guest = Unmounted(source, state)
    live(guest)
    guest.crash()
    for path in [state, *state.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    return source, state


@pytest.mark.usefixtures("need_root")
@pytest.mark.parametrize("which", ["write-back", "journal", "lock", "changes", "data", "progress"])
@pytest.mark.parametrize("does", ["list", "discard", "save"])
def test_what_a_user_puts_in_the_place_of_a_journal_is_not_followed(
    kept: tuple[Path, Path], tmp_path: Path, which: str, does: str
) -> None:
    """It was: files called data, progress and lock were removed where a link led."""
    source, state = kept
    (journal,) = journals_of(state, str(source))
    roots = tmp_path / "roots"
    roots.mkdir(mode=0o700)
    for name in ("lock", "changes", "data", "progress"):
        (roots / name).write_text("")
    target: Path = roots
    if which == "write-back":
        place = journal.parent
        (roots / journal.name).mkdir()
        for name in ("lock", "data"):
            (roots / journal.name / name).touch()
    elif which == "journal":
        place = journal
    else:
        place, target = journal / which, roots / which
    place.rename(tmp_path / "moved away")
    place.symlink_to(target)
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    before = state_of(roots)
    with contextlib.suppress(MountError, OSError):
        if does == "discard":
            check_unwritten(state, str(source), "discard", lambda _: None)
        found = all_unwritten(state, str(source))
        if does == "save":
            (tmp_path / "saved").mkdir()
            top_fd = os.open(tmp_path / "saved", os.O_RDONLY)
            try:
                for left in found:
                    save(left, top_fd)
            finally:
                os.close(top_fd)
    after = state_of(roots)
    assert {path: each[:-1] for path, each in after.items()} == {
        path: each[:-1] for path, each in before.items()
    }


@pytest.mark.usefixtures("need_root")
def test_a_journal_that_is_reached_by_its_path_would_be_caught(
    kept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_place(path: Path, flags: int = 0) -> int:
        return os.open(path, flags | os.O_DIRECTORY)

    monkeypatch.setattr("osxfs_sim.mount.writeback.journal_directory.at.open_place", open_place)
    with pytest.raises(AssertionError):
        test_what_a_user_puts_in_the_place_of_a_journal_is_not_followed(
            kept, tmp_path, "journal", "list"
        )


@pytest.mark.usefixtures("need_root")
def test_what_another_user_may_have_written_is_not_recovered_with_roots_rights(
    kept: tuple[Path, Path],
) -> None:
    source, state = kept
    with pytest.raises(MountError, match="is user 65534's"):
        check_unwritten(state, str(source), "recover", lambda _: None)
    for path in [state, *state.rglob("*")]:
        os.chown(path, 0, 0)
    assert check_unwritten(state, str(source), "recover", lambda _: None)
