"""Known good and known bad histories: each is judged as its file says.

A file's ``about`` tells what it shows, its *rules*, and the *answers* by mode. What lies in bad/ is
a violation by the first of them, what lies in good/ is none: no checker may pass that
accepts or rejects everything.
"""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from osxfs_sim.coherence.histories.history import History
from osxfs_sim.coherence.histories.linearize import CheckResult, Limits
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.verdicts import Rules, check
from osxfs_sim.model.consistency import Mode
from osxfs_sim.model.user_error import UserError

CORPUS = Path(__file__).parent
FILES = sorted(CORPUS.glob("*/*.json"))
STEPS = 100_000

CASES = [
    pytest.param(path, mode, answer, id=f"{path.stem}-{mode}")
    for path in FILES
    for mode, answer in json.loads(path.read_text())["about"]["answers"].items()
]


def judged(path: Path, mode: str) -> CheckResult:
    history = History.load(path)
    rules = history.about["rules"]
    bounds = Bounds(rules["stale_ns"], rules["lag_ns"])
    return check(history, Rules(Mode[mode.upper()], bounds, Limits(STEPS))).answer


@pytest.mark.takes_seconds
@pytest.mark.parametrize(("path", "mode", "answer"), CASES)
def test_each_is_judged_as_its_file_says(path: Path, mode: str, answer: str) -> None:
    assert judged(path, mode) == answer


JUNK: tuple[object, ...] = (None, True, -1, 10**30, 1.5, "", "x", "map", "mread", [], ["a"], {})


def spoilt(words: Any, random: Random) -> Any:
    """The same with something in it replaced, or left out."""
    if isinstance(words, dict) and words:
        key = random.choice(sorted(words))
        kept = {name: value for name, value in words.items() if name != key}
        if random.random() < 0.1:
            return kept
        return kept | {key: spoilt(words[key], random)}
    if isinstance(words, list) and words:
        number = random.randrange(len(words))
        return [*words[:number], spoilt(words[number], random), *words[number + 1 :]]
    return random.choice(JUNK)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_whatever_is_in_a_file_it_is_judged_or_refused(path: Path) -> None:
    random, refused = Random(path.stem), 0
    words = json.loads(path.read_text())
    for _ in range(60):
        changed = spoilt(words | {"about": {}}, random)
        for mode in Mode:
            try:
                check(History.from_json(changed), Rules(mode, Bounds(5, 5), Limits(200)))
            except (UserError, ValueError):
                refused += 1
    assert refused


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_lies_where_its_answer_belongs(path: Path) -> None:
    about = json.loads(path.read_text())["about"]
    expected = "violation" if path.parent.name == "bad" else "ok"
    assert about["answers"][about["rules"]["mode"]] == expected
    assert about["title"]


@pytest.mark.parametrize("mode", [mode.label for mode in Mode])
def test_every_checker_must_reject_some_and_accept_some(mode: str) -> None:
    answers = [json.loads(path.read_text())["about"]["answers"].get(mode) for path in FILES]
    assert answers.count("violation") >= 10
    assert answers.count("ok") >= 5
