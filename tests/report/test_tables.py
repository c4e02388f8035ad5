"""A table is the same on a terminal, in Markdown and as CSV, and is never cut."""

import csv
import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table as RichTable

from osxfs_sim.report.tables import Cell, Table, red, table

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(NAMES, min_size=1, max_size=6))
    rows = draw(st.lists(st.tuples(*[NAMES] * len(columns)), max_size=4))
    numbers = frozenset(n for n in range(len(columns)) if draw(st.booleans()))
    return Table("a title", tuple(columns), list(rows), numbers)


def on_a_terminal(shown: object, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(shown)
    return text.getvalue()


def letters(text: str) -> Counter[str]:
    return Counter(letter for letter in text if not letter.isspace())


def is_cut(made: Table, said: str) -> bool:
    """Whether a letter of it is missing from what is said."""
    wanted = letters("".join([*made.columns, *("".join(row) for row in made.texts())]))
    return bool(wanted - letters(said))


@given(tables(), st.integers(40, 120))
def test_no_letter_is_ever_missing_on_a_terminal(made: Table, width: int) -> None:
    said = on_a_terminal(made, width)
    assert not is_cut(made, said)
    assert all(len(line.rstrip()) <= width for line in said.splitlines())


def test_a_table_that_is_cut_would_be_noticed() -> None:
    made = table("arm", ">wall", rows=[("a" * 50, "123456")])
    cut = RichTable()
    for name in made.columns:
        cut.add_column(name, no_wrap=True)
    for row in made.texts():
        cut.add_row(*row)
    assert is_cut(made, on_a_terminal(cut, 40))
    assert not is_cut(made, on_a_terminal(made, 40))


def test_numbers_stay_on_one_line_while_there_is_room_for_them() -> None:
    made = table(
        "arm", "run", ">wall", "prose", rows=[("it", "fresh", "12 s [1, 2]", "word " * 30)]
    )
    assert "it    fresh   12 s [1, 2]   word word" in on_a_terminal(made, 60)


@given(tables())
def test_csv_holds_the_same_cells(made: Table) -> None:
    read = list(csv.reader(io.StringIO(made.csv())))
    assert [tuple(row) for row in read[1:]] == [row for row in made.texts() if row != ("",)] or all(
        len(row) == 1 for row in made.texts()
    )
    assert tuple(read[0]) == made.columns or made.columns == ("",)


def test_markdown_says_which_columns_are_numbers_and_escapes_the_rest() -> None:
    made = table("arm", ">wall", title="It", rows=[("a|b", red("1 s"))], legend="what *it* means")
    assert list(made.markdown()) == [
        "**It**",
        "| arm | wall |\n| --- | ---: |\n| a\\|b | 1 s |",
        "what \\*it\\* means",
    ]


def test_a_style_is_of_a_terminal_alone_and_markup_is_text() -> None:
    made = table("arm", rows=[(Cell("[red]no", "bold"),), ("\x1b[31mred",)])
    said = on_a_terminal(made, 40)
    assert "[red]no" in said
    assert "\x1b" not in said


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        table("arm", "run").add_row("it")


def test_columns_that_say_nothing_are_left_out_and_numbers_stay_numbers() -> None:
    made = table("arm", ">none", ">wall", rows=[("it", "", "1 s")]).without_empty(1)
    assert (made.columns, made.rows, made.numbers) == (("arm", "wall"), [("it", "1 s")], {1})
