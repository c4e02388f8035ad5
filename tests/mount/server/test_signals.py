"""The signals by which a server ends."""

import os
import resource
import signal
from collections.abc import Callable
from functools import partial

import pytest

from osxfs_sim.mount.server.signals import end_at_once_by_faults

pytestmark = pytest.mark.starts_processes

FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGQUIT, signal.SIGSYS)


def end_of(prepare: Callable[[], object], number: int) -> int:
    """How a process ends that is prepared and then gets the signal *number*: as of waitpid(2)."""
    pid = os.fork()
    if not pid:
        try:
            prepare()
            os.kill(os.getpid(), number)
        finally:
            os._exit(99)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_ends_a_server_without_a_core_dump(number: int) -> None:
    end = end_of(end_at_once_by_faults, number)
    assert os.WIFEXITED(end)
    assert os.WEXITSTATUS(end) == number


def test_by_itself_it_would_be_the_kernel_that_ends_it() -> None:
    leave_none = partial(resource.setrlimit, resource.RLIMIT_CORE, (0, 0))
    assert os.WIFSIGNALED(end_of(leave_none, signal.SIGQUIT))
