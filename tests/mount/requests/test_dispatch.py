"""Every request is answered once, and nothing that goes wrong in its answer ends the server."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
from pyfuse3 import FUSEError
from support.controlled import (
    CALLER,
    SLOW_FROM_BYTES,
    Requests,
    attributes,
    fields,
    injected_layer,
    requests,
)
from support.guests import refused
from support.live import LiveShare

from osxfs_sim.mount import launch
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.host_operations import HostOperations

AT_ONCE: dict[str, object] = {"extended_attributes": "host"}
DELEGATED: dict[str, object] = {**AT_ONCE, "profile": "osxfs-delegated", "latency_ns": 0}
_GONE = 987_654
_SLOW = b"x" * SLOW_FROM_BYTES

# One request of each kind, of what is there: a file f, a directory d, a link l; handles of both.
ASKED: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "lookup": lambda _: (1, b"f", CALLER),
    "getattr": lambda at: (at.file, CALLER),
    "setattr": lambda at: (at.file, attributes(size=3), fields(size=True), None, CALLER),
    "readlink": lambda at: (at.link, CALLER),
    "mknod": lambda _: (1, b"pipe", 0o10644, 0, CALLER),
    "mkdir": lambda _: (1, b"new", 0o755, CALLER),
    "unlink": lambda _: (1, b"l", CALLER),
    "rmdir": lambda _: (1, b"d", CALLER),
    "symlink": lambda _: (1, b"new", b"target", CALLER),
    "rename": lambda _: (1, b"f", 1, b"new", 0, CALLER),
    "link": lambda at: (at.file, 1, b"new", CALLER),
    "open": lambda at: (at.file, os.O_RDWR, CALLER),
    "read": lambda at: (at.handle, 0, 10),
    "write": lambda at: (at.handle, 0, b"abc"),
    "flush": lambda at: (at.handle,),
    "release": lambda at: (at.handle,),
    "fsync": lambda at: (at.handle, False),
    "opendir": lambda at: (at.directory, CALLER),
    "readdir": lambda at: (at.listing, 10_000, None),
    "read_names": lambda at: (at.listing, 0, 1_000),
    "releasedir": lambda at: (at.listing,),
    "fsyncdir": lambda at: (at.listing, False),
    "statfs": lambda _: (CALLER,),
    "setxattr": lambda at: (at.file, b"user.a", b"value", CALLER),
    "getxattr": lambda at: (at.file, b"user.b", CALLER),
    "listxattr": lambda at: (at.file, CALLER),
    "removexattr": lambda at: (at.file, b"user.b", CALLER),
    "access": lambda at: (at.file, os.R_OK, CALLER),
    "create": lambda _: (1, b"new", 0o644, os.O_RDWR, CALLER),
    "forget": lambda at: ([(at.link, 0)],),
}
_OF_PYFUSE3 = {name for name in vars(pyfuse3.Operations) if not name.startswith("_")}
_NOT_REQUESTS = {"init", "stacktrace", "supports_dot_lookup", "enable_writeback_cache"}


class Share:
    """What ASKED is about."""

    def __init__(self, share: Requests, source: Path) -> None:
        self.share = share
        (source / "f").write_bytes(b"content")
        (source / "d").mkdir()
        (source / "l").symlink_to("f")
        os.setxattr(source / "f", "user.b", b"there")
        self.file, self.directory, self.link = (
            share.answer("lookup", 1, name, CALLER).st_ino for name in (b"f", b"d", b"l")
        )
        self.handle = share.answer("open", self.file, os.O_RDWR, CALLER).fh
        self.listing = share.answer("opendir", self.directory, CALLER)

    def ask(self, name: str) -> Any:
        return self.share.answer(name, *ASKED[name](self))

    @property
    def errors(self) -> int:
        return self.share.reactor.internal_errors.count


@contextlib.contextmanager
def sharing(base: Path, settings: dict[str, object]) -> Iterator[Share]:
    with requests(base, **settings) as share:
        yield Share(share, base / "source")


@pytest.fixture(params=["at once", "held"])
def at(request: pytest.FixtureRequest, field: Path) -> Iterator[Share]:
    with sharing(field, AT_ONCE if request.param == "at once" else DELEGATED) as share:
        yield share


def test_every_request_that_pyfuse3_can_be_sent_is_tried_here(at: Share) -> None:
    handled = set(vars(at.share.dispatcher)) & (_OF_PYFUSE3 | {"read_names"})
    assert set(ASKED) == handled - _NOT_REQUESTS
    unhandled = _OF_PYFUSE3 - handled - _NOT_REQUESTS - {"enable_acl"}
    assert unhandled <= {"poll"}, "pyfuse3 answers these itself"


@pytest.mark.parametrize("name", ASKED)
def test_asked_properly_each_is_answered_and_nothing_goes_wrong(at: Share, name: str) -> None:
    assert not isinstance(at.ask(name), int) or name in ("write", "opendir", "access")
    assert at.errors == 0


def _raising(error: BaseException) -> Callable[..., Any]:
    def at_once(*_: Any) -> Any:
        raise error

    return at_once


def _raising_later(error: BaseException) -> Callable[..., Any]:
    async def later(*_: Any) -> Any:
        await in_thread(lambda: None)
        raise error

    return later


def _answers(at: Share, name: str, answer: Callable[..., Any]) -> None:
    """From now on requests of this kind are answered so, as by a layer over the handlers."""
    layer = SimpleNamespace(
        **{each: getattr(at.share.components.handlers, each) for each in ASKED} | {name: answer}
    )
    at.share.dispatcher.set_handlers(layer)


async def _answering_rubbish(*_: Any) -> Any:
    return object()


_FAULTS = {
    "KeyError": (_raising(KeyError(7)), errno.EIO),
    "AssertionError, later": (_raising_later(AssertionError()), errno.EIO),
    "RecursionError": (_raising(RecursionError()), errno.EIO),
    "an error without a number": (_raising(OSError("what?")), errno.EIO),
    "a number that is none": (_raising(FUSEError(0)), errno.EIO),
    "a number that is too large": (_raising_later(FUSEError(70_000)), errno.EIO),
    "rubbish": (_answering_rubbish, errno.EIO),
}
_WITHOUT_ANSWER = {
    *("forget", "release", "releasedir", "flush", "fsync", "fsyncdir", "unlink", "rmdir"),
    *("rename", "readdir", "setxattr", "removexattr"),
}


@pytest.mark.takes_seconds
@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("name", ASKED)
def test_a_bug_in_an_answer_is_the_asker_s_eio_and_nobody_else_s(
    field: Path, name: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, code = _FAULTS[fault]
    with sharing(field, AT_ONCE) as at:
        _answers(at, name, wrong)
        if name == "forget":
            assert at.ask(name) is None
        elif fault == "rubbish" and name in _WITHOUT_ANSWER:
            return  # there is no answer that could be wrong
        else:
            assert at.ask(name) == code
        if not (fault == "rubbish" and name == "forget"):
            assert at.errors == 1
            assert "bug:" in caplog.text
        at.share.dispatcher.set_handlers(at.share.components.handlers)
        assert not at.share.dispatcher.order.turns
        assert at.ask("getattr").st_size == 7
        if name not in ("release", "releasedir"):
            at.ask(name)
        assert at.errors <= 1


def test_the_host_s_own_errors_pass_as_they_are_and_are_no_bugs(field: Path) -> None:
    with sharing(field, AT_ONCE) as at:
        for error in (OSError(errno.ENOSPC, "full"), FUSEError(errno.ENOSPC)):
            _answers(at, "getattr", _raising(error))
            assert at.ask("getattr") == errno.ENOSPC
        assert at.errors == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_process_or_a_worker_passes(field: Path, error: type[BaseException]) -> None:
    with sharing(field, AT_ONCE) as at:
        _answers(at, "getattr", _raising(error()))
        with pytest.raises(error):
            at.ask("getattr")
        assert at.errors == 0


def test_a_worker_that_is_closed_while_it_has_its_turn_gives_it_back(field: Path) -> None:
    with sharing(field, AT_ONCE) as at:
        share = at.share
        share.ask("write", at.handle, 0, _SLOW)
        read = share.ask("read", at.handle, 0, 100)
        waiting, looking = (
            share.ask("write", at.handle, 0, b"b"),
            share.ask("getattr", at.file, CALLER),
        )
        ((writer, _),) = share.reactor.jobs
        share.reactor.jobs.clear()
        share.reactor._jobs -= 1
        writer.close()
        share.settle()
        assert share.answers[read] == b"content"
        assert share.answers[waiting] == 1
        assert share.answers[looking].st_size == 7
        assert not share.dispatcher.order.turns


def test_a_share_may_end_while_some_wait_for_their_turn(field: Path) -> None:
    with sharing(field, AT_ONCE) as at:
        share = at.share
        share.ask("write", at.handle, 0, _SLOW)
        asked = [share.ask("read", at.handle, 0, 10), share.ask("write", at.handle, 0, b"a")]
        assert not any(number in share.answers for number in asked)
    assert not any(number in share.answers for number in asked)
    assert at.errors == 0


def test_of_one_kind_of_bug_the_log_tells_once(
    field: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sharing(field, AT_ONCE) as at:
        _answers(at, "getattr", _raising_later(KeyError(7)))
        for _ in range(20):
            assert at.ask("getattr") == errno.EIO
        assert at.errors == 20
        assert caplog.text.count("bug:") == 1
        report = at.share.reactor.internal_errors.report()
        assert (report.count, report.latest) == (20, "GETATTR: KeyError: 7")


@pytest.mark.parametrize(
    "name", [*(name for name in ASKED if name not in ("forget", "statfs")), "setattr by handle"]
)
def test_what_nobody_knows_is_stale_and_what_nobody_has_open_is_no_handle(
    at: Share, name: str
) -> None:
    if name == "setattr by handle":
        answer = at.share.answer(
            "setattr", at.file, attributes(size=3), fields(size=True), _GONE, CALLER
        )
    else:
        answer = at.share.answer(name, _GONE, *ASKED[name](at)[1:])
    takes_handle = ASKED[name.split()[0]](at)[0] in (at.handle, at.listing) or "handle" in name
    assert answer == (errno.EBADF if takes_handle else errno.ESTALE)
    assert at.errors == 0
    assert at.ask("getattr").st_size == 7


def test_a_directory_to_rename_to_that_nobody_knows_is_stale(at: Share) -> None:
    assert at.share.answer("rename", 1, b"f", _GONE, b"g", 0, CALLER) == errno.ESTALE
    assert at.share.answer("link", at.file, _GONE, b"g", CALLER) == errno.ESTALE
    assert at.errors == 0


def test_a_handle_is_given_back_once(at: Share) -> None:
    for name in ("release", "releasedir"):
        assert at.ask(name) is None
        open_now = len(os.listdir("/proc/self/fd"))
        assert at.ask(name) == errno.EBADF
        assert len(os.listdir("/proc/self/fd")) == open_now
    for name in ("read", "write", "flush", "fsync", "readdir", "read_names", "fsyncdir"):
        assert at.ask(name) == errno.EBADF
    assert at.errors == 0


@pytest.mark.takes_seconds
@pytest.mark.parametrize("wrong", [b"", b"d/inside", b"../f", b"/etc/passwd", b"f/", b"/", b"f\0"])
@pytest.mark.parametrize(
    "name", ["lookup", "mknod", "mkdir", "symlink", "unlink", "rmdir", "create", "rename", "link"]
)
def test_what_is_no_name_is_refused_before_the_host_sees_it(
    at: Share, name: str, wrong: bytes
) -> None:
    arguments = list(ASKED[name](at))
    for place in (1, 3) if name == "rename" else (2 if name == "link" else 1,):
        asked = [*arguments[:place], wrong, *arguments[place + 1 :]]
        answer = at.share.answer(name, *asked)
        if name == "lookup" and b"/" not in wrong:
            assert answer in (errno.ENOENT, errno.EIO)
        else:
            assert answer == errno.EINVAL
            assert at.errors == 0


@pytest.mark.parametrize("offset", [-1, -(1 << 63)])
def test_what_lies_before_a_file_is_refused(at: Share, offset: int) -> None:
    share = at.share
    assert share.answer("write", at.handle, offset, b"abc") == errno.EINVAL
    assert share.answer("write", at.handle, offset, _SLOW) == errno.EINVAL
    assert share.answer("read", at.handle, offset, 10) == errno.EINVAL
    size = attributes(size=offset)
    answer = share.answer("setattr", at.file, size, fields(size=True), None, CALLER)
    assert answer == errno.EINVAL
    assert at.ask("getattr").st_size == 7
    assert at.errors == 0


@pytest.mark.parametrize("offset", [(1 << 63) - 1, (1 << 63) - 5])
def test_what_lies_at_the_end_of_all_files_is_the_host_s_to_judge(at: Share, offset: int) -> None:
    share = at.share
    for data in (b"abc", _SLOW):
        assert share.answer("write", at.handle, offset, data) in (
            *(errno.EINVAL, errno.EFBIG, errno.EOVERFLOW),
            *(3, len(data), (1 << 63) - 1 - offset),
        )
    assert share.answer("read", at.handle, offset, 10) is not None
    size = attributes(size=offset)
    assert share.answer("setattr", at.file, size, fields(size=True), None, CALLER) is not None
    assert at.ask("getattr").st_size >= 7
    assert at.errors == 0


def test_what_the_kernel_forgets_too_often_is_a_bug_and_not_the_end(at: Share) -> None:
    share = at.share
    share.answer("forget", [(_GONE, 1), (at.directory, 1_000), (at.link, 1)])
    assert at.errors == 2
    table = share.components.inodes
    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
        table[at.link]
    at.directory = share.answer("lookup", 1, b"d", CALLER).st_ino
    assert table[at.directory].nlookup == 1
    assert at.ask("getattr").st_size == 7
    assert at.errors == 2


def test_a_file_that_could_not_be_opened_after_all_is_no_handle(
    at: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor is closed, and the next file may get the number."""
    share, handles = at.share, at.share.components.handles
    stranger: Any = SimpleNamespace(uid=65534, gid=65534, pid=1, umask=0)

    def fails(*_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(HostOperations, "_is_non_member", fails)
    before = dict(handles.files)
    assert share.answer("open", at.file, os.O_RDWR, stranger) == errno.EIO
    assert share.answer("create", 1, b"new", 0o644, os.O_RDWR, stranger) == errno.EIO
    assert handles.files == before
    assert share.components.inodes[at.file].open_fds == [at.handle]
    assert at.errors == 0


def test_who_waits_its_turn_has_waited_all_the_same(field: Path) -> None:
    """It is part of what the receipt says that the request took."""
    with sharing(field, AT_ONCE) as at:
        share = at.share
        share.ask("write", at.handle, 0, _SLOW)
        share.reactor.arrival_ns = 5
        seen = []
        own = share.components.handlers.getattr

        def getattr_(request: Request, *arguments: Any) -> Any:
            seen.append(request.arrival_ns)
            return own(request, *arguments)

        _answers(at, "getattr", getattr_)
        share.ask("getattr", at.file, CALLER)
        arrival_ns = share.reactor.arrival_ns
        share.reactor.arrival_ns = 77_000
        share.settle()
        assert seen == [arrival_ns]


def test_another_file_s_requests_wait_for_nobody(field: Path) -> None:
    with sharing(field, AT_ONCE) as at:
        share = at.share
        (field / "source" / "other").write_bytes(b"other")
        other = share.answer("lookup", 1, b"other", CALLER).st_ino
        handle = share.answer("open", other, os.O_RDWR, CALLER).fh
        share.ask("write", at.handle, 0, _SLOW)
        asked = [
            share.ask("read", handle, 0, 10),
            share.ask("write", handle, 0, b"a"),
            share.ask("lookup", 1, b"other", CALLER),
            share.ask("lookup", 1, b"missing", CALLER),
            share.ask("getattr", 1, CALLER),
        ]
        assert all(number in share.answers for number in asked)
        assert len(share.reactor.jobs) == 1


def test_the_server_s_own_requests_for_events_wait_for_nobody(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look at nothing and change nothing; and a share that ends waits for them."""
    with sharing(field, AT_ONCE) as at:
        share = at.share
        own: Any = SimpleNamespace(uid=0, gid=0, pid=77, umask=0)
        injector: Any = SimpleNamespace(thread_id=77, current=None)
        share.dispatcher.set_handlers(injected_layer(share.components, injector))
        monkeypatch.setattr(share.dispatcher, "_is_suppressed", lambda ctx: ctx is own)
        share.ask("write", at.handle, 0, _SLOW)
        touch = attributes(mtime_ns=1), fields(mtime=True), None
        theirs = share.ask("setattr", at.file, *touch, own)
        ours = share.ask("setattr", at.file, *touch, CALLER)
        assert theirs in share.answers
        assert ours not in share.answers


def test_while_nothing_takes_long_nothing_is_noted(field: Path, monkeypatch) -> None:
    """The usual request pays a look at an empty dict, and no more."""
    with sharing(field, AT_ONCE) as at:
        monkeypatch.setattr(at.share.dispatcher.order, "enter", _raising(AssertionError()))
        for name in set(ASKED) - {"fsync", "fsyncdir", "release", "releasedir", "unlink", "rmdir"}:
            at.ask(name)
        assert at.errors == 0


def test_a_bug_of_write_back_s_own_is_eio_for_who_waits_and_it_goes_on(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**DELEGATED, "write_back_age_ns": 3_600_000_000_000}
    with sharing(field, settings) as at:
        write_back = at.share.components.write_back
        assert write_back is not None
        at.ask("write")
        for name in ("_next", "_apply", "_pay_all_but"):
            monkeypatch.setattr(write_back, name, _raising(KeyError(7)))
            before = at.errors
            assert at.ask("fsync") == errno.EIO
            assert at.errors > before
            monkeypatch.undo()
        assert at.ask("fsync") is None
        assert (field / "source" / "f").read_bytes() == b"abctent"
        at.share.settle()
        assert write_back.refusal is None


def test_a_share_outlives_its_bugs_and_tells_of_them(
    share: Callable[..., LiveShare], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same by way of the kernel, with an idle task that fails at first."""
    monkeypatch.setattr(launch, "_SERVER", "support.faulty_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    live = share(profile="osxfs-cached", latency_ns=0)
    live.expected_trouble = True
    (live.guest / "link").symlink_to("file")
    for _ in range(5):
        with refused(errno.EIO):
            os.statvfs(live.guest)
        with refused(errno.EIO):
            os.readlink(live.guest / "link")
    (live.guest / "file").write_text("written")
    assert (live.source / "file").read_text() == "written"
    live.settle()  # the idle task has come round, too
    status = live.status()
    assert status.internal_errors.count == 13
    assert any(warning.startswith("13 internal errors") for warning in status.warnings)
    assert live.log().count("bug:") == 3
