"""Logs of strace become traces: what is read, what is resolved, and what is said of the rest."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osxfs_sim.trace.analysis import analyze_file
from osxfs_sim.trace.format import SCHEMA, TraceError, read_trace
from osxfs_sim.trace.strace import _HANDLERS, StraceImport, import_strace
from osxfs_sim.trace.strace_lines import Call, LineReader, string_of, unescaped

LOGS = Path(__file__).parent / "logs"
ROOT = "/work-tree/app"


def rows_of(*lines: str, root: str = ROOT, directory: str | None = ROOT) -> list[dict[str, Any]]:
    """The rows of lines without process and time: one is every millisecond."""
    made = StraceImport(root, directory)
    text = [
        line if line[0].isdigit() else f"1 1700000000.{number:03}000 {line} <0.000100>\n"
        for number, line in enumerate(lines)
    ]
    rows = list(made.rows(text))
    assert made.lines.unreadable == 0, made.lines.first_unreadable
    return rows


def told(row: dict[str, Any]) -> str:
    """A row in short: operation, where, name, error."""
    parts = (row["operation"], row["directory"], row.get("name"), row.get("error"))
    return " ".join(part for part in parts if part)


def read_calls(*lines: str) -> tuple[list[Call], LineReader]:
    reader = LineReader()
    events = [event for line in lines for event in reader.read(line)]
    return [event for event in events if isinstance(event, Call)], reader


# Whole logs


def test_a_shell_script_is_followed_through_its_processes(tmp_path):
    made = import_strace(LOGS / "shell.log", tmp_path / "t", ROOT)
    header, table = read_trace(tmp_path / "t")
    rows = table.to_pylist()
    assert [f"{row['program']}: {told(row)}" for row in rows] == [
        "sh: GETATTR /",
        "sh: LOOKUP /lib missing.rb ENOENT",
        "sh: GETATTR /lib",
        "sh: LOOKUP /lib missing.rb ENOENT",
        "sh: CREATE / tmp é.txt",
        "sh: FLUSH /",
        "cat: OPEN /lib",
        "cat: GETATTR /lib",
        "cat: READ /lib",
        "cat: WRITE /",  # through a descriptor that the shell had opened and duplicated
        "cat: READ /lib",
        "cat: FLUSH /lib",
        "cat: FLUSH /",
        "sh: MKDIR / d",
        "sh: OPENDIR /d",
        "sh: READDIRPLUS /d",
        "sh: READDIRPLUS /d",
        "sh: RELEASEDIR /d",
        "sh: RMDIR / d",
        "sh: UNLINK / tmp é.txt",
    ]
    assert {row["answered_by"] for row in rows} == {"host"}
    assert [row["took_ns"] for row in rows[:2]] == [35_000, 44_000]
    assert header.source == "strace"
    assert header.notes["unreadable_lines"] == 0
    assert made.elsewhere > 0
    # 0.5 ms after the first line of the log, which is when the trace begins.
    assert rows[0]["arrival_ns"] == 500_000


def test_its_analysis_says_what_it_was_made_of_and_what_could_be_spared(tmp_path):
    import_strace(LOGS / "shell.log", tmp_path / "t", ROOT)
    result = analyze_file(tmp_path / "t")
    assert result.warnings[0].startswith("made of a strace log: a row is a system call")
    labels = {cause.label: cause.requests for cause in result.causes}
    assert labels["missing names, asked again"] == 1
    assert labels["changes of objects that came and went"] == 5
    assert {part.label for part in result.programs} == {"sh", "cat"}


def test_paths_of_descriptors_are_taken_where_strace_has_added_them():
    made = StraceImport(ROOT)
    rows = list(made.rows((LOGS / "paths.log").read_text().splitlines(keepends=True)))
    assert [told(row) for row in rows] == [
        "OPEN /lib",
        "READ /lib",
        "FSYNC /",
        "READ /lib",
        "WRITE /",
        "RENAME / db <x>, y",
        "GETATTR /old",
    ]
    reads = [row for row in rows if row["operation"] == "READ"]
    assert [(row["offset_bytes"], row["size_bytes"]) for row in reads] == [(0, 8192), (8192, 100)]
    assert (reads[1]["arrival_ns"], reads[1]["took_ns"]) == (200_000, 90_000)
    write, rename = rows[4], rows[5]
    assert (write["offset_bytes"], write["size_bytes"]) == (4096, 2)
    assert rows[6]["inode"] == write["inode"] != rename["inode"]
    assert made.lines.unreadable == made.lines.unfinished == 0


# Calls


@pytest.mark.parametrize(
    ("call", "row"),
    [
        ('stat("a", {st_mode=S_IFREG|0644, ...}) = 0', "GETATTR /"),
        ('lstat("a", 0x7ff) = -1 ENOENT (No such file or directory)', "LOOKUP / a ENOENT"),
        ('access("/work-tree/app/x/a", R_OK) = 0', "GETATTR /x"),
        ('faccessat2(AT_FDCWD, "a", X_OK, AT_EACCESS) = -1 EACCES (Denied)', "GETATTR / EACCES"),
        ('open("a", O_RDONLY) = -1 ENOENT (No such file or directory)', "LOOKUP / a ENOENT"),
        ('open("a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3', "CREATE / a"),
        ('creat("a", 0600) = 3', "CREATE / a"),
        ('openat(AT_FDCWD, ".", O_RDONLY|O_DIRECTORY) = 3', "OPENDIR /"),
        (
            'openat2(AT_FDCWD, "a", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 3',
            "OPEN /",
        ),
        ('openat(AT_FDCWD, "a", O_RDONLY|O_PATH) = 3', "LOOKUP / a"),
        ('readlink("a", "b", 4096) = 1', "READLINK /"),
        ('readlink("a", 0x7ffd, 4096) = -1 EINVAL (Invalid argument)', "GETATTR /"),
        ('mkdirat(AT_FDCWD, "a", 0777) = -1 EEXIST (File exists)', "MKDIR / a EEXIST"),
        ('mknodat(AT_FDCWD, "p", S_IFIFO|0644) = 0', "MKNOD / p"),
        ('unlinkat(AT_FDCWD, "a", AT_REMOVEDIR) = 0', "RMDIR / a"),
        ('unlinkat(AT_FDCWD, "a", 0) = 0', "UNLINK / a"),
        ('symlinkat("../elsewhere", AT_FDCWD, "s") = 0', "SYMLINK / s"),
        ('linkat(AT_FDCWD, "a", AT_FDCWD, "lib/b", 0) = 0', "LINK /lib b"),
        ('rename("a", "lib/b") = 0', "RENAME / a"),
        ('chmod("a", 0644) = 0', "SETATTR /"),
        ('utimensat(AT_FDCWD, "a", [{tv_sec=1, tv_nsec=2}, UTIME_OMIT], 0) = 0', "SETATTR /"),
        ('truncate("lib/a", 0) = 0', "SETATTR /lib"),
        ('statfs("/work-tree/app/", {f_type=0x65735546, f_bsize=4096, ...}) = 0', "STATFS /"),
        ('lgetxattr("a", "security.selinux", 0x55, 255) = -1 ENODATA (None)', "GETXATTR / ENODATA"),
        ('execve("/work-tree/app/bin/tool", ["tool"], 0x7 /* 3 vars */) = 0', "OPEN /bin"),
        ('stat("lib/../lib/./a", {...}) = 0', "GETATTR /lib"),
    ],
)
def test_a_call_comes_to_a_request(call, row):
    assert [told(each) for each in rows_of(call)] == [row]


@pytest.mark.parametrize(
    "call",
    [
        'stat("/etc/passwd", {...}) = 0',
        'stat("/work-tree/application", {...}) = 0',
        'stat("../elsewhere", {...}) = 0',
        "brk(NULL) = 0x5571",
        "read(0, 0x7ff, 10) = -1 EFAULT (Bad address)",
        "read(5, 0x7ff, 10) = -1 EBADF (Bad file descriptor)",
        "close(7) = 0",
        "stat(NULL, 0x7ff) = -1 EFAULT (Bad address)",
    ],
)
def test_what_is_not_below_the_root_leaves_no_row(call):
    assert rows_of(call) == []


def test_an_object_keeps_its_number_until_it_is_removed():
    rows = rows_of(
        'mkdir("d", 0777) = 0',
        'open("d/a", O_WRONLY|O_CREAT|O_EXCL, 0644) = 3',
        'rename("d", "e") = 0',
        'stat("e/a", {...}) = 0',
        'unlink("e/a") = 0',
        'open("e/a", O_WRONLY|O_CREAT|O_EXCL, 0644) = 4',
        'link("e/a", "b") = 0',
        'stat("b", {...}) = 0',
    )
    directory, file, renamed, seen, removed, again, linked, other = rows
    assert seen["inode"] == file["found"] == removed["found"]
    assert again["inode"] == directory["found"] == file["inode"]
    assert again["found"] not in (0, file["found"])
    assert other["inode"] == linked["found"] == again["found"]
    assert renamed["found"] == 1


def test_a_file_that_is_opened_to_be_made_is_made_once():
    rows = rows_of(*['open("a", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3'] * 2)
    assert [row["operation"] for row in rows] == ["CREATE", "OPEN"]


def test_a_child_has_what_its_parent_had_and_goes_its_own_way():
    rows = rows_of(
        'open("a", O_RDONLY) = 3',
        'open("b", O_RDONLY|O_CLOEXEC) = 4',
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 2",
        '2 1700000001.000000 chdir("lib") = 0 <0.0001>',
        '2 1700000002.000000 execve("/bin/x", ["x"], 0x7) = 0 <0.0001>',
        "2 1700000003.000000 read(3, 0x7, 10) = 10 <0.0001>",
        "2 1700000003.100000 read(4, 0x7, 10) = 10 <0.0001>",  # closed by exec
        '2 1700000004.000000 stat("c", 0x7) = 0 <0.0001>',
        'stat("c", 0x7) = 0',
        "read(4, 0x7, 10) = 10",
        "read(3, 0x7, 10) = 10",
    )
    assert [(row["process"], told(row)) for row in rows[2:]] == [
        (2, "LOOKUP / lib"),
        (2, "READ /"),
        (2, "GETATTR /lib"),
        (1, "GETATTR /"),
        (1, "READ /"),
        (1, "READ /"),
    ]
    assert rows[-1]["offset_bytes"] == 10  # they share the position


def test_threads_share_files_and_directory():
    rows = rows_of(
        "clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, ...}, 88) = 2",
        '2 1700000001.000000 open("a", O_RDONLY) = 3 <0.0001>',
        '2 1700000001.100000 chdir("/work-tree/app/lib") = 0 <0.0001>',
        "pread64(3, 0x7, 10, 4096) = 10",
        'stat("c", 0x7) = 0',
    )
    assert [told(row) for row in rows] == ["OPEN /", "LOOKUP / lib", "READ /", "GETATTR /lib"]


def test_the_root_may_be_the_whole_system():
    assert [told(row) for row in rows_of('stat("/etc/passwd", {}) = 0', root="/")] == [
        "GETATTR /etc",
    ]


def test_a_root_that_is_not_absolute_is_refused():
    with pytest.raises(TraceError, match="app is not an absolute path"):
        StraceImport("app")


# Lines


def test_calls_that_are_interleaved_are_put_together():
    calls, reader = read_calls(
        '1 1700000000.000001 openat(AT_FDCWD, "a", O_RDONLY <unfinished ...>',
        '2 1700000000.000002 newfstatat(3, "",  <unfinished ...>',
        "1 1700000000.000003 <... openat resumed>) = 3 <0.000002>",
        "2 1700000000.000004 <... newfstatat resumed>{st_mode=S_IFREG}, AT_EMPTY_PATH) = 0 <0.5>",
    )
    assert calls[0].arguments == ("AT_FDCWD", '"a"', "O_RDONLY")
    assert calls[0].at_ns == 1_700_000_000_000_001_000
    assert calls[1].arguments == ("3", '""', "{st_mode=S_IFREG}", "AT_EMPTY_PATH")
    assert calls[1].took_ns == 500_000_000
    assert reader.unreadable == 0


def test_a_call_that_never_returned_is_counted():
    made = StraceImport(ROOT, ROOT)
    assert not list(made.rows(["1 1700000000.000001 read(3,  <unfinished ...>\n"]))
    assert "1 calls had not returned when the log ended" in made.warnings()


@pytest.mark.parametrize(
    "line",
    [
        "total nonsense",
        "1 1700000000.000001 <... read resumed>) = 3 <0.000002>",
        '1 1700000000.000001 openat(AT_FDCWD, "cut in the mid',
        "1 1700000000.000001 read(3) = ",
        '12:00:01 openat(AT_FDCWD, "a", O_RDONLY) = 3',
        "1 1700000000.000001 pread64(3, 0x7, 10, where) = 10 <0.1>",
        "1 1700000000.000001 rename(3) = 0 <0.1>",
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_shown(line):
    made = StraceImport(ROOT, ROOT)
    lines = ['1 1700000000.000000 open("a", O_RDONLY) = 3 <0.1>', line, line]
    assert [row["operation"] for row in made.rows(lines)] == ["OPEN"]
    assert made.lines.unreadable == 2
    assert any(
        f"2 of 3 lines could not be read, the first: {line[:50]}" in w for w in made.warnings()
    )


def test_what_is_relative_to_nowhere_is_counted():
    made = StraceImport(ROOT)
    lines = ['1 1700000000.000000 stat("a", 0x7) = 0 <0.1>'] * 3
    assert list(made.rows(lines)) == []
    assert any("3 calls are left out" in each and "--cwd" in each for each in made.warnings())


def test_strings_are_read_as_the_bytes_they_were():
    assert string_of(r'"tmp \303\251\\ \"a\" \x41\n"') == 'tmp é\\ "a" A\n'
    assert string_of('"cut"...') is None
    assert string_of("NULL") is None
    assert unescaped(r"\377") == "\\xff"  # no UTF-8: as a trace writes it


_PIECES = st.sampled_from(
    [
        *(
            "1 ",
            "[pid 7] ",
            "1700000000.000001 ",
            "openat(",
            "read(",
            "AT_FDCWD",
            "3",
            ", ",
            ") = ",
        ),
        *(
            "<... read resumed>",
            " <unfinished ...>",
            '"a"',
            '"',
            "\\",
            "{",
            "}",
            "[",
            "]",
            "<",
            ">",
        ),
        *("</work-tree/app/x>", "0", "-1 ENOENT (x)", " <0.000001>", "?", "O_CREAT", "pread64("),
        *("vfork(", "clone3(", "dup2(", "fcntl(", "F_DUPFD", "close(", "close_range(", "chdir("),
        *("rename(", "unlinkat(", "lseek(", "getcwd(", "link(", "copy_file_range(", "execve("),
        *("--- SIG ---", "+++ exited +++", "99999999999999999999", "0x", "NULL", "\x00", "\n", "é"),
    ]
)
_LINES = st.lists(st.one_of(st.text(max_size=30), st.lists(_PIECES).map("".join)), max_size=6)
_CALLS = st.builds(
    "1 1700000000.000001 {}({}) = {} <0.000001>".format,
    st.sampled_from(sorted(_HANDLERS)),
    st.lists(
        st.sampled_from(
            ['"a"', '"b/c"', '"."', '""', "3", "4", "AT_FDCWD", "-1", "0", "NULL", "O_CREAT", "x"]
        ),
        max_size=5,
    ).map(", ".join),
    st.sampled_from(["0", "3", "4", "-1 ENOENT (x)", "?", "0xffffffffffffffff", "-5"]),
)


@given(_LINES | st.lists(_CALLS, max_size=12))
@example(["1 99999999999.0 read(3) = 0 <0.1>"])
@example(['1 1700000000.0 rename("a", "a") = 0 <0.1>', '1 1700000000.1 rename(".", "b") = 0 <0.1>'])
def test_no_line_makes_it_crash(lines):
    made = StraceImport(ROOT, ROOT)
    for row in made.rows(lines):
        assert set(row) <= set(SCHEMA.names)
        assert row["arrival_ns"] >= 0
        assert row["directory"].startswith("/")
    assert made.lines.lines == len(lines)
    made.warnings()


# Logs that say nothing


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no line of .* could be read: record with strace -f -ttt -T"),
        ("nonsense\n", "no line of .* could be read"),
        ('1 1700000000.1 stat("/etc", {}) = 0 <0.1>\n', "has no call below /work-tree/app: give"),
        ('1 1700000000.1 stat("a", {}) = 0 <0.1>\n', "1 are left out, because it is not known"),
        ('1 1700000000.1 stat("/work-tree/app", {}) = 0\n', "has no durations: record with strace"),
    ],
)
def test_a_log_that_says_nothing_is_refused_and_leaves_no_file(tmp_path, text, why):
    (tmp_path / "log").write_text(text)
    with pytest.raises(TraceError, match=why):
        import_strace(tmp_path / "log", tmp_path / "t", ROOT)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_failed_import_leaves_an_earlier_trace_alone(tmp_path):
    import_strace(LOGS / "shell.log", tmp_path / "t", ROOT)
    (tmp_path / "log").write_text("nonsense")
    with pytest.raises(TraceError):
        import_strace(tmp_path / "log", tmp_path / "t", ROOT)
    assert read_trace(tmp_path / "t")[1].num_rows == 20


def test_a_log_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        import_strace(tmp_path / "log", tmp_path / "t", ROOT)
