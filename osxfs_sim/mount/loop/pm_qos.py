"""What it costs to be quick: keeping the processors awake, and sleeping precisely.

A processor that went to sleep takes 50 to 100 us to wake, as long as a whole
crossing. While a share is in use we therefore ask the kernel to keep the
processors shallow (PM QoS, Documentation/power/pm_qos_interface.rst: hold
/dev/cpu_dma_latency open with a 32-bit 0 written to it), and release it when idle.
"""

import os
import struct

_CPU_DMA_LATENCY = "/dev/cpu_dma_latency"
# What the kernel takes when nobody asks (PM_QOS_CPU_LATENCY_DEFAULT_VALUE).
_NO_LIMIT_US = 2_000_000_000


class PmQosRequest:
    """The PM QoS request for processors that do not sleep. Does nothing where it is not allowed.

    The file stays open in between, because a server that has become another user could not open it
    again.
    """

    def __init__(self) -> None:
        self.held = False
        try:
            self._fd = os.open(_CPU_DMA_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    @property
    def available(self) -> bool:
        """Whether the kernel lets us ask (root, or who may write /dev/cpu_dma_latency)."""
        return self._fd >= 0

    def hold(self) -> None:
        """Keep processors awake: ask for a wake-up latency of 0 us; does nothing if not allowed."""
        if not self.held and self.available:
            self._ask_for(0)
            self.held = True

    def release(self) -> None:
        """Let the processors sleep again; does nothing where they are not held awake."""
        if self.held:
            self._ask_for(_NO_LIMIT_US)
            self.held = False

    def close(self) -> None:
        """Close /dev/cpu_dma_latency, with which the kernel drops the request."""
        if self._fd >= 0:
            os.close(self._fd)  # the kernel drops the request with it
        self._fd = -1
        self.held = False

    def _ask_for(self, latency_us: int) -> None:
        os.write(self._fd, struct.pack("=i", latency_us))


def set_timer_slack() -> None:
    """Have this process's timers fire on time, not up to 50 us late; goes on where it may not.

    That slack is the default of every process that is not real-time (PR_SET_TIMERSLACK in
    prctl(2)); the /proc file spares us a foreign call.
    """
    try:
        with open("/proc/self/timerslack_ns", "w") as file:
            file.write("1")
    except OSError:
        pass  # Sleeps are then less precise; the receipt shows what that costs.
