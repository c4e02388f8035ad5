"""Who has to wait in the guest's kernel before a request is sent: each inode's lock (i_rwsem).

Whoever changes a directory's names, or a file's content or attributes, holds its lock alone until
the answer comes; lookups of names that have no dentry, and listings, share it
(FUSE_PARALLEL_DIROPS). A dentry that has expired is revalidated without it (fs/namei.c and
fs/fuse/dir.c of Linux 6.18).
"""

from collections.abc import Iterable

from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.recording import LISTS, MAKES_A_NAME, TAKES_A_NAME, Question

ALONE = frozenset(
    {
        *MAKES_A_NAME,
        *TAKES_A_NAME,
        *(Operation.RENAME, Operation.WRITE, Operation.SETATTR, Operation.FSYNC),
        *(Operation.FSYNCDIR, Operation.SETXATTR, Operation.REMOVEXATTR),
    }
)
"""What holds the lock of its inode alone; a RENAME those of two directories."""
SHARED = LISTS | {Operation.LOOKUP}
"""What shares it."""


class InodeLocks:
    """The locks of all inodes, in virtual time: first come, first served."""

    def __init__(self) -> None:
        self._alone_until_ns: dict[int, int] = {}
        self._shared_until_ns: dict[int, int] = {}

    def wait(self, question: Question, now_ns: int) -> int:
        """When the request for *question*, which is wanted *now_ns*, can be sent."""
        alone, shared = self._alone_until_ns, self._shared_until_ns
        for inode in _locked(question):
            now_ns = max(now_ns, alone.get(inode, 0))
            if question.operation in ALONE:
                now_ns = max(now_ns, shared.get(inode, 0))
        return now_ns

    def hold(self, question: Question, end_ns: int) -> None:
        """The request for *question* is answered *end_ns*: until then its locks are held."""
        of_kind = self._alone_until_ns if question.operation in ALONE else self._shared_until_ns
        for inode in _locked(question):
            of_kind[inode] = max(of_kind.get(inode, 0), end_ns)


def _locked(question: Question) -> Iterable[int]:
    """The inodes whose locks it needs."""
    if question.operation is Operation.RENAME:
        return question.inode, question.found
    if question.operation in ALONE or question.operation in SHARED:
        return (question.inode,)
    return ()
