"""What each policy asks the host, counted in requests; and what the guest then sees.

Nothing here looks at how long anything takes: that an answer is cached shows
in requests that do not come.
"""

import errno
import itertools
import mmap
import os
import stat as modes
from pathlib import Path

import pytest
from support.guests import eventually, finish, hear, refused, run, start
from support.live import LiveShare

from osxfs_sim import ProfileError

CONSISTENT = {"profile": "none"}
# Answers are cached until their timeouts here; what invalidates them before is told elsewhere:
# test_host_events.
CACHED = {"profile": "osxfs-cached", "latency_ns": 0, "host_events": "none"}
NEGATIVE = {"profile": "osxfs-negative", "latency_ns": 0, "host_events": "none"}
SHORT_NS = 50_000_000
TIMES = 7


def asked(share: LiveShare, *kinds: str) -> int:
    """How many requests of these kinds came since the last reset."""
    requests = share.requests()
    return sum(requests.get(kind, 0) for kind in kinds)


def missing(path: Path) -> bool:
    return not os.path.lexists(path)


# Names and attributes


def test_consistent_asks_every_time(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").write_text("content")
    os.stat(live.guest / "file")
    live.reset()
    for _ in range(TIMES):
        os.stat(live.guest / "file")
    # For the name, and then for the attributes: those that came with the name
    # are not cached for as long as it takes stat(2) to look at them.
    assert live.requests() == {"LOOKUP": TIMES, "GETATTR": TIMES}


def test_consistent_asks_for_every_component_of_a_path(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "a" / "b").mkdir(parents=True)
    (live.source / "a" / "b" / "file").touch()
    live.reset()
    for _ in range(TIMES):
        os.stat(live.guest / "a" / "b" / "file")
    assert asked(live, "LOOKUP") == 3 * TIMES


def test_consistent_asks_for_attributes_of_an_open_file(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").touch()
    with open(live.guest / "file") as file:
        live.reset()
        for _ in range(TIMES):
            os.fstat(file.fileno())
        assert live.requests() == {"GETATTR": TIMES}


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE])
def test_cached_asks_once(share, settings: dict) -> None:
    live = share(**settings)
    (live.source / "a").mkdir()
    (live.source / "a" / "file").touch()
    live.reset()
    for _ in range(TIMES):
        os.stat(live.guest / "a" / "file")
    assert asked(live, "LOOKUP", "GETATTR") == 2
    live.reset()
    for _ in range(TIMES):
        os.stat(live.guest / "a" / "file")
    assert live.requests() == {}


def test_cached_asks_for_a_missing_name_every_time(share) -> None:
    live = share(**CACHED)
    live.reset()
    for _ in range(TIMES):
        assert missing(live.guest / "nothing")
    assert asked(live, "LOOKUP") == TIMES
    assert live.status().missing_lookups == TIMES


def test_negative_asks_for_a_missing_name_once(share) -> None:
    live = share(**NEGATIVE)
    live.reset()
    for _ in range(TIMES):
        assert missing(live.guest / "nothing")
        assert missing(live.guest / "nothing" / "below")
    assert live.requests() == {"LOOKUP": 1}
    assert live.status().missing_lookups == 1


def test_a_timeout_of_zero_makes_cached_ask_every_time(share) -> None:
    live = share(**CACHED, cache_timeout_ns=0)
    (live.source / "file").touch()
    live.reset()
    for _ in range(TIMES):
        os.stat(live.guest / "file")
    assert asked(live, "LOOKUP") == TIMES


def test_a_listing_is_cached_as_lookups_are(share) -> None:
    names = [f"file-{number}" for number in range(200)]
    for settings, expected in ((CACHED, 0), (CONSISTENT, len(names))):
        live = share(**settings)
        for name in names:
            (live.source / name).touch()
        assert len(os.listdir(live.guest)) == len(names)
        live.reset()
        for name in names:
            os.stat(live.guest / name)
        assert asked(live, "LOOKUP") == expected


def test_reset_starts_counts_anew(share) -> None:
    live = share(**CONSISTENT)
    os.stat(live.guest)
    assert live.requests()
    live.reset()
    assert live.requests() == {}


# Changes of the host


def test_consistent_shows_every_host_change_at_once(share) -> None:
    live = share(**CONSISTENT)
    file = live.source / "file"
    for number in range(20):
        file.write_text("x" * number)
        assert (live.guest / "file").read_text() == "x" * number
        file.chmod(0o600 + number % 8)
        assert modes.S_IMODE((live.guest / "file").stat().st_mode) == 0o600 + number % 8
        file.rename(live.source / f"renamed-{number}")
        assert os.listdir(live.guest) == [f"renamed-{number}"]
        assert missing(live.guest / "file")
        (live.source / f"renamed-{number}").unlink()
        assert os.listdir(live.guest) == []
        file.mkdir()
        assert (live.guest / "file").is_dir()
        file.rmdir()
        os.symlink(f"to-{number}", file)
        assert os.readlink(live.guest / "file") == f"to-{number}"
        file.unlink()


def test_consistent_shows_an_open_file_what_the_host_writes(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").write_bytes(b"")
    with open(live.guest / "file", "rb", buffering=0) as guest:
        for number in range(1, 30):
            with open(live.source / "file", "ab") as host:
                host.write(bytes([number]))
            assert os.fstat(guest.fileno()).st_size == number
            assert guest.read() == bytes([number])
        with open(live.source / "file", "r+b") as host:
            host.truncate(3)
        assert os.pread(guest.fileno(), 100, 0) == bytes([1, 2, 3])


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE])
def test_a_host_change_is_unseen_within_the_timeout(share, settings: dict) -> None:
    live = share(**settings)
    (live.source / "file").write_text("old")
    assert (live.guest / "file").stat().st_size == 3
    (live.source / "file").write_text("much longer")
    assert (live.guest / "file").stat().st_size == 3
    (live.source / "file").unlink()
    assert (live.guest / "file").exists()


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE])
@pytest.mark.parametrize("looked_up", ["by name", "in a listing", "open in the guest"])
def test_nothing_is_cached_of_what_is_no_file_directory_or_link(
    share, settings: dict, looked_up: str
) -> None:
    """The contract's DEL-8: of sockets, pipes and devices the guest keeps nothing."""
    live = share(**settings)
    names = ["file", "fifo", "socket", "device"]
    (live.source / "file").touch()
    os.mkfifo(live.source / "fifo")
    os.mknod(live.source / "socket", modes.S_IFSOCK | 0o600)
    os.mknod(live.source / "device", modes.S_IFCHR | 0o600, os.makedev(1, 3))
    if looked_up == "in a listing":
        with os.scandir(live.guest) as entries:
            assert sorted(entry.name for entry in entries) == sorted(names)
    held = os.open(live.guest / "fifo", os.O_RDWR) if looked_up == "open in the guest" else -1
    for name in names:
        os.lstat(live.guest / name)
    try:
        for name in names:
            (live.source / name).chmod(0o640)
        seen = [n for n in names if modes.S_IMODE(os.lstat(live.guest / n).st_mode) == 0o640]
        assert seen == ["fifo", "socket", "device"]
        if held >= 0:
            assert modes.S_IMODE(os.fstat(held).st_mode) == 0o640
        for name in names:
            (live.source / name).unlink()
        assert [name for name in names if missing(live.guest / name)] == seen
    finally:
        if held >= 0:
            os.close(held)


def test_that_there_is_no_socket_is_cached_as_of_any_name(share) -> None:
    live = share(**NEGATIVE)
    assert missing(live.guest / "socket")
    os.mknod(live.source / "socket", modes.S_IFSOCK | 0o600)
    assert missing(live.guest / "socket")


@pytest.mark.parametrize("kind", [modes.S_IFIFO, modes.S_IFSOCK])
def test_what_the_guest_makes_itself_is_no_more_cached(share, kind: int) -> None:
    live = share(**CACHED)
    os.mknod(live.guest / "made", kind | 0o600)
    (live.source / "made").chmod(0o640)
    assert modes.S_IMODE(os.lstat(live.guest / "made").st_mode) == 0o640


def test_a_host_change_is_seen_once_the_timeout_has_passed(share) -> None:
    live = share(**CACHED, cache_timeout_ns=SHORT_NS)
    (live.source / "file").write_text("old")
    assert (live.guest / "file").read_text() == "old"
    (live.source / "file").write_text("much longer")
    eventually(lambda: (live.guest / "file").stat().st_size == 11)
    assert (live.guest / "file").read_text() == "much longer"
    (live.source / "file").unlink()
    eventually(lambda: missing(live.guest / "file"))


def test_a_new_host_file_is_unseen_while_its_name_is_cached_as_missing(share) -> None:
    live = share(**NEGATIVE)
    assert missing(live.guest / "file")
    (live.source / "file").touch()
    assert missing(live.guest / "file")
    assert os.listdir(live.guest) == ["file"], "a listing is asked for"


def test_a_new_host_file_is_seen_once_its_absence_is_no_longer_cached(share) -> None:
    live = share(**NEGATIVE, negative_timeout_ns=SHORT_NS)
    assert missing(live.guest / "file")
    (live.source / "file").touch()
    eventually(lambda: not missing(live.guest / "file"))


def test_what_the_guest_does_itself_invalidates_what_it_had_cached(share) -> None:
    live = share(**NEGATIVE)
    assert missing(live.guest / "a")
    (live.guest / "a").write_text("new")
    assert (live.guest / "a").read_text() == "new"
    assert missing(live.guest / "b")
    os.rename(live.guest / "a", live.guest / "b")
    assert missing(live.guest / "a")
    assert (live.guest / "b").read_text() == "new"
    with open(live.guest / "b", "a") as file:
        file.write("er")
    assert (live.guest / "b").stat().st_size == 5
    assert missing(live.guest / "d")
    os.mkdir(live.guest / "d")
    os.symlink("b", live.guest / "d" / "link")
    assert os.listdir(live.guest / "d") == ["link"]
    os.unlink(live.guest / "b")
    assert missing(live.guest / "b")


@pytest.mark.parametrize("made", ["file", "symlink", "fifo", "directory"])
def test_a_name_cached_as_missing_is_created_over_what_the_host_made(share, made: str) -> None:
    """The guest must get what open(2) gives on the object that is there now."""
    live = share(**NEGATIVE)
    name = live.source / "name"
    assert missing(live.guest / "name")
    if made == "file":
        name.write_text("host")
    elif made == "symlink":
        (live.source / "target").write_text("host")
        name.symlink_to("target")
    elif made == "fifo":
        os.mkfifo(name)
    else:
        name.mkdir()
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK
    if made == "directory":
        with refused(errno.EISDIR):
            os.open(live.guest / "name", flags)
        return
    fd = os.open(live.guest / "name", flags)
    try:
        assert modes.S_ISFIFO(os.fstat(fd).st_mode) == (made == "fifo")
        if made != "fifo":
            assert os.read(fd, 10) == b"host"
    finally:
        os.close(fd)


def test_an_exclusive_create_is_never_fooled_by_a_cached_entry(share) -> None:
    live = share(**NEGATIVE)
    assert missing(live.guest / "lock")
    (live.source / "lock").touch()
    with refused(errno.EEXIST):
        os.open(live.guest / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert missing(live.guest / "directory")
    (live.source / "directory").mkdir()
    with refused(errno.EEXIST):
        os.mkdir(live.guest / "directory")


def test_a_name_whose_object_the_host_replaced_leads_to_the_new_one(share) -> None:
    live = share(**CACHED)
    (live.source / "file").write_text("old")
    (live.source / "directory").mkdir()
    (live.source / "directory" / "old").touch()
    os.stat(live.guest / "file")
    os.stat(live.guest / "directory")
    (live.source / "keep").touch()
    for name in ("file", "directory"):
        os.rename(live.source / name, live.source / f"{name}-moved")
    (live.source / "file").write_text("new")
    (live.source / "directory").mkdir()
    (live.source / "directory" / "new").touch()
    # The guest still has the old objects cached; that they are no longer
    # there shows when they are used, and the kernel walks the path anew.
    assert (live.guest / "file").read_text() == "new"
    assert os.listdir(live.guest / "directory") in (["new"], ["old"])


# Pages


def rewrite(path: Path, content: bytes) -> None:
    """Change content and nothing else that a guest could notice."""
    status = path.stat()
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, content)
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.close(fd)


def test_consistent_reads_new_content_on_reopening(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").write_bytes(b"a" * 10_000)
    for letter in (b"b", b"c", b"d"):
        (live.guest / "file").read_bytes()
        rewrite(live.source / "file", letter * 10_000)
        assert (live.guest / "file").read_bytes() == letter * 10_000


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE])
def test_cached_keeps_pages_of_a_file_that_did_not_change_visibly(share, settings: dict) -> None:
    live = share(**settings)
    (live.source / "file").write_bytes(b"a" * 10_000)
    assert (live.guest / "file").read_bytes() == b"a" * 10_000
    live.reset()
    for _ in range(TIMES):
        assert (live.guest / "file").read_bytes() == b"a" * 10_000
    assert asked(live, "READ") == 0
    assert asked(live, "OPEN") == TIMES
    rewrite(live.source / "file", b"b" * 10_000)
    assert (live.guest / "file").read_bytes() == b"a" * 10_000


def test_cached_drops_pages_when_it_learns_of_a_change(share) -> None:
    live = share(**CACHED, cache_timeout_ns=SHORT_NS)
    (live.source / "file").write_bytes(b"a" * 10_000)
    assert (live.guest / "file").read_bytes() == b"a" * 10_000
    with open(live.guest / "file", "rb", buffering=0) as file:
        (live.source / "file").write_bytes(b"b" * 10_000)  # same size, another mtime
        eventually(lambda: os.pread(file.fileno(), 10_000, 0) == b"b" * 10_000)


def test_consistent_reads_once_while_a_file_stays_open(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").write_bytes(b"a" * 10_000)
    with open(live.guest / "file", "rb", buffering=0) as file:
        file.read()
        live.reset()
        for _ in range(TIMES):
            assert os.pread(file.fileno(), 10_000, 0) == b"a" * 10_000
        assert asked(live, "READ") == 0
        assert asked(live, "GETATTR") == TIMES


def test_a_mapping_follows_the_host_when_its_file_is_reopened(share) -> None:
    live = share(**CONSISTENT)
    (live.source / "file").write_bytes(b"a" * 4_096)
    with (
        open(live.guest / "file", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
    ):
        assert mapping[:1] == b"a"
        rewrite(live.source / "file", b"b" * 4_096)
        open(live.guest / "file").close()
        assert mapping[:1] == b"b"


# Appending from both sides


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_a_guest_append_goes_behind_what_the_host_appended(share, settings: dict) -> None:
    live = share(**settings)
    (live.source / "log").write_bytes(b"start.")
    guest = os.open(live.guest / "log", os.O_RDWR | os.O_APPEND)
    host = os.open(live.source / "log", os.O_WRONLY | os.O_APPEND)
    expected = b"start."
    try:
        for number in range(50):
            for fd, who in ((host, b"h"), (guest, b"g"), (guest, b"G"))[: number % 3 + 1]:
                piece = who * (number + 1) + b"."
                os.write(fd, piece)
                expected += piece
        assert (live.source / "log").read_bytes() == expected
        if settings is CONSISTENT:
            assert os.pread(guest, 1 << 20, 0) == expected
            assert os.fstat(guest).st_size == len(expected)
    finally:
        os.close(guest)
        os.close(host)


@pytest.mark.parametrize("access", [os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("size", [6, 4_096])
@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_a_guest_append_to_a_file_it_emptied_spares_the_host(
    share, settings: dict, size: int, access: int
) -> None:
    """A log that the guest starts anew (O_TRUNC) while the host also writes to it."""
    live = share(**settings)
    (live.source / "log").write_bytes(b"x" * 20_000)
    (live.guest / "log").stat()
    guest = os.open(live.guest / "log", access | os.O_APPEND | os.O_TRUNC)
    host = os.open(live.source / "log", os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(2):
            os.write(host, b"h" * size)
            os.write(guest, b"g" * size)
    finally:
        os.close(guest)
        os.close(host)
    expected = (b"h" * size + b"g" * size) * 2
    assert (live.source / "log").read_bytes() == expected


_APPEND = """
import os, sys
path, who, lines, access, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
fd = os.open(path, access | os.O_APPEND)
print("ready", flush=True)
sys.stdin.readline()
for number in range(lines):
    os.write(fd, f"{who} {number}".ljust(size - 1).encode() + b"\\n")
"""

_KEEP_LOOKING = """
import os, sys
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    os.stat(sys.argv[1])
"""


# Handles that can read could be mapped, and pages look much like blocks.
@pytest.mark.parametrize("access", [os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("size", [16, 100, 4_096])
@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_nothing_is_lost_when_host_and_guest_append_and_somebody_looks(
    share, field: Path, settings: dict, size: int, access: int
) -> None:
    live = share(**settings)
    (live.source / "log").touch()
    lines = 1_500
    lookers = [start(_KEEP_LOOKING, live.guest / "log", field / "stop") for _ in range(2)]
    writers = [
        start(_APPEND, live.source / "log", "host", lines, access, size),
        start(_APPEND, live.guest / "log", "guest-a", lines, access, size),
        start(_APPEND, live.guest / "log", "guest-b", lines, access, size),
    ]
    for process in lookers + writers:
        hear(process, "ready")
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        finish(writer)
    (field / "stop").touch()
    for looker in lookers:
        finish(looker)
    written = [line.rstrip() for line in (live.source / "log").read_text().splitlines()]
    for who in ("host", "guest-a", "guest-b"):
        own = [line for line in written if line.startswith(who)]
        assert own == [f"{who} {number}" for number in range(lines)]
    assert len(written) == 3 * lines


# Policies of one's own

_POLICY = """
from osxfs_sim.model.caching import CachePolicy, CacheTimeouts

class OnlyHeaders(CachePolicy):
    '''Believes in headers for ever, and in nothing else.'''

    def found(self, name, status, now_ns):
        if name.endswith(b".h"):
            return CacheTimeouts(3600 * 10**9, 3600 * 10**9)
        return super().found(name, status, now_ns)

    def negative_timeout_ns(self, name, now_ns):
        return 3600 * 10**9 if name.endswith(b".h") else 0
"""

_modules = itertools.count()


@pytest.fixture
def policy(field: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A policy in a module of the current directory, named as a user names it."""
    name = f"policy_of_a_test_{next(_modules)}"
    (field / f"{name}.py").write_text(_POLICY)
    monkeypatch.chdir(field)
    monkeypatch.syspath_prepend(str(field))  # so that what was added is taken away again
    return f"{name}:OnlyHeaders"


def test_a_policy_of_ones_own_decides_by_name(share, policy: str) -> None:
    live = share(policy=policy)
    assert live.status().policy == policy
    for name in ("a.h", "a.c"):
        (live.source / name).touch()
    for path, count in (("a.h", 1), ("a.c", TIMES), ("b.h", 1), ("b.c", TIMES)):
        live.reset()
        for _ in range(TIMES):
            os.path.exists(live.guest / path)
        assert asked(live, "LOOKUP") == count, path


def test_a_policy_is_found_on_the_python_path(
    share, field: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", str(field), prepend=os.pathsep)
    live = share(policy=policy)
    (live.source / "a.h").touch()
    live.reset()
    assert run("import os, sys; print(os.stat(sys.argv[1]).st_size)", live.guest / "a.h") == "0\n"
    assert asked(live, "LOOKUP") == 1


_FAILING_POLICY = """
from osxfs_sim.model.caching import CachePolicy

class Failing(CachePolicy):
    def found(self, name, status, now_ns):
        if name == b"bad":
            raise KeyError(name)
        return super().found(name, status, now_ns)

    def keep_pages(self, status, now_ns):
        if status.st_size == 13:
            raise ValueError(status.st_size)
        return False
"""


def test_of_a_policy_that_fails_late_nothing_is_cached_and_it_is_told_of(
    share, field, monkeypatch
) -> None:
    name = f"policy_of_a_test_{next(_modules)}"
    (field / f"{name}.py").write_text(_FAILING_POLICY)
    monkeypatch.chdir(field)
    monkeypatch.syspath_prepend(str(field))
    live = share(policy=f"{name}:Failing")
    live.expected_trouble = True
    (live.source / "bad").touch()
    (live.source / "good").touch()
    for path in ("bad", "good"):
        assert os.stat(live.guest / path).st_size == 0
    (live.source / "thirteen").write_bytes(b"x" * 13)
    assert (live.guest / "thirteen").read_bytes() == b"x" * 13
    status = live.status()
    own = status.own_policy
    assert own.errors == 2
    assert own.first_error == (f"{name}:Failing.found fails ({name}.py, line 7): KeyError: b'bad'")
    (said,) = (each for each in status.warnings if "policy" in each)
    assert said.startswith("the policy failed 2 times, and nothing was cached then; at first: ")
    assert own.first_error in said
    assert status.internal_errors.count == 0
    assert "Traceback" in live.log()
    live.reset()
    assert live.status().own_policy.errors == 0


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            "found(self, n, s, t): return 5",
            r"found .*line 4\) gave 5 \(int\): return CacheTimeouts",
        ),
        ("found(self, n, s, t): return n.no", r"found fails .*line 4\): AttributeError: "),
        (
            "negative_timeout_ns(self, n, t): return None",
            r"negative_timeout_ns .* gave None \(NoneType\)",
        ),
    ],
)
def test_a_policy_that_fails_at_once_is_not_mounted(
    share, field, monkeypatch, method: str, said: str
) -> None:
    name = f"policy_of_a_test_{next(_modules)}"
    (field / f"{name}.py").write_text(
        f"from osxfs_sim import CachePolicy\n\nclass Wrong(CachePolicy):\n    def {method}\n"
    )
    monkeypatch.chdir(field)
    monkeypatch.syspath_prepend(str(field))
    with pytest.raises(ProfileError, match=f"^the policy {name}:Wrong.{said}"):
        share(policy=f"{name}:Wrong")
