"""Patterns, streams of them, and the process that makes the edits on a real tree."""

import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from support.guests import eventually

from osxfs_sim.coherence.answers.timeline import timeline_from
from osxfs_sim.coherence.edits.applying import edited, names_of
from osxfs_sim.coherence.edits.contents import comment_of
from osxfs_sim.coherence.edits.editor import Editor, altered, beside
from osxfs_sim.coherence.edits.pattern import EditStep, Pattern, pattern_from
from osxfs_sim.coherence.edits.stream import (
    Stream,
    chosen,
    edits_of,
    most_per_s,
    parse_stream,
    stream_names,
)
from osxfs_sim.model.user_error import UserError

# Patterns


@pytest.mark.parametrize("name", stream_names())
def test_each_pattern_that_ships_can_be_read_and_written(name: str) -> None:
    pattern = parse_stream(name).pattern
    assert pattern.name == name
    assert pattern.recorded
    assert pattern_from(pattern.to_toml()) == pattern


def test_the_recorded_tools_save_as_they_are_known_to() -> None:
    def acts(name: str) -> list[tuple[str, str, str]]:
        steps = parse_stream(name).pattern.steps
        return [(step.act, step.path, step.to) for step in steps]

    assert ("rename", "{name}", "{name}~") in acts("vim")
    assert ("create", "4913", "") in acts("vim")
    assert ("truncate", "{name}", "") not in acts("vim")
    assert ("truncate", "{name}", "") in acts("vim-in-place")
    assert acts("nano") == [("truncate", "{name}", ""), ("write", "{name}", "")]
    assert [act for act, _, _ in acts("git-checkout")] == ["unlink", "create", "write"]
    assert acts("sed")[-1][::2] == ("rename", "{name}")


GOOD = """
name = "good"
about = "what"
recorded = "by hand"
[[steps]]
at_ns = 0
act = "truncate"
path = "{name}"
[[steps]]
at_ns = 5
act = "write"
path = "{name}"
what = "new"
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('act = "truncate"', 'act = "cut"', "step 1 has act 'cut': write one of create, truncate"),
        ('what = "new"', 'what = "newest"', "step 2: what is for a write, and is one of new, old"),
        ('what = "new"', "", "step 2: what is for a write"),
        ("at_ns = 5", "at_ns = -5", "at_ns of its steps do not grow"),
        ('path = "{name}"\nwhat', 'path = "../{name}"\nwhat', "step 2: '../{name}' is no name"),
        ('act = "truncate"', 'act = "rename"', "step 1: to is for a rename, and a rename has it"),
        ('name = "good"', 'name = "good"\nburst = 0', "rate_per_s, files and burst are positive"),
        ('about = "what"', "", "it lacks 'about'"),
        ('about = "what"', "about = ", "Invalid value"),
    ],
)
def test_a_pattern_with_a_mistake_is_refused(old: str, new: str, complaint: str) -> None:
    assert pattern_from(GOOD).steps[1] == EditStep(5, "write", "{name}", what="new")
    assert old in GOOD
    with pytest.raises(UserError) as refused:
        pattern_from(GOOD.replace(old, new))
    assert complaint in str(refused.value)


# Streams


def test_a_stream_is_a_pattern_with_its_rate_and_more() -> None:
    vim = parse_stream("vim")
    assert (vim.rate_per_s, vim.files, vim.same, vim.even) == (1.0, 20, False, False)
    assert parse_stream("vim@5/s").rate_per_s == 5
    assert parse_stream("vim@30/min,same,files=3,even") == replace(
        vim, text="vim@30/min,same,files=3,even", rate_per_s=0.5, same=True, files=3, even=True
    )


def test_a_pattern_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "at@home.toml"
    path.write_text(GOOD)
    assert parse_stream(str(path)).rate_per_s == 1
    assert parse_stream(f"{path}@4/s").rate_per_s == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("vmi", r"no edits called 'vmi'.*did you mean.*vim.*choose from .*nano"),
        ("vim@fast", r"the edits 'vim@fast': write the rate like 5/s or 2/min"),
        ("vim@0/s", r"write the rate like 5/s or 2/min"),
        ("vim@", r"write the rate like 5/s or 2/min"),
        ("vim,files=0", r"'files=0' is none of same, even and files=N"),
        ("./none.toml", r"cannot read the pattern of edits ./none.toml: No such file"),
    ],
)
def test_a_mistake_in_a_stream_is_one_line_with_the_remedy(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_stream(text)


def test_the_edits_of_a_longer_run_begin_with_those_of_a_shorter_one() -> None:
    stream = parse_stream("vim@10/s")
    short = list(itertools.islice(edits_of(stream, 7, 3), 20))
    long = list(itertools.islice(edits_of(stream, 7, 3), 50))
    assert long[:20] == short
    assert {edit.file for edit in long} == set(range(7))
    assert list(itertools.islice(edits_of(stream, 7, 4), 20)) != short
    moments = [edit.at_ns for edit in long]
    assert moments == sorted(moments)
    # 50 of 10 a second: a Poisson process would be that far off once in a million.
    assert 2e9 < moments[-1] < 10e9


def test_even_edits_come_evenly() -> None:
    edits = itertools.islice(edits_of(parse_stream("vim@4/s,even"), 7, 0), 4)
    assert [edit.at_ns for edit in edits] == [250_000_000 * place for place in (1, 2, 3, 4)]


def test_a_burst_takes_each_file_once_even_where_bursts_overlap() -> None:
    pattern = replace(parse_stream("vim").pattern, burst=5, gap_ns=300_000_000)
    stream = Stream("burst", pattern, rate_per_s=1, files=5, even=True)
    edits = list(itertools.islice(edits_of(stream, 5, 0), 15))
    assert [edit.at_ns for edit in edits] == sorted(edit.at_ns for edit in edits)
    first = [edit for edit in edits if edit.at_ns in range(10**9, 2_200_000_001, 300_000_000)]
    assert sorted(edit.file for edit in first) == [0, 1, 2, 3, 4]
    few = list(itertools.islice(edits_of(stream, 2, 0), 4))
    assert sorted(edit.file for edit in few[:2]) == [0, 1]


def test_the_files_are_the_seeds_whatever_order_they_come_in() -> None:
    stream = parse_stream("vim,files=3")
    files = [f"f{number}" for number in range(30)]
    assert chosen(stream, files, 1) == chosen(stream, files[::-1], 1)
    assert chosen(stream, files, 1) != chosen(stream, files, 2)
    assert len(chosen(stream, files, 1)) == 3
    assert sorted(chosen(stream, files[:2], 1)) == files[:2]


# What is written


@pytest.mark.parametrize(
    ("path", "begins", "line"),
    [
        ("a.rb", b"", b"# edit 3\n"),
        ("a.d.ts", b"", b"// edit 3\n"),
        ("style.css", b"", b"/* edit 3 */\n"),
        ("README.md", b"", b"<!-- edit 3 -->\n"),
        ("Gemfile", b"", b"# edit 3\n"),
        ("bin/rake", b"#!/usr/bin/env ruby\n", b"# edit 3\n"),
        ("package.json", b"{", b"\n\n\n\n"),
    ],
)
def test_a_file_gets_a_comment_in_its_own_language(path: str, begins: bytes, line: bytes) -> None:
    comment = comment_of(path, begins)
    assert comment is not None
    assert altered(b"x\n", list(comment), 3) == b"x\n" + line
    assert altered(b"x", list(comment), 3) == b"x\n" + line


def test_what_is_of_no_known_language_stays_as_it_is() -> None:
    assert comment_of("picture.png", b"\x89PNG") is None
    assert comment_of("program", b"#!/usr/bin/node\n") is None
    assert altered(b"x", None, 3) == b"x"


# The process


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    for number in range(3):
        (tree / "d" / f"m{number}.py").write_text(f"x = {number}\n")
        (tree / "d" / f"m{number}.py").chmod(0o640)
    return tree


FILES = ("d/m0.py", "d/m1.py", "d/m2.py")


def editor_of(tree: Path, pattern: Pattern, files: Sequence[str] = FILES) -> Editor:
    targets = [
        {"path": path, "comment": ["# ", ""], "mode": 0o640, "owner": os.getuid()}
        | {"group": os.getgid()}
        for path in files
    ]
    steps = [
        {"act": one.act, "path": one.path, "to": one.to, "what": one.what, "size": one.size}
        | {"at_ns": one.at_ns}
        for one in pattern.steps
    ]
    told = {"targets": targets, "names": sorted(pattern.names()), "steps": steps}
    return Editor(str(tree), told)


@pytest.mark.parametrize(
    "name", [name for name in stream_names() if parse_stream(name).pattern.targets == "files"]
)
def test_whatever_the_tool_the_file_has_the_new_content_and_nothing_is_left(
    tree: Path, name: str
) -> None:
    editor = editor_of(tree, parse_stream(name).pattern)
    for _ in range(2):
        editor.edit(0, lambda _: None)
    assert (tree / "d" / "m0.py").read_text() == "x = 0\n# edit 2\n"
    assert (tree / "d" / "m0.py").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tree / "d")) == ["m0.py", "m1.py", "m2.py"]
    assert (editor.made, editor.skipped) == (2, 0)
    # What it says that the host has is what the host has.
    timeline = timeline_from(json.loads(json.dumps(editor.told())))
    for path, history in timeline.names.items():
        moments = [moment for one in history for moment in (one.began_ns, one.done_ns)]
        assert moments == sorted(moments)
        number = history[-1].object
        assert (number is not None) == (tree / path).exists(), path
        if number is not None:
            held, status = timeline.objects[number][-1], (tree / path).stat()
            assert (held.size, held.mtime_ns) == (status.st_size, status.st_mtime_ns)
            assert timeline.contents[held.content] == (tree / path).read_bytes()


def test_an_edit_of_what_has_gone_is_skipped(tree: Path) -> None:
    editor = editor_of(tree, parse_stream("nano").pattern)
    (tree / "d" / "m0.py").unlink()
    editor.edit(0, lambda _: None)
    editor.edit(1, lambda _: None)
    assert (editor.made, editor.skipped) == (1, 1)


def test_names_beside_a_file() -> None:
    assert beside("a/b.rb", ".{name}.swp") == "a/.b.rb.swp"
    assert beside("b.rb", "4913") == "4913"
    assert names_of(parse_stream("replace"), ["a/b.rb"]) == ["a/.b.rb.new", "a/b.rb"]


@pytest.mark.starts_processes
def test_edits_begin_when_they_are_told_to_and_end_with_the_block(
    tree: Path, tmp_path: Path
) -> None:
    before = (tree / "d" / "m0.py").read_text()
    stream = replace(parse_stream("come-and-go,even"), rate_per_s=1000)
    with edited(stream, tree, FILES[:1], 0, tmp_path) as (begin, applied):
        assert (tree / "d" / "m0.py").read_text() == before
        begin()
        eventually(lambda: not (tree / "d" / "m0.py").exists())
    # It is in the middle of an edit then, of the first or of a later one, and completes it.
    assert (tree / "d" / "m0.py").read_text() == f"x = 0\n# edit {applied.log['made']}\n"
    assert applied.log["made"] >= 1


@pytest.mark.starts_processes
def test_without_a_beginning_nothing_is_edited(tree: Path, tmp_path: Path) -> None:
    with edited(parse_stream("nano@1000/s"), tree, FILES, 0, tmp_path) as (_, applied):
        pass
    assert applied.log["made"] == 0
    assert set(applied.log["names"]) == set(FILES)


@pytest.mark.starts_processes
def test_a_directory_is_where_nothing_was_and_goes_again(tree: Path, tmp_path: Path) -> None:
    stream = replace(parse_stream("appear,even"), rate_per_s=1000)
    with edited(stream, tree, ["d/none"], 0, tmp_path) as (begin, applied):
        begin()
        eventually((tree / "d" / "none").is_dir)
    assert not (tree / "d" / "none").exists()
    made, gone = applied.log["names"]["d/none"][1:3]
    assert gone[2] is None
    assert applied.log["objects"][str(made[2])] == []
    assert made[1] <= gone[0]


def test_a_pattern_says_what_it_is_done_to() -> None:
    appear = parse_stream("appear").pattern
    assert appear.targets == "missing"
    assert pattern_from(appear.to_toml()) == appear
    with pytest.raises(UserError, match="targets is 'all': write one of files, missing"):
        pattern_from(appear.to_toml().replace('"missing"', '"all"'))


def test_a_rate_that_cannot_be_reached_is_refused() -> None:
    """Edits come one after the other: a table would say a rate that never was."""
    assert parse_stream("come-and-go@20/s").rate_per_s == 20
    with pytest.raises(UserError, match="give a rate of at most 20/s"):
        parse_stream("come-and-go@21/s")
    for name in stream_names():
        assert parse_stream(name).rate_per_s <= most_per_s(parse_stream(name).pattern)


def test_one_candidate_more_leaves_the_others_chosen() -> None:
    stream = parse_stream("vim,files=5")
    names = [f"f{number}" for number in range(100)]
    before, after = chosen(stream, names, 1), chosen(stream, [*names, "another"], 1)
    assert len(set(before) & set(after)) >= 4
    assert chosen(stream, names[::-1], 1) == before
    assert chosen(stream, names, 2) != before


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("rate_per_s = 15.0", 'rate_per_s = "15/s"', "rate_per_s = '15/s': write a number"),
        ("rate_per_s = 15.0", "rate_per_s = inf", "rate_per_s, files and burst are positive"),
        ("files = 2000", "files = 2.5", "files = 2.5: write a whole number"),
        ('act = "mkdir"', 'act = "unlink"', 'step 1: unlink is for targets = "files"'),
        ('"missing"', '"files"', 'step 1: mkdir is for targets = "missing"'),
        ('path = "{name}"', "path = 3", "steps[1].path = 3: write a text between quotes"),
    ],
)
def test_a_pattern_by_hand_is_read_with_care(old: str, new: str, why: str) -> None:
    text = (resources.files("osxfs_sim.coherence.edits") / "patterns" / "appear.toml").read_text()
    with pytest.raises(UserError, match=re.escape(why)):
        pattern_from(text.replace(old, new, 1))
