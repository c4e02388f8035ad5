"""The library that takes down answers, in real programs, on a plain directory and a share."""

import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from osxfs_sim.coherence.answers.library import (
    Recording,
    begin_recording,
    compiled,
    missing_lookups,
)
from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer, read_answers
from osxfs_sim.coherence.answers.names import directories_of, fnv_1a, table_of
from osxfs_sim.model.user_error import UserError

pytestmark = [
    pytest.mark.starts_processes,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]

NAMES = ("d/file", "d/missing", "d/made", "other")

Ask = Callable[..., list[RecordedAnswer]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("hello\n")
    (root / "d" / "unrelated").write_text("nothing\n")
    return root


@pytest.fixture
def ask(library: Path, root: Path, tmp_path: Path) -> Ask:
    directory = tmp_path / "answers"
    directory.mkdir()
    recording: Recording = begin_recording(directory, NAMES)

    def run(*command: str, cwd: Path = root, fails: bool = False) -> list[RecordedAnswer]:
        environment = recording.environment(library, root, os.environ)
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert bool(done.returncode) == fails, done.stderr
        assert "ERROR: ld.so" not in done.stderr
        answers = list(read_answers(directory, recording.names))
        for log in directory.glob("*.log"):
            log.unlink()
        return answers

    return run


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", f"import os, mmap\n{text}")


def told(answers: list[RecordedAnswer]) -> list[tuple[AnswerKind, str, int]]:
    return [(answer.kind, answer.path, answer.error) for answer in answers]


def test_what_cat_is_told_of_a_file(ask: Ask, root: Path) -> None:
    before_ns = time.monotonic_ns()
    answers = ask("cat", "d/file")
    after_ns = time.monotonic_ns()
    assert [answer.kind for answer in answers] == [
        AnswerKind.LOOKUP,
        AnswerKind.FSTAT,
        AnswerKind.READ,
        AnswerKind.READ,
    ]
    opened, attributes, read, end = answers
    status = (root / "d" / "file").stat()
    assert (attributes.size, attributes.more) == (6, status.st_mtime_ns)
    assert (read.size, read.more, read.crc) == (0, 6, zlib.crc32(b"hello\n"))
    assert (end.size, end.more, end.number) == (6, 0, 1)
    for answer in (attributes, read, end):
        assert (answer.opened_call_ns, answer.opened_return_ns) == (
            opened.call_ns,
            opened.return_ns,
        )
    moments = [moment for one in answers for moment in (one.call_ns, one.return_ns)]
    assert [before_ns, *moments, after_ns] == sorted([before_ns, *moments, after_ns])


@pytest.mark.parametrize("path", ["d//./file", "./d/file", "{root}/d/file", "{root}/./d/file"])
def test_a_name_is_known_however_it_is_spelt(ask: Ask, root: Path, path: str) -> None:
    answers = ask(*python(f"os.stat({path.format(root=root)!r})"))
    assert told(answers) == [(AnswerKind.STAT, "d/file", 0)]
    for above in ("file", "../d/file"):
        answers = ask(*python(f"os.stat({above!r})"), cwd=root / "d")
        assert told(answers) == [(AnswerKind.STAT, "d/file", 0)]


def test_what_only_the_kernel_can_resolve_is_not_guessed(ask: Ask) -> None:
    """none/.. is missing, although d/file is there."""
    assert ask(*python("os.access('none/../d/file', 0)")) == []


def test_a_pipe_with_the_number_of_a_file_is_not_taken_for_it(ask: Ask) -> None:
    """libuv closes by syscall(2), and others by means that are not seen at all."""
    close = "ctypes.CDLL(None).syscall(ctypes.c_long(%d), ctypes.c_long(fd))"
    by_number = close % {"x86_64": 3, "aarch64": 57}[os.uname().machine]
    for closing in (by_number, "ctypes.CDLL(None).close_range(fd, fd, 0)"):
        program = (
            "import ctypes\n"
            "fd = os.open('d/file', os.O_RDONLY)\n"
            f"{closing}\n"
            "end, other = os.pipe()\n"
            "assert end == fd\n"
            "os.write(other, b'from elsewhere')\n"
            "assert os.read(end, 100) == b'from elsewhere'\n"
        )
        assert AnswerKind.READ not in [answer.kind for answer in ask(*python(program))]


def test_a_pipe_that_was_put_in_a_files_place_unseen_is_noticed_when_it_is_read(ask: Ask) -> None:
    program = (
        "import ctypes\n"
        "fd = os.open('d/file', os.O_RDONLY)\n"
        "end, other = os.pipe()\n"
        "ctypes.CDLL(None).syscall(ctypes.c_long(%d), ctypes.c_long(end), ctypes.c_long(fd))\n"
        "os.write(other, b'from elsewhere')\n"
        "assert os.read(fd, 100) == b'from elsewhere'\n"
    )
    if os.uname().machine == "x86_64":  # dup2 has a number of its own there
        answers = ask(*python(program % 33))
        assert AnswerKind.READ not in [answer.kind for answer in answers]


def test_times_of_a_directory_and_a_failed_open_make_nothing_the_workloads_own(ask: Ask) -> None:
    program = (
        "os.utime('d')\n"
        "try:\n    os.open('d', os.O_RDWR)\n"
        "except IsADirectoryError:\n    pass\n"
        "os.stat('d/file')\n"
    )
    assert told(ask(*python(program))) == [(AnswerKind.STAT, "d/file", 0)]
    assert (AnswerKind.OWN, "d/file", 0) in told(ask(*python("os.utime('d/file')")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("os.path.exists('d/missing')", [(AnswerKind.STAT, "d/missing", 2)]),
        ("os.access('d/missing', os.R_OK)", [(AnswerKind.LOOKUP, "d/missing", 2)]),
        ("os.access('d/file', os.R_OK)", [(AnswerKind.LOOKUP, "d/file", 0)]),
        ("os.lstat('d/file')", [(AnswerKind.STAT, "d/file", 0)]),
        ("fd = os.open('d', 0); os.stat('file', dir_fd=fd)", [(AnswerKind.STAT, "d/file", 0)]),
        (
            "fd = os.open('d/file', 0); os.pread(fd, 3, 1)",
            [(AnswerKind.LOOKUP, "d/file", 0), (AnswerKind.READ, "d/file", 0)],
        ),
        (
            "fd = os.dup(os.open('d/file', 0)); os.readv(fd, [bytearray(2), bytearray(9)])",
            [(AnswerKind.LOOKUP, "d/file", 0), (AnswerKind.READ, "d/file", 0)],
        ),
        (
            "fd = os.open('d/file', 0); os.close(fd)\n"
            "fd = os.open('d/unrelated', 0); os.read(fd, 9)",
            [(AnswerKind.LOOKUP, "d/file", 0)],
        ),
        (
            "fd = os.open('d/file', 0); mmap.mmap(fd, 0, prot=mmap.PROT_READ)",
            [
                (AnswerKind.LOOKUP, "d/file", 0),
                (AnswerKind.FSTAT, "d/file", 0),
                (AnswerKind.UNKNOWN, "d/file", 0),
            ],
        ),
        ("os.stat('d/unrelated'); os.listdir('/')", []),
    ],
)
def test_what_python_is_told(
    ask: Ask, text: str, expected: list[tuple[AnswerKind, str, int]]
) -> None:
    answers = ask(*python(text))
    if expected and expected[-1][0] is AnswerKind.UNKNOWN:
        # How often the module asks for the size is its own affair; the mapping must be seen.
        assert set(expected) == set(told(answers))
        return
    assert told(answers) == expected


def test_a_listing_tells_of_the_known_names_alone(ask: Ask) -> None:
    answers = ask(*python("os.listdir('d'); os.listdir('d')"))
    assert told(answers) == [(AnswerKind.LISTED, "d/file", 0), (AnswerKind.LIST_END, "d", 0)] * 2
    assert answers[0].number == answers[1].number != answers[2].number == answers[3].number


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("open('d/made', 'w').close()", {"d/made"}),
        ("os.open('d/file', os.O_RDWR)", {"d/file"}),
        ("os.rename('d/file', 'd/made')", {"d/file", "d/made"}),
        ("os.unlink('d/file')", {"d/file"}),
        ("os.truncate('d/file', 0)", {"d/file"}),
        ("os.utime('d/file')", {"d/file"}),
        ("os.symlink('file', 'd/made')", {"d/made"}),
        ("os.rename('d', 'e')", {"d"}),
        ("try: os.rmdir('d')\nexcept OSError: pass", set()),
    ],
)
def test_the_workloads_own_changes_are_known(ask: Ask, text: str, changed: set[str]) -> None:
    answers = ask(*python(text))
    assert {one.path for one in answers if one.kind is AnswerKind.OWN} == changed


def test_every_process_and_every_thread_is_recorded(ask: Ask) -> None:
    text = (
        "import threading\n"
        "def look():\n"
        "    for _ in range(100): os.stat('d/file')\n"
        "threads = [threading.Thread(target=look) for _ in range(4)]\n"
        "if os.fork() == 0:\n"
        "    look(); os._exit(0)\n"
        "os.wait()\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    answers = ask(sys.executable, "-c", f"import os\n{text}")
    looked = [one for one in answers if one.path == "d/file"]
    assert len(looked) == 500
    assert len({one.process for one in looked}) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("env", "-i", "cat", "d/file"),
        ("env", "-i", "LD_PRELOAD=", "sh", "-c", "exec cat d/file"),
        ("sh", "-c", "env -i sh -c 'cat d/file; true'"),
        python("os.execve('/bin/cat', ['cat', 'd/file'], {})"),
        python("os.waitpid(os.posix_spawn('/bin/cat', ['cat', 'd/file'], {}), 0)"),
        python("import subprocess; subprocess.run(['/bin/cat', 'd/file'], env={})"),
    ],
)
def test_a_program_in_an_environment_of_its_own_is_recorded_too(
    ask: Ask, command: tuple[str, ...]
) -> None:
    assert [one.kind for one in ask(*command)].count(AnswerKind.READ) == 2


def test_more_answers_than_a_file_holds_go_on_in_another(ask: Ask) -> None:
    answers = ask(*python("for _ in range(40_000): os.access('d/file', 0)"))
    assert len(answers) == 40_000


def test_a_killed_process_has_lost_nothing(ask: Ask) -> None:
    answers = ask(*python("os.stat('d/file'); os.kill(os.getpid(), 9)"), fails=True)
    assert told(answers) == [(AnswerKind.STAT, "d/file", 0)]


def test_an_errno_is_what_it_would_have_been(ask: Ask) -> None:
    ask(*python("try: os.stat('d/missing/x')\nexcept FileNotFoundError: pass"))
    ask(*python("try: os.stat('d/file/x')\nexcept NotADirectoryError: pass"))


def test_the_table_finds_each_name_at_its_hash() -> None:
    """The hash is as published: of nothing, and of "a"."""
    assert fnv_1a(b"") == 0xCBF29CE484222325
    assert fnv_1a(b"a") == 0xAF63DC4C8601EC8C
    assert directories_of(["a/b/c", "a/d", "e"]) == ["", "a", "a/b"]
    assert table_of(["a"]).startswith(b"OSXNAMES")


def test_many_names_are_all_found(library: Path, tmp_path: Path) -> None:
    names = [f"d/{number}" for number in range(3_000)]
    directory = tmp_path / "answers"
    directory.mkdir()
    recording = begin_recording(directory, names)
    subprocess.run(
        python("for number in range(4_000): os.access(f'd/{number}', 0)"),
        cwd=tmp_path,
        env=recording.environment(library, tmp_path, os.environ),
        check=True,
    )
    asked = {answer.path for answer in read_answers(directory, recording.names)}
    assert asked == set(names)


def test_without_a_compiler_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no no-such-compiler to compile .*: apt-get"):
        compiled(tmp_path, ("no-such-compiler",))
    with pytest.raises(UserError, match=r"cannot be compiled by cc: .*; install the headers"):
        compiled(tmp_path, ("cc", "-shared", "-fPIC", "-include", "no/such/header.h"))


def test_it_is_compiled_once(library: Path) -> None:
    made = library.stat().st_mtime_ns
    assert compiled(library.parents[1]) == library
    assert library.stat().st_mtime_ns == made


def test_what_is_asked_for_in_vain_is_taken_down_where_that_is_wanted(
    library: Path, root: Path, tmp_path: Path
) -> None:
    def asked(missing: bool) -> list[str]:
        directory = tmp_path / f"answers-{missing}"
        directory.mkdir()
        recording = begin_recording(directory, NAMES, missing=missing)
        words = "for p in ('d/file', 'd/no', 'd/no', 'd/unrelated', 'd/missing', '/no', 'd/own'):"
        own = "os.close(os.open('d/own', os.O_CREAT)); os.unlink('d/own')"
        subprocess.run(
            python(f"{words}\n    os.access(p, 0)\n{own}"),
            cwd=root,
            env=recording.environment(library, root, os.environ),
            check=True,
        )
        return missing_lookups(recording)

    # d/missing has a place in the table: its answers are taken down by themselves. d/own is made.
    assert asked(missing=True) == ["d/no"]
    assert asked(missing=False) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("which", ["library", "directory"])
def test_a_library_of_another_user_is_not_loaded(library: Path, tmp_path: Path, which: str) -> None:
    """Every program that is measured would run it: with sudo -E, root's."""
    theirs = tmp_path / "answers" / library.name
    theirs.parent.mkdir()
    if which == "library":
        theirs.write_bytes(library.read_bytes())
        os.chown(theirs, 65_534, 65_534)
    else:
        os.chown(theirs.parent, 65_534, 65_534)
    with pytest.raises(UserError, match="belongs to user 65534"):
        compiled(tmp_path)
