"""What a server keeps for itself is its owner's alone, whatever the umask was."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from osxfs_sim.mount.mountpoints import log_path, runtime_directory
from osxfs_sim.mount.records import record_path


@pytest.fixture
def umask_of_nothing() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(*places: Path) -> list[str]:
    """What of *places*, and below them, others may look at or change; a link is nobody's."""
    found = []
    for place in places:
        for path in (place, *place.rglob("*")):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # it came and went
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found.append(f"{path} {stat.filemode(mode)}")
    return found


@pytest.mark.parametrize(
    "profile", ["none", "osxfs-cached", "osxfs-delegated", "docker-vz-sync", "volume"]
)
def test_what_a_share_keeps_is_its_owners_alone(share, field, umask_of_nothing, profile):
    state, trace = field / "state", field / "trace.parquet"
    settings = {"profile": profile, "state_directory": str(state)}
    makes_requests = profile not in ("docker-vz-sync", "volume")
    if makes_requests:
        settings["trace"] = str(trace)
    source = field / "source"
    (source / "private").mkdir(parents=True, mode=0o700)
    (source / "private" / "key").write_text("secret")
    live = share(source, field / "guest" if (field / "guest").mkdir() is None else None, **settings)
    (live.guest / "made").write_text("also secret")
    os.symlink("made", live.guest / "link")
    os.chown(live.guest / "link", 7, 7, follow_symlinks=False)
    if makes_requests:
        live.share.flush()
    own = [state]
    runtime = runtime_directory(os.geteuid())
    record = record_path(os.geteuid(), str(live.guest))
    for path in (record, record.with_suffix(".sock"), log_path(runtime, str(live.guest))):
        if path.exists():
            own.append(path)
    if makes_requests:
        own += [trace, Path(f"{trace}.partial")]
    assert len(own) > 1
    # A guest's copy of a tree has the modes of the tree.
    copies = [str(state / "copies")]
    assert not [each for each in open_to_others(*own) if not each.startswith(tuple(copies))]
    live.unmount()
    assert not [each for each in open_to_others(*own) if not each.startswith(tuple(copies))]


def test_a_file_that_is_open_to_others_is_noticed(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "a").touch(0o640)
    assert open_to_others(tmp_path) == [f"{tmp_path}/a -rw-r-----"]
