"""The tests run alike whatever started them: a shell, a service, nohup, a script's background."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import PATIENCE_S, ended
from support.live import is_mounted

_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)


def what_is_handed_on() -> str:
    """What a process that a test starts is started with: signals, umask, width."""
    code = (
        "import os, signal, sys\n"
        "for number in (1, 2, 3, 15, 17):\n"
        "    print(number, signal.getsignal(number) == signal.SIG_IGN)\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "print(oct(os.umask(0)), os.environ.get('COLUMNS'), os.environ.get('FORCE_COLOR'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.starts_processes
def test_what_tests_start_is_started_as_from_a_plain_shell() -> None:
    assert what_is_handed_on() == (
        "1 False\n2 False\n3 False\n15 False\n17 False\nset()\n0o22 120 None\n"
    )


_MOUNTS_AND_WAITS = """
import sys, time

def test_that_hangs(share):
    print(share().guest, file=sys.__stderr__, flush=True)
    time.sleep(600)
"""


@pytest.mark.usefixtures("need_fuse")
def test_a_run_that_is_given_up_leaves_no_share(tmp_path: Path) -> None:
    # Beside a conftest that imports ours: it is no test of this suite.
    tests = Path(__file__).parent
    (tmp_path / "test_it.py").write_text(_MOUNTS_AND_WAITS)
    (tmp_path / "conftest.py").write_bytes((tests / "conftest.py").read_bytes())
    command = (sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider")
    given_up = subprocess.Popen(
        [*command, "--rootdir", tmp_path, tmp_path / "test_it.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent)))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(given_up):
        assert given_up.stderr is not None
        guest = given_up.stderr.readline().strip()
        assert is_mounted(Path(guest))
        given_up.terminate()
        assert given_up.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert not is_mounted(Path(guest))
    assert not Path(guest).exists()


def _as_a_careless_service() -> None:
    os.umask(0o077)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


@pytest.mark.starts_processes
@pytest.mark.parametrize("prepared", [True, False], ids=["by conftest", "without it"])
def test_it_is_so_when_a_careless_service_starts_the_tests(prepared: bool) -> None:
    tests = Path(__file__).parent
    itself = f"{Path(__file__)}::{test_what_tests_start_is_started_as_from_a_plain_shell.__name__}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(() if prepared else ("--noconftest",)),
            itself,
        ],
        cwd=tests.parent,
        env=os.environ | {"COLUMNS": "40", "FORCE_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=_as_a_careless_service,
    )
    assert done.returncode == (0 if prepared else 1), done.stdout + done.stderr
