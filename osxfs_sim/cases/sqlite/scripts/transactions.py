#!/usr/bin/env python3
"""transactions.py TREE journal|wal whole|quick: the measured command, a row a transaction."""

import sqlite3
import sys

sys.dont_write_bytecode = True

from rows import NUMBER, row  # noqa: E402 (not before no bytecode is written)

MODES = {"journal": "delete", "wal": "wal"}

if len(sys.argv) != 4 or sys.argv[2] not in MODES or sys.argv[3] not in NUMBER:
    sys.exit("usage: transactions.py TREE journal|wal whole|quick")
tree, mode, number = sys.argv[1], MODES[sys.argv[2]], NUMBER[sys.argv[3]]

# Without Python's own transactions: each statement is one.
database = sqlite3.connect(f"{tree}/data.db", isolation_level=None)
(became,) = database.execute(f"PRAGMA journal_mode={mode}").fetchone()
if became != mode:
    sys.exit(f"transactions.py: asked for journal_mode={mode}, and got {became}")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
for index in range(number):
    database.execute("INSERT INTO lines VALUES (?, ?)", row(index))
database.close()
print(f"{number} transactions")
