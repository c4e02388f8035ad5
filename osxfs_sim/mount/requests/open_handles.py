"""How many files and directories who has open: nobody may use up what the others need.

Each handle of the guest's is a descriptor of the server's, of which it may have so many. Some are
kept for the server itself, so that it goes on serving, and answers who asks how it is. Of the
rest a user may have as many as are still free: whoever comes first gets half of them, the next
one half of what is left, and so on, so that there is something left for everybody (a dynamic
threshold, as switches share their buffers). Root and the server's own user may have what there
is; they could end the server as well.
"""

import errno
import os
import resource

_SERVERS_OWN = 512
_SHOWN_USERS = 5


def most_handles(server_descriptors: int) -> int:
    """How many files the guest may have open: RLIMIT_NOFILE less the server's, at least half."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft // 2, soft - server_descriptors - _SERVERS_OWN)


class OpenHandles:
    """Counts open handles by user, and refuses whoever would use up those of others."""

    __slots__ = ("_free_users", "_holder", "_of_user", "most", "open", "refused", "refused_users")

    def __init__(self, most: int, server_uid: int) -> None:
        self.most = most
        self.open = 0
        self.refused = 0
        """How often one was refused, and to whom."""
        self.refused_users: dict[int, int] = {}
        self._free_users = (0, server_uid)
        self._of_user: dict[int, int] = {}
        self._holder: dict[int, int] = {}

    def acquire(self, uid: int) -> None:
        """Count a handle that user *uid* is about to get. Raises OSError: EMFILE: none is left."""
        others = self.most - self.open
        held = self._of_user.get(uid, 0)
        if others <= 0 or (held >= others and uid not in self._free_users):
            self.refused += 1
            if uid in self.refused_users or len(self.refused_users) < _SHOWN_USERS:
                self.refused_users[uid] = self.refused_users.get(uid, 0) + 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.open += 1
        self._of_user[uid] = held + 1

    def assign(self, handle: int, uid: int) -> None:
        """Note that *handle* is the one that was counted for user *uid*."""
        self._holder[handle] = uid

    def release(self, uid: int) -> None:
        """Count one handle of user *uid* less. Raises KeyError where it has none."""
        self.open -= 1
        left = self._of_user[uid] - 1
        if left:
            self._of_user[uid] = left
        else:
            del self._of_user[uid]

    def closed(self, handle: int) -> None:
        """Count *handle* no more; does nothing where it was not counted."""
        uid = self._holder.pop(handle, None)
        if uid is not None:
            self.release(uid)

    def warning(self) -> str:
        """A line that says how often opening was refused, and to whom; empty: never."""
        if not self.refused:
            return ""
        users = ", ".join(map(str, self.refused_users))
        return (
            f"{self.refused} times a file was not opened (EMFILE), for users {users}: at most "
            f"{self.most} can be open at once, and no user gets what the others need"
        )
