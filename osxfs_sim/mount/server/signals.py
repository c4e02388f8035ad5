"""The signals by which a share's server is asked to end, of whatever kind it is."""

import signal

import trio

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def hear_signals_early() -> list[int]:
    """The signals that come from now on, until somebody listens for them.

    They must not leave a dead mount behind. To block them would not do: a mask
    is a thread's own, and libraries have threads.
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
    """Set *stop* at each signal, those that came *early* included; started once it listens."""
    with trio.open_signal_receiver(*_STOPPING) as signals:
        task_status.started()
        if early:
            stop.set()
        async for _ in signals:
            stop.set()
