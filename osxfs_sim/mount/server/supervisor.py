"""Takes a share's mount away when its server is gone: a small process beside each server.

A server that is killed does not always end. One of its threads may wait in the kernel for a
lock that a request holds which only that server could answer: an event on its way into the
share, an invalidation that is sent to the kernel. Then the process stays a zombie, its
/dev/fuse stays open, and whoever uses the share waits for ever, sync(2) included. Somebody
else must end the connection. That is this process, which never enters the share.

It is told by the kernel that the server's first thread has ended (PR_SET_PDEATHSIG of
prctl(2)), also when others of its threads cannot, and by the end of their socket. Then it

    aborts      the connection, by its file of fusectl, opened beforehand, so that it is this
                one and never a later one with its number; or by MNT_FORCE; or, where it may do
                neither (an ordinary user without fusectl), by answering in the server's place
    detaches    the mount a second later, if it is still the share's

It watches the table of mounts, too, and tells the server when the share is not in it any more:
with that the kernel ends the session, but for copies of the mount in other mount namespaces.

As a last resort it ends the connection of a server that lives, too: where the thread that answers
waits for the share itself (waits.py), which nobody else could end. The server says, every few
seconds while it is at work, that it is: then it is looked at, and not otherwise.

It answers sync(2) too (machine_sync.py), for which a server that is stopped must not be
waited for: the server is asked what is not on the host yet, but has to be heard of.

Run as a script: the mount point, the process of the server, and a descriptor of a socket, whose
first message has the rest; and, where the share is mounted already, which mount it is. It imports
nothing of the package, so that it starts fast, and sleeps until something happens.
"""

import array
import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_MNT_FORCE, _MNT_DETACH = 1, 2
_DEATH = signal.SIGUSR1
_MESSAGE_BYTES = 4096
_MOST_FDS = 4

# What the kernel tells of a death a moment before the process counts as dead.
_DYING_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.005
# How long whoever comes by the share's path is told that nobody serves it, before the path
# leads to the directory below: work that goes on by paths shall fail, and not go astray.
_TOLD_FOR_S = 1.0
# How long the server's place is kept, where nobody may abort the connection.
_DRAINING_WITHIN_S = 60.0

# Of sync(2): how often the server is looked after, how long it may take to hear of it (it may
# be busy, or the machine), and how long to do it.
_LOOK_AFTER_SYNC_S = 0.05
_HEARD_WITHIN_S = 2.0
_DONE_WITHIN_S = 30.0

# After the server has said that it is at work; later than it says so again.
_LOOK_AT_WORK_AFTER_S = 6.0
_LOOK_AT_WAIT_AFTER_S = 2.0
# How long its loop must have been in one and the same wait, before that is looked into.
_STUCK_AFTER_S = 10.0
_LOOKED_INTO_WITHIN_S = 10.0
_WAITS = os.path.join(os.path.dirname(__file__), "waits.py")

# linux/fuse.h
_IN, _OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
_GETATTR, _INIT, _DESTROY, _SYNCFS = 3, 26, 38, 50
_WITHOUT_REPLY = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET
_INIT_OUT = struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 12, 9, 65536, 1, 0, 0, 0, *[0] * 7)
_ROOT = struct.pack("=QII 6Q10I", 3600, 0, 0, 1, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0)
_LARGEST_REQUEST_BYTES = (1 << 20) + 4096
_NOTIFY_RESEND = 7

# statx(2)
_AT_EMPTY_PATH, _AT_STATX_DONT_SYNC = 0x1000, 0x4000
_STATX_MNT_ID_UNIQUE, _OFFSET_OF_MNT_ID = 0x4000, 144

_libc = ctypes.CDLL(None, use_errno=True)


def _say(words: str) -> None:
    """In the server's log."""
    with contextlib.suppress(OSError):
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(2, f"{now} WARNING supervisor: {words}\n".encode(errors="surrogateescape"))


class _Server:
    """The process that is looked after."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._started = self._stat()[1]

    def _stat(self) -> tuple[bytes, bytes]:
        """Its state, and when it was started; empty where there is none."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return b"", b""
        return fields[0], fields[19]

    @property
    def is_gone(self) -> bool:
        """Whether it does nothing any more, though threads of it may be left."""
        state, started = self._stat()
        return started != self._started or state in (b"", b"Z", b"X")

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left of it that holds anything."""
        if self._stat()[1] != self._started:
            return True
        try:
            threads = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return True
        return self.is_gone and len(threads) <= 1

    @property
    def is_stopped(self) -> bool:
        return self._stat()[0] in (b"T", b"t")

    def wait_for_fuse(self) -> bytes:
        """Which wait for a FUSE file system its loop is in: another one has another value.

        Empty where it is in none, or somebody has stopped it, or debugs it.
        """
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/wchan", "rb") as file:
                if not file.read().startswith((b"request_wait_answer", b"fuse_")):
                    return b""
            with open(f"/proc/{self.pid}/task/{self.pid}/status", "rb") as file:
                status = dict(line.partition(b":\t")[::2] for line in file)
        except OSError:
            return b""
        if status[b"State"][:1] in b"Tt" or int(status[b"TracerPid"]):
            return b""
        return status[b"voluntary_ctxt_switches"].strip()

    def way_to(self, device: str) -> str:
        """How what its loop waits for leads back to its own *device*; empty where it does not."""
        command = [sys.executable, "-I", "-S", _WAITS, str(self.pid), device]
        try:
            said = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_LOOKED_INTO_WITHIN_S,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return os.fsdecode(said.stdout) if said.returncode == 0 else ""


def _is_dead(fd: int) -> bool:
    """Whether *fd* is in a mount without a connection."""
    try:
        os.stat(fd)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _unique_id(fd: int) -> int:
    """The number of the mount *fd* is in, which is never given anew (Linux 6.8); 0 where unknown.

    Nobody is asked but the kernel.
    """
    answer = ctypes.create_string_buffer(256)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    try:
        failed = _libc.statx(fd, b"", flags, _STATX_MNT_ID_UNIQUE, answer)
    except AttributeError:
        return 0
    if failed or not struct.unpack_from("=I", answer)[0] & _STATX_MNT_ID_UNIQUE:
        return 0
    return int(struct.unpack_from("=Q", answer, _OFFSET_OF_MNT_ID)[0])


class _Share:
    """What is to be taken away."""

    def __init__(self, mountpoint: str, mount_id: int, device: str) -> None:
        self.mountpoint = mountpoint
        self.mount_id = mount_id
        self.device = device
        self._unique_id = 0
        # The other two are given anew: a later share may well have both.
        with contextlib.suppress(OSError), self._root() as fd:
            if self._has_numbers(fd):
                self._unique_id = _unique_id(fd)

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        """What is mounted there now; its root is reached without asking it anything."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(self.mountpoint, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def _is(self, fd: int) -> bool:
        """Whether *fd* is the root of this very mount."""
        if self._unique_id:
            return self._unique_id == _unique_id(fd)
        return self._has_numbers(fd) and _is_dead(fd)

    def _has_numbers(self, fd: int) -> bool:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            ours = f"mnt_id:\t{self.mount_id}\n" in file.read()
        return ours and self.is_mounted

    @property
    def is_anywhere(self) -> bool:
        """Whether there is any mount of it among those that we see."""
        with open("/proc/self/mountinfo", "rb") as file:
            return any(line.split(b" ", 3)[2] == self.device.encode() for line in file)

    @property
    def is_mounted(self) -> bool:
        """Whether the very mount is there."""
        start = f"{self.mount_id} ".encode()
        with open("/proc/self/mountinfo", "rb") as file:
            return any(
                line.startswith(start) and line.split(b" ", 3)[2] == self.device.encode()
                for line in file
            )

    def _unmount(self, flags: int) -> None:
        with self._root() as fd:
            # By its descriptor: nothing that was mounted there since can be meant.
            if self._is(fd) and _libc.umount2(b"/proc/self/fd/%d" % fd, flags):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))

    def abort(self, abort_fd: int) -> bool:
        """End the connection. Returns whether that was possible."""
        if abort_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(abort_fd, b"1")
                return True
        try:
            if os.geteuid() == 0:
                self._unmount(_MNT_FORCE)
        except OSError as error:
            # It is aborted first, and then found busy.
            return error.errno == errno.EBUSY
        return os.geteuid() == 0

    def detach(self) -> None:
        """Take the name away; whoever is inside is told ENOTCONN."""
        try:
            if os.geteuid() == 0:
                self._unmount(_MNT_DETACH)
                return
            with self._root() as fd:
                ours = self._is(fd)
            if ours:
                command = ["fusermount3", "-u", "-z", "--", self.mountpoint]
                subprocess.run(command, capture_output=True, check=False)
        except OSError as error:
            if error.errno != errno.ENOENT:
                _say(f"{self.mountpoint} cannot be unmounted: {error}")


def _dead_share(mountpoint: str) -> _Share | None:
    """The share at *mountpoint* whose server has ended before it could say which it is."""
    try:
        fd = os.open(mountpoint, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            number = file.read().partition(b"mnt_id:")[2].split()[0]
        with open("/proc/self/mountinfo", "rb") as file:
            lines = [line for line in file if line.startswith(number + b" ")]
        if not lines or b" - fuse.osxfs-sim " not in lines[0]:
            return None
        if _is_dead(fd):
            return _Share(mountpoint, int(number), lines[0].split(b" ", 3)[2].decode())
    finally:
        os.close(fd)
    return None


def _answer_in_its_place(fuse_fd: int, server: _Server) -> None:
    """Tell whoever asks the share that there is none, until nothing is left of the server.

    With FUSE_NOTIFY_RESEND (Linux 6.9) that goes for what the server was asked before, too.
    """
    os.set_blocking(fuse_fd, False)
    deadline_s = time.monotonic() + _DRAINING_WITHIN_S
    while not server.has_ended and time.monotonic() < deadline_s:
        try:
            os.write(fuse_fd, _OUT.pack(_OUT.size, _NOTIFY_RESEND, 0))
            while True:
                request = os.read(fuse_fd, _LARGEST_REQUEST_BYTES)
                _, operation, unique, *_ = _IN.unpack_from(request)
                if operation not in _WITHOUT_REPLY:
                    with contextlib.suppress(OSError):  # withdrawn
                        os.write(fuse_fd, _OUT.pack(_OUT.size, -errno.ENOTCONN, unique))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
        time.sleep(_LOOK_AGAIN_S)


class _Barrier:
    """The file system that hears of sync(2): machine_sync.py has made it."""

    def __init__(self, fuse_fd: int, server: _Server, socket_: socket.socket) -> None:
        self.fuse_fd = fuse_fd
        self.heeds = True
        """Whether the server is asked."""
        self._server = server
        self._socket = socket_
        self._waiting: dict[int, tuple[float, bool]] = {}
        self._stopped = 0

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def serve(self) -> bool:
        """Take a request. Returns False where there will be no more."""
        try:
            request = os.read(self.fuse_fd, _LARGEST_REQUEST_BYTES)
        except BlockingIOError:
            return True  # withdrawn
        except OSError as error:
            _say(f"sync(2) does not wait for the host any more: {error}")
            return False
        _, operation, unique, *_ = _IN.unpack_from(request)
        if operation in _WITHOUT_REPLY:
            return True
        if operation == _INIT:
            self._reply(unique, _INIT_OUT)
        elif operation == _GETATTR:
            self._reply(unique, _ROOT)
        elif operation == _SYNCFS and self.heeds:
            self._ask(unique)
        elif operation in (_DESTROY, _SYNCFS):
            self._reply(unique)
        else:
            self._reply(unique, code=-errno.ENOSYS)
        return True

    def _ask(self, unique: int) -> None:
        try:
            self._socket.send(b"sync %d" % unique, socket.MSG_DONTWAIT)
        except OSError:  # it does not listen
            self._reply(unique)
            return
        self._waiting[unique] = time.monotonic(), False

    def _reply(self, unique: int, body: bytes = b"", code: int = 0) -> None:
        with contextlib.suppress(OSError):  # withdrawn
            os.write(self.fuse_fd, _OUT.pack(_OUT.size + len(body), code, unique) + body)

    def heard(self, unique: int) -> None:
        if unique in self._waiting:
            self._waiting[unique] = self._waiting[unique][0], True

    def done(self, unique: int) -> None:
        if self._waiting.pop(unique, None) is not None:
            self._reply(unique)

    def look_after(self) -> None:
        """Answer for a server that is stopped, or not heard of."""
        self._stopped = self._stopped + 1 if self._server.is_stopped else 0
        now_s = time.monotonic()
        for unique, (asked_s, heard) in list(self._waiting.items()):
            within_s = _DONE_WITHIN_S if heard else _HEARD_WITHIN_S
            if self._stopped > 1 or now_s - asked_s > within_s:
                _say("a sync(2) was answered though not everything is on the host yet")
                self.done(unique)

    def ignore_server(self) -> None:
        self.heeds = False
        for unique in list(self._waiting):
            self.done(unique)


def _receive(link: socket.socket) -> tuple[list[bytes], list[int]]:
    """The next message's fields, and its descriptors; no fields at the end."""
    fds = array.array("i")
    try:
        said, ancillary, _, _ = link.recvmsg(
            _MESSAGE_BYTES, socket.CMSG_LEN(_MOST_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except OSError:
        return [], []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return (said.split(b" ") if said else []), list(fds)


class _Supervisor:
    def __init__(
        self, mountpoint: str, pid: int, link: socket.socket, share: "_Share | None"
    ) -> None:
        self._mountpoint = mountpoint
        self._server = _Server(pid)
        self._link = link
        self._share = share
        self._abort_fd = self._fuse_fd = -1
        self._barrier: _Barrier | None = None
        self._look_s: float | None = None
        """When the server's loop is looked at; None: when it has said that it is at work."""
        self._wait, self._waits_since_s = b"", 0.0
        self._table_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def run(self) -> None:
        """Until the server has ended, in whatever way."""
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        signal.signal(_DEATH, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(_DEATH), 0, 0, 0)
        poller = select.poll()
        for fd in (self._link.fileno(), woken.fileno()):
            poller.register(fd, select.POLLIN)
        poller.register(self._table_fd, select.POLLPRI)
        gone = os.getppid() != self._server.pid or self._server.is_gone
        last = select.poll()
        last.register(self._link, select.POLLIN)
        if gone and last.poll(0):
            words, fds = _receive(self._link)  # its last: what is to be taken away, and by what
            self._hear(words, fds, poller)
        while not gone:
            for fd, _ in poller.poll(self._patience_ms()):
                if fd == self._link.fileno():
                    words, fds = _receive(self._link)
                    if words == [b"end"]:
                        return
                    if words == [b"left"]:
                        self._take_away("its connection was aborted")
                        return
                    if words:
                        self._hear(words, fds, poller)
                    else:
                        gone = True  # it has let go of its end, as only a process does that ends
                elif fd == woken.fileno():
                    woken.recv(64)
                    gone = self._dies()
                elif fd == self._table_fd:
                    self._look_at_mounts()
                elif self._barrier is not None and not self._barrier.serve():
                    poller.unregister(fd)
            if self._barrier is not None and self._barrier.is_waiting:
                self._barrier.look_after()
            if self._look_s is not None and time.monotonic() >= self._look_s:
                self._look_at_loop()
        self._take_away(f"the server (process {self._server.pid}) is gone")

    def _patience_ms(self) -> float | None:
        if self._barrier is not None and self._barrier.is_waiting:
            return _LOOK_AFTER_SYNC_S * 1000
        if self._look_s is not None:
            return max(self._look_s - time.monotonic(), 0) * 1000 + 1
        return None

    def _look_at_loop(self) -> None:
        wait, now_s = self._server.wait_for_fuse(), time.monotonic()
        if not wait or self._share is None:
            self._look_s, self._wait = None, b""
            return
        self._look_s = now_s + _LOOK_AT_WAIT_AFTER_S
        if wait != self._wait:
            self._wait, self._waits_since_s = wait, now_s
        elif now_s - self._waits_since_s > _STUCK_AFTER_S:
            way = self._server.way_to(self._share.device)
            # It may have been let go meanwhile.
            if way and self._server.wait_for_fuse() == wait:
                self._cut(self._share, way)
            else:
                self._look_s = now_s + _STUCK_AFTER_S

    def _cut(self, share: _Share, way: str) -> None:
        """End the connection: the loop goes on with an error, and then ends."""
        _say(f"the server waits for its own share, by way of {way}: its connection is ended")
        with contextlib.suppress(OSError):
            self._link.send(b"cut -", socket.MSG_DONTWAIT)
        if not share.abort(self._abort_fd):
            os.kill(self._server.pid, signal.SIGKILL)  # its place is taken then

    def _hear(self, words: list[bytes], fds: list[int], poller: "select.poll") -> None:
        match words:
            case [b"share", mount_id, device, *kinds]:
                self._share = _Share(self._mountpoint, int(mount_id), device.decode())
                for kind, fd in zip(kinds, fds, strict=True):
                    if kind == b"abort":
                        self._abort_fd = fd
                    elif kind == b"fuse":
                        self._fuse_fd = fd
                    elif kind == b"barrier":
                        self._barrier = _Barrier(fd, self._server, self._link)
                        poller.register(fd, select.POLLIN)
                    # The barrier's mount is only to be kept open.
                self._look_at_mounts()
            case [b"work"]:
                if self._look_s is None:
                    self._look_s = time.monotonic() + _LOOK_AT_WORK_AFTER_S
            case [b"heard", unique] if self._barrier is not None:
                self._barrier.heard(int(unique))
            case [b"done", unique] if self._barrier is not None:
                self._barrier.done(int(unique))
            case [b"ending"] if self._barrier is not None:
                self._barrier.ignore_server()

    def _look_at_mounts(self) -> None:
        if self._share is not None and not self._share.is_anywhere:
            with contextlib.suppress(OSError):  # it does not listen, being stopped or at its end
                self._link.send(b"unmounted -", socket.MSG_DONTWAIT)

    def _dies(self) -> bool:
        """Whether the server is about to be gone; somebody else may have sent that signal."""
        deadline_s = time.monotonic() + _DYING_WITHIN_S
        while time.monotonic() < deadline_s:
            if self._server.is_gone:
                return True
            time.sleep(_LOOK_AGAIN_S)
        return False

    def _wait_while_told(self, share: _Share) -> None:
        """For _TOLD_FOR_S, unless somebody else has taken the mount away before."""
        changes = select.poll()
        changes.register(self._table_fd, select.POLLPRI)
        deadline_s = time.monotonic() + _TOLD_FOR_S
        while share.is_mounted and (left_s := deadline_s - time.monotonic()) > 0:
            changes.poll(left_s * 1000)

    def _take_away(self, why: str) -> None:
        if self._share is None:
            self._share = _dead_share(self._mountpoint)
            if self._share is None:
                return  # it was not mounted yet
        _say(f"{why}: its mount is taken away")
        if self._barrier is not None:
            self._barrier.ignore_server()
        aborted = self._share.abort(self._abort_fd)
        if aborted:
            self._wait_while_told(self._share)
        self._share.detach()
        if not aborted and self._fuse_fd >= 0:
            _answer_in_its_place(self._fuse_fd, self._server)


def main() -> None:
    """Run the supervising process: wait for the server's end, then take its mount away."""
    mountpoint, pid, user_id, fd, *mounted = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # it ends when the server does
    os.chdir("/")
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    if os.geteuid() == 0 and int(user_id):
        # The kernel sends the signal of a death in the name of who dies.
        os.setresuid(int(user_id), 0, 0)
    with socket.socket(fileno=int(fd)) as link:
        share = _Share(mountpoint, int(mounted[0]), mounted[1]) if mounted else None
        _Supervisor(mountpoint, int(pid), link, share).run()


if __name__ == "__main__":
    main()
