"""The server of a share that says at once that the guest was told of all, by a bug made here."""

from osxfs_sim.mount.events.host_events import HostEvents
from osxfs_sim.mount.server.main import main


def _has_delivered(_self: HostEvents, _asked_ns: int) -> bool:
    return True


if __name__ == "__main__":
    HostEvents.has_delivered = _has_delivered  # type: ignore[method-assign]
    main()
