"""What is written is what is read, however it is written and read."""

import errno
import mmap
import os
import random
from pathlib import Path

import pytest
from support.guests import finish, hear, refused, run, start

GIB = 1 << 30


def test_what_one_writes_another_reads(place: Path) -> None:
    (place / "note").write_bytes(b"hello")
    assert run("import sys; print(open(sys.argv[1]).read())", place / "note") == "hello\n"
    assert (place / "note").stat().st_size == 5


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 131_072, 1_048_577, 9_000_001])
def test_every_byte_of_a_file_comes_back(place: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (place / "file").write_bytes(content)
    assert (place / "file").read_bytes() == content


def test_reading_ends_where_the_file_ends(place: Path) -> None:
    (place / "file").write_bytes(b"0123456789")
    fd = os.open(place / "file", os.O_RDONLY)
    try:
        assert os.pread(fd, 100, 8) == b"89"
        assert os.pread(fd, 100, 10) == b""
        assert os.pread(fd, 100, 1_000_000) == b""
    finally:
        os.close(fd)


def test_writing_in_the_middle_changes_nothing_else(place: Path) -> None:
    (place / "file").write_bytes(b"a" * 10_000)
    with open(place / "file", "r+b") as file:
        file.seek(5_000)
        file.write(b"b" * 10)
    assert (place / "file").read_bytes() == b"a" * 5_000 + b"b" * 10 + b"a" * 4_990


def test_opening_with_truncation_empties_a_file(place: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY):
        (place / "file").write_bytes(b"content")
        fd = os.open(place / "file", flags | os.O_TRUNC)
        assert os.fstat(fd).st_size == 0, flags
        os.close(fd)
        assert (place / "file").read_bytes() == b"", flags


def test_truncating_cuts_and_extends_with_zeros(place: Path) -> None:
    (place / "file").write_bytes(b"0123456789")
    os.truncate(place / "file", 4)
    assert (place / "file").read_bytes() == b"0123"
    os.truncate(place / "file", 8)
    assert (place / "file").read_bytes() == b"0123\0\0\0\0"
    with open(place / "file", "r+b") as file:
        file.truncate(2)
        assert os.fstat(file.fileno()).st_size == 2
    assert (place / "file").read_bytes() == b"01"


def test_a_reader_cannot_truncate_nor_write(place: Path) -> None:
    (place / "file").write_bytes(b"content")
    fd = os.open(place / "file", os.O_RDONLY)
    try:
        with refused(errno.EINVAL):
            os.ftruncate(fd, 0)
        with refused(errno.EBADF):
            os.write(fd, b"x")
    finally:
        os.close(fd)
    assert (place / "file").read_bytes() == b"content"


def test_a_writer_cannot_read(place: Path) -> None:
    fd = os.open(place / "file", os.O_WRONLY | os.O_CREAT)
    with refused(errno.EBADF):
        os.read(fd, 1)
    os.close(fd)


def test_an_exclusive_create_succeeds_once(place: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(place / "lock", flags))
    with refused(errno.EEXIST):
        os.open(place / "lock", flags)
    os.symlink("nowhere", place / "link")
    with refused(errno.EEXIST):
        os.open(place / "link", flags)
    assert not (place / "nowhere").exists()


def test_creating_through_a_dangling_symlink_makes_its_target(place: Path) -> None:
    os.symlink("target", place / "link")
    (place / "link").write_text("through")
    assert (place / "target").read_text() == "through"


def test_a_missing_file_is_not_opened_without_creating(place: Path) -> None:
    with refused(errno.ENOENT):
        os.open(place / "missing", os.O_RDWR)
    with refused(errno.ENOENT):
        os.open(place / "missing" / "file", os.O_RDWR | os.O_CREAT)
    (place / "file").touch()
    with refused(errno.ENOTDIR):
        os.open(place / "file" / "below", os.O_RDWR | os.O_CREAT)
    with refused(errno.EISDIR):
        os.open(place, os.O_RDWR)


def test_a_file_beyond_4_gib_keeps_its_two_ends(place: Path) -> None:
    fd = os.open(place / "sparse", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, b"begin")
        assert os.lseek(fd, 5 * GIB, os.SEEK_SET) == 5 * GIB
        os.write(fd, b"end")
        status = os.fstat(fd)
        assert status.st_size == 5 * GIB + 3
        assert status.st_blocks * 512 < GIB, "holes take no room"
        assert os.pread(fd, 10, 5 * GIB - 5) == b"\0\0\0\0\0end"
        assert os.pread(fd, 8, 0) == b"begin\0\0\0"
        assert os.pread(fd, 4, 4 * GIB) == b"\0\0\0\0"
        # Where holes are not told, the file is one piece of data up to its end.
        assert 5 <= os.lseek(fd, 0, os.SEEK_HOLE) <= 5 * GIB + 3
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        with refused(errno.ENXIO):
            os.lseek(fd, 5 * GIB + 3, os.SEEK_DATA)
        os.ftruncate(fd, 4 * GIB + 1)
        assert os.fstat(fd).st_size == 4 * GIB + 1
    finally:
        os.close(fd)


_APPEND = """
import os, sys
path, who, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
print("ready", flush=True)
sys.stdin.readline()
for number in range(lines):
    os.write(fd, f"{who} {number} {'x' * (number % 97)}\\n".encode())
"""


def test_two_processes_append_and_nothing_is_lost(place: Path) -> None:
    lines = 400
    writers = [start(_APPEND, place / "log", who, lines) for who in "ab"]
    for writer in writers:
        hear(writer, "ready")
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        finish(writer)
    written = (place / "log").read_text().splitlines()
    for who in "ab":
        own = [line for line in written if line.startswith(who)]
        assert own == [f"{who} {number} {'x' * (number % 97)}" for number in range(lines)]
    assert len(written) == 2 * lines


def test_an_append_ignores_the_position(place: Path) -> None:
    (place / "log").write_bytes(b"one")
    fd = os.open(place / "log", os.O_RDWR | os.O_APPEND)
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"two")
        os.ftruncate(fd, 2)
        os.write(fd, b"three")
        assert os.pread(fd, 100, 0) == b"onthree"
    finally:
        os.close(fd)


def test_a_large_append_stays_in_one_piece(place: Path) -> None:
    (place / "log").write_bytes(b"odd")
    content = random.Random(0).randbytes(3_000_001)
    with open(place / "log", "ab") as file:
        file.write(content)
    assert (place / "log").read_bytes() == b"odd" + content


def test_a_shared_mapping_writes_the_file(place: Path) -> None:
    (place / "file").write_bytes(b"a" * 10_000)
    with open(place / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[4_094:4_098] = b"BBBB"
        mapping[9_999:] = b"C"
        mapping.flush()
        assert os.pread(file.fileno(), 6, 4_093) == b"aBBBBa"
    expected = b"a" * 4_094 + b"BBBB" + b"a" * 5_901 + b"C"
    assert (place / "file").read_bytes() == expected
    assert run("import sys; print(open(sys.argv[1]).read().count('B'))", place / "file") == "4\n"


def test_appends_and_a_mapping_of_the_same_file_leave_each_other_alone(place: Path) -> None:
    (place / "file").write_bytes(b"a" * 8_192)
    appending = [os.open(place / "file", how | os.O_APPEND) for how in (os.O_WRONLY, os.O_RDWR)]
    with open(place / "file", "r+b") as file, mmap.mmap(file.fileno(), 8_192) as mapping:
        mapping[0:3] = b"BBB"
        os.write(appending[0], b"-one")
        mapping[4_096:4_099] = b"CCC"
        os.write(appending[1], b"-two")
        mapping[8_189:8_192] = b"DDD"
        mapping.flush()
        os.write(appending[0], b"-end")
        assert os.pread(appending[1], 3, 4_096) == b"CCC"
        assert mapping[:4] == b"BBBa"
    for fd in appending:
        os.close(fd)
    expected = b"BBB" + b"a" * 4_093 + b"CCC" + b"a" * 4_090 + b"DDD" + b"-one-two-end"
    assert (place / "file").read_bytes() == expected


def test_a_private_mapping_leaves_the_file_alone(place: Path) -> None:
    (place / "file").write_bytes(b"a" * 100)
    with (
        open(place / "file", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapping,
    ):
        mapping[:3] = b"xyz"
        assert mapping[:4] == b"xyza"
    assert (place / "file").read_bytes() == b"a" * 100


_MAP = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
    print("ready", flush=True)
    sys.stdin.readline()
    print(bytes(mapping[:5]).decode(), flush=True)
"""


def test_two_processes_share_a_mapping(place: Path) -> None:
    (place / "file").write_bytes(b"-" * 4_096)
    other = start(_MAP, place / "file")
    hear(other, "ready")
    with open(place / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:5] = b"hello"
        assert finish(other, "go\n") == "hello\n"


def test_a_file_copied_inside_the_kernel_is_the_same(place: Path) -> None:
    content = random.Random(1).randbytes(300_000)
    (place / "from").write_bytes(content)
    with open(place / "from", "rb") as source, open(place / "to", "wb") as target:
        copied = 0
        while number := os.copy_file_range(source.fileno(), target.fileno(), 100_000):
            copied += number
    assert copied == len(content)
    with open(place / "from", "rb") as source, open(place / "sent", "wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 1_000_000):
            pass
    assert (place / "to").read_bytes() == (place / "sent").read_bytes() == content


def test_vectored_and_synchronous_writes_arrive(place: Path) -> None:
    fd = os.open(place / "file", os.O_RDWR | os.O_CREAT | os.O_SYNC)
    try:
        assert os.writev(fd, [b"ab", b"", b"cde"]) == 5
        assert os.pwritev(fd, [b"X", b"Y"], 1, os.RWF_DSYNC) == 2
        assert os.pread(fd, 10, 0) == b"aXYde"
    finally:
        os.close(fd)


def test_a_deleted_file_lives_while_it_is_open(place: Path) -> None:
    fd = os.open(place / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, b"content")
        os.unlink(place / "file")
        assert not (place / "file").exists()
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 10, 0) == b"content"
        os.pwrite(fd, b"CON", 0)
        os.ftruncate(fd, 5)
        os.fchmod(fd, 0o600)
        os.utime(fd, ns=(1, 2))
        os.fsync(fd)
        status = os.fstat(fd)
        assert (status.st_size, status.st_mode & 0o7777, status.st_mtime_ns) == (5, 0o600, 2)
        assert os.pread(fd, 10, 0) == b"CONte"
        with open(f"/proc/self/fd/{fd}", "rb") as again:
            assert again.read() == b"CONte"
    finally:
        os.close(fd)


def test_a_deleted_file_and_its_successor_are_two(place: Path) -> None:
    old = os.open(place / "file", os.O_RDWR | os.O_CREAT)
    os.write(old, b"old")
    os.unlink(place / "file")
    new = os.open(place / "file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        os.write(new, b"newer")
        assert os.pread(old, 10, 0) == b"old"
        assert os.fstat(old).st_ino != os.fstat(new).st_ino
        assert (os.fstat(old).st_nlink, os.fstat(new).st_nlink) == (0, 1)
    finally:
        os.close(old)
        os.close(new)
    assert (place / "file").read_bytes() == b"newer"


def test_a_file_that_is_replaced_stays_what_it_was_for_who_has_it_open(place: Path) -> None:
    (place / "file").write_bytes(b"old")
    (place / "new").write_bytes(b"new")
    with open(place / "file", "r+b") as old:
        os.rename(place / "new", place / "file")
        assert os.fstat(old.fileno()).st_nlink == 0
        assert old.read() == b"old"
        old.write(b"er")
        old.flush()
        old.seek(0)
        assert old.read() == b"older"
    assert (place / "file").read_bytes() == b"new"
