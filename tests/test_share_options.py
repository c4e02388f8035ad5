"""The options of a share are in one table: what is added there is everywhere."""

import dataclasses
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.complaints import complaint

import osxfs_sim
from osxfs_sim.exports import export_keys, load_exports
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.settings import OPTIONS, ShareSettings
from osxfs_sim.share_options import (
    COUNT,
    DURATION,
    TEXT,
    Where,
    keywords_of,
    option,
    options_of,
    table_of,
)

ROOT = Path(__file__).parents[1]

DUMMY = '''    dummy: str | None = option(None, TEXT, "A dummy.", example='"x"')
    """Nothing: it is here to be seen."""
'''
# Before which field it is added.
NEXT = "    exports: tuple[str, ...] = ()\n"


@pytest.fixture(scope="module")
def with_a_dummy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program in which one option more is in the table, and nothing else is done."""
    copy = tmp_path_factory.mktemp("copy")
    unneeded = shutil.ignore_patterns("__pycache__", "cases", "studies", "sweeps")
    shutil.copytree(ROOT / "osxfs_sim", copy / "osxfs_sim", ignore=unneeded)
    for path in ("scripts/share_options.py", "docs/reference.md"):
        (copy / path).parent.mkdir()
        shutil.copy(ROOT / path, copy / path)
    table = copy / "osxfs_sim" / "settings.py"
    text = table.read_text()
    assert text.count(NEXT) == 1
    table.write_text(text.replace(NEXT, DUMMY + NEXT))
    return copy


def run(copy: Path, *arguments: str | Path) -> str:
    """What Python, with *arguments*, says where the copy is the program."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.starts_processes
def test_an_option_more_is_on_the_command_line(with_a_dummy: Path) -> None:
    help = " ".join(run(with_a_dummy, "-m", "osxfs_sim", "mount", "--help").split())
    assert "--dummy TEXT A dummy." in help


@pytest.mark.starts_processes
def test_an_option_more_is_a_keyword_in_python(with_a_dummy: Path) -> None:
    code = "import inspect, osxfs_sim; print(inspect.signature(osxfs_sim.share))"
    assert ", dummy=None)" in run(with_a_dummy, "-c", code)


@pytest.mark.starts_processes
def test_an_option_more_is_a_key_of_a_share_file(with_a_dummy: Path, tmp_path: Path) -> None:
    file = tmp_path / "share.toml"
    file.write_text('[exports.a]\nsource = "."\ndummy = "seen"\n')
    code = (
        "from osxfs_sim.exports import load_exports\n"
        f"print(load_exports({str(file)!r}, '/mnt', {{}}).shares[0].dummy)"
    )
    assert run(with_a_dummy, "-c", code) == "seen\n"


@pytest.mark.usefixtures("need_fuse")
def test_an_option_more_is_in_the_status_of_a_share(with_a_dummy: Path, tmp_path: Path) -> None:
    source, mountpoint = tmp_path / "source", tmp_path / "share"
    source.mkdir()
    mountpoint.mkdir()
    words = ("-m", "osxfs_sim")
    run(with_a_dummy, *words, "mount", source, mountpoint, "-p", "none", "--dummy", "seen")
    try:
        status = json.loads(run(with_a_dummy, *words, "status", mountpoint, "--json"))
        assert "dummy" in run(with_a_dummy, *words, "status", mountpoint)
    finally:
        run(with_a_dummy, *words, "umount", mountpoint)
    assert status["changed"] == ["dummy"]


@pytest.mark.starts_processes
def test_an_option_more_is_written_into_the_reference_and_for_type_checkers(
    with_a_dummy: Path,
) -> None:
    script = with_a_dummy / "scripts" / "share_options.py"
    stale = subprocess.run(
        [sys.executable, script, "--check"],
        env={**os.environ, "PYTHONPATH": str(with_a_dummy)},
        capture_output=True,
        text=True,
    )
    assert stale.returncode == 1
    assert "docs/reference.md, osxfs_sim/sharing.py" in stale.stderr
    run(with_a_dummy, script)
    reference = (with_a_dummy / "docs" / "reference.md").read_text()
    assert '| `--dummy TEXT` | a dummy | `dummy = "x"` |' in reference
    assert "dummy: str | None = None,\n" in (with_a_dummy / "osxfs_sim/sharing.py").read_text()
    run(with_a_dummy, script, "--check")


def test_the_reference_and_the_keywords_are_what_the_table_says() -> None:
    """Made by scripts/share_options.py: run it after a change of the table."""
    assert f"\n{table_of(OPTIONS)}\n" in (ROOT / "docs" / "reference.md").read_text()
    written = (ROOT / "osxfs_sim" / "sharing.py").read_text()
    assert all(f"        {line}\n" in written for line in keywords_of(OPTIONS).splitlines())
    # What a type checker reads has no other keywords than these.
    between = written.partition("        # the keywords:")[2].partition("        # (end")[0]
    assert len(between.splitlines()) - 1 == len(keywords_of(OPTIONS).splitlines())


def test_the_signature_in_python_is_that_of_the_table() -> None:
    keywords = list(inspect.signature(osxfs_sim.share).parameters)
    assert keywords == [
        *("source", "mountpoint"),
        *(each.name for each in OPTIONS if Where.PYTHON in each.where),
    ]


def test_every_field_that_is_no_option_is_set_by_the_program_alone() -> None:
    fields = {each.name for each in dataclasses.fields(ShareSettings)}
    assert fields - {each.name for each in OPTIONS} == {
        *("source", "mountpoint", "exports", "stronger")
    }


@pytest.mark.parametrize("each", OPTIONS, ids=[each.name for each in OPTIONS])
def test_an_option_is_explained_in_a_sentence(each) -> None:
    assert each.help[0].isupper()
    assert each.help.endswith((".", "]"))
    assert each.default == getattr(ShareSettings("", ""), each.name)


@pytest.mark.parametrize("each", OPTIONS, ids=[each.name for each in OPTIONS])
def test_what_is_no_value_of_an_option_is_a_users_mistake(each) -> None:
    """Or it is text, which is looked at when the share's system is put together."""
    for text in ("", "x", "\x1b]0;X\x07", "9" * 5_000, "=", "nan"):
        try:
            each.kind.parse(text)
        except UserError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 (either outcome is fine)


IN_FILES = [each for each in OPTIONS if Where.EXPORT in each.where]


@pytest.mark.parametrize("each", IN_FILES, ids=[each.key for each in IN_FILES])
def test_the_example_of_an_option_is_one(each, tmp_path: Path) -> None:
    profile = {"write_back": "osxfs-delegated", "_timeout": "osxfs-negative", "copy": "volume"}
    named = next((name for part, name in profile.items() if part in each.key), "osxfs")
    if each.key in ("policy", "profile"):
        pytest.skip("it names something else, which is looked for")
    file = tmp_path / "share.toml"
    file.write_text(
        f'[exports.a]\nsource = "."\nprofile = "{named}"\n{each.key} = {each.example}\n'
    )
    (settings,) = load_exports(str(file), "/mnt", {}).shares
    value = getattr(settings, each.name)
    each.check(value)
    assert value != each.default
    # And it can be written into a file again.
    if each.key not in ("copy", "volumes"):
        written = export_keys(settings)[each.key]
        assert (
            each.kind.from_file(
                each.kind.in_file.parsed(written) if each.kind is DURATION else written
            )
            == value
        )


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("latency_ns", "65us", "latency_ns = '65us': give whole nanoseconds"),
        ("latency_ns", True, "latency_ns = True: give whole nanoseconds"),
        ("latency_ns", 10**20, "that is longer than a thousand hours"),
        ("seed", 1.5, "seed = 1.5: give a whole number"),
        ("allow_other", 1, "allow_other = 1: give True or False"),
        ("bugs", "phantom", "bugs = 'phantom': give a sequence of names, such as ['phantom']"),
    ],
)
def test_a_keyword_of_another_kind_is_refused(keyword, value, said) -> None:
    def share() -> None:
        with osxfs_sim.share("/", "/mnt", **{keyword: value}):
            pass

    assert said in complaint(ProfileError, share)


def test_an_unknown_keyword_is_one_as_in_any_call() -> None:
    with pytest.raises(TypeError, match=r"no keyword 'latency'; did you mean 'latency_ns'\?"):
        osxfs_sim.share("/", "/mnt", latency=3)  # type: ignore[call-arg]


@dataclasses.dataclass
class Few:
    one: str | None = option(None, TEXT, "One.", where=Where.COMMANDS)
    two_ns: int | None = option(None, DURATION, "Two.", where=Where.PYTHON)
    three: int = option(3, COUNT, "Three.", where=Where.MOUNT | Where.EXPORT, example="4")
    four: int = 4


def test_an_option_is_only_where_it_is_said_to_be() -> None:
    """A table that says less shows less: a field that is no option is nowhere."""
    few = options_of(Few)
    assert [each.name for each in few] == ["one", "two_ns", "three"]
    assert keywords_of(few) == "two_ns: int | None = None,"
    assert table_of(few).splitlines()[2:] == [
        "| `--one TEXT` | one |  |",
        "| `--three N` | three (`mount`) | `three = 4` |",
    ]
