"""Names and texts of other people in everything that a command shows: they are text, and no more.

Not place by place: every parameter of every command is given such a name, every text of every
kind of file becomes one, and a share is of directories that are called so.
"""

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console
from support import frontiers, reporting, traces
from support.command import Command

import osxfs_sim
from osxfs_sim.cli import COMMANDS, main
from osxfs_sim.lab.machine import describe_machine
from osxfs_sim.lab.results import save_result
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.report import console as console_module
from osxfs_sim.report import tables as tables_module

PACKAGE = Path(osxfs_sim.__file__).parent
# A title for the terminal, a line of its own, text turned around, colour in eight bits, markup,
# and a byte that is no text.
HOSTILE = "\x1b]0;PWNED\x07\nINJECTED\u202e\x9b31m[red][/blue]\udcff"


def unsafe(text: str) -> list[str]:
    """The lines of *text* that are more than text, or are somebody else's."""
    return [
        line
        for line in text.split("\n")
        if not line.replace("\t", "").isprintable() or line.startswith("INJECTED")
    ]


def run(*words: str, capfd: pytest.CaptureFixture[str]) -> str:
    """All that a command says."""
    with contextlib.suppress(SystemExit):
        main(list(words))
    out, err = capfd.readouterr()
    return out + err


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every command below *command*, with the words that call it."""
    if not isinstance(command, click.Group):
        yield (*words,), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, (*words, name))


ALL = [*leaves(main)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_no_command_shows_a_name_as_more_than_text(here, capfd, words, command):
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option)]
    given = [*words, *(HOSTILE for _ in arguments)]
    said = {None: run(*given, capfd=capfd)} if arguments else {}
    for option in options:
        if not option.is_flag:
            said[option.name] = run(*given, f"{option.opts[0]}={HOSTILE}", capfd=capfd)
    assert not {name: lines for name, text in said.items() if (lines := unsafe(text))}
    assert not any("Traceback" in text for text in said.values())
    assert not os.listdir(here) or os.listdir(here) == ["cache"], "nothing was made"


def test_these_are_all_commands_and_the_check_notices():
    assert {words[0] for words, _ in ALL} == {name for group in COMMANDS.values() for name in group}
    assert len(unsafe(f"good\nbad {HOSTILE}")) == 2


# Files

_TEXTS = ("directory", "program")


def strings_in(document: Any) -> set[str]:
    if isinstance(document, str):
        return {document}
    if isinstance(document, dict):
        return set().union(*(strings_in(each) for pair in document.items() for each in pair))
    if isinstance(document, list | tuple):
        return set().union(*map(strings_in, document)) if document else set()
    return set()


def replaced(document: Any, text: str, by: str) -> Any:
    """*document* with *by* wherever it says *text*."""
    if isinstance(document, str):
        return by if document == text else document
    if isinstance(document, dict):
        return {
            replaced(key, text, by): replaced(value, text, by) for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [replaced(each, text, by) for each in document]
    return document


def shown(document: Any, path: Path, *words: str, capfd: pytest.CaptureFixture[str]) -> str:
    path.write_text(json.dumps(document))
    try:
        return run(*words, capfd=capfd)
    except Exception:  # what is damaged, not what is named, is another test's
        out, err = capfd.readouterr()
        return out + err


def result() -> Any:
    made = reporting.comparison(2)
    made.samples[0].failure = "it failed"
    made.options = ["bootsnap"]
    return made.to_document()


MACHINE = describe_machine()


def edited() -> Any:
    return frontiers.comparison(runs=2, machine=MACHINE).to_document()


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (result, ("report", "a.json", "--output", "-", "--format", "markdown")),
        (edited, ("frontier", "--show", "a.json")),
        (edited, ("frontier", "--show", "a.json", "--markdown")),
    ],
    ids=["report", "frontier", "frontier in Markdown"],
)
def test_no_text_of_a_result_is_more_than_text(here, capfd, make, words):
    document = make()
    texts = sorted(strings_in(document), key=lambda text: (len(text), text))
    # A receipt's histogram is text as well, of which there are many alike.
    texts = [text for text in texts if 2 < len(text) < 200]
    texts = texts[:: max(1, len(texts) // 45)]
    assert len(texts) > 20
    seen = 0
    for text in texts:
        said = shown(replaced(document, text, text + HOSTILE), here / "a.json", *words, capfd=capfd)
        assert not unsafe(said), text
        seen += "PWNED" in said
    assert seen > 5, "many are shown"


@pytest.mark.starts_processes
@pytest.mark.takes_seconds
def test_a_page_shows_them_too_and_its_pictures(here, capfd):
    document = result()
    for text in ("osxfs", "rake -T of a Rails application", "it failed", "AMD EPYC"):
        document = replaced(document, text, text + HOSTILE)
    shown(document, here / "a.json", "report", "a.json", "--plots", ".", capfd=capfd)
    for path in (here / "report.html", *here.glob("*.svg")):
        text = path.read_text()
        assert "PWNED" in text or "�" in text
        for letter in "\x1b\x07\u202e\x9b\udcff":
            assert letter not in text, (path, letter)


def test_nothing_in_a_trace_is_more_than_text(cli: Command, here, capfd):
    rows = [
        traces.found("f", 2, directory=f"/{HOSTILE}", program=HOSTILE, target_ns=90),
        *(
            traces.missed(HOSTILE.replace("\udcff", ""), directory="/d", program="p", target_ns=90)
            for _ in range(20)
        ),
    ]
    safe = [
        {key: value.replace("\udcff", "") if key in _TEXTS else value for key, value in row.items()}
        for row in traces.in_turn(rows)
    ]
    traces.write_trace(here / "t.parquet", safe, profile="osxfs\x1b]0;PWNED\x07\nINJECTED")
    said = run("analyze", "t.parquet", capfd=capfd)
    assert not unsafe(said)
    assert said.count("PWNED") >= 2
    # And on a terminal, which is shown colours of ours.
    ours, theirs = os.openpty()
    subprocess.run(
        cli.line("analyze", "t.parquet"),
        stdout=theirs,
        env=cli.environment({"TERM": "xterm-256color"}),
        check=True,
    )
    os.close(theirs)
    seen = bytearray()
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            seen += piece
    os.close(ours)
    assert b"\\x1b]0;PWNED" in seen
    assert b"\x1b]0;PWNED" not in seen
    assert b"\x07" not in seen


def test_no_history_says_more_than_text(here, capfd):
    document = {
        "schema": 1,
        "operations": [
            {
                "actor": "guest-1",
                "call_ns": 0,
                "return_ns": 1,
                "operation": {"act": "read", "path": "a"},
                "content": "x",
            }
        ],
    }
    for text in sorted(strings_in(document)):
        said = shown(
            replaced(document, text, text + HOSTILE),
            here / "a.json",
            *("check-history", "a.json"),
            capfd=capfd,
        )
        assert not unsafe(said), text


TOML = {
    "profile": (
        'name = "mine"\ntitle = "T"\nextends = "osxfs"\nabout = "A"\n',
        ("profiles", "a.toml"),
    ),
    "sweep": (
        'title = "T"\n[[groups]]\nname = "g"\narms = ["osxfs", "none"]\n',
        ("frontier", "nosuch", "--sweep", "a.toml"),
    ),
    "share file": (
        '[exports.a]\nsource = "nosuch"\nprofile = "osxfs"\nlatency = "1us"\n',
        ("mount", "a.toml", "nosuch"),
    ),
    "case": (
        'name = "c"\ntitle = "T"\npurpose = "P"\narms = ["native"]\n[tree]\nsetup = ["s"]\n'
        '[command]\nmeasured = ["m", "{tree}"]\n[options.o]\nabout = "A"\nenvironment = {}\n',
        ("run", "."),
    ),
}


@pytest.mark.parametrize("kind", TOML)
def test_no_file_that_people_write_says_more_than_text(here, capfd, kind):
    text, words = TOML[kind]
    path = here / ("case.toml" if kind == "case" else "a.toml")
    escaped = json.dumps(HOSTILE.replace("\udcff", ""))[1:-1].replace("\x7f", "")
    pieces = text.split('"')
    for number in range(1, len(pieces), 2):
        hostile = [*pieces[:number], pieces[number] + escaped, *pieces[number + 1 :]]
        path.write_text('"'.join(hostile))
        assert not unsafe(run(*words, capfd=capfd)), pieces[number]
    keys = text.replace(" = ", '" = ', 1)
    path.write_text(f'"{escaped}{keys}')
    said = run(*words, capfd=capfd)
    assert not unsafe(said)


# Shares


def test_a_share_of_such_directories_is_shown_as_text(share, field, capfd):
    called = HOSTILE.replace("/", "")
    source, guest = (field / f"{which}{called}" for which in ("source", "guest"))
    source.mkdir()
    guest.mkdir()
    live = share(source, guest, profile="osxfs-delegated")
    hot = guest / f"hot{called}"
    hot.mkdir()
    live.share.flush()
    place = str(guest)
    ask(place, "live-counters")
    for _ in range(50):
        assert not os.path.exists(hot / "nosuch")
    asked = [
        run("status", capfd=capfd),
        run("status", place, capfd=capfd),
        run("top", place, "--count", "1", "--interval", "100ms", capfd=capfd),
        run("flush", place, capfd=capfd),
        run("sync", "status", place, capfd=capfd),
        run("drop-events", place, "--number", "0", capfd=capfd),
        run("mount", str(source), place, capfd=capfd),
        run("unwritten", str(source), capfd=capfd),
    ]
    with open(hot / "open", "w"):
        asked.append(run("umount", place, capfd=capfd))
    asked.append(run("umount", place, capfd=capfd))
    asked.append(run("umount", place, capfd=capfd))
    assert not [lines for text in asked if (lines := unsafe(text))]
    assert sum("PWNED" in text for text in asked) >= 6
    assert not live.share.mountpoint.isprintable()


# Encodings


@pytest.mark.takes_seconds
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_encoding_of_the_terminal_is_an_error(here, encoding, monkeypatch):
    save_result(frontiers.comparison(runs=2, machine=MACHINE), here / "f.json")
    save_result(reporting.comparison(2), here / "r.json")
    traces.write_trace(
        here / "t.parquet", traces.in_turn([traces.missed("é…名", target_ns=9)] * 30)
    )
    for words in (
        ("--help",),
        ("profiles",),
        ("profiles", "osxfs"),
        ("museum",),
        ("frontier", "--show", "f.json"),
        ("frontier", "--show", "f.json", "--markdown"),
        ("report", "r.json", "--output", "-", "--format", "markdown"),
        ("analyze", "t.parquet"),
        ("analyze", "é…名"),
    ):
        said = io.BytesIO()
        for name in ("stdout", "stderr"):
            errors = "strict" if name == "stdout" else "backslashreplace"
            stream = io.TextIOWrapper(said, encoding, errors, write_through=True)
            monkeypatch.setattr(sys, name, stream)
        with pytest.raises(SystemExit):
            main(list(words))
        assert b"codec" not in said.getvalue(), words
        assert said.getvalue(), words


def test_an_encoding_that_is_not_seen_to_is_noticed(here, monkeypatch):
    monkeypatch.setattr("osxfs_sim.cli.errors.write_what_can_be_written", lambda: None)
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        test_no_encoding_of_the_terminal_is_an_error(here, "ascii", monkeypatch)


# The ways out

# Who speaks to a process of ours, over a pipe that no terminal is at.
_TO_A_PIPE = (
    *("coherence/actors/scripts.py", "coherence/contract/breaches.py"),  # texts of programs
    *(
        "coherence/edits/editor.py",
        "coherence/scorecard/listener.py",
        "coherence/staleness/load.py",
    ),
    *("mount/latency/prober.py", "mount/server/waits.py", "coherence/actors/operations.py"),
)
_WAYS_OUT = ("cli/saying.py", "cli/errors.py", "report/console.py", "mount/server/log.py")
_PRINTING = {
    *("print", "click.echo", "click.secho", "Console", "rich.print", "rich_markup.escape"),
    *("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write", "logging.basicConfig"),
    *("rich.markup.escape", "click.echo_via_pager"),
}


def printing(source: str) -> list[str]:
    """The calls in *source* that print, and imports of what escapes markup alone."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _PRINTING:
            found.append(f"{node.lineno}: {ast.unparse(node.func)}")
        if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.takes_seconds
def test_nothing_is_printed_but_by_what_escapes():
    wrong = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        within = path.relative_to(PACKAGE).as_posix()
        if within in (*_WAYS_OUT, *_TO_A_PIPE) or within.startswith("cases/"):
            continue
        if found := printing(path.read_text()):
            wrong[within] = found
    assert not wrong


def test_who_prints_by_another_way_is_noticed():
    assert printing("print(1)\nclick.echo('x')\nfrom rich.markup import escape")
    assert printing("import sys\nsys.stdout.write(name)")
    assert not printing("say(name)\nout.print(escape(name))")


def test_a_console_that_escapes_nothing_is_noticed(here, capfd, monkeypatch):
    rows = [traces.missed("n\x1b]0;PWNED\x07", directory="/\x1b]0;PWNED\x07", target_ns=9)] * 30
    traces.write_trace(here / "t.parquet", traces.in_turn(rows))
    monkeypatch.setattr(console_module, "SafeConsole", Console)
    monkeypatch.setattr(console_module, "printable", lambda text: text)
    monkeypatch.setattr(tables_module, "printable", lambda text: text)
    assert unsafe(run("analyze", "t.parquet", capfd=capfd))


def test_a_table_keeps_its_columns_whatever_is_in_it():
    out = io.StringIO()
    made = tables_module.table("name", ">count")
    made.add_row(HOSTILE, "1")
    made.add_row("plain", "22")
    console_module.SafeConsole(file=out, width=120).print(made)
    first, second = (
        line for line in out.getvalue().split("\n") if line.rstrip()[-1:] in "12" and line.strip()
    )
    assert len(first) == len(second)
