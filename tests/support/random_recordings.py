"""Recordings at random: anything that may be asked, of few objects, by threads that overlap.

They need not make sense (what was removed is read, and a file is listed): whatever they hold, two
implementations have to say the same of it.
"""

import os

from hypothesis import strategies as st

from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.recording import UNKNOWN, Question, Recording, Status
from support.recordings import A_DIRECTORY, A_FILE, recording

THREADS, INODES, HANDLES = 4, 6, 3
NAMES = (b"", b"a", b"b", b"\xff")
STATUSES = (
    *(A_FILE, A_FILE, A_DIRECTORY, UNKNOWN),
    A_FILE._replace(size_bytes=9_000),
    A_FILE._replace(mtime_ns=A_FILE.mtime_ns + 1),
    Status(0o010644, 0, A_FILE.mtime_ns, 1),  # a pipe, which nobody caches
)
CALLS = (
    *("", "", "newfstatat", "read", "other", "chmod", "truncate", "ftruncate", "mkdir", "unlink"),
    *("rmdir", "link", "rename", "renameat2", "openat", "openat O_CREAT", "open O_EXCL"),
)
ERRORS = ("", "", "", "ENOENT", "EACCES")
SIZES = (0, 0, 1, 5_000, 4_096, 300_000)
OFFSETS = (0, 0, 100, 4_096, 8_192)
GAPS_NS = (0, 0, 1, 700, 3_000_000, 9_000_000)
FAMILY = [[1, 10, 1, 0], [2, 10, 1, 0], [3, 30, 10, 0], [4, 40, 30, 0]]
"""Threads 1 and 2 are of one process, whose child is that of 3, whose child is that of 4."""
_USUAL = (
    *(Operation.LOOKUP,) * 6,
    *(Operation.GETATTR,) * 3,
    *(Operation.OPEN, Operation.READ, Operation.READ, Operation.READDIRPLUS, Operation.CREATE),
)

questions = st.builds(
    lambda gap, took, **fields: (gap, Question(arrival_ns=0, took_ns=took, **fields)),
    gap=st.sampled_from(GAPS_NS),
    took=st.sampled_from((1, 5, 100, 1_000)),
    operation=st.sampled_from((*_USUAL, *Operation)),
    thread=st.integers(1, THREADS),
    inode=st.integers(0, INODES),
    name=st.sampled_from(NAMES),
    found=st.integers(0, INODES),
    error=st.sampled_from(ERRORS),
    offset_bytes=st.sampled_from(OFFSETS),
    size_bytes=st.sampled_from(SIZES),
    status=st.sampled_from(STATUSES),
    flags=st.sampled_from((0, os.O_EXCL)),
    handle=st.integers(-1, HANDLES),
    new_name=st.sampled_from(NAMES),
    call=st.sampled_from(CALLS),
)


def in_turn(drawn: list[tuple[int, Question]], thinks_ns: int) -> Recording:
    """*drawn*, each so long after the one before has come, whoever asks; the command goes on."""
    placed, now_ns = [], 0
    for gap_ns, each in drawn:
        now_ns += gap_ns
        placed.append(each._replace(arrival_ns=now_ns))
    end_ns = max((each.end_ns for each in placed), default=0) + thinks_ns
    header = {"threads": FAMILY, "command_end_ns": end_ns}
    return recording(*placed, header=header)


def recordings(most: int) -> st.SearchStrategy[Recording]:
    """Recordings of up to *most* questions."""
    return st.builds(in_turn, st.lists(questions, max_size=most), st.sampled_from((0, 17)))
