"""What a server keeps for itself is its owner's alone, whatever the umask was."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from osxfs_sim.mount.mounts.mountpoints import log_path, runtime_directory
from osxfs_sim.mount.mounts.runtime_records import record_path


@pytest.fixture
def umask_of_nothing() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(*places: Path) -> list[str]:
    """What of *places*, and below them, others can get at: to look at it, or to change it."""
    found = []
    for place in places:
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            continue  # it came and went
        if stat.S_ISLNK(mode):
            continue  # nobody's
        if mode & 0o077:
            found.append(f"{place} {stat.filemode(mode)}")
        if stat.S_ISDIR(mode) and mode & 0o011:
            found += open_to_others(*sorted(place.iterdir()))
    return found


@pytest.mark.usefixtures("umask_of_nothing")
@pytest.mark.parametrize(
    ("profile", "is_there"),
    [
        *(("none", True), ("osxfs-delegated", True), ("docker-vz-sync", True), ("volume", True)),
        *(("osxfs-delegated", False), ("docker-vz-sync", False)),
    ],
)
def test_what_a_share_keeps_is_its_owners_alone(share, field, profile, is_there):
    state, trace = field / "above" / "state", field / "trace.parquet"
    if is_there:
        state.mkdir(parents=True)
        (field / "above").chmod(0o755)
        state.chmod(0o755)
    settings = {"profile": profile, "state_directory": str(state)}
    makes_requests = profile not in ("docker-vz-sync", "volume")
    if makes_requests:
        settings["trace"] = str(trace)
    live = share(**settings)
    (live.guest / "made").write_text("secret")
    os.symlink("made", live.guest / "link")
    os.chown(live.guest / "link", 7, 7, follow_symlinks=False)
    if makes_requests:
        live.share.flush()
    runtime = runtime_directory(os.geteuid())
    record = record_path(os.geteuid(), str(live.guest))
    own = [record, record.with_suffix(".sock"), log_path(runtime, str(live.guest))]
    own += [trace, Path(f"{trace}.partial")]
    assert any(path.exists() for path in own)

    def wrong() -> list[str]:
        # A guest's copy of a tree has the modes of the tree.
        below = (
            [each for each in state.iterdir() if each.name != "copies"] if state.exists() else []
        )
        copies = state / "copies"
        if copies.exists() and copies.stat().st_mode & 0o022:
            below.append(copies)
        return open_to_others(*own, *below, *([] if is_there else [field / "above"]))

    assert not wrong()
    live.unmount()
    assert not wrong()


def test_a_file_that_is_open_to_others_is_noticed(tmp_path):
    (tmp_path / "a").touch(0o640)
    tmp_path.chmod(0o711)
    assert open_to_others(tmp_path) == [f"{tmp_path} drwx--x--x", f"{tmp_path}/a -rw-r-----"]
    tmp_path.chmod(0o700)
    assert not open_to_others(tmp_path)
