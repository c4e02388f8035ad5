"""A mounted share whose host refuses for good: what each side sees, and who is told what."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.guests import eventually, refused
from support.live import LiveShare
from support.nobody import NOBODY

from osxfs_sim import MountError
from osxfs_sim.cli import main
from osxfs_sim.model.status import ChangeSetAside
from osxfs_sim.mount.writeback.journal_directory import journals_of

HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 3_600 * 10**9}


@pytest.fixture
def fixed(field: Path) -> Iterator[Callable[..., None]]:
    """A function that makes a path immutable on the host, or not: nobody may change it then."""
    done: list[Path] = []
    (field / "probe").touch()
    if os.geteuid() or shutil.which("chattr") is None:
        pytest.skip("only root can make a file immutable")
    if subprocess.run(["chattr", "+i", field / "probe"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this file system knows no immutable files")
    subprocess.run(["chattr", "-i", field / "probe"], check=True)

    def fix(path: Path, *, undo: bool = False) -> None:
        subprocess.run(["chattr", "-i" if undo else "+i", path], check=True)
        done.append(path)

    yield fix
    for path in done:
        if path.exists():
            subprocess.run(["chattr", "-i", path], check=True)


@pytest.fixture
def held(
    fixed: Callable[..., None], field: Path, share: Callable[..., LiveShare]
) -> Iterator[LiveShare]:
    """A share of *field*'s source, in which something will be set aside."""
    del fixed
    (field / "source").mkdir()
    (field / "guest").mkdir()
    live = share(field / "source", field / "guest", **HELD, state_directory=str(field / "state"))
    live.expected_trouble = True
    yield live
    if live.server.poll() is None:
        live.expected_end = 1
        with pytest.raises(MountError, match="set aside"):
            live.unmount()
    else:
        live.expected_end = live.server.returncode


def counts(live: LiveShare) -> dict:
    return live.status().write_back


def test_one_change_is_told_and_kept_and_everything_else_goes_on(
    held: LiveShare, fixed: Callable[..., None], share: Callable[..., LiveShare], field: Path
) -> None:
    (held.source / "fixed").write_text("host")
    (held.guest / "before").write_text("precious")
    os.unlink(held.guest / "fixed")
    (held.guest / "after").write_text("precious")
    fixed(held.source / "fixed")
    with pytest.raises(MountError, match="does not take fixed: Operation not permitted"):
        held.share.flush()
    assert sorted(os.listdir(held.source)) == ["after", "before", "fixed"]
    eventually(lambda: sorted(os.listdir(held.guest)) == ["after", "before", "fixed"])
    assert (held.guest / "fixed").read_text() == "host"
    held.share.flush()  # it is told once
    aside = counts(held).set_aside
    assert aside.count == 1
    assert aside.latest == [
        ChangeSetAside(
            change="unlink",
            path="fixed",
            from_path=None,
            reason="Operation not permitted",
        )
    ]
    assert any("set aside" in warning for warning in held.status().warnings)
    (held.guest / "later").touch()
    with pytest.raises(MountError, match=r"set aside.*fixed: Operation not permitted"):
        held.unmount()
    assert held.wait_for_end() == 1
    assert (held.source / "later").exists()
    again = share(held.source, held.guest, **HELD, state_directory=str(field / "state"))
    assert any("of earlier shares" in warning for warning in again.status().warnings)
    assert (again.guest / "fixed").exists()
    again.unmount()
    fixed(held.source / "fixed", undo=True)
    again = share(
        *(held.source, held.guest),
        **HELD,
        state_directory=str(field / "state"),
        unwritten="recover",
    )
    assert sorted(os.listdir(again.guest)) == ["after", "before", "later"]
    assert counts(again).recovered == 1
    again.unmount()
    assert journals_of(field / "state", str(held.source)) == []


def test_fsync_tells_each_handle_of_it_once_and_nobody_else(
    held: LiveShare, fixed: Callable[..., None]
) -> None:
    for name in ("fixed", "other"):
        (held.source / name).write_text("host")
    first = os.open(held.guest / "fixed", os.O_RDWR)
    second = os.open(held.guest / "fixed", os.O_RDONLY)
    other = os.open(held.guest / "other", os.O_RDWR)
    try:
        os.fchmod(first, 0o600)
        os.write(other, b"GUEST")
        fixed(held.source / "fixed")
        for handle in (first, second):
            with refused(errno.EPERM):
                os.fsync(handle)
            os.fsync(handle)
        os.fsync(other)
        third = os.open(held.guest / "fixed", os.O_RDONLY)
        os.fdatasync(third)
        os.close(third)
    finally:
        for handle in (first, second, other):
            os.close(handle)
    assert (held.source / "other").read_text() == "GUEST"


def test_who_opens_it_later_is_told_if_nobody_was(
    held: LiveShare, fixed: Callable[..., None]
) -> None:
    (held.source / "directory").mkdir()
    (held.guest / "directory" / "new").touch()
    (held.guest / "beside").touch()
    fixed(held.source / "directory")
    with pytest.raises(MountError, match="directory/new"):
        held.share.flush()
    fd = os.open(held.guest / "directory", os.O_RDONLY)
    try:
        with refused(errno.EPERM):
            os.fsync(fd)
        os.fsync(fd)
    finally:
        os.close(fd)
    fd = os.open(held.guest / "beside", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def test_a_file_that_is_never_made_is_gone_but_for_who_has_it_open(
    held: LiveShare, fixed: Callable[..., None], tmp_path: Path
) -> None:
    (held.source / "directory").mkdir()
    with open(held.guest / "directory" / "new", "w+b", buffering=0) as file:
        file.write(b"precious")
        (held.guest / "directory" / "below").mkdir()
        (held.guest / "directory" / "below" / "deep").write_text("precious too")
        os.stat(held.guest / "directory" / "below" / "deep")
        fixed(held.source / "directory")
        with refused(errno.EPERM):
            os.fsync(file.fileno())
        assert os.pread(file.fileno(), 20, 0) == b"precious"
        with refused(errno.EIO):
            file.write(b"more")
        with pytest.raises(MountError, match="directory/new"):
            held.share.flush()
    eventually(lambda: os.listdir(held.guest / "directory") == [])
    for name in ("new", "below", "below/deep"):
        assert eventually(lambda name=name: not (held.guest / "directory" / name).exists())
    command = ["unwritten", str(held.source), "--state", str(held.source.parent / "state")]
    told = CliRunner().invoke(main, [*command, "--json"])
    (journal,) = json.loads(told.stdout)
    assert {(change["change"], change["path"]) for change in journal["changes"]} == {
        ("make", "directory/new"),
        ("write", "directory/new"),
        ("make", "directory/below"),
        ("make", "directory/below/deep"),
        ("write", "directory/below/deep"),
    }
    assert {change["refused"] for change in journal["changes"]} == {"Operation not permitted"}
    saved = CliRunner().invoke(main, [*command, "--save", str(tmp_path / "saved")])
    assert saved.exit_code == 0, saved.output
    assert (tmp_path / "saved" / "directory" / "new").read_text() == "precious"
    assert (tmp_path / "saved" / "directory" / "below" / "deep").read_text() == "precious too"
    taken = CliRunner().invoke(main, [*command, "--save", str(tmp_path / "saved")])
    assert "File exists" in taken.output


def test_a_removal_that_would_make_room_does_not_wait_for_ever(
    small_source: Path, share: Callable[..., LiveShare], field: Path
) -> None:
    """What waits for room stands aside for what makes some."""
    (small_source / "ballast").write_bytes(bytes(3 << 20))
    live = share(small_source, **HELD, state_directory=str(field / "state"))
    live.expected_trouble, live.expected_end = True, 1
    (live.guest / "file").write_bytes(b"guest" * 200_000)
    (small_source / "host").write_bytes(bytes((21 << 20) - 300_000))
    os.unlink(live.guest / "ballast")
    with pytest.raises(MountError, match="No space"):
        live.share.flush()
    eventually(lambda: not (small_source / "ballast").exists())
    with pytest.raises(MountError, match="file: No space"):
        live.share.flush()
    with pytest.raises(MountError, match="set aside"):
        live.unmount()
    live.wait_for_end()
    os.unlink(small_source / "host")
    again = share(
        small_source, live.guest, **HELD, state_directory=str(field / "state"), unwritten="recover"
    )
    assert (again.guest / "file").read_bytes() == b"guest" * 200_000


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_server_without_descriptors_frees_its_own(
    share: Callable[..., LiveShare], field: Path, user: str
) -> None:
    """Those of files that it has made are opened again, though their mode lets nobody write."""
    state = field / "state"
    state.mkdir()
    mine = {} if user == "root" else {"user": user}
    if mine:
        os.chown(state, NOBODY, -1)
    live = share(**HELD, **mine, state_directory=str(state))
    os.chmod(live.source, 0o777)
    names = [f"{number:03}" for number in range(150)]
    flags = os.O_CREAT | os.O_WRONLY
    handles = [os.open(live.guest / name, flags, 0o444) for name in names]
    for handle in handles:  # so that none has crossed whole before the last is made
        os.write(handle, b"precious")
        os.close(handle)
    eventually(lambda: live.status().open_handles == 0)
    open_now = len(os.listdir(f"/proc/{live.pid}/fd"))
    limit = ["prlimit", "--pid", f"{live.pid}", f"--nofile={open_now + 20}:"]
    as_itself = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if mine else {}
    subprocess.run(limit, check=True, **as_itself)
    live.share.flush()
    assert sorted(os.listdir(live.source)) == names
    assert {(live.source / name).read_text() for name in names} == {"precious"}
    assert {os.stat(live.source / name).st_mode & 0o777 for name in names} == {0o444}
    assert counts(live).set_aside.count == 0


@pytest.mark.parametrize("events", ["fanotify", "none"])
def test_what_the_guests_kernel_caches_is_invalidated_with_or_without_host_events(
    fixed: Callable[..., None], share: Callable[..., LiveShare], events: str
) -> None:
    live = share(**HELD, host_events=events, cache_timeout_ns=3_600 * 10**9)
    live.expected_trouble, live.expected_end = True, 1
    (live.source / "directory").mkdir()
    (live.source / "file").write_text("host")
    os.listdir(live.guest)
    os.stat(live.guest / "file")
    (live.guest / "directory" / "new").touch()
    os.chmod(live.guest / "file", 0o600)
    os.truncate(live.guest / "file", 2)
    assert (live.guest / "file").read_text() == "ho"
    for name in ("directory", "file"):
        fixed(live.source / name)
    with pytest.raises(MountError, match="does not take"):
        live.share.flush()
    for name in ("directory", "file"):
        fixed(live.source / name, undo=True)
    eventually(lambda: not (live.guest / "directory" / "new").exists())
    eventually(lambda: (live.guest / "file").read_text() == "host")
    assert os.stat(live.guest / "file").st_mode & 0o777 == 0o644
    with pytest.raises(MountError, match="set aside"):
        live.unmount()


def test_crossed_renames_end_with_the_hosts(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    for name in ("x", "y"):
        (live.source / name).mkdir()
        (live.source / name / f"in-{name}").touch()
    os.rename(live.guest / "x", live.guest / "y" / "x")
    (live.guest / "important").write_text("precious")
    os.rename(live.source / "y", live.source / "x" / "y")
    live.settle()  # the server goes by what it has been told
    live.share.flush()
    assert (live.source / "important").read_text() == "precious"
    assert (live.source / "x" / "y" / "in-y").exists()
    assert counts(live).kept_host_changes == 1
    live.settle()
    assert sorted(os.listdir(live.guest)) == ["important", "x"]
    assert sorted(os.listdir(live.guest / "x")) == ["in-x", "y"]


@pytest.mark.parametrize("end", ["removed", "renamed"])
def test_who_takes_the_state_directory_away_loses_nothing_by_it(
    held: LiveShare, fixed: Callable[..., None], share: Callable[..., LiveShare], field: Path, end
) -> None:
    (held.guest / "directory").mkdir()
    (held.guest / "other").mkdir()
    held.share.flush()
    (held.guest / "directory" / "first").write_text("precious")
    fixed(held.source / "directory")
    with pytest.raises(MountError, match="set aside"):
        held.share.flush()
    (held.guest / "other" / "second").write_text("precious too")
    fixed(held.source / "other")
    if end == "removed":
        shutil.rmtree(field / "state")
    else:
        os.rename(field / "state", field / "elsewhere")
    with pytest.raises(MountError, match="set aside"):
        held.share.flush()
    with pytest.raises(MountError, match=r"set aside.*first"):
        held.unmount()
    for each in ("directory", "other"):
        fixed(held.source / each, undo=True)
    again = share(
        *(held.source, held.guest),
        **HELD,
        state_directory=str(field / "state"),
        unwritten="recover",
    )
    assert (again.source / "directory" / "first").read_text() == "precious"
    assert (again.source / "other" / "second").read_text() == "precious too"


def test_what_cannot_be_set_aside_either_waits_and_is_told_of_as_that(
    fixed: Callable[..., None], share: Callable[..., LiveShare], small_source: Path, field: Path
) -> None:
    state = small_source
    (field / "source").mkdir()
    (field / "guest").mkdir()
    live = share(field / "source", field / "guest", **HELD, state_directory=str(state))
    live.expected_trouble, live.expected_end = True, 1
    (live.source / "directory").mkdir()
    (live.guest / "directory" / "new").touch()
    fixed(live.source / "directory")
    with (state / "ballast").open("wb", buffering=0) as ballast, refused(errno.ENOSPC):
        while True:
            ballast.write(bytes(4096))
    with pytest.raises(MountError, match="directory/new: No space"):
        live.share.flush()
    with pytest.raises(MountError, match="are not on the host: directory/new") as told:
        live.unmount()
    assert "set aside" not in str(told.value)
    assert [each for each in journals_of(state, str(live.source)) if "aside" in each.name] == []


@pytest.mark.parametrize("takes_away", ["removed", "replaced"])
def test_a_directory_that_stays_is_shown_again_to_who_is_in_it(
    held: LiveShare, fixed: Callable[..., None], takes_away: str
) -> None:
    """The guest's kernel takes a directory that was removed for empty as long as it knows it."""
    (held.source / "parent" / "directory").mkdir(parents=True)
    (held.guest / "parent" / "other").mkdir()
    held.share.flush()
    inside = os.open(held.guest / "parent" / "directory", os.O_RDONLY)
    try:
        if takes_away == "removed":
            os.rmdir(held.guest / "parent" / "directory")
        else:
            os.rename(held.guest / "parent" / "other", held.guest / "parent" / "directory")
        (held.source / "parent" / "directory" / "host").write_text("host")
        fixed(held.source / "parent")
        with pytest.raises(MountError, match="directory: Operation not permitted"):
            held.share.flush()
        host = held.guest / "parent" / "directory" / "host"
        eventually(lambda: host.exists() and host.read_text() == "host")
        (held.guest / "parent" / "directory" / "guest").write_text("guest")
        held.share.flush()
    finally:
        os.close(inside)
    assert (held.source / "parent" / "directory" / "guest").read_text() == "guest"
