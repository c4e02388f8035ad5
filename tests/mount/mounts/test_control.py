"""The control socket: questions, with and without arguments, and what it says of bad ones.

No share is mounted: a server of nothing but answers stands in for one.
"""

import json
import socket
import threading
from types import SimpleNamespace

import pytest
import trio
from support.complaints import complaint
from support.statuses import a_status

from osxfs_sim.cli import main
from osxfs_sim.mount.launch import Share
from osxfs_sim.mount.mounts import control
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.server import control_socket


class Answers:
    """A share that has lost what it was asked to lose."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    def drop_events(self, *, count: int = 0, rate: float = 0.0) -> dict[str, object]:
        self.asked.append((count, rate))
        if count == 13:
            raise MountError("it has no host events: mount it with a profile that has a stream")
        if count == 99:
            raise RuntimeError("out of order")
        if count == 98:
            return {"dropping": object()}
        return {"dropping": {"count": count, "rate": rate}}


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """What answers at the mount point /guest, for as long as the test lasts."""
    path, answers, ready, ends = tmp_path / "c.sock", Answers(), threading.Event(), []
    ours = SimpleNamespace(is_ours=True, user_id=0)
    monkeypatch.setattr(control, "mount_at", lambda target: {"/guest": ours}.get(target))
    monkeypatch.setattr(control, "control_path", lambda *_: path)

    async def serve() -> None:
        questions = {"status": lambda: {"pid": 1}, "drop-events": answers.drop_events}
        async with trio.open_nursery() as nursery:
            await nursery.start(control_socket.serve, path, questions)
            token = trio.lowlevel.current_trio_token()
            ends.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert ready.wait(180)
        answers.path = path
        yield answers
    finally:
        for end in ends:
            end()
        thread.join(180)
    assert not thread.is_alive()


def said(answers: Answers, *pieces: bytes) -> dict[str, object]:
    """What comes back when *pieces* are sent as they are."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(180)
        client.connect(str(answers.path))
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    return json.loads(received)


# Questions


@pytest.mark.usefixtures("answers")
def test_a_question_of_one_word_is_answered():
    assert control.ask("/guest", "status") == {"pid": 1}


def test_a_question_carries_arguments(answers):
    assert control.ask("/guest", "drop-events", count=3) == {"dropping": {"count": 3, "rate": 0.0}}
    assert control.ask("/guest", "drop-events") == {"dropping": {"count": 0, "rate": 0.0}}
    assert answers.asked == [(3, 0.0), (0, 0.0)]


def test_a_question_may_come_in_pieces(answers):
    question = (b"drop-", b"events {", b'"count"', b": 4}\n")
    assert said(answers, *question) == {"dropping": {"count": 4, "rate": 0.0}}


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (b"", "unknown question ''"),
        (b"drop", "unknown question 'drop'"),
        (b"x" * 100, f"unknown question '{'x' * 40}'"),
        (b"status {", "status cannot be asked with '{'"),
        (b"status 5", "status cannot be asked with '5'"),
        (b'status {"count": 1}', "status cannot be asked with '{\"count\": 1}'"),
        (b'drop-events {"number": 1}', "drop-events cannot be asked with '{\"number\": 1}'"),
        (b"drop-events \xff", "drop-events cannot be asked with '\ufffd'"),
        (b"drop-events " + b"[" * 4_000, f"drop-events cannot be asked with '{'[' * 40}'"),
        (b"drop-events " + b" " * 5_000, "a question has at most 4096 bytes"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(answers, question, error):
    assert said(answers, question + b"\n") == {"error": error}
    assert answers.asked == []
    assert control.ask("/guest", "status") == {"pid": 1}


@pytest.mark.usefixtures("answers")
def test_an_answer_that_cannot_be_given_is_one_line(caplog):
    message = complaint(MountError, control.ask, "/guest", "drop-events", count=13)
    assert message == (
        "the share at /guest answered: "
        "it has no host events: mount it with a profile that has a stream"
    )
    assert not caplog.records


@pytest.mark.usefixtures("answers")
def test_an_answer_that_cannot_be_sent_is_an_error_and_the_next_is_answered(caplog):
    message = complaint(MountError, control.ask, "/guest", "drop-events", count=98)
    assert "TypeError" in message
    assert control.ask("/guest", "status") == {"pid": 1}
    assert caplog.text.count("bug:") == 1


@pytest.mark.usefixtures("answers")
def test_an_answer_that_fails_is_a_bug_and_logged_as_one(caplog):
    message = complaint(MountError, control.ask, "/guest", "drop-events", count=99)
    assert message == "the share at /guest answered: RuntimeError: out of order"
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# drop-events, from Python and from the command line


def test_a_share_is_asked_to_lose_events(answers):
    share = Share(a_status(mountpoint="/guest"), None)
    assert share.drop_events(count=2)["dropping"] == {"count": 2, "rate": 0.0}
    share.drop_events(rate=0.5)
    share.drop_events()
    assert answers.asked == [(2, 0.0), (0, 0.5), (0, 0.0)]


@pytest.mark.parametrize(
    "values", [{"count": -1}, {"rate": 1.5}, {"rate": float("nan")}, {"count": 1, "rate": 0.5}]
)
def test_what_cannot_be_lost_is_not_asked_for(answers, values):
    share = Share(a_status(mountpoint="/guest"), None)
    assert complaint(MountError, share.drop_events, **values) == (
        "give a count from 0 on, or a rate from 0 to 1, of the events to lose"
    )
    assert answers.asked == []


@pytest.fixture
def command(capsys):
    """Runs the command in this very process: its exit code, and what it said of an error."""

    def run(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert captured.out == ""
        return ended.value.code, captured.err

    return run


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--number", "3"], (3, 0.0)),
        (["--number", "0"], (0, 0.0)),
        (["--rate", "0.25"], (0, 0.25)),
        (["--rate", "0"], (0, 0.0)),
    ],
)
def test_the_command_asks_for_a_number_or_a_rate(answers, command, options, asked):
    assert command("drop-events", "/guest", *options) == (0, "")
    assert answers.asked == [asked]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one of --number and --rate"),
        (["--number", "1", "--rate", "1"], "give one of --number and --rate"),
        (["--number", "-1"], "-1 is not in the range x>=0"),
        (["--rate", "1.1"], "1.1 is not in the range 0<=x<=1"),
        (["--rate", "often"], "'often' is not a valid float range"),
    ],
)
def test_a_command_that_makes_no_sense_asks_for_nothing(answers, command, options, message):
    code, said = command("drop-events", "/guest", *options)
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert answers.asked == []


@pytest.mark.usefixtures("answers")
def test_a_share_without_host_events_is_told_of_in_one_line(command):
    code, said = command("drop-events", "/guest", "--number", "13")
    assert code == 1
    assert said == (
        "osxfs-sim: the share at /guest answered: "
        "it has no host events: mount it with a profile that has a stream\n"
    )


def test_where_no_share_is_there_is_none_to_lose_events(command):
    code, said = command("drop-events", "/", "--rate", "0.5")
    assert (code, said) == (
        1,
        "osxfs-sim: no share is mounted at /: osxfs-sim mount SOURCE /\n",
    )
