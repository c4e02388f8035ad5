"""Where owners are kept that no attribute can hold: for long, by many, and when things go wrong."""

import contextlib
import errno
import os
import sqlite3
import stat as modes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.acting import BOB, acting_as, need_root, owner, owner_told  # noqa: F401
from support.guests import ended, finish, hear, refused, start
from support.live import LiveShare

import osxfs_sim
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.owner_store import OwnerStore
from osxfs_sim.mount.tree.owners import KnownCaller, OsxfsOwners

SOMEBODY = KnownCaller(501, 20)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def put(store: OwnerStore, path: Path, value: bytes) -> None:
    with opened(path) as fd:
        store.change(fd, os.fstat(fd), lambda _: value)


def get(store: OwnerStore, path: Path) -> bytes | None:
    """Read both ways that a server asks: by name, and of the object itself."""
    with opened(path.parent) as dir_fd, opened(path) as fd:
        status = os.fstat(fd)
        value = store.read(dir_fd, path.name.encode(), status)
        assert store.read(fd, b"", status) == value
        return value


def forget(store: OwnerStore, path: Path) -> None:
    with opened(path) as fd:
        store.forget(fd, os.fstat(fd))


def link(field: Path, name: object) -> Path:
    path = field / f"link-{name}"
    path.symlink_to("nowhere")
    return path


@pytest.fixture
def make_store(field: Path) -> Iterator[Callable[..., OwnerStore]]:
    with contextlib.ExitStack() as stores:

        def make(directory: Path | None = None, **settings: int) -> OwnerStore:
            store = OwnerStore(directory or field / "state", **settings)
            stores.callback(store.close)
            return store

        yield make


# Keeping


def test_nothing_is_made_before_the_first_owner_is_kept(make_store, field: Path) -> None:
    store = make_store()
    path = link(field, 1)
    assert get(store, path) is None
    forget(store, path)
    assert not (field / "state").exists()
    put(store, path, b"0:5:6")
    assert get(store, path) == b"0:5:6"


def test_what_one_store_keeps_another_reads_and_takes_away(make_store, field: Path) -> None:
    one, two = make_store(), make_store()
    path = link(field, 1)
    put(one, path, b"0:5:6")
    assert get(two, path) == b"0:5:6"
    put(two, path, b"0:7:8")
    assert get(one, path) == b"0:7:8"
    forget(two, path)
    assert get(one, path) is None


def test_a_change_is_given_what_was_kept(make_store, field: Path) -> None:
    store, path, seen = make_store(), link(field, 1), []

    def changed(value: bytes | None) -> bytes:
        seen.append(value)
        return b"0:5:%d" % len(seen)

    with opened(path) as fd:
        for _ in range(3):
            store.change(fd, os.fstat(fd), changed)
    assert seen == [None, b"0:5:1", b"0:5:2"]


def test_only_its_user_may_look_into_the_state_directory(make_store, field: Path) -> None:
    """Also where directories on the way to it had to be made, and by a server's umask of 0."""
    before = os.umask(0)
    try:
        put(make_store(field / "local" / "state"), link(field, 1), b"0:5:6")
    finally:
        os.umask(before)
    made = [field / "local", *(field / "local").rglob("*")]
    assert len(made) >= 4
    assert {modes.S_IMODE(path.stat().st_mode) & 0o077 for path in made} == {0}


def test_no_more_than_a_bound_is_kept_and_the_oldest_goes(make_store, field: Path) -> None:
    store = make_store(most_records=3)
    paths = [link(field, number) for number in range(6)]
    for path in paths:
        put(store, path, b"0:5:6")
    assert [get(store, path) is not None for path in paths] == [False] * 3 + [True] * 3


def test_many_changes_of_one_object_push_out_no_other(make_store, field: Path) -> None:
    store = make_store(most_records=3)
    old, changing = link(field, "old"), link(field, "changing")
    put(store, old, b"0:5:6")
    for number in range(20):
        put(store, changing, b"0:%d:" % number)
    assert get(store, old) == b"0:5:6"
    assert get(store, changing) == b"0:19:"


def test_a_large_bound_is_kept_roughly(make_store, field: Path) -> None:
    """Counting on every change would make each cost as much as there are records."""
    store = make_store(most_records=256)
    for number in range(600):
        put(store, link(field, number), b"0:5:6")
    with contextlib.closing(sqlite3.connect(field / "state" / "owners.sqlite")) as database:
        (count,) = database.execute("SELECT count(*) FROM owners").fetchone()
    assert 256 <= count <= 256 + 256 // 64


def test_a_database_that_is_taken_away_is_closed(make_store, field: Path) -> None:
    store, path = make_store(), link(field, 1)
    put(store, path, b"0:5:6")
    for file in (field / "state").iterdir():
        file.unlink()
    assert get(store, path) is None
    put(store, path, b"0:7:8")
    other = make_store()
    assert get(other, path) == b"0:7:8"
    for file in (field / "state").iterdir():
        file.unlink()
    put(other, path, b"0:9:9")
    assert get(store, path) == b"0:9:9", "there is a new one, which we have not opened"


def test_many_objects_are_kept(make_store, field: Path) -> None:
    store = make_store()
    paths = [link(field, number) for number in range(2_000)]
    for number, path in enumerate(paths):
        put(store, path, b"0:%d:" % number)
    store = make_store()
    for number, path in enumerate(paths):
        assert get(store, path) == b"0:%d:" % number


# Many at once

_PACKAGE = Path(osxfs_sim.__file__).parent


def let_go(processes: "list[subprocess.Popen[str]]", *, meeting: bool = False) -> None:
    """Let them all begin at once, and wait for their good ends.

    With *meeting* they stop once more, having read, until all have: what may happen
    between processes that do not wait for one another then does, on every machine.
    """
    with ended(*processes):
        for words in ("ready", "read") if meeting else ("ready",):
            for process in processes:
                hear(process, words)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
        for process in processes:
            finish(process)


_MEET = """
def meet(value, met=[]):
    if not met:
        met.append(True)
        print("read", flush=True)
        sys.stdin.readline()
    return value
"""


_WRITER = """
import os, sys, types
from pathlib import Path
# The package without what it imports for others: it starts in no time.
sys.modules["osxfs_sim"] = package = types.ModuleType("osxfs_sim")
package.__path__ = [sys.argv[1]]
from osxfs_sim.model.ownership import UNSET, format_owner, parse_owner
from osxfs_sim.mount.tree.owner_store import OwnerStore

directory, which = Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
store = OwnerStore(directory / "state")
names = sorted(name for name in os.listdir(directory) if name.startswith("link"))
for number in range(30):
    for name in names:
        fd = os.open(directory / name, os.O_PATH | os.O_NOFOLLOW)
        def changed(value):
            owner = UNSET if value is None else parse_owner(value)
            ids = [None, None]
            ids[which % 2] = (owner[which % 2] or 0) + 1
            return format_owner(owner.overlaid(*ids))
        store.change(fd, os.fstat(fd), changed)
        os.close(fd)
store.close()
"""


def count_at_once(field: Path, program: str, *, meeting: bool = False) -> set[bytes | None]:
    """Four processes start at once with no database, and each adds 30 to one id of each link."""
    links = [link(field, number) for number in range(5)]
    writers = [start(program, _PACKAGE, field, which) for which in range(4)]
    let_go(writers, meeting=meeting)
    with contextlib.closing(OwnerStore(field / "state")) as store:
        return {get(store, path) for path in links}


@pytest.mark.starts_processes
def test_no_change_of_several_processes_at_once_is_lost(field: Path) -> None:
    assert count_at_once(field, _WRITER) == {b"0:60:60"}


@pytest.mark.starts_processes
def test_the_check_of_changes_at_once_notices_one_that_reads_too_early(field: Path) -> None:
    early = _WRITER.replace(
        "store.change(fd, os.fstat(fd), changed)",
        "value = meet(store.read(fd, b'', os.fstat(fd))); "
        "store.change(fd, os.fstat(fd), lambda _: changed(value))",
    )
    assert early != _WRITER
    assert count_at_once(field, _MEET + early, meeting=True) != {b"0:60:60"}


_COUNTER = """
import os, sys, types
from pathlib import Path
# The package without what it imports for others: it starts in no time.
sys.modules["osxfs_sim"] = package = types.ModuleType("osxfs_sim")
package.__path__ = [sys.argv[1]]
from osxfs_sim.mount.tree.owner_store import OwnerStore

store = OwnerStore(Path(sys.argv[2]) / "state")
fd = os.open(Path(sys.argv[2]) / "count", os.O_RDWR)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2_000):
    with store.alone(), store.alone():
        os.pwrite(fd, b"%8d" % (int(os.pread(fd, 8, 0)) + 1), 0)
"""


def count_alone(field: Path, program: str, *, meeting: bool = False) -> int:
    (field / "count").write_text("0")
    let_go([start(program, _PACKAGE, field) for _ in range(3)], meeting=meeting)
    return int((field / "count").read_text())


@pytest.mark.starts_processes
def test_blocks_alone_wait_for_one_another(field: Path) -> None:
    assert count_alone(field, _COUNTER) == 6_000


@pytest.mark.starts_processes
def test_the_check_of_blocks_alone_notices_one_that_does_not_wait(field: Path) -> None:
    careless = _COUNTER.replace("with store.alone(), store.alone():", "if True:")
    careless = careless.replace("int(os.pread(fd, 8, 0))", "meet(int(os.pread(fd, 8, 0)))")
    assert careless.count("if True:") == careless.count("meet(") == 1
    assert count_alone(field, _MEET + careless, meeting=True) < 6_000


# What an object is known by


def test_without_handles_an_object_is_known_by_its_time_of_birth(
    make_store, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "file_handle", lambda *_: None)
    asked = syscalls.birth_time_ns
    store, path, other = make_store(), link(field, 1), link(field, 2)
    put(store, path, b"0:5:6")
    assert get(store, path) == b"0:5:6"
    assert get(store, other) is None
    path.rename(field / "renamed")
    os.link(field / "renamed", field / "linked", follow_symlinks=False)
    assert get(store, field / "linked") == b"0:5:6"
    # The same inode number, born at another time.
    monkeypatch.setattr(syscalls, "birth_time_ns", lambda *arguments: asked(*arguments) + 1)
    assert get(store, field / "linked") is None


def test_without_anything_to_be_known_by_no_owner_is_kept(
    make_store, field: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(syscalls, "file_handle", lambda *_: None)
    monkeypatch.setattr(syscalls, "birth_time_ns", lambda *_: 0)
    store, path = make_store(), link(field, 1)
    for _ in range(2):
        with refused(errno.EOPNOTSUPP):
            put(store, path, b"0:5:6")
    assert len(caplog.records) == 1
    assert "no lasting name" in store.trouble
    monkeypatch.undo()
    put(store, link(field, 2), b"0:5:6")
    monkeypatch.setattr(syscalls, "file_handle", lambda *_: None)
    monkeypatch.setattr(syscalls, "birth_time_ns", lambda *_: 0)
    assert get(store, path) is None
    forget(store, path)


@contextlib.contextmanager
def mounted(path: Path, *arguments: object) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", *map(str, arguments), path], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.mounts
@pytest.mark.usefixtures("need_root")
def test_a_file_system_mounted_upon_the_name_has_names_of_its_own(make_store, field: Path) -> None:
    """As where one binds a socket into a directory; its key is the same from everywhere."""
    disk, place = field / "disk", field / "place"
    place.touch()
    store = make_store()
    with mounted(disk, "-t", "tmpfs", "none"):
        os.mkfifo(disk / "fifo")
        put(store, disk / "fifo", b"0:5:6")
        subprocess.run(["mount", "--bind", disk / "fifo", place], check=True)
        try:
            assert get(store, place) == b"0:5:6"
        finally:
            subprocess.run(["umount", place], check=True)


@pytest.mark.mounts
@pytest.mark.usefixtures("need_root")
def test_an_owner_on_an_overlay_survives_the_copy_that_a_chown_makes(field: Path) -> None:
    lower, upper, work = (field / name for name in ("lower", "upper", "work"))
    for path in (lower, upper, work):
        path.mkdir()
    link(lower, 1)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        with mounted(field / "overlay", "-t", "overlay", "-o", options, "none") as overlay:
            for _ in range(2):
                with contextlib.closing(OsxfsOwners(field / "state", 0)) as owners:
                    path = overlay / "link-1"
                    with opened(path) as fd:
                        if owners.ids(fd, b"", os.fstat(fd), SOMEBODY) == (501, 20):
                            owners.change(fd, os.fstat(fd), 5, 6)
                        assert owners.ids(fd, b"", os.fstat(fd), SOMEBODY) == (5, 6)
            assert (upper / "link-1").is_symlink()
            with (
                contextlib.closing(OsxfsOwners(field / "state", 0)) as owners,
                opened(overlay / "link-1") as fd,
            ):
                assert owners.ids(fd, b"", os.fstat(fd), SOMEBODY) == (5, 6)
    except subprocess.CalledProcessError:
        pytest.skip("this machine mounts no overlay here")


# File systems that know no extended attributes


def without_attributes(owners: OsxfsOwners, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(owners._attribute, "read", lambda *_: errno.EOPNOTSUPP)
    monkeypatch.setattr(owners._attribute, "read_at", lambda *_: errno.EOPNOTSUPP)
    monkeypatch.setattr(os, "setxattr", refuse)


def test_without_attributes_files_and_directories_are_recorded_too(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, directory = field / "file", field / "directory"
    file.touch()
    directory.mkdir()
    for attempt in range(2):
        with contextlib.closing(OsxfsOwners(field / "state", os.geteuid())) as owners:
            without_attributes(owners, monkeypatch)
            for path in (file, directory):
                with opened(path) as fd:
                    if attempt == 0:
                        owners.change(fd, os.fstat(fd), 5, None)
                        owners.change(fd, os.fstat(fd), None, 6)
                    assert owners.ids(fd, b"", os.fstat(fd), SOMEBODY) == (5, 6)
                with opened(field) as dir_fd:
                    name = path.name.encode()
                    assert owners.ids(dir_fd, name, path.stat(), SOMEBODY) == (5, 6)
            if attempt:
                with opened(file) as fd:
                    owners.gone(fd, os.fstat(fd))
                    assert owners.ids(fd, b"", os.fstat(fd), SOMEBODY) == SOMEBODY


@pytest.mark.usefixtures("need_root")
def test_a_file_system_with_neither_attributes_nor_lasting_names_keeps_no_owner(
    field: Path, share
) -> None:
    with mounted(field / "ramfs", "-t", "ramfs", "none") as source:
        (field / "guest").mkdir()
        live: LiveShare = share(source, field / "guest", state_directory=str(field / "state"))
        (live.guest / "file").write_text("content")
        (live.guest / "link").symlink_to("file")
        for name in ("file", "link"):
            assert owner_told(live.guest / name, BOB) == (BOB, BOB)
            for _ in range(2):
                with refused(errno.EOPNOTSUPP):
                    os.chown(live.guest / name, 5, 6, follow_symlinks=False)
            assert owner_told(live.guest / name, BOB) == (BOB, BOB)
        assert live.log().count("no lasting name") == 1
        assert "no lasting name" in live.status().warnings[0]
        live.unmount()


# When it cannot be had


@pytest.fixture
def broken(field: Path, share) -> Callable[[], LiveShare]:
    """A share with two links, one of which has an owner in field/state."""

    def mount() -> LiveShare:
        for name in ("source", "guest"):
            (field / name).mkdir(exist_ok=True)
        return share(field / "source", field / "guest", state_directory=str(field / "state"))

    return mount


def chown(path: Path, *ids: int) -> None:
    os.chown(path, *ids, follow_symlinks=False)


def test_a_database_that_is_none_is_eio_and_one_line_of_the_log(broken, field: Path) -> None:
    live = broken()
    link(live.source, 1)
    (live.source / "file").touch()
    (field / "state").mkdir()
    (field / "state" / "owners.sqlite").write_bytes(b"no database at all" * 1_000)
    for _ in range(3):
        with refused(errno.EIO):
            os.lstat(live.guest / "link-1")
    with refused(errno.EIO):
        os.listdir(live.guest)
    assert len(live.log().splitlines()) == 1
    assert live.status().warnings[0].endswith("owners.sqlite: file is not a database")
    # What carries its owner itself is none the worse.
    chown(live.guest / "file", 5, 6)
    assert owner(live.guest / "file") == (5, 6)
    (field / "state" / "owners.sqlite").unlink()
    chown(live.guest / "link-1", 5, 6)
    assert owner(live.guest / "link-1") == (5, 6), "it was well again once it was taken away"


def test_a_database_damaged_while_it_is_in_use_is_eio(make_store, field: Path, caplog) -> None:
    store = make_store()
    paths = [link(field, number) for number in range(200)]
    for path in paths:
        put(store, path, b"0:5:6")
    store.close()
    database = field / "state" / "owners.sqlite"
    content = bytearray(database.read_bytes())
    content[4_096:] = b"\xa5" * (len(content) - 4_096)
    database.write_bytes(content)
    for path in paths[:3]:
        with refused(errno.EIO):
            get(store, path)
        with refused(errno.EIO):
            put(store, path, b"0:7:8")
    assert 1 <= len(caplog.records) <= 2


@pytest.mark.mounts
@pytest.mark.usefixtures("need_root")
def test_a_full_disk_is_enospc(field: Path) -> None:
    with (
        mounted(field / "disk", "-t", "tmpfs", "-o", "size=128k", "none") as disk,
        contextlib.closing(OwnerStore(disk / "state")) as store,
    ):
        paths = [link(field, number) for number in range(3_000)]
        kept = 0
        with refused(errno.ENOSPC):
            for path in paths:
                put(store, path, b"0:5:6")
                kept += 1
        assert 0 < kept < len(paths)
        for path in paths[:kept]:
            assert get(store, path) == b"0:5:6"


@pytest.mark.mounts
@pytest.mark.usefixtures("need_root")
@pytest.mark.parametrize("left_bytes", [0, 4_096, 8_192, 12_288, 20_480])
def test_a_disk_that_was_full_before_is_enospc(field: Path, left_bytes: int) -> None:
    path = link(field, 1)
    with (
        mounted(field / "disk", "-t", "tmpfs", "-o", "size=128k", "none") as disk,
        contextlib.closing(OwnerStore(disk / "state")) as store,
    ):
        with open(disk / "full", "wb", buffering=0) as full, contextlib.suppress(OSError):
            while True:
                full.write(b"x" * 4_096)
        os.truncate(disk / "full", (disk / "full").stat().st_size - left_bytes)
        for _ in range(2):
            with refused(errno.ENOSPC):
                put(store, path, b"0:5:6")
        (disk / "full").unlink()
        put(store, path, b"0:5:6")
        assert get(store, path) == b"0:5:6"


@pytest.mark.usefixtures("need_root")
def test_a_read_only_state_directory_is_read_and_not_written(field: Path, broken) -> None:
    live = broken()
    for number in range(2):
        link(live.source, number)
    chown(live.guest / "link-0", 5, 6)
    live.unmount()
    state = field / "state"
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        live = broken()
        assert owner_told(live.guest / "link-0", BOB) == (5, 6)
        assert owner_told(live.guest / "link-1", BOB) == (BOB, BOB)
        for _ in range(2):
            with refused(errno.EROFS):
                chown(live.guest / "link-0", 7, 8)
        assert owner_told(live.guest / "link-0", BOB) == (5, 6)
        (live.guest / "link-0").unlink()
        # Once when it was mounted, before anybody had to find out, and once when it failed.
        assert len(live.log().splitlines()) == 2
        assert any("cannot be made or written" in line for line in live.status().warnings)
        live.unmount()
    finally:
        subprocess.run(["umount", state], check=True)


def test_a_file_in_the_place_of_the_state_directory_is_eio(field: Path, broken) -> None:
    live = broken()
    link(live.source, 1)
    (live.source / "file").touch()
    (field / "state").touch()
    for _ in range(2):
        with refused(errno.EIO):
            chown(live.guest / "link-1", 5, 6)
    assert owner_told(live.guest / "link-1", BOB) == (BOB, BOB)
    chown(live.guest / "file", 5, 6)
    assert owner(live.guest / "file") == (5, 6)
    assert len(live.log().splitlines()) == 1
    assert "--state" in live.log()


@pytest.mark.starts_processes
@pytest.mark.usefixtures("need_root")
def test_a_state_directory_of_somebody_else_is_eacces(field: Path, caplog) -> None:
    (field / "state").mkdir(mode=0o700)
    (field / "home").mkdir()
    (field / "home").chmod(0o777)
    path = link(field, 1)
    with contextlib.closing(OwnerStore(field / "state")) as store:
        put(store, path, b"0:5:6")
    for directory in (field / "state", field / "none"):
        with acting_as(BOB), contextlib.closing(OwnerStore(directory)) as store:
            with refused(errno.EACCES):
                put(store, path, b"0:5:6")
            assert "--state" in store.trouble
    (field / "state").chmod(0o755)
    with (
        acting_as(BOB),
        contextlib.closing(OwnerStore(field / "state")) as store,
        refused(errno.EACCES),
    ):
        get(store, path)
    assert len(caplog.records) == 3


def test_an_object_that_goes_while_it_is_asked_about_has_no_owner(field: Path) -> None:
    """Its host may delete a symlink between a listing and the look at it."""
    path = link(field, 1)
    status = os.lstat(path)
    with (
        contextlib.closing(OsxfsOwners(field / "state", os.geteuid())) as owners,
        opened(field) as dir_fd,
    ):
        with opened(path) as fd:
            owners.change(fd, os.fstat(fd), 5, 6)
        path.unlink()
        assert owners.ids(dir_fd, b"link-1", status, SOMEBODY) == SOMEBODY


@pytest.mark.parametrize("how", ["unlink", "replace"])
def test_the_record_of_what_the_guest_deletes_is_taken_away(broken, field: Path, how: str) -> None:
    live = broken()
    for number in range(3):
        chown(link(live.guest, number), 5, 6)
    os.link(live.guest / "link-0", live.guest / "link-3", follow_symlinks=False)

    def records() -> int:
        with contextlib.closing(sqlite3.connect(field / "state" / "owners.sqlite")) as database:
            return database.execute("SELECT count(*) FROM owners").fetchone()[0]

    assert records() == 3
    link(live.guest, "new")
    for number, left in ((0, 3), (1, 2), (3, 1), (2, 0)):
        if how == "unlink":
            (live.guest / f"link-{number}").unlink()
        else:
            link(live.guest, "newer").rename(live.guest / f"link-{number}")
        assert records() == left


# How the attribute itself is read


@pytest.mark.parametrize("by_path", [False, True])
def test_the_attribute_is_read_alike_with_and_without_the_new_call(
    field: Path, by_path: bool
) -> None:
    reader = syscalls.AttributeReader(b"user.com.docker.owner", 64)
    if by_path:
        reader._has_getxattrat = False
    file, directory, path = field / "file", field / "directory", link(field, 1)
    file.touch()
    directory.mkdir()
    with opened(field) as dir_fd:
        assert reader.read_at(dir_fd, b"file") == errno.ENODATA
        assert reader.read_at(dir_fd, b"none") == errno.ENOENT
        for each in (file, directory):
            os.setxattr(each, "user.com.docker.owner", b"0:5:6")
            assert reader.read_at(dir_fd, each.name.encode()) == b"0:5:6"
            with opened(each) as fd:
                assert reader.read(fd) == b"0:5:6"
        with opened(directory) as fd:
            assert reader.read_at(fd, b".") == b"0:5:6"
        os.setxattr(file, "user.com.docker.owner", b"")
        assert reader.read_at(dir_fd, b"file") == b""
        os.setxattr(file, "user.com.docker.owner", b"x" * 65)
        assert reader.read_at(dir_fd, b"file") == errno.ERANGE
        path.unlink()
        path.symlink_to("directory")
        assert reader.read_at(dir_fd, b"link-1") == errno.ENODATA, "it was followed"


def test_a_call_that_a_sandbox_refuses_is_not_made_again(field: Path) -> None:
    """Some answer EPERM for calls they do not know: it does not mean the object."""
    reader = syscalls.AttributeReader(b"user.com.docker.owner", 64)
    (field / "file").touch()
    os.setxattr(field / "file", "user.com.docker.owner", b"0:5:6")

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(_libc, name)

        def syscall(self, *_: object) -> int:
            syscalls.ctypes.set_errno(errno.EPERM)
            return -1

    _libc = syscalls._libc
    syscalls._libc = Refusing()
    try:
        with opened(field) as dir_fd:
            assert reader.read_at(dir_fd, b"file") == b"0:5:6"
    finally:
        syscalls._libc = _libc
    assert not reader._has_getxattrat
