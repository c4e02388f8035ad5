"""Runs under edits: natively nothing is stale, and a guest that sees a copy is told the past.

The share is a pretended one: its guest works in a copy of the host's tree, made when it is
mounted. So every answer is what the host would have said before the first edit.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.asking import RUN, SETUP, asking_case, write
from support.benches import (
    Mount,
    bench_of,
    by_label,
    comparison_of,
    run_in_turn,
    tree_of,
    workload_of,
)
from support.statuses import a_status

from osxfs_sim.coherence.answers.risk import KINDS
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.executor import measure
from osxfs_sim.lab.results import comparison_from
from osxfs_sim.lab.risk import prepare_edits
from osxfs_sim.lab.schedule import Interleaved
from osxfs_sim.model.status import ShareStatus

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@dataclass
class PretendedShare:
    first_status: ShareStatus = field(default_factory=a_status)

    def flush(self) -> ShareStatus:
        return self.first_status

    def reset(self) -> ShareStatus:
        return self.first_status

    def start_trace(self, path: str, *, with_calls: bool = False) -> None: ...

    def stop_trace(self, **_: Any) -> dict[str, Any]:
        return {}


def frozen(change: Callable[[Path], None] = lambda _: None, **status: Any) -> Mount:
    """A mount of a copy that *change* is applied to; what the guest makes reaches the host."""

    @contextlib.contextmanager
    def mount(_: str, source: Path, mountpoint: Path) -> Iterator[PretendedShare]:
        subprocess.run(["cp", "-a", f"{source}/.", str(mountpoint)], check=True)
        change(mountpoint)
        share = PretendedShare(a_status(**status))
        yield share
        shutil.rmtree(mountpoint)
        mountpoint.mkdir()

    return mount


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return asking_case(tmp_path)


def risks_of(folder: Path, edits: str, mount: Mount, *arms: str) -> dict[str, dict[str, Any]]:
    said: list[str] = []
    made = run_in_turn(
        *(folder, mount, *arms), workload=workload_of(folder, edits=edits), progress=said.append
    )
    assert not [line for line in said if "warning" in line]
    assert not list(folder.parent.glob("osxfs-sim-run-*"))
    return {sample["arm"]: sample for sample in made.to_document()["samples"]}


def stale(run: dict[str, Any]) -> dict[str, int]:
    return {kind: run["risk"]["stale"][kind]["stale"] for kind in KINDS}


@pytest.mark.starts_processes
def test_natively_nothing_is_stale_and_in_a_copy_much_is(folder: Path) -> None:
    runs = risks_of(folder, "come-and-go@20/s,even", frozen(), "native", "copied")
    native, copied = runs["native"]["risk"], runs["copied"]["risk"]
    assert stale(runs["native"]) == dict.fromkeys(KINDS, 0)
    assert all(native["stale"][kind]["judged"] for kind in KINDS)  # a missing name among them
    assert native["answers"]["unknown"] <= native["answers"]["judged"] / 100
    assert native["edits"]["made"] >= 1
    assert native["edits"] | {"made": 0, "chosen": ""} == {
        "stream": "come-and-go@20/s,even",
        "seed": 3,
        "made": 0,
        "skipped": 0,
        "files": 3,
        "chosen": "",
    }
    assert copied["edits"]["chosen"] == native["edits"]["chosen"]
    found = stale(runs["copied"])
    assert min(found["existence"], found["attributes"], found["content"], found["listing"]) > 0
    assert found["absence"] == 0  # in the copy all names are there
    for kind in KINDS:
        of_kind = copied["stale"][kind]
        assert len(of_kind["ages_ns"]) == of_kind["stale"] <= of_kind["judged"]
        assert all(0 <= age_ns < 20e9 for age_ns in of_kind["ages_ns"])
    assert copied["native"] | {"judged": 0} == {"judged": 0, "stale": 0, "unexplained": 0}


@pytest.mark.slow
def test_a_file_that_the_copy_lacks_is_no_stale_answer_of_an_edit(folder: Path) -> None:
    """No edit has made or removed it: something else is wrong, and the result says so."""
    lacking = frozen(lambda tree: (tree / "src" / "m1.py").unlink())
    (run,) = risks_of(folder, "nano@40/s", lacking, "copied").values()
    assert stale(run)["absence"] == 0
    assert run["risk"]["result"] == "changed"
    assert run["failure"] == ""


@pytest.mark.starts_processes
def test_the_result_is_that_of_a_native_run_under_the_same_edits(folder: Path) -> None:
    def made(tree: Path) -> None:
        (tree / "src" / "m4.py").write_text("")

    (run,) = risks_of(folder, "nano@40/s", frozen(made), "copied").values()
    assert run["risk"]["result"] == "changed"  # it counts one more
    assert run["risk"]["compared"] == ["exit", "check", "output", "tree"]
    write(folder, "run.py", RUN + "sys.exit(len(names) - 3)\n")
    (run,) = risks_of(folder, "nano@40/s", frozen(made), "copied").values()
    assert run["risk"]["result"] == "failed"
    assert run["failure"].startswith("exit code 1")


@pytest.mark.slow
def test_what_natively_differs_by_itself_is_not_compared(folder: Path) -> None:
    write(folder, "run.py", RUN + "print(time.monotonic())\n")
    runs = risks_of(folder, "nano@40/s", frozen(), "native")
    assert runs["native"]["risk"]["compared"] == ["exit", "check", "tree"]
    assert runs["native"]["risk"]["result"] == "same"


@pytest.mark.slow
def test_what_lies_in_a_volume_is_not_judged(folder: Path) -> None:
    volumes = frozen(volumes=[{"path": "src", "directory": "/dev/null", "mounted": True}])
    (run,) = risks_of(folder, "nano@20/s", volumes, "copied").values()
    assert run["risk"]["answers"]["judged"] == 0
    assert run["risk"]["answers"]["unknown"] > 0


@pytest.mark.starts_processes
def test_only_what_the_command_asks_for_and_leaves_alone_is_edited(
    folder: Path, tmp_path: Path
) -> None:
    setup = SETUP + 'mkdir "$1/.git"; touch "$1/.git/config" "$1/src/unasked.py" "$1/own.py"\n'
    write(folder, "setup.sh", setup)
    ask = "\nfor name in ('.git/config', 'own.py'): os.stat(f'{sys.argv[1]}/{name}')\n"
    write(folder, "run.py", RUN + ask + "os.truncate(f'{sys.argv[1]}/own.py', 0)\n")
    workload = workload_of(folder, edits="nano")
    risks = prepare_edits(workload, tree_of(workload, folder), tmp_path, lambda _: None)
    assert risks is not None
    assert set(risks.files) == {"src/m1.py", "src/m2.py", "src/m3.py"}


@pytest.mark.starts_processes
def test_a_case_that_asks_for_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    write(folder, "run.py", "#!/bin/sh\necho nothing\n")
    workload = workload_of(folder, edits="nano")
    with pytest.raises(CaseError, match="asks for no file in its tree that somebody could edit"):
        prepare_edits(workload, tree_of(workload, folder), tmp_path, lambda _: None)


def test_without_edits_nothing_is_prepared(folder: Path, tmp_path: Path) -> None:
    assert prepare_edits(workload_of(folder), tmp_path, tmp_path, lambda _: None) is None


@pytest.mark.starts_processes
def test_a_comparison_keeps_the_risk_of_each_sample(folder: Path) -> None:
    labels = ["native", "copied"]
    made = comparison_of(labels, case="ask")
    workload = workload_of(folder, edits="rewrite@20/s")
    list(measure(made, Interleaved(1), bench_of(folder, by_label(frozen()), labels, workload)))
    read = comparison_from(made.to_document(), "here")
    by_arm = {sample.arm: sample.risk for sample in read.samples}
    assert by_arm["native"] is not None
    assert by_arm["copied"] is not None
    assert not any(kind["stale"] for kind in by_arm["native"]["stale"].values())
    assert by_arm["copied"]["stale"]["content"]["stale"] > 0
    assert by_arm["copied"]["edits"]["stream"] == "rewrite@20/s"


@pytest.mark.starts_processes
def test_a_name_that_was_asked_for_in_vain_appears(folder: Path) -> None:
    """The copy goes on without it; natively it is seen when it is there."""
    runs = risks_of(folder, "appear@15/s,even", frozen(), "native", "copied")
    native = runs["native"]["risk"]["stale"]
    assert stale(runs["native"]) == dict.fromkeys(KINDS, 0)
    assert native["existence"]["judged"] > 0
    assert native["absence"]["judged"] > 0
    assert stale(runs["copied"])["absence"] > 0
