"""The server of a share that breaks the rule of order: what was written last crosses first."""

from typing import Any

from osxfs_sim.model.write_back import Change, Kind, PendingChanges
from osxfs_sim.mount.server.main import main


def _take(self: "PendingChanges[Any]") -> "Change[Any] | None":
    if self.under_way is None and self._changes:
        overtaking = [
            change
            for change in self._changes.values()
            if change.kind in (Kind.WRITE, Kind.SET) and not self.is_local_only(change.target)
        ]
        change = overtaking[-1] if overtaking else next(iter(self._changes.values()))
        del self._changes[change.sequence]
        self._forget(change)
        self.under_way = change
    return self.under_way


if __name__ == "__main__":
    PendingChanges.take = _take  # type: ignore[method-assign]
    main()
