"""A file that a command writes for its user: whole, where it was asked for, and nowhere else."""

import errno
import os
import stat as modes
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from osxfs_sim.fs import output
from osxfs_sim.fs.at import UntrustedError, chased
from osxfs_sim.fs.output import Output, write_output

NOBODY = 65_534
with_names_and_without = pytest.mark.usefixtures("fresh")
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of another user")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture(params=["unnamed", "named"])
def fresh(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that have files without a name, and on others."""
    if request.param == "named":
        real = os.open

        def lacking(path, flags, *args, **more):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not here")
            return real(path, flags, *args, **more)

        monkeypatch.setattr(output.at.os, "open", lacking)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory where another user may write."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def given_away(path: Path) -> Path:
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return path


def mode_of(path: Path) -> int:
    return modes.S_IMODE(path.lstat().st_mode)


# A regular file, or none


@with_names_and_without
def test_a_new_file_has_its_content_and_what_the_umask_leaves(tmp_path):
    write_output(tmp_path / "new", "text\n")
    assert (tmp_path / "new").read_text() == "text\n"
    assert mode_of(tmp_path / "new") == 0o644
    assert os.listdir(tmp_path) == ["new"]


@with_names_and_without
def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    (tmp_path / "old").write_text("old, and longer")
    (tmp_path / "old").chmod(0o600)
    with (tmp_path / "old").open() as opened:
        write_output(tmp_path / "old", b"new")
        assert opened.read() == "old, and longer"
    assert (tmp_path / "old").read_text() == "new"
    assert mode_of(tmp_path / "old") == 0o600
    assert os.listdir(tmp_path) == ["old"]


@only_root
def test_a_file_of_a_group_stays_its_groups(tmp_path):
    (tmp_path / "old").write_text("old")
    os.chown(tmp_path / "old", 0, 12)
    (tmp_path / "old").chmod(0o640)
    write_output(tmp_path / "old", b"new")
    assert ((tmp_path / "old").stat().st_gid, mode_of(tmp_path / "old")) == (12, 0o640)


@with_names_and_without
def test_nothing_is_left_of_what_failed(tmp_path):
    (tmp_path / "old").write_text("old")

    def fail():
        with output.output(tmp_path / "old") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "old").read_text() == "old"
    assert os.listdir(tmp_path) == ["old"]


@with_names_and_without
def test_what_became_of_it_meanwhile_is_no_reason_to_fail(tmp_path):
    result = Output(tmp_path / "new")
    result.file.write(b"ours")
    (tmp_path / "new").write_text("another's, made meanwhile")
    result.commit()
    assert (tmp_path / "new").read_text() == "ours"
    assert os.listdir(tmp_path) == ["new"]


@with_names_and_without
def test_a_device_that_came_there_meanwhile_keeps_its_place(tmp_path):
    result = Output(tmp_path / "new")
    os.mkfifo(tmp_path / "new")
    with pytest.raises(UntrustedError, match="something else"):
        result.commit()
    assert modes.S_ISFIFO((tmp_path / "new").lstat().st_mode)
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.mounts
@only_root
def test_a_file_that_nothing_can_take_the_place_of_is_written_to(tmp_path):
    """A mount point, as a file that is handed to a container is."""
    (tmp_path / "behind").write_text("old")
    (tmp_path / "mounted").touch()
    subprocess.run(["mount", "--bind", tmp_path / "behind", tmp_path / "mounted"], check=True)
    try:
        write_output(tmp_path / "mounted", "new")
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)
    assert (tmp_path / "behind").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["behind", "mounted"]


def test_a_file_in_a_directory_where_nothing_can_be_made_is_written_to(tmp_path, monkeypatch):
    (tmp_path / "old").write_text("old, and longer")
    real = os.open

    def refusing(path, flags, *args, dir_fd=None, **more):
        if flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *args, dir_fd=dir_fd, **more)

    monkeypatch.setattr(output.os, "open", refusing)
    monkeypatch.setattr(output, "_elsewhere", lambda: os.memfd_create("elsewhere"))
    write_output(tmp_path / "old", "new")
    assert (tmp_path / "old").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "Is a directory"),
        (".", "Is a directory"),
        ("directory", "Is a directory"),
        ("nowhere/file", "No such file"),
        ("file/", "Not a directory"),
        ("file/below", "Not a directory"),
        ("socket", "it is a socket"),
        ("loop", "Too many levels"),
        ("n" * 256, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_said_with_its_path(tmp_path, name, why):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mknod(tmp_path / "socket", modes.S_IFSOCK | 0o600)
    before = sorted(os.listdir(tmp_path))
    path = f"{tmp_path}/{name}"
    with pytest.raises(OSError, match=why) as refused:
        write_output(path, "text")
    assert refused.value.filename == path
    assert sorted(os.listdir(tmp_path)) == before


# What is no regular file


def test_a_full_device_is_an_error_and_stays_a_device():
    before = os.stat("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_output("/dev/full", "text")
    after = os.stat("/dev/full")
    assert (after.st_rdev, after.st_ino) == (before.st_rdev, before.st_ino)


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_output(tmp_path / "pipe", "text")
    reader.join()
    assert heard == ["text"]
    assert modes.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)


@pytest.mark.starts_processes
@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_by_its_name(tmp_path, path, kind):
    code = (
        "from osxfs_sim.fs.output import write_output\n"
        f"print('before', flush=True)\nwrite_output({path!r}, 'text\\n')"
    )
    command = [sys.executable, "-c", code]
    if kind == "pipe":
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    else:
        with (tmp_path / "said").open("w") as file:
            subprocess.run(command, check=True, stdout=file)
        said = (tmp_path / "said").read_text()
    assert said == "before\ntext\n"


# Links


@with_names_and_without
def test_a_link_of_ones_own_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old").write_text("old")
    (tmp_path / "near").symlink_to("middle")
    (tmp_path / "middle").symlink_to(tmp_path / "far" / "old")
    write_output(tmp_path / "near", "new")
    assert (tmp_path / "far" / "old").read_text() == "new"
    assert os.readlink(tmp_path / "near") == "middle"
    assert os.listdir(tmp_path / "far") == ["old"]


def test_a_link_that_leads_to_nothing_yet_leads_to_the_new_file(tmp_path):
    (tmp_path / "link").symlink_to("new")
    write_output(tmp_path / "link", "text")
    assert (tmp_path / "new").read_text() == "text"


@pytest.mark.parametrize("path", ["a/../b/./c", "a//link/../b/c", "link/b/c"])
def test_a_path_leads_where_the_kernel_would_go(tmp_path, monkeypatch, path):
    for each in ("a", "b", "far/b", "far/below"):
        (tmp_path / each).mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "far" / "below")
    (tmp_path / "link").symlink_to("far")
    monkeypatch.chdir(tmp_path)
    write_output(path, "text")
    assert Path(path).read_text() == "text"


# In a directory where somebody else may write


@only_root
@pytest.mark.parametrize("sticky", [0, modes.S_ISVTX])
def test_a_link_that_another_user_has_prepared_is_not_followed(tmp_path, shared, sticky):
    shared.chmod(0o777 | sticky)
    (tmp_path / "precious").write_text("precious")
    (shared / "report").symlink_to(tmp_path / "precious")
    given_away(shared / "report")
    with pytest.raises(UntrustedError, match="is a link of user 65534"):
        write_output(shared / "report", "text")
    assert (tmp_path / "precious").read_text() == "precious"


@only_root
def test_nor_one_on_the_way(tmp_path, shared):
    (tmp_path / "private").mkdir()
    (shared / "results").symlink_to(tmp_path / "private")
    given_away(shared / "results")
    with pytest.raises(UntrustedError, match="'results' is a link of user"):
        write_output(shared / "results" / "report", "text")
    assert os.listdir(tmp_path / "private") == []


@only_root
def test_nor_one_in_a_directory_that_others_could_write_once(tmp_path):
    (tmp_path / "link").symlink_to("file")
    given_away(tmp_path / "link")
    with pytest.raises(UntrustedError, match="'link' is a link of user"):
        write_output(tmp_path / "link", "text")
    assert not (tmp_path / "file").exists()


@only_root
@with_names_and_without
def test_a_file_that_another_user_has_prepared_is_not_used(shared):
    """Its owner would own the result, and read it through what is open."""
    (shared / "report").touch()
    (shared / "report").chmod(0o666)
    given_away(shared / "report")
    with (shared / "report").open() as opened:
        write_output(shared / "report", "text")
        assert opened.read() == ""
    assert (shared / "report").stat().st_uid == 0
    assert mode_of(shared / "report") == 0o644


@only_root
def test_nor_a_pipe(shared):
    os.mkfifo(shared / "pipe")
    given_away(shared / "pipe")
    with pytest.raises(UntrustedError, match="it is a pipe of user 65534"):
        write_output(shared / "pipe", "text")


@with_names_and_without
def test_no_name_is_known_before(shared):
    """What a results file was first written to had one: ".NAME.new"."""
    for name in (".report.new", "report.new", ".report.tmp"):
        (shared / name).symlink_to("precious")
    write_output(shared / "report", "text")
    assert not (shared / "precious").exists()
    assert sorted(os.listdir(shared)) == [".report.new", ".report.tmp", "report", "report.new"]


def test_what_is_swapped_before_it_takes_its_place_is_noticed(shared, monkeypatch):
    """Where it needs a name for a moment, another user may take that."""
    (shared / "report").write_text("old")
    real = os.rename

    def swapped(old, new, *, src_dir_fd, dst_dir_fd):
        os.unlink(old, dir_fd=src_dir_fd)
        os.symlink("evil", old, dir_fd=src_dir_fd)
        real(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(output.os, "rename", swapped)
    with pytest.raises(UntrustedError):
        write_output(shared / "report", "text")


def test_a_directory_that_is_swapped_meanwhile_is_the_one_that_was_found(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "private").mkdir()
    result = Output(tmp_path / "results" / "report")
    (tmp_path / "results").rename(tmp_path / "moved")
    (tmp_path / "results").symlink_to("private")
    result.file.write(b"text")
    result.commit()
    assert os.listdir(tmp_path / "private") == []
    assert (tmp_path / "moved" / "report").read_text() == "text"


def test_a_link_that_is_swapped_while_it_is_walked_is_not_followed(tmp_path, monkeypatch):
    """What was looked at is what is read: the name is not asked twice."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to("ours")
    real = os.readlink

    def swapping(path, *, dir_fd):
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to("theirs")
        return real(path, dir_fd=dir_fd)

    monkeypatch.setattr("osxfs_sim.fs.at.os.readlink", swapping)
    with chased(tmp_path / "link" / "new") as found:
        assert os.path.samestat(os.fstat(found.dir_fd), (tmp_path / "ours").stat())
