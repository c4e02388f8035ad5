"""The kernel's table of mounts as text, and the checks that need no mount."""

import builtins
import errno
import os
import stat as modes
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import complaint, noticed

from osxfs_sim.mount.mounts import mountpoints
from osxfs_sim.mount.mounts.mountpoints import (
    FILE_SYSTEM_TYPE,
    MountEntry,
    MountError,
    check_allow_other,
    check_before_mounting,
    control_path,
    is_dead,
    log_path,
    make_runtime_directory,
    mount_at,
    mounts,
    real_mountpoint,
    runtime_directory,
    unmount,
)

ROOT_LINE = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Puts lines in the place of /proc/self/mountinfo."""
    file = tmp_path / "mountinfo"

    def put(*lines: str) -> None:
        file.write_bytes(b"".join(os.fsencode(line) + b"\n" for line in lines))

    def open_instead(path, *arguments, **keys):
        assert path == "/proc/self/mountinfo"
        return builtins.open(file, *arguments, **keys)

    monkeypatch.setattr(mountpoints, "open", open_instead, raising=False)
    put(ROOT_LINE)
    return put


def ours(mountpoint: object, user_id: int = 0) -> str:
    options = f"rw,user_id={user_id},group_id=0,allow_other"
    return f"77 22 0:51 / {mountpoint} rw,nosuid - {FILE_SYSTEM_TYPE} osxfs-sim {options}"


# The table


def test_a_line_of_the_table_is_read_as_the_manual_page_describes_it(table):
    table(
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
        ours("/guest", user_id=1000),
    )
    assert mounts() == [
        MountEntry("/mnt2", "ext3", 0, "98:0", "/dev/root", 36, "/mnt1"),
        MountEntry("/guest", "fuse.osxfs-sim", 1000, "0:51", "osxfs-sim", 77, "/"),
    ]
    assert [entry.is_ours for entry in mounts()] == [False, True]


def test_a_line_may_have_no_optional_fields_or_several(table):
    table(
        "36 35 98:0 / /none rw - ext3 /dev/root rw",
        "37 35 98:0 / /several rw shared:1 master:2 - ext3 /dev/root rw",
    )
    assert [entry.mountpoint for entry in mounts()] == ["/none", "/several"]


def test_a_mount_without_a_source_keeps_its_options_in_place(table):
    table("36 35 98:0 / /guest rw - fuse.osxfs-sim  rw,user_id=5")
    assert mounts() == [MountEntry("/guest", "fuse.osxfs-sim", 5, "98:0", "", 36, "/")]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (r"/with\040space", "/with space"),
        (r"/with\011tab", "/with\ttab"),
        (r"/with\012line", "/with\nline"),
        (r"/with\134backslash", "/with\\backslash"),
        (r"/not\134040a-space", "/not\\040a-space"),
        (r"/minus\040-\040minus", "/minus - minus"),
    ],
)
def test_what_the_kernel_escapes_is_unescaped(table, written, path):
    table(ours(written))
    assert mounts()[0].mountpoint == path


def test_a_path_that_is_not_utf8_is_the_same_as_os_paths_are(table):
    table(ours(os.fsdecode(b"/caf\xe9")))
    assert os.fsencode(mounts()[0].mountpoint) == b"/caf\xe9"


def test_a_carriage_return_in_a_path_does_not_end_its_line(table):
    # seq_path(9) escapes space, tab, newline and backslash, and nothing else.
    table(ROOT_LINE, ours("/carriage\rreturn"))
    assert [entry.mountpoint for entry in mounts()] == ["/", "/carriage\rreturn"]


def escaping_is_undone(unescape):
    @given(st.text(alphabet=st.sampled_from("a01234\\ \t\n-/"), max_size=12))
    @example("\\040")
    @example("\\\\134")
    def check(path):
        written = path
        for character in "\\ \t\n":  # the backslash first: it is what escapes the others
            written = written.replace(character, f"\\{ord(character):03o}")
        assert unescape(written) == path

    check()


def test_unescaping_undoes_what_the_kernel_does():
    escaping_is_undone(mountpoints.unescape)


def backslash_first(text):
    return mountpoints.unescape(text.replace("\\134", "\\"))


def spaces_only(text):
    return text.replace("\\040", " ")


@pytest.mark.parametrize("bug", [backslash_first, spaces_only])
def test_the_check_of_unescaping_notices(bug):
    with noticed():
        escaping_is_undone(bug)


def test_the_topmost_of_several_mounts_counts(table):
    table(ROOT_LINE, "36 22 98:0 / /guest rw - tmpfs none rw", ours("/guest"))
    assert mount_at("/guest").is_ours
    assert mount_at("/guest/below") is None
    assert mount_at("/gues") is None


def test_the_tables_of_this_very_machine_can_be_read():
    assert "/proc" in {entry.mountpoint for entry in mounts()}


# Paths


@pytest.mark.usefixtures("table")
def test_a_mount_point_is_told_without_links_and_dots(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert real_mountpoint(f"{tmp_path}/link/../link") == f"{tmp_path}/real"
    assert real_mountpoint(f"{tmp_path}/not-there/") == f"{tmp_path}/not-there"
    assert real_mountpoint("/") == "/"


@pytest.mark.usefixtures("table")
def test_a_mount_point_is_told_from_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert real_mountpoint("guest") == f"{tmp_path}/guest"


def test_a_mount_point_in_use_is_not_touched(table, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    table(ROOT_LINE, ours(tmp_path / "guest"))
    touched = []
    lstat = os.lstat
    monkeypatch.setattr(
        os, "lstat", lambda path, **keys: touched.append(path) or lstat(path, **keys)
    )
    assert real_mountpoint(f"{tmp_path}/link/guest") == f"{tmp_path}/guest"
    assert f"{tmp_path}/link" in touched
    assert f"{tmp_path}/guest" not in touched


def test_root_keeps_its_sockets_where_system_services_do():
    assert runtime_directory(0) == Path("/run/osxfs-sim")


def test_a_user_keeps_sockets_in_the_sessions_directory_or_else_below_tmp(monkeypatch):
    monkeypatch.setattr(Path, "is_dir", lambda self: str(self) == "/run/user/1000")
    assert runtime_directory(1000) == Path("/run/user/1000/osxfs-sim")
    assert runtime_directory(1001) == Path("/tmp/osxfs-sim-1001")


def test_a_socket_and_a_log_belong_to_one_mount_point():
    directory = Path("/run/osxfs-sim")
    socket = control_path(directory, "/guest")
    assert socket == control_path(directory, "/guest")
    assert socket != control_path(directory, "/guest2")
    assert (socket.parent, socket.suffix) == (directory, ".sock")
    assert log_path(directory, "/guest") == socket.with_suffix(".log")


def test_a_sockets_path_is_short_enough_however_long_the_mount_points_is():
    # sun_path has 108 bytes (unix(7)).
    directory = runtime_directory(4_294_967_294)
    assert len(os.fsencode(control_path(directory, "/long" * 800))) < 108


def test_a_mount_point_that_is_not_utf8_has_a_socket_too():
    assert control_path(Path("/run"), os.fsdecode(b"/caf\xe9")).suffix == ".sock"


# Our own directory


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Where our runtime directory would be; not made yet."""
    directory = tmp_path / "own"
    monkeypatch.setattr(mountpoints, "runtime_directory", lambda _uid: directory)
    return directory


def test_our_directory_is_made_for_us_alone(own):
    assert make_runtime_directory() == own
    assert modes.S_IMODE(own.stat().st_mode) == 0o700
    assert make_runtime_directory() == own


def test_a_directory_that_others_may_enter_is_not_used(own):
    own.mkdir()
    own.chmod(0o755)
    message = complaint(MountError, make_runtime_directory)
    assert message == f"{own} belongs to somebody else or is open to others: remove it"


def test_a_link_to_a_directory_is_not_used(own, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    own.symlink_to("elsewhere")
    message = complaint(MountError, make_runtime_directory)
    assert message == f"{own} belongs to somebody else or is open to others: remove it"


def test_a_directory_of_somebody_else_is_not_used(own, monkeypatch):
    own.mkdir(mode=0o700)
    non_member = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: non_member)
    message = complaint(MountError, make_runtime_directory)
    assert message == f"{own} belongs to somebody else or is open to others: remove it"


def test_a_file_in_its_place_is_told(own):
    own.write_text("")
    message = f"{own} belongs to somebody else or is open to others: remove it"
    assert complaint(MountError, make_runtime_directory) == message


def test_a_directory_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    directory = tmp_path / "not-there" / "own"
    monkeypatch.setattr(mountpoints, "runtime_directory", lambda _uid: directory)
    message = complaint(MountError, make_runtime_directory)
    assert message == f"cannot make {directory}: No such file or directory"


# Checks before mounting


@pytest.fixture
def site(tmp_path, table, monkeypatch):
    """A source and a guest directory, with FUSE as it should be. Relative names work too."""
    del table  # only / is mounted
    site = tmp_path / "site"
    (site / "source").mkdir(parents=True)
    (site / "guest").mkdir()
    monkeypatch.chdir(site)
    return site


def test_what_can_be_mounted_is_answered_with_its_real_paths(site):
    expected = (f"{site}/source", f"{site}/guest")
    assert check_before_mounting("source", "guest") == expected
    (site / "link").symlink_to("source")
    assert check_before_mounting("link", "./guest/") == expected


def test_source_and_mount_point_may_begin_alike(site):
    (site / "source-guest").mkdir()
    assert check_before_mounting("source", "source-guest")[1] == f"{site}/source-guest"


@pytest.mark.parametrize(
    ("source", "mountpoint", "message"),
    [
        ("not-there", "guest", "the source not-there does not exist"),
        (
            "file",
            "guest",
            "the source file is not a directory: only directories can be shared",
        ),
        (
            "source",
            "not-there",
            "the mount point not-there does not exist: mkdir -p not-there",
        ),
        (
            "source",
            "file",
            "the mount point file is not a directory (the order is SOURCE MOUNTPOINT)",
        ),
        (
            "source",
            "./source",
            "source and mount point are the same directory: mount it elsewhere",
        ),
        (
            "source",
            "link",
            "source and mount point are the same directory: mount it elsewhere",
        ),
        (
            "source",
            "source/below",
            "the mount point source/below lies inside the source: "
            "the share would contain itself; mount it elsewhere",
        ),
        (
            "link",
            "source/below",
            "the mount point source/below lies inside the source: "
            "the share would contain itself; mount it elsewhere",
        ),
        (
            "/",
            "guest",
            "the mount point guest lies inside the source: "
            "the share would contain itself; mount it elsewhere",
        ),
        (
            "source/below",
            "source",
            "the source source/below lies inside the mount point: "
            "the share would hide it; mount it elsewhere",
        ),
        (
            "source",
            "/",
            "the source source lies inside the mount point: "
            "the share would hide it; mount it elsewhere",
        ),
    ],
)
def test_what_cannot_be_mounted_is_told_with_its_remedy(site, source, mountpoint, message):
    (site / "file").write_text("")
    (site / "link").symlink_to("source")
    (site / "source" / "below").mkdir()
    assert complaint(MountError, check_before_mounting, source, mountpoint) == message


@pytest.mark.usefixtures("site")
def test_a_source_that_cannot_be_read_is_told(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_arguments, **_keys: False)
    message = complaint(MountError, check_before_mounting, "source", "guest")
    assert message == "the source source cannot be read: permission denied"


def test_where_a_share_is_mounted_already_its_umount_is_offered(site, table):
    table(ROOT_LINE, ours(site / "guest"))
    message = complaint(MountError, check_before_mounting, "source", "guest")
    assert message == "a share is already mounted at guest: osxfs-sim umount guest"


def test_where_something_else_is_mounted_another_place_is_asked_for(site, table):
    table(ROOT_LINE, f"36 22 98:0 / {site}/guest rw - tmpfs none rw")
    message = complaint(MountError, check_before_mounting, "source", "guest")
    assert message == "a tmpfs file system is already mounted at guest: choose another"


def test_a_share_whose_server_has_died_is_taken_away_first(site, table, monkeypatch):
    table(ROOT_LINE, ours(site / "guest"))
    taken_away = []

    def unmount_instead(mountpoint, *, lazily):
        taken_away.append((mountpoint, lazily))
        table(ROOT_LINE)

    monkeypatch.setattr(mountpoints, "is_dead", lambda _mountpoint: True)
    monkeypatch.setattr(mountpoints, "unmount", unmount_instead)
    check_before_mounting("source", "guest")
    assert taken_away == [(f"{site}/guest", True)]


def test_a_dead_mount_that_is_not_ours_is_left_alone(site, table, monkeypatch):
    table(ROOT_LINE, f"36 22 98:0 / {site}/guest rw - fuse.sshfs host: rw")
    monkeypatch.setattr(mountpoints, "is_dead", lambda _mountpoint: True)
    monkeypatch.setattr(mountpoints, "unmount", lambda *_arguments, **_keys: pytest.fail("touched"))
    message = complaint(MountError, check_before_mounting, "source", "guest")
    assert message == "a fuse.sshfs file system is already mounted at guest: choose another"


# FUSE


def test_without_the_device_both_remedies_are_named(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    assert complaint(MountError, mountpoints.check_fuse) == (
        "/dev/fuse is missing: load the kernel module (modprobe fuse), or in a container "
        "pass the device (--device /dev/fuse --cap-add SYS_ADMIN)"
    )


def test_a_device_that_root_may_not_open_is_a_containers(monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os.path, "exists", lambda _path: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "open", refuse)
    assert complaint(MountError, mountpoints.check_fuse) == (
        "/dev/fuse cannot be opened (Operation not permitted): "
        "in a container, allow the device (--device /dev/fuse --cap-add SYS_ADMIN)"
    )


@pytest.fixture
def as_user(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("as_user")
def test_a_user_needs_fusermount(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda _path: True)
    monkeypatch.setattr(mountpoints.shutil, "which", lambda _name: None)
    assert complaint(MountError, mountpoints.check_fuse) == (
        "an ordinary user needs fusermount3 to mount: apt-get install fuse3, or mount as root"
    )
    monkeypatch.setattr(mountpoints.shutil, "which", lambda name: f"/usr/bin/{name}")
    mountpoints.check_fuse()


# Letting others in


@pytest.mark.parametrize(("wanted", "allowed"), [(None, True), (True, True), (False, False)])
def test_root_lets_others_in_unless_told_not_to(monkeypatch, wanted, allowed):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert check_allow_other(wanted) is allowed


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("wanted", [None, False])
def test_a_user_lets_nobody_in_unless_told_to(wanted):
    assert check_allow_other(wanted) is False


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("user_allow_other\n", True),
        ("mount_max = 1000\n  user_allow_other  \n", True),
        ("#user_allow_other\n", False),
        ("", False),
        (None, False),
    ],
)
def test_a_user_may_let_others_in_where_the_machine_says_so(tmp_path, monkeypatch, text, allowed):
    def path_instead(path):
        assert path == "/etc/fuse.conf"
        return tmp_path / "fuse.conf"

    monkeypatch.setattr(mountpoints, "Path", path_instead)
    if text is not None:
        (tmp_path / "fuse.conf").write_text(text)
    if allowed:
        assert check_allow_other(True) is True
    else:
        assert complaint(MountError, check_allow_other, True) == (
            "--allow-other needs the line user_allow_other in /etc/fuse.conf (only root can add it)"
        )


# The end of a mount


def test_a_directory_is_not_dead_and_neither_is_what_is_not_there(tmp_path):
    assert not is_dead(str(tmp_path))
    assert not is_dead(f"{tmp_path}/not-there")


@pytest.mark.parametrize(
    ("code", "dead"),
    [(errno.ENOTCONN, True), (errno.ECONNABORTED, True), (errno.EACCES, False)],
)
def test_only_a_broken_connection_is_death(monkeypatch, code, dead):
    def stat(_path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(mountpoints.os, "stat", stat)
    found = is_dead("/guest")
    monkeypatch.undo()
    assert found is dead


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("fusermount3: failed to unmount /guest: Device or resource busy\n", errno.EBUSY),
        ("fusermount3: entry for /guest not found in /etc/mtab\n", errno.EPERM),
    ],
)
def test_a_user_is_told_what_fusermount_said(monkeypatch, stderr, code):
    commands = []

    def run(command, **_keys):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(mountpoints.subprocess, "run", run)
    with pytest.raises(OSError, match="fusermount3") as caught:
        unmount("/guest")
    assert caught.value.errno == code
    assert caught.value.strerror == stderr.strip()
    assert commands == [["fusermount3", "-u", "--", "/guest"]]


@pytest.mark.usefixtures("as_user")
def test_a_user_unmounts_through_fusermount(monkeypatch):
    commands = []

    def run(command, **_keys):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mountpoints.subprocess, "run", run)
    unmount("/guest", lazily=True)
    assert commands == [["fusermount3", "-u", "-z", "--", "/guest"]]


@pytest.mark.parametrize(("lazily", "flags"), [(False, 0), (True, 2)])
def test_root_unmounts_by_the_system_call(monkeypatch, lazily, flags):
    calls = []

    class Libc:
        def umount2(self, target, flags):
            calls.append((target, flags))
            mountpoints.ctypes.set_errno(errno.EBUSY)
            return -1

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mountpoints, "_libc", Libc())
    with pytest.raises(OSError, match="busy") as caught:
        unmount("/guest", lazily=lazily)
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, "/guest")
    assert calls == [(b"/guest", flags)]
