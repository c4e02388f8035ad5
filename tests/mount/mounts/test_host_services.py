"""Host services: the sockets of a share that lead to the host, the SSH agent's above all."""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import socketserver
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command import Command
from support.guests import PATIENCE_S, eventually, finish, refused, run, start
from support.live import LiveShare, is_mounted
from support.nobody import need_fusermount, run_as_nobody

import osxfs_sim
from osxfs_sim.mount.launch import launch, unmount_and_wait
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.mount.mounts.mountpoints import MountError, runtime_directory

pytestmark = pytest.mark.usefixtures("need_fuse")


# The host's side


class Host:
    """A server of the host at *path*, which deals with each connection by *handle*."""

    def __init__(self, path: Path, handle: Callable[[socket.socket], None]) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                handle(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

        self.path = path
        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink()


def echo(connection: socket.socket) -> None:
    """Say all again, and end when the other side does."""
    while data := connection.recv(65_536):
        connection.sendall(data)


@pytest.fixture
def echoes(field: Path) -> Iterator[Path]:
    with Host(field / "echo", echo) as host:
        yield host.path


def connect(live: LiveShare, name: str = "echo") -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(str(live.guest / "host-services" / f"{name}.sock"))
    except BaseException:
        client.close()
        raise
    client.settimeout(PATIENCE_S)
    return client


def read_all(client: socket.socket) -> bytes:
    received = bytearray()
    while data := client.recv(1 << 20):
        received += data
    return bytes(received)


def says_again(live: LiveShare, words: bytes = b"words") -> bool:
    with connect(live) as client:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        return read_all(client) == words


def private_directories(uid: int = 0) -> set[str]:
    """The private directories that are there, of all shares."""
    return {path.name for path in runtime_directory(uid).glob("synthetic-*")}


def private_directory_of(live: LiveShare) -> str:
    """The private directory of a share: one that its server holds open."""
    for fd in Path(f"/proc/{live.pid}/fd").iterdir():
        target = os.readlink(fd)
        if os.path.basename(os.path.dirname(target)).startswith("synthetic-"):
            return os.path.basename(os.path.dirname(target))
    raise AssertionError("it has none")


# The SSH agent


class Agent:
    """A real ssh-agent of the host, and ssh-add, with keys of their own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "agent"
        self._process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", self.path], stdout=subprocess.DEVNULL
        )
        eventually(self.path.exists)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def ssh_add(agent: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["ssh-add", *map(str, arguments)],
        env={**os.environ, "SSH_AUTH_SOCK": str(agent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def new_key(path: Path) -> str:
    """Make a key at *path*; returns its comment."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path]
    subprocess.run(command, check=True)
    return path.name


@pytest.fixture
def agent(field: Path) -> Iterator[Agent]:
    agent = Agent(field)
    yield agent
    agent.end()


def test_a_guest_uses_the_agent_of_the_host(share, agent: Agent, field: Path) -> None:
    hosts, guests = new_key(field / "key-of-the-host"), new_key(field / "key-of-the-guest")
    assert ssh_add(agent.path, field / hosts).returncode == 0
    live = share(host_services=(("ssh-auth", str(agent.path)),))
    seen = live.guest / "host-services" / "ssh-auth.sock"
    listed = ssh_add(seen, "-l")
    assert hosts in listed.stdout, listed.stderr
    assert ssh_add(seen, field / guests).returncode == 0
    assert guests in ssh_add(agent.path, "-l").stdout
    # A signature is what it is for: made with the agent's key, checked without it.
    (live.guest / "file").write_text("content")
    sign = ["ssh-keygen", "-Y", "sign", "-n", "test", "-f"]
    signed = subprocess.run(
        [*sign, field / f"{hosts}.pub", live.guest / "file"],
        env={**os.environ, "SSH_AUTH_SOCK": str(seen)},
        capture_output=True,
        text=True,
    )
    assert signed.returncode == 0, signed.stderr
    (service,) = live.status().host_services
    assert (service.name, service.path) == ("ssh-auth", str(agent.path))
    assert service.connections >= 3
    assert eventually(lambda: live.status().host_services[0].open == 0)


def test_an_agent_that_ends_takes_nothing_else_along_and_may_come_back(share, field: Path) -> None:
    agent = Agent(field)
    live = share(host_services=(("ssh-auth", str(agent.path)),))
    seen = live.guest / "host-services" / "ssh-auth.sock"
    assert "no identities" in ssh_add(seen, "-l").stdout
    agent.end()
    agent.path.unlink(missing_ok=True)
    for _ in range(3):
        asked = ssh_add(seen, "-l")
        # It may find the connection closed before it has asked, or after.
        assert asked.returncode == -signal.SIGPIPE or "agent failed" in asked.stderr
    with connect(live, "ssh-auth") as client:
        assert read_all(client) == b"", "its connection is ended"
    assert live.log().count("WARNING host service ssh-auth: ") == 1
    (live.guest / "file").write_text("content")
    assert (live.source / "file").read_text() == "content"
    agent = Agent(field)
    assert "no identities" in ssh_add(seen, "-l").stdout
    agent.end()


def test_who_talks_to_an_agent_that_is_killed_is_told_so(share, field: Path) -> None:
    code = "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])\n"
    code += "s.listen(); c, _ = s.accept(); c.send(b'hello'); print('here', flush=True)\n"
    code += "sys.stdin.read()"
    host = start(code, field / "host")
    eventually((field / "host").exists)
    live = share(host_services=(("echo", str(field / "host")),))
    with connect(live) as client:
        assert client.recv(10) == b"hello"
        host.kill()
        host.communicate()
        assert client.recv(10) == b""
    assert eventually(lambda: live.status().host_services[0].open == 0)


# Carrying


def test_both_sides_end_on_their_own(share, field: Path) -> None:
    """A half-close reaches the host, whose answer then still reaches the guest."""

    def count(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(65_536):
            total += len(data)
        connection.sendall(b"%d" % total)

    with Host(field / "count", count) as host:
        live = share(host_services=(("count", str(host.path)),))
        with connect(live, "count") as client:
            client.sendall(b"x" * 1_000)
            client.sendall(b"x" * 2_000)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"3000"


def test_the_host_may_speak_first_and_end_first(share, field: Path) -> None:
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"greetings")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with Host(field / "greet", greet) as host:
        live = share(host_services=(("greet", str(host.path)),))
        with connect(live, "greet") as client:
            assert read_all(client) == b"greetings"
            client.sendall(b"and back")
        assert eventually(lambda: heard == [b"and back"])


def test_a_host_that_does_not_listen_to_the_end_is_heard_to_its_own(share, field: Path) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"enough")

    with Host(field / "refuse", refuse) as host:
        live = share(host_services=(("refuse", str(host.path)),))
        with connect(live, "refuse") as client:
            with pytest.raises(OSError, match=r"."):  # noqa: PT012 (until it is told)
                while True:
                    client.sendall(b"x" * 65_536)
            assert client.recv(100) in (b"enough", b"")
        assert eventually(lambda: live.status().host_services[0].open == 0)


def test_large_transfers_arrive_whole_both_ways_at_once(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    content = os.urandom(1 << 20) * 16
    with connect(live) as client:

        def send() -> None:
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        received = read_all(client)
        sending.join()
    assert received == content


def test_a_slow_reader_slows_the_writer_and_not_the_share(share, field: Path) -> None:
    """What nobody takes is not kept by the server: the writer stands still."""
    sent = [0]

    def pour(connection: socket.socket) -> None:
        while True:
            sent[0] += connection.send(b"x" * 65_536)

    def pouring(connection: socket.socket) -> None:
        with pytest.raises(OSError, match=r"."):
            pour(connection)

    with Host(field / "pour", pouring) as host:
        live = share(host_services=(("pour", str(host.path)),))
        with connect(live, "pour"):
            before = -1
            while before != sent[0]:
                before = sent[0]
                time.sleep(0.2)
            assert sent[0] < 4 << 20
            (live.guest / "file").touch()
        assert eventually(lambda: live.status().host_services[0].open == 0)


def test_many_connections_are_led_at_once_and_none_leaves_a_descriptor(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)), ("again", str(echoes))))
    assert says_again(live)
    assert eventually(lambda: live.status().host_services[0].open == 0)
    before = len(os.listdir(f"/proc/{live.pid}/fd"))
    clients = [connect(live, name) for _ in range(60) for name in ("echo", "again")]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    for number, client in enumerate(clients):
        assert client.recv(10) == b"%d" % number
    assert [s.open for s in live.status().host_services] == [60, 60]
    for client in clients:
        client.close()
    assert eventually(lambda: [s.open for s in live.status().host_services] == [0, 0])
    assert [s.connections for s in live.status().host_services] == [61, 60]
    assert len(os.listdir(f"/proc/{live.pid}/fd")) == before


def test_more_connections_than_are_led_at_once_wait_their_turn(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    clients = [connect(live) for _ in range(300)]
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        assert client.recv(1) == b"x"
        client.close()


# The directory


def test_the_guest_sees_a_directory_with_sockets_and_the_host_none(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)), ("b.c_d-e", str(echoes))))
    (live.source / "file").touch()
    (live.source / "directory").mkdir()
    services = live.guest / "host-services"
    assert sorted(os.listdir(live.guest)) == ["directory", "file", "host-services"]
    assert sorted(os.listdir(services)) == ["b.c_d-e.sock", "echo.sock"]
    status = os.lstat(services / "echo.sock")
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o666
    assert os.lstat(services).st_mode == stat.S_IFDIR | 0o755
    assert os.lstat(live.guest).st_nlink == os.lstat(live.source).st_nlink + 1
    with os.scandir(live.guest) as entries:
        numbers = {entry.name: entry.inode() for entry in entries}
    assert numbers["host-services"] == os.lstat(services).st_ino
    assert (str(services), [], ["b.c_d-e.sock", "echo.sock"]) in [
        (above, directories, sorted(files)) for above, directories, files in os.walk(live.guest)
    ]
    assert os.path.samefile(services / "..", live.guest)
    found = subprocess.run(["find", live.guest, "-type", "s"], capture_output=True, text=True)
    assert len(found.stdout.splitlines()) == 2
    assert sorted(os.listdir(live.source)) == ["directory", "file"]
    listed = "import os, sys; print(*sorted(os.listdir(sys.argv[1])))"
    assert run(listed, services).strip() == "b.c_d-e.sock echo.sock"


def test_a_share_without_services_has_no_such_directory(share) -> None:
    live = share()
    assert os.listdir(live.guest) == []
    assert not (live.guest / "host-services").exists()
    assert live.status().host_services == []
    (live.guest / "host-services").mkdir()
    assert os.listdir(live.source) == ["host-services"]


def test_what_would_change_the_directory_is_refused(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    services, file, directory = (live.guest / n for n in ("host-services", "file", "directory"))
    seen = services / "echo.sock"
    file.touch()
    directory.mkdir()
    for make in (
        lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
        os.mkdir,
        os.mknod,
        lambda path: os.symlink("target", path),
        lambda path: os.link(file, path),
        lambda path: os.mknod(path, stat.S_IFSOCK | 0o666),
        bind_and_close,
    ):
        with refused(errno.EPERM):
            make(services / "new")
    for make in (os.mkdir, os.mknod, lambda path: os.symlink("target", path)):
        with refused(errno.EEXIST):
            make(services)
    for refusal, code in (
        (lambda: os.rmdir(services), errno.EBUSY),
        (lambda: os.rename(services, live.guest / "other"), errno.EBUSY),
        (lambda: os.rename(directory, services), errno.EBUSY),
        (lambda: os.rename(services, directory), errno.EBUSY),
        (lambda: os.unlink(seen), errno.EPERM),
        (lambda: os.rename(seen, services / "other"), errno.EPERM),
        (lambda: os.rename(seen, live.guest / "other"), errno.EPERM),
        (lambda: os.rename(file, seen), errno.EPERM),
        (lambda: os.rename(file, services / "other"), errno.EPERM),
        (lambda: os.link(seen, live.guest / "other"), errno.EPERM),
        (lambda: os.chmod(seen, 0o600), errno.EPERM),
        (lambda: os.chmod(services, 0o700), errno.EPERM),
        (lambda: os.chown(services, 1, 1), errno.EPERM),
        (lambda: os.utime(seen), errno.EPERM),
        (lambda: os.open(seen, os.O_RDONLY), errno.ENXIO),
    ):
        with refused(code):
            refusal()
    assert os.listdir(services) == ["echo.sock"]
    assert sorted(os.listdir(live.source)) == ["directory", "file"]
    assert says_again(live)


def bind_and_close(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(path))


def test_a_socket_of_the_share_itself_still_connects_nobody(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    with socket.socket(socket.AF_UNIX) as hosts, socket.socket(socket.AF_UNIX) as client:
        hosts.bind(str(live.source / "socket"))
        hosts.listen()
        with refused(errno.ECONNREFUSED):
            client.connect(str(live.guest / "socket"))


def test_an_entry_of_that_name_in_the_source_is_hidden_and_left_alone(
    share, field: Path, echoes: Path
) -> None:
    source = field / "source"
    (source / "host-services").mkdir(parents=True)
    (source / "host-services" / "file").write_text("content")
    live = share(source, host_services=(("echo", str(echoes)),))
    (warning,) = live.share.first_status.warnings
    assert "has an entry host-services" in warning
    assert os.listdir(live.guest) == ["host-services"]
    assert os.listdir(live.guest / "host-services") == ["echo.sock"]
    assert os.lstat(live.guest).st_nlink == os.lstat(source).st_nlink
    live.unmount()
    assert (source / "host-services" / "file").read_text() == "content"


@pytest.mark.parametrize("profile", ["none", "osxfs-cached", "osxfs-negative"])
def test_a_service_outlives_what_the_kernel_forgets(share, echoes: Path, profile: str) -> None:
    live = share(profile=profile, latency_ns=0, host_services=(("echo", str(echoes)),))
    for _ in range(3):
        assert says_again(live)
        live.drop_dentries()
        assert os.listdir(live.guest / "host-services") == ["echo.sock"]


def test_to_make_the_services_costs_the_share_neither_requests_nor_randomness(
    share, echoes: Path
) -> None:
    settings = {"profile": "osxfs", "distribution": "lognormal:0.5", "seed": 7}
    asked = []
    for services in ((), (("echo", str(echoes)),)):
        live = share(**settings, host_services=services)
        assert live.requests() == {}
        for _ in range(20):
            os.stat(live.guest)
        asked.append(live.status().receipt["metadata"].target_p50_ns)
    assert asked[0] == asked[1]


def test_a_mount_point_too_deep_for_the_path_of_a_socket_is_warned_of(
    share, field: Path, echoes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, guest = field / "source", field / ("deep" * 30)
    source.mkdir()
    guest.mkdir()
    live = share(source, guest, host_services=(("echo", str(echoes)),))
    (warning,) = live.share.first_status.warnings
    assert "from within its directory" in warning
    monkeypatch.chdir(guest / "host-services")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("echo.sock")
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    monkeypatch.undo()
    live.unmount()


# Ends


def ends(live: LiveShare, by: str) -> None:
    if by == "osxfs-sim umount":
        unmount_and_wait(str(live.guest))
    elif by.startswith("SIG"):
        os.kill(live.pid, signal.Signals[by])
    else:
        subprocess.run([*by.split(), live.guest], check=True)


@pytest.mark.parametrize(
    "by", ["umount", "fusermount3 -u", "umount -l", "osxfs-sim umount", "SIGTERM", "SIGINT"]
)
def test_a_share_with_open_connections_ends(share, echoes: Path, by: str) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    mine = private_directory_of(live)
    assert mine in private_directories()
    with connect(live) as client:
        client.sendall(b"words")
        assert client.recv(10) == b"words"
        # Pages that the kernel has yet to write out when the last socket is closed.
        (live.source / "file").write_bytes(bytes(8_192))
        with open(live.guest / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            mapping[:3] = b"abc"
        ends(live, by)
        assert live.wait_for_end() == 0
        assert client.recv(10) == b""
    assert not is_mounted(live.guest)
    assert mine not in private_directories()
    assert (live.source / "file").read_bytes()[:4] == b"abc\0"


def test_a_share_in_use_stays_and_so_do_its_services(share, echoes: Path) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    with open(live.guest / "file", "w"):
        with pytest.raises(MountError, match="is in use"):
            live.unmount()
        assert says_again(live)


def test_a_share_bound_elsewhere_keeps_its_services_until_that_is_gone_too(
    share, field: Path, echoes: Path
) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    bound = field / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", live.guest, bound], check=True)
    try:
        subprocess.run(["umount", live.guest], check=True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(bound / "host-services" / "echo.sock"))
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    finally:
        subprocess.run(["umount", bound], check=True)
    assert live.wait_for_end() == 0


def test_whoever_is_inside_a_lazily_unmounted_share_keeps_files_and_loses_services(
    share, echoes: Path
) -> None:
    live = share(host_services=(("echo", str(echoes)),))
    with connect(live) as client, open(live.guest / "file", "w") as held:
        subprocess.run(["umount", "-l", live.guest], check=True)
        assert client.recv(1) == b""
        held.write("still served")
        held.flush()
        assert (live.source / "file").read_text() == "still served"
    assert live.wait_for_end() == 0


def killed(share, echoes: Path) -> str:
    """What a killed server has left of its host services: such that it is still there.

    The next share of this user's takes it away, and that may be one of another test session's.
    """
    for _ in range(100):
        live = share(host_services=(("echo", str(echoes)),))
        left = private_directory_of(live)
        with connect(live) as client:
            live.kill()
            with contextlib.suppress(ConnectionResetError):  # it may not have been accepted yet
                assert client.recv(1) == b""
        with pytest.raises(OSError, match=r"."):
            connect(live)
        was_left = left in private_directories()
        unmount_and_wait(str(live.guest))
        if was_left:
            return left
    raise AssertionError("nothing that a killed server leaves stays until the next comes")


def test_what_a_killed_server_left_is_taken_away_by_the_next(share, echoes: Path) -> None:
    left = killed(share, echoes)
    other = share(host_services=(("echo", str(echoes)),))
    third = share(host_services=(("echo", str(echoes)),))
    assert left not in private_directories()
    assert {private_directory_of(other), private_directory_of(third)} <= private_directories(), (
        "those in use are left alone"
    )
    assert says_again(other)


# Where namespaces are forbidden, as in a container


_CALLS = {"unshare": {"x86_64": 272, "aarch64": 97}, "bind": {"x86_64": 49, "aarch64": 200}}


def forbid(call: str) -> None:
    """Forbid a system call to this process and all that it starts (seccomp(2))."""
    instructions = (
        (0x20, 0, 0, 0),  # the number of the call
        (0x15, 0, 1, _CALLS[call][platform.machine()]),
        (0x06, 0, 0, 0x50000 | errno.EPERM),
        (0x06, 0, 0, 0x7FFF0000),  # allowed
    )
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    )
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


_MOUNT_AND_WAIT = """
import sys, osxfs_sim
source, guest, host = sys.argv[1:]
settings = {"profile": "none", "calibrate": False, "host_services": {"echo": host}}
with osxfs_sim.share(source, guest, **settings) as share:
    print(*share.first_status.warnings, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("by", ["osxfs-sim umount", "SIGTERM", "umount -l"])
def test_where_namespaces_are_forbidden_its_own_commands_end_a_share(
    field: Path, echoes: Path, by: str
) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    guest = field / "guest"
    process = subprocess.Popen(
        [sys.executable, "-c", _MOUNT_AND_WAIT, field / "source", guest, echoes],
        preexec_fn=lambda: forbid("unshare"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    try:
        assert f"use osxfs-sim umount {guest}" in said
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(guest / "host-services" / "echo.sock"))
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert subprocess.run(["umount", guest], capture_output=True).returncode != 0
            if by == "SIGTERM":
                os.kill(ask(str(guest), "status")["pid"], signal.SIGTERM)
            elif by == "osxfs-sim umount":
                unmount_and_wait(str(guest))
            else:
                subprocess.run([*by.split(), guest], check=True)
            assert client.recv(1) == b""
    finally:
        finish(process, "\n")
    assert not is_mounted(guest)


def test_a_share_whose_services_cannot_be_bound_is_not_mounted(field: Path, echoes: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    before = private_directories()
    refusal = subprocess.run(
        [sys.executable, "-c", _MOUNT_AND_WAIT, field / "source", field / "guest", echoes],
        preexec_fn=lambda: forbid("bind"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert refusal.stderr.splitlines()[-1] == (
        "osxfs_sim.mount.errors.MountError: "
        "the host services cannot be offered: Operation not permitted"
    )
    assert not is_mounted(field / "guest")
    # Other tests' come and go; one that is left behind stays.
    assert eventually(lambda: private_directories() <= before)


_AS_NOBODY = """
import json, os, socket, subprocess, sys, threading
import osxfs_sim
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.mount.mounts.mountpoints import mount_at
source, guest, by = sys.argv[1:]
path = os.path.join(source, "socket")
host = socket.socket(socket.AF_UNIX)
host.bind(path)
host.listen()
def echo():
    while True:
        connection, _ = host.accept()
        connection.sendall(connection.recv(10))
        connection.close()
threading.Thread(target=echo, daemon=True).start()
with osxfs_sim.share(source, guest, profile="none", calibrate=False,
                     host_services={"echo": path}) as share:
    print(*share.first_status.warnings)
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{guest}/host-services/echo.sock")
    client.sendall(b"words")
    print(client.recv(10).decode())
    if by == "fusermount3":
        subprocess.run(["fusermount3", "-u", guest], check=True)
        share._wait_ended()
os.unlink(path)
"""


@pytest.mark.parametrize("by", ["leaving the block", "fusermount3"])
def test_an_ordinary_user_has_host_services_too(nobody: tuple[Path, Path], by: str) -> None:
    need_fusermount()
    before = private_directories(65_534)
    assert run_as_nobody(_AS_NOBODY, *nobody, by).splitlines()[-1] == "words"
    assert not is_mounted(nobody[1])
    assert eventually(lambda: private_directories(65_534) <= before)


# Mistakes, and how services are asked for


def told(field: Path, *services: tuple[str, str]) -> str:
    for name in ("source", "guest"):
        (field / name).mkdir(exist_ok=True)
    settings = osxfs_sim.ShareSettings(
        str(field / "source"), str(field / "guest"), host_services=services
    )
    with pytest.raises(MountError) as caught:
        launch(settings)
    message = str(caught.value)
    assert "\n" not in message
    assert not is_mounted(field / "guest")
    return message


def test_mistakes_are_told_in_one_line(field: Path, echoes: Path) -> None:
    path = str(echoes)
    for name in ("", "a/b", "..\n", "ssh auth", "ü", "x" * 65):
        assert "cannot be called so: a name has 1 to 64 letters" in told(field, (name, path))
    assert told(field, ("a", path), ("a", path)) == (
        "the host service a is given twice: give each its own name"
    )
    assert told(field, ("ssh-auth", "")) == (
        "the host service ssh-auth has no path: if it was given as ssh-auth=$VARIABLE, "
        "that variable is not set"
    )
    assert told(field, ("a", f"{path}-")) == (
        f"the host service a cannot be reached at {path}- (no such file or directory): "
        "start it first"
    )
    assert told(field, ("a", str(field))) == f"the host service a: {field} is not a socket"
    deep = field / ("deep" * 30)
    deep.mkdir()
    (deep / "socket").symlink_to(echoes)
    assert "has at most 107 bytes" in told(field, ("a", str(deep / "socket")))


def test_a_source_that_holds_what_is_kept_from_the_guest_is_refused(
    field: Path, echoes: Path
) -> None:
    settings = osxfs_sim.ShareSettings(
        str(runtime_directory(0).parent), str(field / "guest"), host_services=(("a", str(echoes)),)
    )
    (field / "guest").mkdir()
    with pytest.raises(MountError, match="share a directory below it"):
        launch(settings)


@pytest.fixture(scope="session")
def osxfs(cli: Command):
    def osxfs(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
        return cli(*arguments, cwd=cwd)

    return osxfs


def test_services_are_asked_for_on_the_command_line(osxfs, field: Path, echoes: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    refusal = osxfs("mount", "source", "guest", "--host-service", "ssh-auth", cwd=field)
    assert refusal.returncode == 2
    assert "write NAME=SOCKET, such as ssh-auth=$SSH_AUTH_SOCK" in refusal.stderr
    refusal = osxfs("mount", "source", "guest", "--host-service", "ssh-auth=", cwd=field)
    assert (refusal.returncode, refusal.stderr.count("\n")) == (1, 1)
    assert "that variable is not set" in refusal.stderr
    both = ("--host-service", "a=echo", "--host-service", f"b={echoes}")
    mounted = osxfs("mount", "source", "guest", "--profile", "none", *both, cwd=field)
    assert mounted.returncode == 0, mounted.stderr
    try:
        shown = osxfs("status", "guest", cwd=field).stdout
        assert "connections so far 0, open 0" in " ".join(shown.split())
        status = json.loads(osxfs("status", "guest", "--json", cwd=field).stdout)
        assert status["host_services"] == [
            {"name": name, "path": str(echoes), "connections": 0, "open": 0} for name in "ab"
        ]
    finally:
        unmounted = osxfs("umount", "guest", cwd=field)
    assert unmounted.returncode == 0, unmounted.stderr
