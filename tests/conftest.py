"""Shares for tests: mounted for real, unmounted whatever happens, and none left behind."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import support.complaints  # noqa: F401 (how properties are run, also where nobody says so)
from support import live
from support.command import Command
from support.guests import eventually
from support.live import LiveShare
from support.nobody import NOBODY
from support.small_cases import write_case
from support.syncing import LONG_NS, SyncLock

from osxfs_sim.mount.mounts.mountpoints import runtime_directory, unmount

pytest_plugins = ["support.tiers"]

_MEMORY = "/dev/shm"
_number = itertools.count()
_of_modules: list[LiveShare] = []
_nobody_had_a_directory = pytest.StashKey[bool]()


def _is_worker(session: pytest.Session) -> bool:
    """Whether another process leads this run (pytest-xdist), and others run tests beside it."""
    return hasattr(session.config, "workerinput")


# What a process of tests is started with and hands on to all that it starts.
#
# Ignored, as under nohup or in the background of a script, signals would not end what tests
# end by them.
_SIGNALS = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2),
)


# What is printed is piped, and as wide and as plain as then: whatever terminal the run was
# started on, and whatever a service that runs tests would like to see in colour.
_COLUMNS = "120"
_ADORNING = ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "LINES")
# What a process makes may be read by others, as on most machines. What must be private
# in spite of it, and what must be open in spite of another, says so, and has its tests.
_UMASK = 0o022


def _as_by_default() -> None:
    """Start as from a plain shell, whatever shell, service manager or scheduler did it."""
    os.environ["COLUMNS"] = _COLUMNS
    for name in _ADORNING:
        os.environ.pop(name, None)
    os.umask(_UMASK)
    for number in _SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _end_the_tests)


def _end_the_tests(number: int, frame: object) -> None:
    """Who gives up on a run, such as timeout(1), has its shares unmounted, too."""
    del frame
    pytest.exit(f"ended by {signal.Signals(number).name}", returncode=128 + number)


def pytest_addoption(parser: pytest.Parser) -> None:
    adversary = parser.getgroup("adversary", "tests/adversary, with -m slow")
    adversary.addoption(
        "--adversary-minutes",
        type=float,
        default=2.0,
        help="how long it goes on, on each file system",
    )
    adversary.addoption("--adversary-seed", type=int, help="the first seed, not the time")
    adversary.addoption("--adversary-plan", help="this plan alone, by its name")


def pytest_sessionstart(session: pytest.Session) -> None:
    _as_by_default()
    session.config.stash[_nobody_had_a_directory] = runtime_directory(NOBODY).exists()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the machine as it was, once no worker needs what all of them share.

    Where something lies in it, another run of tests is at work: then it stays.
    """
    if not _is_worker(session) and not session.config.stash[_nobody_had_a_directory]:
        with contextlib.suppress(OSError):
            runtime_directory(NOBODY).rmdir()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A share that hangs would hang its test: each has all of the watchdogs' time."""
    del item
    for each in _of_modules:
        each.reset_watchdog()


@pytest.fixture(scope="session", autouse=True)
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory, open to every user, for sources and mount points.

    At the end of the session nothing may be mounted below it or pytest's own
    temporary directory, and no server may run for either. What is left is
    taken away, and reported as a failure.
    """
    memory = _MEMORY if os.path.isdir(_MEMORY) else None
    path = Path(tempfile.mkdtemp(prefix="osxfs-sim-tests-", dir=memory)).resolve()
    path.chmod(0o755)
    yield path
    grounds = (path, tmp_path_factory.getbasetemp().resolve())
    mounted = [mountpoint for ground in grounds for mountpoint in live.shares_below(ground)]
    with contextlib.suppress(AssertionError):  # a server that was killed has a supervisor left
        eventually(lambda: not any(map(live.servers_below, grounds)))
    servers = [pid for ground in grounds for pid in live.servers_below(ground)]
    for pid in servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for mountpoint in mounted:
        unmount(mountpoint, lazily=True)
    assert not mounted, f"shares left mounted by the tests: {mounted}"
    assert not servers, f"servers left running by the tests: {servers}"
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def sync_lock() -> Iterator[SyncLock]:
    """What keeps sync(2) away from shares that hold changes, in whatever process."""
    lock = SyncLock(Path(_MEMORY if os.path.isdir(_MEMORY) else "/"))
    yield lock
    lock.close()


@pytest.fixture
def alone_with_sync(sync_lock: SyncLock) -> Iterator[None]:
    """For a test that calls sync(2): before any share of it is mounted."""
    sync_lock.take_alone()
    yield
    sync_lock.give_back()


@pytest.fixture(scope="session")
def need_fuse() -> None:
    """Where the kernel has no FUSE nothing can be mounted; there only, tests are skipped."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("/dev/fuse is missing: this machine cannot mount")


@pytest.fixture(scope="session")
def cli() -> Command:
    """The command osxfs-sim: cli("mount", source, guest).returncode."""
    return Command()


@pytest.fixture
def small_case(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a case: small_case(name, text, scripts) -> its folder in tmp_path."""

    def small_case(name: str, text: str, scripts: Mapping[str, str]) -> Path:
        return write_case(tmp_path / name, text, scripts)

    return small_case


@pytest.fixture
def field(ground: Path) -> Iterator[Path]:
    """An empty directory in memory for one test."""
    path = ground / f"field-{next(_number)}"
    path.mkdir()
    yield path
    assert not live.shares_below(path)
    shutil.rmtree(path)


@pytest.fixture
def small_source(field: Path) -> Iterator[Path]:
    """A directory on a file system of 24 MiB."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    source = field / "small"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "small", source], check=True)
    yield source
    subprocess.run(["umount", source], check=True)


@pytest.fixture
def nobody(field: Path) -> tuple[Path, Path]:
    """A source and a mount point of an ordinary user.

    Its runtime directory is of no test alone: pytest_sessionfinish takes it away.
    """
    for name in ("source", "guest"):
        (field / name).mkdir()
        os.chown(field / name, NOBODY, NOBODY)
    (field / "source" / "not-mine").write_text("root's")
    (field / "source" / "not-mine").chmod(0o644)
    return field / "source", field / "guest"


Sharing = Callable[[], contextlib.AbstractContextManager[Callable[..., LiveShare]]]


@pytest.fixture(scope="session")
def sharing(need_fuse: None, ground: Path, sync_lock: SyncLock) -> Sharing:
    """A context whose value mounts shares, and whose end ends them all."""
    del need_fuse

    @contextlib.contextmanager
    def sharing() -> Iterator[Callable[..., LiveShare]]:
        shares: list[LiveShare] = []
        homes: list[Path] = []
        leaving = contextlib.ExitStack()

        def share(
            source: Path | None = None, guest: Path | None = None, **settings: object
        ) -> LiveShare:
            if settings.get("write_back_age_ns", 0) > LONG_NS:  # type: ignore[operator]
                sync_lock.hold()
                leaving.callback(sync_lock.release)
            home = ground / f"share-{next(_number)}"
            homes.append(home)
            source, guest = source or home / "source", guest or home / "guest"
            if source.is_relative_to(home):
                source.mkdir(parents=True)
            if guest.is_relative_to(home):
                guest.mkdir(parents=True)
            # Not in this machine's own; the same for all, as that is.
            settings = {"state_directory": str(ground / "state")} | settings
            shares.append(LiveShare.mount(source, guest, **settings))
            return shares[-1]

        try:
            yield share
        finally:
            with leaving:
                wrong = [line for each in reversed(shares) for line in each.finish()]
            for home in homes:
                if home.exists() and not live.shares_below(home):
                    shutil.rmtree(home)
            assert not wrong, "\n".join(wrong)

    return sharing


@pytest.fixture
def share(sharing: Sharing) -> Iterator[Callable[..., LiveShare]]:
    """A function that mounts: share(source, guest, profile=..., cache_timeout_ns=...) -> LiveShare.

    Without settings: new directories in memory, profile "none", not
    calibrated. Every share must end well: unmountable, exit code 0, and
    nothing in its log that speaks of a bug.
    """
    with sharing() as factory:
        yield factory


@pytest.fixture(scope="module")
def module_share(sharing: Sharing) -> Iterator[Callable[..., LiveShare]]:
    """As share, for a mount that all tests of a module use."""
    with sharing() as factory:

        def share(*arguments: object, **settings: object) -> LiveShare:
            _of_modules.append(factory(*arguments, **settings))
            return _of_modules[-1]

        yield share
        _of_modules.clear()
