#!/usr/bin/env python3
"""check.py TREE whole|quick: whether TREE/data.db has every row, and is sound."""

import sqlite3
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from rows import NUMBER, row  # noqa: E402 (not before no bytecode is written)

if len(sys.argv) != 3 or sys.argv[2] not in NUMBER:
    sys.exit("usage: check.py TREE whole|quick")
# Read only, and immutable: a check shall leave no file beside it.
address = f"{Path(sys.argv[1], 'data.db').absolute().as_uri()}?mode=ro&immutable=1"
try:
    database = sqlite3.connect(address, uri=True)
    (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    rows = database.execute("SELECT number, text FROM lines ORDER BY number").fetchall()
except sqlite3.Error as error:
    sys.exit(f"check.py: {error}")
if verdict != "ok":
    sys.exit(f"check.py: integrity_check says {verdict}")
wanted = [row(index) for index in range(NUMBER[sys.argv[2]])]
if rows != wanted:
    sys.exit(f"check.py: {len(rows)} rows, of {len(wanted)}, or with other contents")
