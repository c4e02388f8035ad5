"""The signals by which a share's server, of whatever kind, is asked to end, or ends at once."""

import ctypes
import signal

import trio

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DUMPING = (
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGQUIT, signal.SIGSYS, signal.SIGTRAP, signal.SIGXCPU),
)
"""By default they end a process with a core dump (signal(7))."""


def catch_early_signals() -> list[int]:
    """Collect SIGTERM, SIGINT, SIGHUP in a list until somebody listens; returns that list.

    They must not leave a dead mount behind. To block them would not do: a mask is a thread's own,
    and libraries have threads.
    """
    early: list[int] = []
    for number in _STOPPING:
        signal.signal(number, lambda number, _frame: early.append(number))
    return early


async def signals_of_the_end(
    stop: trio.Event,
    early: list[int],
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set *stop* at each ending signal, at *early* ones too; runs until cancelled.

    It has started (*task_status*) once it listens.
    """
    with trio.open_signal_receiver(*_STOPPING) as signals:
        task_status.started()
        if early:
            stop.set()
        async for _ in signals:
            stop.set()


def end_at_once_by_faults() -> None:
    """Have faults (SIGSEGV and others) end this process without a core dump.

    For a dump the kernel first waits for all threads, whatever its limits say; and one that waits
    in the share for what only the kernel's end of this process lets go would never come. Nor is its
    supervisor told before that of its end.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = ctypes.c_int, ctypes.c_void_p
    libc.signal.restype = ctypes.c_void_p
    for number in _DUMPING:
        # No handler of Python's: the interpreter may be what has failed.
        libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))
