"""What the guest's kernel itself refuses by the ids that it was told: all of it, and no more.

Without default_permissions it checks no permissions of a FUSE share. A few calls are the
owner's all the same, whatever the file system, and who that is the kernel takes from what it was
told last. docs/semantics.md has the table that these tests hold to what is seen: a process that
is not root tries every call that the kernel keeps to an owner, after root has looked.
"""

import json
import os
import re
import stat as modes
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.live import LiveShare
from support.nobody import BECOME_NOBODY, NOBODY, interpreter_for_everybody

PAGE = Path(__file__).parents[3] / "docs" / "semantics.md"
HEADING = "| call | of what was cached | of what is asked each time |"
FINE = "-"

# Each act has an object of its own, named as the key is.
ACTS = """
import ctypes, errno, fcntl, json, os, resource, struct, sys

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)


def opened(name):
    return os.open(name, os.O_RDONLY)


fds = {name: opened(name) for name in ("F_SETFL", "F_SETLEASE", "FS_IOC_SETFLAGS")}


def set_status_flags():
    fcntl.fcntl(fds["F_SETFL"], fcntl.F_SETFL, os.O_NOATIME)


def lease():
    fcntl.fcntl(fds["F_SETLEASE"], fcntl.F_SETLEASE, fcntl.F_RDLCK)


def set_file_flags():
    fcntl.ioctl(fds["FS_IOC_SETFLAGS"], 0x40086602, struct.pack("L", 0))


def dump_core():
    if not os.fork():
        os.chdir("dumping")
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        os.execv("/bin/sh", ["sh", "-c", "kill -SEGV $$"])
    os.wait()
    if not os.stat("dumping/core").st_size:
        raise OSError(errno.ENODATA, "nothing was dumped")


def noatime(name):
    os.close(os.open(name, os.O_RDONLY | os.O_NOATIME))


def link(name):
    os.link(name, name + "-2", follow_symlinks=False)


acts = {
    "link(2) of a symlink": lambda: link("symlink"),
    "link(2) of a file": lambda: link("file"),
    "link(2) of a set-user-ID file": lambda: link("set-user-ID"),
    "link(2) of an executable set-group-ID file": lambda: link("set-group-ID"),
    "link(2) of a FIFO": lambda: link("fifo"),
    "link(2) of a socket": lambda: link("socket"),
    "open(2) of a file with O_NOATIME": lambda: noatime("O_NOATIME"),
    "open(2) of a directory with O_NOATIME": lambda: noatime("directory"),
    "fcntl(2): F_SETFL with O_NOATIME": set_status_flags,
    "fcntl(2): F_SETLEASE": lease,
    "ioctl(2): FS_IOC_SETFLAGS": set_file_flags,
    "a core dump into a file that is there": dump_core,
    "chmod(2)": lambda: os.chmod("chmod", 0o600),
    "chmod(2) of a directory": lambda: os.chmod("directory", 0o755),
    "chown(2)": lambda: os.chown("chown", 5, 5),
    "utimensat(2) of given times": lambda: os.utime("utimensat", (5, 5)),
    "utimensat(2) of the current time": lambda: os.utime("utimensat"),
    "truncate(2)": lambda: os.truncate("truncate", 0),
    "open(2) to write": lambda: os.close(os.open("write", os.O_RDWR)),
    "execve(2)": lambda: os.access("set-user-ID", os.X_OK) or os.abort(),
    "open(2) with O_CREAT in a sticky directory":
        lambda: os.close(os.open("sticky/file", os.O_WRONLY | os.O_CREAT)),
    "open(2) of a FIFO with O_CREAT in a sticky directory":
        lambda: os.close(os.open("sticky/fifo", os.O_RDWR | os.O_CREAT)),
    "following a symlink in a sticky directory": lambda: os.stat("sticky/symlink"),
    "unlink(2) in a sticky directory": lambda: os.unlink("sticky/unlink"),
    "rmdir(2) in a sticky directory": lambda: os.rmdir("sticky/rmdir"),
    "rename(2) in a sticky directory": lambda: os.rename("sticky/rename", "sticky/renamed"),
    "rename(2) over what lies in a sticky directory":
        lambda: os.rename("sticky/over", "sticky/file"),
    "making a name in a directory of mode 0700": lambda: os.mkdir("closed/name"),
    "listing a directory of mode 0700": lambda: os.listdir("closed"),
}
print("ready", flush=True)
sys.stdin.readline()
said = {}
for act, do in acts.items():
    try:
        do()
        said[act] = "-"
    except OSError as error:
        said[act] = errno.errorcode[error.errno]
print(json.dumps(said))
"""


def fill(host: Path) -> None:
    files = ("file", "set-user-ID", "set-group-ID", "O_NOATIME", "F_SETFL", "F_SETLEASE")
    for name in (*files, "FS_IOC_SETFLAGS", "chmod", "chown", "utimensat", "truncate", "write"):
        (host / name).write_text("content")
        (host / name).chmod(0o666)
    (host / "set-user-ID").chmod(0o4777)
    (host / "set-group-ID").chmod(0o2777)
    os.symlink("file", host / "symlink")
    for name, mode in (("directory", 0o755), ("closed", 0o700), ("sticky", 0o1777)):
        (host / name).mkdir()
        (host / name).chmod(mode)
    (host / "dumping").mkdir()
    (host / "dumping" / "core").touch(0o600)
    for name in ("file", "unlink", "rename", "over"):
        (host / "sticky" / name).touch(0o666)
    (host / "sticky" / "rmdir").mkdir()
    os.symlink("file", host / "sticky" / "symlink")
    for directory in (host, host / "sticky"):
        os.mkfifo(directory / "fifo", 0o666)
    os.mknod(host / "socket", modes.S_IFSOCK | 0o666)


def look_at_everything(guest: Path) -> None:
    for directory, directories, files in os.walk(guest):
        for name in (*directories, *files):
            os.lstat(os.path.join(directory, name))


def seen(live: LiveShare) -> dict[str, str]:
    """What each act is answered if it is not root's, and root has looked before and since."""
    fill(live.source)
    look_at_everything(live.guest)
    process = subprocess.Popen(
        [interpreter_for_everybody(), "-ISc", ACTS, str(live.guest)],
        **BECOME_NOBODY,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        look_at_everything(live.guest)
        output, _ = process.communicate("go\n", timeout=180)
    finally:
        process.kill()
        process.wait()
    said: dict[str, str] = json.loads(output.splitlines()[-1])
    if not dumps_into_a_file():
        del said["a core dump into a file that is there"]
    return said


def dumps_into_a_file() -> bool:
    kernel = Path("/proc/sys/kernel")
    plain = (kernel / "core_pattern").read_text().strip() == "core"
    return plain and (kernel / "core_uses_pid").read_text().strip() == "0"


def documented(page: str) -> dict[str, tuple[str, str]]:
    """Of the table: what is refused to whom has asked before, and to who asks now."""
    rows = page[page.index(HEADING) :].splitlines()[2:]
    table = {}
    for row in rows[: rows.index("")]:
        act, *answers = (cell.strip(" `") for cell in row.strip("|").split("|"))
        table[act] = (answers[0], answers[1])
    return table


def expected(column: int) -> dict[str, str]:
    table = {act: answers[column] for act, answers in documented(PAGE.read_text()).items()}
    if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() == "0":
        # The rule of links is the machine's to make.
        table = {act: said for act, said in table.items() if not act.startswith("link(2)")}
    if not dumps_into_a_file():
        del table["a core dump into a file that is there"]
    return {act: said for act, said in table.items() if said != FINE}


def refusals(said: dict[str, str]) -> dict[str, str]:
    return {act: answer for act, answer in said.items() if answer != FINE}


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.mark.parametrize(
    ("settings", "column"),
    [
        ({"profile": "osxfs-cached", "latency_ns": 0}, 0),
        ({"profile": "osxfs-delegated", "latency_ns": 0}, 0),
        ({"profile": "docker-vz", "latency_ns": 0, "cache_timeout_ns": 3_600 * 10**9}, 0),
        ({"profile": "osxfs", "latency_ns": 0}, 1),
    ],
)
def test_the_kernel_refuses_what_the_page_says_and_nothing_else(
    share, settings: dict[str, Any], column: int
) -> None:
    assert refusals(seen(share(**settings))) == expected(column)


def test_root_is_refused_nothing_and_nobody_is_refused_his_own(share) -> None:
    """The same acts where it was nobody who looked first: the ids are then his."""
    live = share(profile="osxfs-cached", latency_ns=0)
    fill(live.source)
    run = subprocess.run(
        [interpreter_for_everybody(), "-ISc", ACTS, str(live.guest)],
        **BECOME_NOBODY,
        cwd="/",
        input="go\n",
        capture_output=True,
        text=True,
        timeout=180,
    )
    said = json.loads(run.stdout.splitlines()[-1])
    assert refusals(said) == {"ioctl(2): FS_IOC_SETFLAGS": "ENOTTY"}
    assert os.stat(live.guest / "file").st_uid == NOBODY


def test_a_page_that_leaves_one_out_is_noticed() -> None:
    page = PAGE.read_text()
    row = re.search(r"^\| `link\(2\) of a symlink` .*\n", page, re.MULTILINE)
    assert row is not None
    assert documented(page.replace(row.group(), "")) != documented(page)
