"""What a server that is not root acknowledges, it can apply: judged by the modes to come.

Everything is done twice by the same user, in the share and in a directory beside it: both must
say the same, step by step, though the host has none of the modes that the guest has set.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.live import LiveShare
from support.nobody import NOBODY
from support.users import User, act_as

from osxfs_sim.mount.mounts.mountpoints import runtime_directory

pytestmark = pytest.mark.usefixtures("need_root", "need_fuse")

HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 3_600 * 10**9}
GUEST = User(NOBODY, NOBODY)
# A share does not list what may be read and not searched: it tells what the entries are, too.
MODES = (0o000, 0o200, 0o300, 0o500, 0o555, 0o700, 0o755, 0o1777)
PLACES = ("d", "d/e", "f", "d/f", "d/e/f", "g", "d/g", "d/e/g")

Step = tuple[str, ...]


@pytest.fixture
def need_root() -> None:
    if os.geteuid():
        pytest.skip("only root can start the server of another user")


@pytest.fixture
def mounted(field: Path, share) -> Iterator[Callable[..., LiveShare]]:
    """A share of nobody's; beside its source lies "native"."""
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed: a server of nobody could not unmount")
    for name in ("source", "guest", "state", "native"):
        (field / name).mkdir()
        os.chown(field / name, NOBODY, NOBODY)
    existed = runtime_directory(NOBODY).exists()

    def mount(**settings: object) -> LiveShare:
        state = {"state_directory": str(field / "state"), "user": "nobody"}
        return share(field / "source", field / "guest", **(HELD | state | settings))

    yield mount
    if not existed:
        shutil.rmtree(runtime_directory(NOBODY), ignore_errors=True)


def write(path: str, flags: int, text: bytes) -> None:
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1_000)
    finally:
        os.close(fd)


def touch_open(path: str, mode: str) -> bytes:
    """Go on with a file that is open when its mode forbids it."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.chmod(path, int(mode))
        os.pwrite(fd, b"open", 1)
        os.ftruncate(fd, 4)
        os.fsync(fd)
        os.pwrite(fd, b"again", 2)
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def make_closed(path: str, mode: str) -> bytes:
    """A new file that its mode keeps even its owner from opening, and that is open."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, int(mode))
    try:
        os.write(fd, b"closed")
        os.fsync(fd)
        os.write(fd, b" still")
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def list_open(path: str, mode: str) -> list[str]:
    """Go on with a directory that is open when its mode forbids to read it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chmod(path, int(mode))
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def list_synced(path: str, mode: str) -> list[str]:
    """As list_open, and the host has got all of it in between."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chmod(path, int(mode))
        os.fsync(fd)
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


STEPS: dict[str, Callable[..., object]] = {
    "chmod": lambda path, mode: os.chmod(path, int(mode)),
    "create": lambda path: write(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, b"new"),
    "write": lambda path: write(path, os.O_WRONLY, b"WRI"),
    "rewrite": lambda path: write(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, b"again"),
    "append": lambda path: write(path, os.O_WRONLY | os.O_APPEND, b"+"),
    "read": read,
    "truncate": lambda path: os.truncate(path, 2),
    "utime": lambda path: os.utime(path, (1, 1)),
    "mkdir": lambda path, mode: os.mkdir(path, int(mode)),
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "list": lambda path: sorted(os.listdir(path)),
    "symlink": lambda path: os.symlink("to", path),
    "link": os.link,
    "rename": os.rename,
    "stat": lambda path: os.stat(path).st_size if os.path.isfile(path) else 0,
    "touch_open": touch_open,
    "make_closed": make_closed,
    "list_open": list_open,
    "list_synced": list_synced,
}


def outcome(top: str, step: Step) -> object:
    """What doing *step* below *top* says: an answer, or the name of an errno."""
    name, *arguments = step
    paths = [each if each.isdigit() else os.path.join(top, each) for each in arguments]
    try:
        answer = STEPS[name](*paths)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return answer if answer is not None else "ok"


def open_everything(top: str) -> None:
    """So that what lies below can be looked at, and removed."""
    os.chmod(top, 0o700)
    with os.scandir(top) as listed:
        entries = list(listed)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            open_everything(entry.path)
        elif entry.is_file(follow_symlinks=False):
            os.chmod(entry.path, 0o600)


def tree(top: Path) -> dict[str, tuple[str, bytes]]:
    """All below *top*, as root sees it: mode and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = os.lstat(path)
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(top))] = (oct(status.st_mode), content)
    return found


def outcomes(top: Path, steps: list[Step]) -> list[object]:
    """Of all *steps*, by one process of the user."""
    answer: list[object] = act_as(GUEST, lambda: [outcome(str(top), step) for step in steps])
    return answer


def assert_alike(
    live: LiveShare,
    steps: list[Step],
    flush_after: set[int] = frozenset(),
    *,
    exactly: bool = True,
) -> None:
    """All *steps* are answered alike on both sides; if not *exactly*, what is refused is.

    The guest's kernel finds what it knows, and says what kind of thing is in the way, before
    the server can say that it may not be reached.
    """
    native = live.source.parent / "native"
    began = 0
    for end in sorted({*(number + 1 for number in flush_after), len(steps)}):
        part = steps[began:end]
        expected, actual = outcomes(native, part), outcomes(live.guest, part)
        for number, (step, *both) in enumerate(zip(part, expected, actual, strict=True)):
            if not exactly:
                both = ["refused" if each in errno.errorcode.values() else each for each in both]
            assert both[0] == both[1], f"{step}, after {steps[: began + number]}"
        live.share.flush()
        began = end
    assert tree(live.source) == tree(native), steps
    assert live.status().write_back.refusal is None


def clear(live: LiveShare) -> None:
    for top in (live.source.parent / "native", live.guest):
        act_as(GUEST, lambda top=top: open_everything(str(top)))
        act_as(GUEST, lambda top=top: [shutil.rmtree(p) for p in top.iterdir() if p.is_dir()])
        act_as(GUEST, lambda top=top: [p.unlink() for p in top.iterdir()])
    live.share.flush()


def d_e_f() -> list[Step]:
    return [
        ("mkdir", "d", str(0o755)),
        ("mkdir", "d/e", str(0o755)),
        ("create", "d/e/f"),
        ("create", "d/f"),
        ("create", "f"),
    ]


FORBIDDING = [
    [("chmod", "d", str(0o555)), ("create", "d/g")],
    [("chmod", "d", str(0o555)), ("unlink", "d/f"), ("rename", "d/f", "g"), ("link", "f", "d/g")],
    [("chmod", "d", str(0o600)), ("read", "d/f"), ("unlink", "d/e/f")],
    [("chmod", "d", str(0o300)), ("list", "d"), ("read", "d/f"), ("create", "d/g")],
    [("chmod", "d/e", str(0o500)), ("rename", "d/e", "e"), ("rename", "d/e", "d/moved")],
    [("chmod", "f", str(0o400)), ("write", "f"), ("truncate", "f"), ("append", "f"), ("read", "f")],
    [("chmod", "f", str(0o200)), ("read", "f"), ("append", "f"), ("utime", "f")],
    [("chmod", "f", "0"), ("read", "f"), ("write", "f"), ("unlink", "f")],
    [("chmod", "d", "0"), ("chmod", "d/f", str(0o600)), ("utime", "d/f"), ("truncate", "d/f")],
]
"""What a mode that is held forbids: by itself, and on the way."""


@pytest.mark.parametrize("crossed", [False, True], ids=["all held", "the objects are the host's"])
def test_what_a_pending_mode_forbids_is_refused_and_what_it_allows_is_done(
    mounted, crossed
) -> None:
    live = mounted()
    for steps in FORBIDDING:
        begun = d_e_f()
        assert_alike(live, [*begun, *steps], {len(begun) - 1} if crossed else set())
        # and everything is allowed again, though the host does not know it yet
        opening = [
            ("chmod", path, str(0o700 if path in ("d", "d/e") else 0o600))
            for path in ("d", "d/e", "f", "d/f", "d/e/f")
        ]
        allowed = [
            *opening,
            *[("list", "d"), ("list", "d/e"), ("rewrite", "d/f"), ("read", "d/f")],
            *[("create", "d/new"), ("unlink", "d/f"), ("rename", "d/new", "d/e/new")],
        ]
        assert_alike(live, allowed)
        clear(live)


OPEN = [
    [("make_closed", "g", "0"), ("make_closed", "d/g", str(0o200)), ("read", "g")],
    [("touch_open", "f", "0"), ("read", "f"), ("touch_open", "d/f", str(0o200))],
    [("list_open", "d", str(0o100)), ("list", "d")],
    [("list_open", "d/e", str(0o300)), ("list", "d/e"), ("create", "d/e/g")],
    [
        ("mkdir", "g", str(0o300)),
        ("list", "g"),
        ("chmod", "g", str(0o700)),
        ("list_open", "g", str(0o100)),
    ],
]


def test_what_is_open_can_be_gone_on_with_whatever_its_mode_becomes(mounted) -> None:
    live = mounted(write_back_age_ns=1_000_000)
    for number, steps in enumerate(OPEN):
        begun = [
            (step[0], *(p if p.isdigit() else f"{number}/{p}" for p in step[1:]))
            for step in [*d_e_f(), *steps]
        ]
        assert_alike(live, [("mkdir", f"{number}/", str(0o755)), *begun])
    assert live.server.poll() is None


def test_what_was_opened_under_a_mode_that_the_host_had_for_a_moment_stays_open(mounted) -> None:
    live = mounted()
    steps = [
        ("mkdir", "g", str(0o300)),
        ("chmod", "g", str(0o700)),
        ("list_synced", "g", str(0o100)),
        ("list", "g"),
    ]
    assert_alike(live, steps)


LISTING = ("list_open", "list_synced")


def random_step(rng: random.Random) -> Step:
    name = rng.choice(list(STEPS))
    paths = [rng.choice(PLACES)]
    if name in ("link", "rename"):
        paths.append(rng.choice(PLACES))
    if name in ("chmod", "mkdir", "touch_open", "make_closed", *LISTING):
        mode = rng.choice(MODES)
        paths.append(str(mode | 0o100 if name in LISTING else mode))
    return name, *paths


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(s, marks=pytest.mark.slow) for s in range(6, 200))]
)
def test_any_steps_are_answered_as_by_a_local_file_system(mounted, seed: int) -> None:
    rng = random.Random(seed)
    age_ns = rng.choice((1_000_000, 3_600 * 10**9))
    live = mounted(write_back_age_ns=age_ns)
    steps = [("mkdir", "d", str(0o755)), ("mkdir", "d/e", str(0o755))]
    steps += [random_step(rng) for _ in range(60)]
    assert_alike(live, steps, {n for n in range(len(steps)) if rng.random() < 0.05}, exactly=False)
