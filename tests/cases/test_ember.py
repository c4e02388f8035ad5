"""The case ember: its lock file, its check on a small dist, and (slow) its quick form."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.command import Command

from osxfs_sim.lab.cases import load_case

pytestmark = pytest.mark.starts_processes

EMBER = load_case("ember")
# What two builds of one tree differ in: where they worked, and what is made up or drawn from it.
CHUNK = """/*!{stars}!*/ eval("./tmp/broccoli-{temporary}/cache-140-webpack/app.cjs") {word}
"""
MAP = '{{"sources":["{tree}/app/app.js"],"content":"{{ \\"id\\": \\"{template}\\" }}"}}\n'
INDEX = '<script src="/assets/chunk.app.{chunk}.js"></script>\n'


def script(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [str(EMBER.folder / "scripts" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def check(tree: Path, place: Path | None = None) -> "subprocess.CompletedProcess[str]":
    assert EMBER.check is not None
    command = EMBER.command(EMBER.check, tree=tree, variant="project", guest=place)
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def build(
    tree: Path,
    temporary: str = "11233teIinjklluBA",
    chunk: str = "163d1a88d306e66d23ef",
    template: str = "1CSEfddN",
    word: str = "hello",
) -> Path:
    """A dist as ember would leave it in *tree*."""
    (tree / "dist/assets").mkdir(parents=True)
    text = CHUNK.format(stars="*" * (70 + len(temporary)), temporary=temporary, word=word)
    (tree / f"dist/assets/chunk.app.{chunk}.js").write_text(text)
    (tree / "dist/assets/app.map").write_text(MAP.format(tree=tree, template=template))
    (tree / "dist/index.html").write_text(INDEX.format(chunk=chunk))
    return tree


@pytest.fixture
def fingerprint(tmp_path: Path) -> str:
    """What set-up would have kept of its own build, elsewhere."""
    tree = build(tmp_path / "built where set-up [works]")
    said = subprocess.run(
        [
            "bash",
            "-c",
            '. "$1"; fingerprint_of "$2" "$2"',
            "-",
            EMBER.folder / "scripts/env.sh",
            tree,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout


def expecting(tree: Path, fingerprint: str) -> Path:
    (tree / ".osxfs-sim").mkdir(parents=True)
    (tree / ".osxfs-sim/dist.txt").write_text(fingerprint)
    return tree


def test_a_build_elsewhere_with_names_of_its_own_is_the_same(
    tmp_path: Path, fingerprint: str
) -> None:
    tree = expecting(tmp_path / "tree", fingerprint)
    build(tree, temporary="9425JAFe0Y7L3EtE", chunk="bf36f62b9cf0e607a792", template="F/RJcDnV")
    assert check(tree).returncode == 0, check(tree).stderr
    assert len(fingerprint.splitlines()) == 3


def test_the_host_may_know_the_tree_by_another_path(tmp_path: Path, fingerprint: str) -> None:
    guest = build(expecting(tmp_path / "share", fingerprint))
    assert check(guest).returncode == 0
    guest.rename(tmp_path / "host")
    assert check(tmp_path / "host", place=guest).returncode == 0
    assert "1 files differ, the first is assets/app.map" in check(tmp_path / "host").stderr


def test_a_wrong_dist_is_refused_and_the_file_named(tmp_path: Path, fingerprint: str) -> None:
    tree = build(expecting(tmp_path / "tree", fingerprint), word="goodbye")
    result = check(tree)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "check.sh: dist is not what set-up's build made: 1 files differ, "
        "the first is assets/chunk.app.js"
    )


def test_a_dist_with_a_file_too_few_or_too_many_is_refused(
    tmp_path: Path, fingerprint: str
) -> None:
    tree = build(expecting(tmp_path / "tree", fingerprint))
    (tree / "dist/more.js").touch()
    assert "1 files differ, the first is more.js" in check(tree).stderr
    (tree / "dist/more.js").unlink()
    assert check(tree).returncode == 0
    (tree / "dist/index.html").unlink()
    assert "1 files differ, the first is index.html" in check(tree).stderr


def test_no_dist_at_all_is_refused(tmp_path: Path, fingerprint: str) -> None:
    result = check(expecting(tmp_path / "tree", fingerprint))
    assert result.returncode == 1
    assert "3 files differ, the first is assets/app.map" in result.stderr


def test_a_tree_that_set_up_did_not_make_is_refused(tmp_path: Path) -> None:
    assert "is not a tree made by setup.sh" in check(build(tmp_path)).stderr


@pytest.mark.parametrize(("form", "kept"), [("whole", []), ("quick", ["root"])])
def test_only_the_quick_form_keeps_what_babel_remembers(
    tmp_path: Path, form: str, kept: list[str]
) -> None:
    for name in ("dist/assets", "tmp/root/cache", "app"):
        (tmp_path / name).mkdir(parents=True)
    result = script("reset.sh", tmp_path, form)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path / "tmp") == kept
    assert sorted(os.listdir(tmp_path)) == ["app", "tmp"]


def test_the_lock_file_fixes_every_package_and_names_no_registry() -> None:
    wanted = json.loads((EMBER.folder / "app/package.json").read_text())
    locked = json.loads((EMBER.folder / "app/package-lock.json").read_text())["packages"]
    assert locked[""]["devDependencies"] == wanted["devDependencies"]
    assert locked["node_modules/ember-cli"]["version"] == "5.12.0"
    packages = [entry for path, entry in locked.items() if path]
    assert len(packages) == 2_057
    for entry in packages:
        assert "resolved" not in entry
        assert entry.get("integrity") or entry.get("inBundle")


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_the_quick_form_builds_natively_and_with_its_temporary_files_on_a_share(
    cli: Command,
    tmp_path: Path,
) -> None:
    saved = tmp_path / "result.json"
    words = (
        "run",
        "ember",
        "--quick",
        "--arm",
        "native",
        "--arm",
        "osxfs-cached",
        "--json",
        str(saved),
    )
    result = cli(*words, within_s=900)
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(saved.read_text())
    assert document["variant"] == "tmpdir"
    assert [sample["failure"] for sample in document["samples"]] == [""] * 4
    cached = [sample for sample in document["samples"] if sample["arm"] == "osxfs-cached"]
    requests = cached[0]["share"]["requests"]
    # Directories and links by the hundred; none of the tree's 62,000 files is on the share.
    assert requests["MKDIR"] > 300
    assert requests["SYMLINK"] > 300
    assert sum(requests.values()) < 60_000
