"""How the command is found out about: help, its headings and sentences, and the way out of it."""

import subprocess
import sys

import click
import pytest

from osxfs_sim.cli import COMMANDS, Group, main, sentence_of


def commands_below(group: click.Group, *above: str) -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((" ".join((*above, name)), command))
        if isinstance(command, click.Group):
            found += commands_below(command, *above, name)
    return found


ALL = commands_below(main)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code of the command line *words*, and what it writes."""
    with pytest.raises(SystemExit) as end:
        main(list(words), prog_name="osxfs-sim")
    assert isinstance(end.value.code, int)
    out, err = capsys.readouterr()
    return end.value.code, out, err


def unhelpful(sentence: str) -> bool:
    """Whether it is no whole sentence that says what to expect of a command."""
    return not (sentence[:1].isupper() and sentence.endswith(".") and "..." not in sentence)


@pytest.mark.parametrize("command", [each for _, each in ALL], ids=[name for name, _ in ALL])
def test_each_command_is_helped_by_a_whole_sentence(command) -> None:
    assert not unhelpful(sentence_of(command)), sentence_of(command)
    # A noun would say what there is, and not what is done.
    assert sentence_of(command).split()[0].strip(",") not in ("What", "The", "A", "Edits")


@pytest.mark.parametrize("sentence", ["", "mount it.", "Mount a share, and wait until its...", "A"])
def test_what_is_no_sentence_is_noticed(sentence: str) -> None:
    assert unhelpful(sentence)


def test_the_list_of_commands_stands_below_headings_and_breaks_no_sentence_off(capsys) -> None:
    code, out, err = told(capsys, "--help")
    assert (code, err) == (0, "")
    headings = [line.removesuffix(":") for line in out.splitlines() if line and line[0] != " "]
    assert headings[2:] == ["Shares", "Measuring", "Coherence", "Studies", "Help"]
    words = " ".join(out.split())
    for group in COMMANDS.values():
        for name in group:
            assert f"{name} {sentence_of(dict(ALL)[name])}" in words


def test_a_group_in_the_group_breaks_none_off_either(capsys) -> None:
    for name, group in ALL:
        if isinstance(group, click.Group):
            assert isinstance(group, Group)
            assert "..." not in told(capsys, name, "--help")[1].replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize(
    ("words", "as_words"),
    [
        ((), ("--help",)),
        (("mount",), ("mount", "--help")),
        (("sync", "status"), ("sync", "status", "-h")),
    ],
)
def test_help_is_a_command_too(capsys, words, as_words) -> None:
    assert told(capsys, "help", *words) == told(capsys, *as_words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mont",), "no such command 'mont'; did you mean 'mount'? (see --help)"),
        (("mount", "it"), "osxfs-sim mount has no commands: leave 'it' out (see --help)"),
    ],
)
def test_there_is_no_help_for_what_is_no_command(capsys, words, said) -> None:
    assert told(capsys, "help", *words) == (2, "", f"osxfs-sim: {said}\n")


@pytest.mark.parametrize("words", [(), ("sync",)])
def test_who_names_no_command_is_shown_them_and_that_is_no_success(capsys, words) -> None:
    code, out, err = told(capsys, *words)
    assert (code, out) == (2, "")
    assert err.rstrip("\n") == told(capsys, *words, "--help")[1].rstrip("\n")


# Ctrl-C comes when that module is imported.
_INTERRUPTED = """
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from osxfs_sim.cli import main
main(["profiles"])
"""


@pytest.mark.parametrize(
    "module",
    ["osxfs_sim.cli.errors", "osxfs_sim.model.user_error", "osxfs_sim.catalogue", "rich.table"],
)
@pytest.mark.starts_processes
def test_ctrl_c_is_no_traceback_while_a_command_is_still_being_loaded(module: str) -> None:
    code = _INTERRUPTED.format(module=module)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 130


@pytest.mark.starts_processes
def test_the_command_line_is_loaded_before_anything_that_takes_long() -> None:
    code = "import sys, osxfs_sim.cli\nprint(*(each for each in sys.modules if 'osxfs' in each))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.split() == ["osxfs_sim", "osxfs_sim.cli"]
