"""Which directories a share has for its own: told apart by what they are, as long as it lives."""

import os
import subprocess
import sys

import pytest

from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.synchronize.claims import Claim
from osxfs_sim.synchronize.engine import Engine
from osxfs_sim.synchronize.errors import SyncError

ONE, OTHER = ("a", "copy"), ("b", "elsewhere")


@pytest.fixture
def claim(tmp_path):
    made = []
    for name in ("a/in", "b/in", "copy/in", "elsewhere/in"):
        (tmp_path / name).mkdir(parents=True)

    def claim_(source, copy, **options):
        paths = (os.fsencode(tmp_path / name) for name in (source, copy))
        made.append(Claim(*paths, directory=tmp_path / "claims/all", **options))
        return made[-1]

    yield claim_
    for each in made:
        each.release()


@pytest.mark.parametrize(
    ("source", "copy"),
    [
        ("b", "copy"),
        ("a", "copy"),
        ("b", "copy/in"),
        ("b", "."),
        ("b", "a"),
        ("b", "a/in"),
        ("copy", "elsewhere"),
        ("copy/in", "elsewhere"),
        (".", "/tmp/not-there/yet"),
    ],
)
def test_what_another_has_is_refused_in_one_line(claim, source, copy):
    claim(*ONE)
    with pytest.raises(SyncError, match="or stop the other share first") as raised:
        claim(source, copy)
    assert "\n" not in str(raised.value)
    assert str(os.getpid()) in str(raised.value)


@pytest.mark.parametrize(("source", "copy"), [OTHER, ("a", "elsewhere"), ("a/in", "elsewhere/x")])
def test_what_is_apart_is_allowed(claim, source, copy):
    claim(*ONE)
    claim(source, copy)


def test_what_is_let_go_can_be_had(claim):
    claim(*ONE).release()
    claim("b", "copy")


def test_copies_that_are_only_read_from_one_source_are_shared(claim):
    claim(*ONE, is_only_read=True)
    claim(*ONE, is_only_read=True)
    for is_only_read in (True, False):
        with pytest.raises(SyncError, match="is the copy that"):
            claim("b", "copy", is_only_read=is_only_read)


@pytest.mark.mounts
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_another_name_of_the_same_directory_does_not_help(claim, tmp_path):
    claim(*ONE)
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    with pytest.raises(SyncError):
        claim("b", "link")
    (tmp_path / "mounted").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "copy", tmp_path / "mounted"], check=True)
    try:
        for name in ("mounted", "mounted/in"):
            with pytest.raises(SyncError):
                claim("b", name)
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)


@pytest.mark.starts_processes
def test_a_process_that_was_killed_has_nothing_any_more(claim, tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from osxfs_sim.synchronize.claims import Claim;"
        "Claim(sys.argv[1].encode(), sys.argv[2].encode(), directory=Path(sys.argv[3]));"
        "print('has it', flush=True); signal.pause()"
    )
    places = [tmp_path / "a", tmp_path / "copy", tmp_path / "claims/all"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, places)], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(SyncError, match=f"process {process.pid}"):
                claim("b", "copy")
        finally:
            process.kill()
    claim("b", "copy")
    assert len(list((tmp_path / "claims/all").glob("*.json"))) == 1


def test_two_synchronizers_with_states_of_their_own_have_no_copy_in_common(tmp_path):
    for name in ("a", "b", "copy", "state-a", "state-b"):
        (tmp_path / name).mkdir()

    def engine(source):
        paths = (tmp_path / name for name in (source, "copy", f"state-{source}"))
        return Engine(*map(os.fsencode, paths), SyncSpec())

    first = engine("a")
    try:
        with pytest.raises(SyncError, match="choose another copy"):
            engine("b")
    finally:
        first.close()
    engine("b").close()
