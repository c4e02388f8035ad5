"""docs/museum.md has a section for every bug, with its sources, its command and its cure."""

import re
from pathlib import Path

import pytest

from osxfs_sim.coherence.museum.exhibits import demonstration_of
from osxfs_sim.model.bugs import BUGS, Bug

PAGE = (Path(__file__).parents[2] / "docs" / "museum.md").read_text()


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"^## (.*)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def missing(bug: Bug, page: str) -> list[str]:
    """What *page* does not say of *bug*."""
    spec = BUGS[bug]
    text = sections(page).get(f"{spec.id}: {bug}", "")
    wanted = [*spec.sources, f"`osxfs-sim museum {spec.id}`", "**The mistake**", "**Cured by**"]
    for cure in demonstration_of(bug).cures:
        if not cure.has_bug:
            wanted.append("without the bug")
        elif cure.settings["profile"] in cure.words:
            wanted.append(f"--profile {cure.settings['profile']}")
    # The table tells what the processes are told.
    told = {word for step in demonstration_of(bug).steps for word in (step.shown, step.cured)}
    wanted += [word for word in told if word and word.isupper()]
    return [words for words in wanted if words not in text]


@pytest.mark.parametrize("bug", list(Bug))
def test_a_section_says_what_the_code_does(bug: Bug) -> None:
    assert missing(bug, PAGE) == []


def test_the_sections_of_bugs_are_in_the_museums_order() -> None:
    headings = [heading for heading in sections(PAGE) if re.match(r"V\d", heading)]
    assert headings == [f"{BUGS[bug].id}: {bug}" for bug in Bug]


@pytest.mark.parametrize(
    "said", ["issues/520", "`osxfs-sim museum V5`", "--profile osxfs", "EINVAL"]
)
def test_what_a_section_does_not_say_is_noticed(said: str) -> None:
    section = sections(PAGE)["V5: phantom"]
    page = PAGE.replace(section, section.replace(said, ""))
    assert len(missing(Bug.PHANTOM, page)) == 1
