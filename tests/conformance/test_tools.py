"""Tools that developers use, and that rely on more than one would think."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest


def tool(*command: object, cwd: Path) -> str:
    """Run a command that must succeed; its output."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need(command: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")


def a_tree(directory: Path) -> None:
    """A little of everything that a tree can hold."""
    (directory / "sub" / "deeper").mkdir(parents=True)
    (directory / "empty").mkdir()
    for number in range(40):
        name = directory / "sub" / f"file-{number}"
        name.write_bytes(bytes([number]) * number * 1_000)
        os.utime(name, ns=(10**18 + number, 10**18 + number))
    (directory / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (directory / "sub" / "run.sh").chmod(0o755)
    os.symlink("../sub/file-1", directory / "sub" / "link")
    os.symlink("nowhere", directory / "dangling")
    os.link(directory / "sub" / "file-2", directory / "sub" / "deeper" / "hard")
    os.mkfifo(directory / "fifo")
    os.utime(directory / "empty", ns=(10**18, 10**18))


def described(directory: Path) -> dict[str, tuple]:
    """A tree as a value: everything about it that an archive keeps."""
    found = {}
    for above, below, files in os.walk(directory):
        for name in below + files:
            path = Path(above, name)
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            size = 0 if path.is_dir() else status.st_size
            links = 0 if path.is_dir() else status.st_nlink
            whole_s = 0 if path.is_dir() else status.st_mtime_ns // 10**9
            found[str(path.relative_to(directory))] = (
                (status.st_mode, size, links, whole_s, content)
            )  # fmt: skip
    return found


def test_git_init_commit_status_and_checkout(place: Path) -> None:
    need("git")
    repository = place / "repository"
    repository.mkdir()
    a_tree(repository)
    os.unlink(repository / "fifo")
    tool("git", "init", "-q", "-b", "main", cwd=repository)
    tool("git", "add", "-A", cwd=repository)
    tool("git", "commit", "-q", "-m", "first", cwd=repository)
    assert tool("git", "status", "--porcelain", cwd=repository) == ""
    before = described(repository / "sub")
    (repository / "sub" / "file-3").write_text("changed")
    (repository / "sub" / "file-4").unlink()
    (repository / "new").touch()
    changes = tool("git", "status", "--porcelain", cwd=repository).splitlines()
    assert changes == [" M sub/file-3", " D sub/file-4", "?? new"]
    tool("git", "checkout", "-q", "-b", "other", cwd=repository)
    tool("git", "commit", "-q", "-a", "-m", "second", cwd=repository)
    tool("git", "checkout", "-q", "main", cwd=repository)
    contents = {name: entry[4] for name, entry in described(repository / "sub").items()}
    assert contents == {name: entry[4] for name, entry in before.items()}
    tool("git", "gc", "-q", cwd=repository)
    tool("git", "fsck", "--strict", cwd=repository)
    tool("git", "clone", "-q", repository, place / "clone", cwd=place)
    assert tool("git", "status", "--porcelain", cwd=place / "clone") == ""


def test_tar_there_and_back(place: Path, tmp_path: Path) -> None:
    need("tar")
    original = tmp_path / "original"
    original.mkdir()
    a_tree(original)
    tool("tar", "-cf", place / "archive.tar", ".", cwd=original)
    (place / "copy").mkdir()
    tool("tar", "-xpf", place / "archive.tar", cwd=place / "copy")
    assert described(place / "copy") == described(original)
    tool("tar", "-cf", tmp_path / "again.tar", ".", cwd=place / "copy")
    (tmp_path / "back").mkdir()
    tool("tar", "-xpf", tmp_path / "again.tar", cwd=tmp_path / "back")
    assert described(tmp_path / "back") == described(original)
    assert tool("tar", "-df", place / "archive.tar", cwd=place / "copy") == ""


def test_cp_and_rm_of_a_tree(place: Path) -> None:
    (place / "tree").mkdir()
    a_tree(place / "tree")
    tool("cp", "-a", "tree", "copy", cwd=place)
    assert described(place / "copy") == described(place / "tree")
    tool("diff", "-r", "--no-dereference", "--exclude=fifo", "tree", "copy", cwd=place)
    tool("rm", "-r", "tree", cwd=place)
    assert os.listdir(place) == ["copy"]
    tool("mv", "copy", "moved", cwd=place)
    tool("rm", "-rf", "moved", cwd=place)
    assert os.listdir(place) == []


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_of_two_connections(place: Path, journal: str) -> None:
    # Locks, shared mappings (WAL), truncation and deletion of journals, fsync.
    connections = [sqlite3.connect(place / "data.db", timeout=180) for _ in range(2)]
    try:
        assert connections[0].execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
        connections[0].execute("create table numbers (number integer)")
        connections[0].commit()
        for number in range(60):
            connection = connections[number % 2]
            connection.execute("insert into numbers values (?)", (number,))
            connection.commit()
        for connection in connections:
            assert connection.execute("select sum(number) from numbers").fetchone() == (1770,)
        assert connections[1].execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        for connection in connections:
            connection.close()
