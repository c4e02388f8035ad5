#!/usr/bin/env python3
"""A database of rows, each of which was a transaction that waited for the disk.

database.py write TREE journal|wal whole|quick: the measured command, makes TREE/data.db.
database.py check TREE whole|quick: whether it has every row, and is sound.
"""

import hashlib
import sqlite3
import sys
from pathlib import Path

NUMBER = {"whole": 500, "quick": 50}
MODES = {"journal": "delete", "wal": "wal"}


def row(number: int) -> tuple[int, str]:
    """A row of some 130 bytes, always the same."""
    return number, hashlib.sha256(str(number).encode()).hexdigest() * 2


def write(tree: str, variant: str, form: str) -> None:
    mode, number = MODES[variant], NUMBER[form]
    # Without Python's own transactions: each statement is one.
    database = sqlite3.connect(f"{tree}/data.db", isolation_level=None)
    (became,) = database.execute(f"PRAGMA journal_mode={mode}").fetchone()
    if became != mode:
        sys.exit(f"database.py: asked for journal_mode={mode}, and got {became}")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    for index in range(number):
        database.execute("INSERT INTO lines VALUES (?, ?)", row(index))
    database.close()
    print(f"{number} transactions")


def check(tree: str, form: str) -> None:
    # Read only, and immutable: a check shall leave no file beside it.
    address = f"{Path(tree, 'data.db').absolute().as_uri()}?mode=ro&immutable=1"
    try:
        database = sqlite3.connect(address, uri=True)
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        rows = database.execute("SELECT number, text FROM lines ORDER BY number").fetchall()
    except sqlite3.Error as error:
        sys.exit(f"database.py: {error}")
    if verdict != "ok":
        sys.exit(f"database.py: integrity_check says {verdict}")
    wanted = [row(index) for index in range(NUMBER[form])]
    if rows != wanted:
        sys.exit(f"database.py: {len(rows)} rows, of {len(wanted)}, or with other contents")


match sys.argv[1:]:
    case ["write", tree, variant, form] if variant in MODES and form in NUMBER:
        write(tree, variant, form)
    case ["check", tree, form] if form in NUMBER:
        check(tree, form)
    case _:
        sys.exit("usage: database.py write TREE journal|wal FORM, or check TREE FORM")
