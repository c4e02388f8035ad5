"""What others have named is shown as text, whatever it is; and can be pasted into a shell."""

import subprocess
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osxfs_sim.model.escaping import ERRORS, printable, printable_lines, quoted

NAMES = st.text(st.characters(exclude_characters="\0"), max_size=30) | st.binary(max_size=30).map(
    lambda name: name.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
TITLE = "\x1b]0;PWNED\x07\x1b[2J"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a name", "a name"),
        ("naïve 名前 😀", "naïve 名前 😀"),
        ("two\nlines\r", "two\\nlines\\r"),
        (TITLE, "\\x1b]0;PWNED\\x07\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_can_be_seen_stays_and_everything_else_is_an_escape(name, shown):
    assert printable(name) == shown


@given(NAMES)
@example(TITLE)
def test_whatever_it_is_it_is_one_line_of_text_for_every_reader(name):
    shown = printable(name)
    assert shown.isprintable()
    assert not any(unicodedata.category(letter)[0] in "CZ" and letter != " " for letter in shown)
    shown.encode()
    assert printable(shown) == shown


@given(st.lists(NAMES, max_size=4))
def test_lines_of_our_own_stay_lines(names):
    text = "\n".join(map(printable, names))
    assert printable_lines(text) == text


@pytest.mark.starts_processes
@given(NAMES)
@example("sp ace/m t")
@example("it's")
@example("-rf")
@example("\n")
@example("\x1b7 1\udcff7")
@example("\udd00")
def test_a_quoted_path_is_one_line_and_what_a_shell_reads_as_that_path(name):
    words = quoted(name)
    assert words.isprintable()
    if any("\ud800" <= each <= "\udfff" and not "\udc80" <= each <= "\udcff" for each in name):
        return  # half a letter can be no name of a file
    said = subprocess.run(
        ["bash", "-c", f"printf %s {words}"], capture_output=True, check=True
    ).stdout
    assert said.removeprefix(b"./") == name.encode("utf-8", "surrogateescape").removeprefix(b"./")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_written_plainer_and_is_no_error(encoding):
    text = "at most… 65 µs → é \udcff 名"
    said = text.encode(encoding, ERRORS).decode(encoding)
    assert said.startswith("at most")
    if encoding == "ascii":
        assert said == "at most... 65 us -> \\xe9 \\xff \\u540d"
