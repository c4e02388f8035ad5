"""``osxfs-sim clean`` names what lies there, and takes away only what can be made again."""

from pathlib import Path

import pytest
from support.damaging import said_by

from osxfs_sim.cli import clean


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the test's own: this one has shares of others."""
    for name in ("cache/osxfs-sim/cases/x", "run", "state/copied/c", "memory"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cache/osxfs-sim/cases/x/big").write_bytes(b"x" * 100_000)
    (tmp_path / "run/old.log").write_text("an error\n")
    (tmp_path / "state/copied/c/precious").write_text("precious")
    (tmp_path / "run/link.log").symlink_to(tmp_path / "state/copied/c/precious")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(clean, "runtime_directory", lambda _: tmp_path / "run")
    monkeypatch.setattr(clean, "state_directory", lambda _: tmp_path / "state")
    monkeypatch.setattr(clean, "default_directory", lambda: tmp_path / "memory")
    monkeypatch.setattr(clean.tempfile, "gettempdir", lambda: str(tmp_path / "memory"))
    return tmp_path


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if not path.is_dir())


def test_it_says_first_and_removes_nothing(machine: Path, capsys) -> None:
    before = files(machine)
    code, out, _ = said_by(["clean"], capsys)
    assert code == 0
    assert files(machine) == before
    assert "would remove" in out
    assert "osxfs-sim clean --yes removes it" in out


def test_it_takes_away_what_can_be_made_again_and_nothing_else(machine: Path, capsys) -> None:
    with open(machine / "run/living.log", "w"):
        code, out, err = said_by(["clean", "--yes"], capsys)
        assert (code, err) == (0, "")
        assert files(machine) == ["run/link.log", "run/living.log", "state/copied/c/precious"]
    assert "kept" in out
    assert "which may hold what the host has not" in out
    said_by(["clean", "--yes"], capsys)
    assert files(machine) == ["run/link.log", "state/copied/c/precious"]
