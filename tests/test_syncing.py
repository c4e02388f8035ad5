"""The lock that keeps sync(2) away from tests that hold changes."""

import fcntl
import os
from pathlib import Path

from support.syncing import SyncLock


def is_free(path: Path, how: int) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_who_holds_keeps_others_from_syncing_and_not_from_holding(tmp_path: Path) -> None:
    lock = SyncLock(tmp_path)
    lock.hold()
    lock.hold()
    lock.release()
    assert is_free(tmp_path, fcntl.LOCK_SH)
    assert not is_free(tmp_path, fcntl.LOCK_EX)
    lock.release()
    assert is_free(tmp_path, fcntl.LOCK_EX)
    lock.close()


def test_who_syncs_is_alone_also_while_it_holds_itself(tmp_path: Path) -> None:
    lock = SyncLock(tmp_path)
    lock.take_alone()
    lock.hold()
    assert not is_free(tmp_path, fcntl.LOCK_SH)
    lock.give_back()
    assert is_free(tmp_path, fcntl.LOCK_SH)
    assert not is_free(tmp_path, fcntl.LOCK_EX)
    lock.release()
    assert is_free(tmp_path, fcntl.LOCK_EX)
    lock.close()
