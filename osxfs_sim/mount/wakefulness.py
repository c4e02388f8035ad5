"""What it costs to be quick: keeping the processors awake, and sleeping precisely.

A processor that went to sleep takes 50 to 100 us to wake, as long as a whole
crossing. While a share is in use we therefore ask the kernel to keep the
processors shallow (PM QoS, Documentation/power/pm_qos_interface.rst: hold
/dev/cpu_dma_latency open with a 32-bit 0 written to it), and let go when idle.
"""

import os
import struct

_CPU_DMA_LATENCY = "/dev/cpu_dma_latency"


class ProcessorsAwake:
    """Holds or releases the PM QoS request. Without permission it does nothing and says so."""

    def __init__(self) -> None:
        self._fd = -1
        self.available = os.access(_CPU_DMA_LATENCY, os.W_OK)

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def hold(self) -> None:
        if self._fd >= 0 or not self.available:
            return
        try:
            self._fd = os.open(_CPU_DMA_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._fd, struct.pack("=i", 0))
        except OSError:
            self.available = False
            self.release()

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def sleep_precisely() -> None:
    """Let this process's timers fire on time instead of up to 50 us late.

    That slack is the default of every process that is not real-time
    (PR_SET_TIMERSLACK in prctl(2)); the /proc file spares us a foreign call.
    """
    try:
        with open("/proc/self/timerslack_ns", "w") as file:
            file.write("1")
    except OSError:
        pass  # Sleeps are then less precise; the receipt shows what that costs.
