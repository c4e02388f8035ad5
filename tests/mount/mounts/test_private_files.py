"""What a server keeps for itself is for its user alone, whatever the umask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.acting import need_root  # noqa: F401

from osxfs_sim.mount.mounts.mountpoints import control_path, local_record_path, runtime_directory


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("need_root", "need_fuse", "open_umask")
@pytest.mark.parametrize("profile", ["osxfs-delegated", "docker-vz-sync", "volume"])
def test_nothing_that_a_server_keeps_can_be_read_by_others(
    field: Path, share, profile: str
) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir(mode=0o755)
    (field / "source" / "file").write_text("secret")
    (field / "source" / "file").chmod(0o600)
    live = share(
        *(field / "source", field / "guest"),
        profile=profile,
        state_directory=str(field / "state" / "below"),
    )
    (live.guest / "file").write_text("another")
    (live.guest / "new").write_text("new")
    os.chown(live.guest / "new", 1201, 1201)
    place = control_path(runtime_directory(os.geteuid()), str(live.guest))
    kept = [
        *(field / "state").rglob("*"),
        *place.parent.glob(f"{place.stem}*"),
        local_record_path(str(live.guest)),
    ]
    copies = field / "state" / "below" / "copies"  # which others may use, as they may the source
    assert not [
        str(path)
        for path in kept
        if path.exists() and copies not in (path, *path.parents) and _can_be_read(path, field)
    ]


def _can_be_read(path: Path, top: Path) -> bool:
    """Whether others get anything of it, or can put anything there, if they may enter *top*."""
    if path.is_dir():
        return bool(path.stat().st_mode & 0o022)
    ways = [above for above in path.parents if top in above.parents or top not in path.parents]
    is_open = all(above.stat().st_mode & 0o011 for above in ways)
    return bool(path.stat().st_mode & 0o066) and is_open


def test_what_others_can_read_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("file", "open/file"):
        (tmp_path / name).touch(mode=0o644)
        assert _can_be_read(tmp_path / name, tmp_path)
    (tmp_path / "open").chmod(0o700)
    assert not _can_be_read(tmp_path / "open" / "file", tmp_path)
    (tmp_path / "open").chmod(0o777)
    assert _can_be_read(tmp_path / "open", tmp_path)
