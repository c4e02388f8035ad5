"""How far something is: words for the time that is left, and lines where there is no terminal."""

import pytest

from osxfs_sim.cli.progress import StepProgress, remaining_words


@pytest.mark.parametrize(
    ("remaining_s", "words"),
    [
        (None, ""),
        (0.0, ""),
        (0.2, "about 1 s left"),
        (89.0, "about 89 s left"),
        (240.0, "about 4 min left"),
        (9_000.0, "about 2.5 h left"),
    ],
)
def test_what_is_left_is_told_in_words(remaining_s: float | None, words: str) -> None:
    assert remaining_words(remaining_s, at_most=False) == words
    assert remaining_words(remaining_s, at_most=True) == (words and f"at most {words}")


def test_without_a_terminal_each_step_is_a_line_of_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with StepProgress() as progress:
        progress.say("setting up")
        progress.begin("not worth a line")
        progress.finished("osxfs: 1.20 s", 1, 3, "about 4 s left")
        progress.finished("osxfs: 1.20 s", 2, 2, "")
        progress.stop()
        progress.say("saved")
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.splitlines() == [
        "  setting up",
        "  osxfs: 1.20 s; 1 of 4, about 4 s left",
        "  osxfs: 1.20 s; 2 of 4",
        "  saved",
    ]
