"""``sync`` shows both sides of a synchronized share, and resumes one that has halted."""

import json
import os

import pytest
from click.testing import CliRunner
from support.statuses import a_status

from osxfs_sim.cli import main
from osxfs_sim.cli import sync as command
from osxfs_sim.model.documents import document_of
from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import Synchronizer

pytestmark = pytest.mark.starts_processes


class Share:
    """What a running share answers, without one."""

    def __init__(self):
        self.asked = []
        self.status = a_status()

    def ask(self, mountpoint, question):
        self.asked.append((mountpoint, question))
        return {}


@pytest.fixture
def share(monkeypatch):
    share = Share()
    monkeypatch.setattr(command, "ask", share.ask)
    monkeypatch.setattr(command, "ask_status", lambda _: share.status)
    monkeypatch.setenv("COLUMNS", "200")
    return share


@pytest.fixture
def synchronizer(tmp_path):
    for name in ("host", "guest", "state"):
        (tmp_path / name).mkdir()
    made = []

    def start(**spec):
        paths = (tmp_path / name for name in ("host", "guest", "state"))
        made.append(Synchronizer(*paths, SyncSpec(**spec)))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop()


def run(*arguments):
    return CliRunner().invoke(main, ["sync", *arguments])


def test_status_shows_sides_conflicts_and_problems_with_the_remedies(tmp_path, share, synchronizer):
    (tmp_path / "host/[red]f").write_text("1")
    (tmp_path / "guest/[red]f").write_text("22")
    os.mkfifo(tmp_path / "host/pipe")
    share.status = a_status(synchronization=document_of(synchronizer().status()))
    result = run("status", "/mnt/share")
    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    assert "/mnt/share: synchronized, two-way-safe, watching" in told
    assert "[red]f nothing file file" in told
    assert "delete the one that is not to be kept" in told
    assert "pipe host it is a FIFO" in told
    document = json.loads(run("status", "/mnt/share", "--json").stdout)
    assert document["conflicts_total"] == 1
    assert document == share.status.as_dict()["synchronization"]


def test_one_way_the_remedy_is_another(tmp_path, share, synchronizer):
    (tmp_path / "host/f").write_text("1")
    (tmp_path / "guest/f").write_text("22")
    share.status = a_status(
        synchronization=document_of(synchronizer(mode=SyncMode.ONE_WAY_SAFE).status())
    )
    assert "delete the guest's" in run("status", "/mnt/share").stdout


def test_a_long_list_says_what_it_leaves_out(tmp_path, share, synchronizer):
    for number in range(130):
        os.mkfifo(tmp_path / f"host/pipe{number:03}")
    share.status = a_status(synchronization=document_of(synchronizer().status()))
    assert "and 30 more" in run("status", "/mnt/share").stdout


@pytest.mark.usefixtures("share")
def test_a_share_that_is_not_synchronized_is_told_so():
    for arguments in (("status", "/mnt/share"), ("resume", "/mnt/share")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "is not synchronized: mount it with" in result.stderr


def test_a_halt_is_explained_and_resumed(tmp_path, share, synchronizer):
    running = synchronizer()
    share.status = a_status(synchronization=document_of(running.status()))
    result = run("resume", "/mnt/share")
    assert result.exit_code == 1
    assert "has not halted" in result.stderr
    (tmp_path / "host").rmdir()
    with pytest.raises(Exception, match="has halted"):
        running.flush()
    share.status = a_status(synchronization=document_of(running.status()))
    told = run("status", "/mnt/share").stdout
    assert "is gone: put it back, then resume" in told
    assert "osxfs-sim sync resume /mnt/share" in told
    assert run("resume", "/mnt/share").exit_code == 0
    assert share.asked[-1] == ("/mnt/share", "sync-resume")
