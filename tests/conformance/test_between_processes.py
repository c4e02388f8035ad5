"""What two processes of the guest have in common through a directory."""

import errno
import fcntl
import functools
import mmap
import os
import socket
import stat as modes
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import PATIENCE_S, ended, eventually, finish, hear, refused, run, start

_READ_ALL = """
import sys
print("ready", flush=True)
with open(sys.argv[1]) as fifo:
    print(fifo.read())
"""


def test_a_fifo_joins_two_processes(place: Path) -> None:
    os.mkfifo(place / "fifo")
    assert modes.S_ISFIFO((place / "fifo").stat().st_mode)
    reader = start(_READ_ALL, place / "fifo")
    hear(reader, "ready")
    with open(place / "fifo", "w") as fifo:
        fifo.write("through the pipe")
    assert finish(reader) == "through the pipe\n"


def test_a_fifo_without_reader_is_told(place: Path) -> None:
    os.mkfifo(place / "fifo")
    with refused(errno.ENXIO):
        os.open(place / "fifo", os.O_WRONLY | os.O_NONBLOCK)


_CALL = """
import os, socket, sys
os.chdir(sys.argv[1])
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect("socket")
    caller.sendall(b"hello")
    caller.shutdown(socket.SHUT_WR)
    print(caller.recv(100).decode())
"""


def test_a_socket_joins_two_processes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE_S)
        listener.bind("socket")
        listener.listen()
        caller = start(_CALL, place)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b"hello"
            connection.sendall(b"and good bye")
        assert finish(caller) == "and good bye\n"
    with socket.socket(socket.AF_UNIX) as second, refused(errno.EADDRINUSE):
        second.bind("socket")
    os.unlink("socket")


_TRY_FLOCK = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if sys.argv[2] == "alone" else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        print("locked")
    except BlockingIOError:
        print("refused")
"""  # noqa: E501

_TRY_FCNTL = """
import fcntl, sys
start, length = int(sys.argv[2]), int(sys.argv[3])
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        print("locked")
    except OSError:
        print("refused")
"""


def test_flock_keeps_other_processes_out(place: Path) -> None:
    (place / "file").touch()
    with open(place / "file", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(_TRY_FLOCK, place / "file", "alone") == "refused\n"
        assert run(_TRY_FLOCK, place / "file", "together") == "refused\n"
        fcntl.flock(file, fcntl.LOCK_SH)
        assert run(_TRY_FLOCK, place / "file", "together") == "locked\n"
        assert run(_TRY_FLOCK, place / "file", "alone") == "refused\n"
        fcntl.flock(file, fcntl.LOCK_UN)
        assert run(_TRY_FLOCK, place / "file", "alone") == "locked\n"
        fcntl.flock(file, fcntl.LOCK_EX)
    assert run(_TRY_FLOCK, place / "file", "alone") == "locked\n", "closing unlocks"


def test_record_locks_hold_for_their_range(place: Path) -> None:
    (place / "file").write_bytes(b"-" * 100)
    with open(place / "file", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 20)
        assert run(_TRY_FCNTL, place / "file", 25, 1) == "refused\n"
        assert run(_TRY_FCNTL, place / "file", 30, 10) == "locked\n"
        fcntl.lockf(file, fcntl.LOCK_UN, 5, 20)
        assert run(_TRY_FCNTL, place / "file", 20, 5) == "locked\n"
        assert run(_TRY_FCNTL, place / "file", 20, 6) == "refused\n"
        # A process loses its record locks when it closes any descriptor of the file.
        open(place / "file").close()
        assert run(_TRY_FCNTL, place / "file", 0, 100) == "locked\n"


_WAIT_FOR_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    print("waiting", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
    print(file.read())
"""


def test_who_waits_for_a_lock_gets_it_with_what_was_written(place: Path) -> None:
    (place / "file").touch()
    with open(place / "file", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = start(_WAIT_FOR_LOCK, place / "file")
        hear(waiting, "waiting")
        file.write("done")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_UN)
    assert finish(waiting) == "done\n"


def test_a_script_runs_from_here(place: Path) -> None:
    script = place / "script"
    script.write_text(f'#!{sys.executable} -ISs\nimport sys\nprint("ran", sys.argv[1])\n')
    with refused(errno.EACCES):
        subprocess.run([script, "it"], check=False)
    script.chmod(0o755)
    done = subprocess.run([script, "it"], capture_output=True, text=True, check=True)
    assert done.stdout == "ran it\n"


def test_a_program_runs_from_here(place: Path) -> None:
    program = place / "echo"
    with open("/bin/echo", "rb") as original:
        program.write_bytes(original.read())
    program.chmod(0o755)
    done = subprocess.run([program, "it ran"], capture_output=True, text=True, check=True)
    assert done.stdout == "it ran\n"


def test_a_running_program_cannot_be_written(place: Path) -> None:
    program = place / "cat"
    with open("/bin/cat", "rb") as original:
        program.write_bytes(original.read())
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        with refused(errno.ETXTBSY):
            os.open(program, os.O_WRONLY)
        output, _ = running.communicate(b"still here", timeout=PATIENCE_S)
    assert output == b"still here"


def test_a_process_that_is_killed_leaves_its_files_usable(place: Path) -> None:
    code = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("written")
file.flush()
print("ready", flush=True)
sys.stdin.readline()
"""
    with start(code, place / "file") as process:
        hear(process, "ready")
        process.kill()
    assert (place / "file").read_text() == "written"
    assert run(_TRY_FLOCK, place / "file", "alone") == "locked\n"


_LOOK_ON = """
import mmap, os, sys
path, how, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(path, os.O_RDWR)
mapped = mmap.mmap(fd, size)
print("ready", flush=True)
while os.fstat(fd).st_nlink:
    if how == "open":
        os.close(os.open(path + "-too", os.O_RDONLY))
    mapped[:8], mapped[size // 2 :][:8], mapped[-8:], os.pread(fd, 8, size // 2)
"""


def _shows(mapped: mmap.mmap, fd: int, content: bytes) -> bool:
    # In this order: read(2) may ask the server what the mapping does not.
    return mapped[:] == content and os.pread(fd, len(content), 0) == content


@pytest.mark.parametrize("how", ["look", "open"])
@pytest.mark.parametrize(
    ("flags", "size", "times"), [(os.O_DSYNC, 4096, 150), (0, 1 << 20, 25), (0, 300_000, 40)]
)
def test_what_was_written_stays_written_while_others_look_on(
    place: Path, flags: int, size: int, times: int, how: str
) -> None:
    """Databases (LMDB, bbolt) write by one way, and read by another."""
    (place / "file").write_bytes(bytes(size))
    os.link(place / "file", place / "file-too")
    others = [start(_LOOK_ON, place / "file", how, size) for _ in range(2)]
    fd = os.open(place / "file", os.O_RDWR | flags)
    with ended(*others), mmap.mmap(fd, size) as mapped:
        for other in others:
            hear(other, "ready")
        for number in range(times):
            written = bytes([number % 251 + 1]) * size
            assert os.pwrite(fd, written, 0) == size
            if how == "open":
                # It drops pages that the kernel may just be reading: old ones, and not for long.
                eventually(functools.partial(_shows, mapped, fd, written))
            else:
                assert _shows(mapped, fd, written), f"write {number}"
    os.close(fd)
