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
        (CASE.replace('purpose = "To be run."', "purpose = 3"), "a value of the wrong kind"),
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
