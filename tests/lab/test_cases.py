"""A case is a folder, and a mistake in it is one line for its author."""

import os
from pathlib import Path, PurePosixPath

import pytest

from osxfs_sim.lab.cases import CaseError, case_names, load_case

CASE = """
name = "echo"
title = "A case for tests"
purpose = "To be run."
arms = ["native"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}", "{variant}"]
variants = ["small", "large"]
[command]
measured = ["run.sh", "{tree}"]
[options.loud]
about = "Louder."
environment = { LOUD = "1" }
"""


def write_case(folder: Path, text: str = CASE) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "case.toml").write_text(text)
    return f"{folder}/"


def test_every_shipped_case_can_be_loaded_and_names_its_sources() -> None:
    assert {"rake", "ember", "dd-1k"} <= set(case_names())
    for name in case_names():
        case = load_case(name)
        assert case.name == name
        assert (case.folder / "README.md").is_file()
        assert all(claim.source for claim in case.claims)
        for words in (case.setup, case.measured, case.quick, case.reset, case.check):
            assert words is None or os.access(case.folder / words[0], os.X_OK)


def test_a_folder_of_the_users_own_is_a_case(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "echo"))
    assert case.title == "A case for tests"
    command = case.command(case.setup, tree=Path("/tree"), variant="large")
    assert command == [str(tmp_path / "echo" / "setup.sh"), "/tree", "large"]


def test_an_unknown_case_is_answered_with_the_nearest() -> None:
    with pytest.raises(CaseError, match=r"^unknown case 'rak'; did you mean 'rake'\?$"):
        load_case("rak")


def test_a_folder_without_a_case_says_so(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"is not a case: it has no case.toml$"):
        load_case(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "Invalid value"),
        (CASE.replace("purpose", "porpoise"), "unknown key 'porpoise'; did you mean 'purpose'?"),
        (CASE.replace("variants =", "variant ="), "unknown key 'tree.variant'; did you mean"),
        (CASE.replace('title = "A case for tests"', ""), "lacks 'title'"),
        (
            CASE.replace('purpose = "To be run."', "purpose = 3"),
            "purpose = 3: write a text",
        ),
        (
            CASE.replace("[command]", 'shared = { larg = "inner" }\n[command]'),
            "speaks of a variant 'larg' that it does not list; did you mean 'large'?",
        ),
        (
            CASE.replace("[options", 'quick_variant = "tiny"\n[options'),
            "speaks of a variant 'tiny' that it does not list",
        ),
        *(
            (
                CASE.replace("[command]", f'shared = {{ large = "{part}" }}\n[command]'),
                f"'{part}' is no directory inside the tree: leave it out",
            )
            for part in ("/tmp", "inner/../..", ".")
        ),
        (CASE.replace("about =", "abuot ="), "unknown key 'options.loud.abuot'; did you mean"),
        (CASE + "[[claims]]\ntxt = ''", "unknown key 'claims[1].txt'; did you mean 'text'?"),
        (
            CASE.replace('["run.sh", "{tree}"]', '"run.sh"'),
            "measured = 'run.sh': write a list",
        ),
        (CASE.replace('["run.sh", "{tree}"]', "[]"), "command.measured is empty"),
        (CASE.replace("measured =", "quick ="), "lacks 'measured'"),
        (CASE.replace('"run.sh", "{tree}"', '"run.sh", "{tre}"'), "placeholder {tre}; did you mea"),
        (
            CASE.replace('"setup.sh", "{tree}"', '"setup.sh", "{host}"'),
            "tree.setup cannot be told {host}: only what is measured can",
        ),
        (
            CASE.replace("[command]", 'shared = { large = "inner" }\n[command]').replace(
                '"run.sh", "{tree}"', '"run.sh", "{host}"'
            ),
            "{host} is the whole tree's path, and tree.shared shares a part",
        ),
        (CASE.replace('name = "echo"', 'name = "../echo"'), "name '../echo' is not made of"),
        (CASE.replace('title = "A case for tests"', "title = 3"), "title = 3: write a text"),
        (CASE.replace('"large"]', "3]"), "tree.variants = ['small', 3]: write a list of texts"),
        (CASE.replace("[options", "deterministic = []\n[options"), "deterministic is empty"),
        (
            CASE.replace("[options", 'deterministic = ["/etc"]\n[options'),
            "'/etc' is not inside the tree",
        ),
        (CASE.replace("[options", "tells = 3\n[options"), "command.tells = 3: write true or false"),
        (CASE.replace("[options", 'ignored = ["x"]\n[options'), "ignored has no effect without"),
        (
            CASE.replace("[options", 'expected_output = "../out"\n[options'),
            "command.expected_output: '../out' is not inside the tree",
        ),
    ],
)
def test_a_broken_case_is_one_line_for_its_author(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(CaseError) as caught:
        load_case(write_case(tmp_path / "broken", text))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_tool_names_the_command_that_installs_it(tmp_path: Path) -> None:
    text = CASE.replace('commands = ["sh"]', 'commands = ["sh", "no-such-tool"]')
    with pytest.raises(CaseError) as caught:
        load_case(write_case(tmp_path / "echo", text)).check_needs()
    assert str(caught.value) == (
        "the case echo needs no-such-tool: install with: apt-get install dash"
    )


def test_a_tool_that_nobody_says_how_to_install_is_named_alone(tmp_path: Path) -> None:
    text = CASE.replace('commands = ["sh"]', 'commands = ["no-such-tool"]')
    text = text.replace('install = "apt-get install dash"', "")
    with pytest.raises(CaseError, match=r"^the case echo needs no-such-tool$"):
        load_case(write_case(tmp_path / "echo", text)).check_needs()


def test_a_case_need_not_need_anything(tmp_path: Path) -> None:
    text = CASE.replace("[needs]\n", "").replace('commands = ["sh"]\n', "")
    text = text.replace('install = "apt-get install dash"\n', "")
    assert load_case(write_case(tmp_path / "echo", text)).commands_needed == ()


def test_a_program_that_is_missing_or_cannot_be_executed_says_what_to_do(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "echo"))
    with pytest.raises(CaseError, match=r"tree.setup names .*setup.sh, which is no file: write"):
        case.check_needs()
    for name in ("setup.sh", "run.sh"):
        (case.folder / name).write_text("#!/bin/sh\n")
    (case.folder / "setup.sh").chmod(0o755)
    with pytest.raises(CaseError, match=r"command.measured names .*run.sh, .*: chmod \+x it$"):
        case.check_needs()
    (case.folder / "run.sh").chmod(0o755)
    case.check_needs()


def test_a_folder_needs_no_slash_where_no_shipped_case_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "echo")
    write_case(tmp_path / "rake")
    (tmp_path / "empty").mkdir()
    assert load_case("echo").folder == tmp_path / "echo"
    assert load_case("rake").name == "rake"
    assert load_case("./rake").name == "echo"
    for name, complaint in (
        ("./gone", "./gone is not a case: there is no such folder"),
        ("./empty", "./empty is not a case: it has no case.toml"),
        ("empty", "unknown case 'empty'"),
    ):
        with pytest.raises(CaseError) as caught:
            load_case(name)
        assert str(caught.value).startswith(complaint)


def test_parts_that_are_the_same_after_each_run_are_kept(tmp_path: Path) -> None:
    text = CASE.replace("[options", 'deterministic = ["."]\nignored = ["*.log"]\n[options')
    case = load_case(write_case(tmp_path / "echo", text))
    assert (case.deterministic, case.ignored) == ((PurePosixPath("."),), ("*.log",))
    assert load_case("rake").deterministic == ()


def test_what_is_measured_may_be_told_where_the_host_sees_the_tree(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "echo"))
    words = ("run.sh", "{tree}", "{host}")
    there = case.command(words, tree=Path("/guest"), variant="small", host=Path("/host"))
    assert there[1:] == ["/guest", "/host"]
    assert case.command(words, tree=Path("/host"), variant="small")[1:] == ["/host", "/host"]


def test_variants_and_options_are_checked(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "echo"))
    assert case.variant(None) == "small"
    assert case.environment(("loud",)) == {"LOUD": "1"}
    with pytest.raises(CaseError, match="no variant 'larg'; did you mean 'large'"):
        case.variant("larg")
    with pytest.raises(CaseError, match="no option 'lood'; did you mean 'loud'"):
        case.environment(("lood",))


def test_a_variant_may_share_only_a_part_of_the_tree(tmp_path: Path) -> None:
    text = CASE.replace("[command]", 'shared = { large = "inner" }\n[command]')
    assert load_case(write_case(tmp_path / "echo", text)).shared == {
        "large": PurePosixPath("inner")
    }


def test_the_quick_form_may_have_a_variant_of_its_own(tmp_path: Path) -> None:
    text = CASE.replace("[options", 'quick_variant = "large"\n[options')
    case = load_case(write_case(tmp_path / "echo", text))
    assert [case.variant(None), case.variant(None, quick=True)] == ["small", "large"]
    assert case.variant("small", quick=True) == "small"


def test_variants_that_set_up_does_not_ask_for_have_one_tree(tmp_path: Path) -> None:
    assert load_case(write_case(tmp_path / "echo")).tree_name("large") == "large"
    text = CASE.replace(', "{variant}"]', "]")
    assert load_case(write_case(tmp_path / "echo", text)).tree_name("large") == "all"


def test_a_command_is_told_its_form_and_where_the_guest_sees_the_tree(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "echo"))
    words = ("run.sh", "{tree}", "{guest}", "{form}")
    told = case.command(words, tree=Path("/tree"), variant="small")
    assert told[1:] == ["/tree", "/tree", "whole"]
    told = case.command(
        words, tree=Path("/host"), variant="small", form="quick", guest=Path("/guest")
    )
    assert told[1:] == ["/host", "/guest", "quick"]
