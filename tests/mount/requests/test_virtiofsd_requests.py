"""The virtiofsd profiles send what a real VirtioFS guest sends, request by request.

The counts of the real one were taken from the log of virtiofsd (QEMU 7.2, -d) while a Linux
6.1 guest did the same work with the same shell: bench/virtiofs_guest.py does it again.
docs/systems.md has the table, and why three numbers of cache=none are others here.
"""

import errno
import mmap
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.guests import refused, without_shares
from support.live import LiveShare

# The kernel here stands in for the guest's. Since 6.5 it splices by way of the page cache
# where it read directly, and since 6.12 it opens a known file with O_CREAT without asking
# whether one may be made beside it.
KERNEL = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
SPLICES_PAGES = KERNEL >= (6, 5)
OPENS_KNOWN = KERNEL >= (6, 12)

PUBLISHED_SCRIPT = """
stat f; stat f; cat f; cat f; stat nope; stat nope; ls -l d; ls -l d
mkdir n; echo hello > n/x; echo more >> n/x; mv n/x n/y; ln n/y n/z; ln -s y n/s
readlink n/s; chmod 600 n/y; rm n/y n/z n/s; rmdir n
stat a/b/c/g; stat a/b/c/none
"""
CHANGES = {"MKDIR": 1, "RMDIR": 1, "RENAME": 1, "LINK": 1, "SYMLINK": 1, "SETATTR": 1}
BESIDES = CHANGES | {
    "OPEN": 3,
    "CREATE": 1,
    "WRITE": 2,
    "FLUSH": 6,
    "RELEASE": 4,
    "UNLINK": 3,
    "OPENDIR": 2,
    "RELEASEDIR": 2,
    "READLINK": 2,
}
BELIEVING = BESIDES | {"LOOKUP": 18, "GETATTR": 13, "READDIRPLUS": 4, "GETXATTR": 1, "FORGET": 3}
PUBLISHED = {
    "none": BESIDES | {"LOOKUP": 81, "GETATTR": 124, "READ": 6, "READDIR": 4, "FORGET": 64},
    "auto": BELIEVING | {"READ": 2},
    "always": BELIEVING | {"READ": 1},
}

# Other work, of other kinds: what was seen of the real one in the same way.
LONGER_SCRIPT = """
find . > /dev/null
find . -type f > /dev/null
mkdir -p m/n/o
cp f m/n/g
cp -r d m/n/e
ls -lR m > /dev/null
dd if=/dev/zero of=m/z bs=1024 count=100 2> /dev/null
dd if=m/z of=/dev/null bs=4096 2> /dev/null
cat m/z > /dev/null
md5sum m/z > /dev/null
tail -c 10 m/z > /dev/null
grep -r content . > /dev/null
touch m/t
touch m/t
truncate -s 500 m/z
chmod 755 m/n
chown 5:5 m/t
mv m/n m/p
ln -s ../f m/l
cat m/l
cat f f f > /dev/null
test -e m/none
test -f f
wc -l f
tar cf m/x.tar a d f
tar xf m/x.tar -C m
rm m/l m/x.tar
echo hi > m/t
echo hi > m/t
sed -i s/hi/ho/ m/t
df . > /dev/null
rm -r m
cd d; ls; cd ..
"""


@pytest.fixture
def applets(field: Path) -> Path:
    """A directory of busybox's programs, and no other."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox is missing: run scripts/setup"
    path = field / "applets"
    path.mkdir()
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout.split():
        (path / name).symlink_to(busybox)
    return path


def fill(source: Path) -> None:
    """What the published script works on."""
    (source / "f").write_text("content\n")
    (source / "d").mkdir()
    for name in "123":
        (source / "d" / name).touch()
    (source / "a" / "b" / "c").mkdir(parents=True)
    (source / "a" / "b" / "c" / "g").touch()


def requests_of(share: LiveShare, applets: Path, script: str) -> dict[str, int]:
    """What a shell asks the share for that runs *script* in its root, from a local file.

    It is shown no other share: busybox's df looks at every mount that there is, and the server
    of somebody else's may be stopped.
    """
    file = applets.parent / "script"
    file.write_text(script)
    share.reset()
    subprocess.run(
        [
            *without_shares(but=share.guest),
            *("env", "-i", "-C", share.guest, f"PATH={applets}", f"PWD={share.guest}"),
            *(applets / "sh", file),
        ],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return share.requests()


def fresh(share, cache: str) -> LiveShare:
    # A busy machine may need more than auto's second for the script: so ten of them pass.
    live = share(profile=f"virtiofsd-{cache}", dilate=60.0)
    fill(live.source)
    return live


@pytest.mark.parametrize("cache", ["auto", "always"])
def test_a_guest_that_caches_sends_exactly_the_published_requests(
    share, applets: Path, cache: str
) -> None:
    assert requests_of(fresh(share, cache), applets, PUBLISHED_SCRIPT) == PUBLISHED[cache]


def test_a_guest_that_caches_nothing_sends_the_published_requests_but_for_its_kernel(
    share, applets: Path
) -> None:
    expected = dict(PUBLISHED["none"])
    # Only VirtioFS has the kernel let go of a name as soon as it is not cached.
    expected["FORGET"] = 3
    if SPLICES_PAGES:
        # Two cats by sendfile(2): each reads once and knows the end by the size.
        expected["READ"] -= 4
    if OPENS_KNOWN:
        expected["GETATTR"] -= 1  # echo more >> n/x
    assert requests_of(fresh(share, "none"), applets, PUBLISHED_SCRIPT) == expected


@pytest.mark.parametrize(("cache", "expected"), [
    ("auto", {"LOOKUP": 54, "GETATTR": 59, "READ": 22}),
    ("always", {"LOOKUP": 54, "GETATTR": 57, "READ": 7}),
])  # fmt: skip
def test_other_work_is_asked_for_as_by_the_real_guest(
    share, applets: Path, cache: str, expected: dict[str, int]
) -> None:
    requests = requests_of(fresh(share, cache), applets, LONGER_SCRIPT)
    del requests["FORGET"]  # 26 of the real one; when the kernel lets go is its own affair
    assert requests == expected | {
        "SETATTR": 34,
        "READLINK": 2,
        "MKDIR": 8,
        "UNLINK": 13,
        "RMDIR": 8,
        "SYMLINK": 1,
        "RENAME": 2,
        "OPEN": 33,
        "CREATE": 13,
        "WRITE": 117,
        "FLUSH": 50,
        "RELEASE": 46,
        "OPENDIR": 37,
        "RELEASEDIR": 37,
        "READDIRPLUS": 71,
        "READDIR": 3,
        "STATFS": 1,
        "GETXATTR": 1,
    }


def test_a_share_that_sends_other_requests_is_told_apart(share, applets: Path) -> None:
    """The usual protocol, with the same timeouts: every listing is a READDIRPLUS."""
    live = share(profile="host", extended_attributes="refused")
    fill(live.source)
    requests = requests_of(live, applets, PUBLISHED_SCRIPT)
    assert requests["READDIRPLUS"] == 4
    assert "READDIR" not in requests


# What a direct file is like


def test_reads_of_an_open_file_cross_each_time_without_a_cache(share) -> None:
    live = fresh(share, "none")
    fd = os.open(live.guest / "f", os.O_RDONLY)
    try:
        live.reset()
        for _ in range(5):
            assert os.pread(fd, 100, 0) == b"content\n"
        assert live.requests()["READ"] == 5
        (live.source / "f").write_text("changed!\n")
        assert os.pread(fd, 100, 0) == b"changed!\n"
    finally:
        os.close(fd)


def test_a_direct_file_cannot_be_mapped_shared_as_in_the_real_guest(share) -> None:
    live = fresh(share, "none")
    fd = os.open(live.guest / "f", os.O_RDWR)
    try:
        with refused(errno.ENODEV):
            mmap.mmap(fd, 8, mmap.MAP_SHARED)
        with mmap.mmap(fd, 8, mmap.MAP_PRIVATE) as mapping:
            assert mapping[:] == b"content\n"
    finally:
        os.close(fd)


def test_the_guests_kernel_checks_permissions(share) -> None:
    live = fresh(share, "auto")
    # Beside it are mounts of others, whose names need not be text.
    table = Path("/proc/mounts").read_text(errors="surrogateescape")
    options = next(
        line.split()[3] for line in table.splitlines() if line.split()[1] == str(live.guest)
    )
    assert {"default_permissions", "allow_other"} <= set(options.split(","))
