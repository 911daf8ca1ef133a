"""Adding many records in few statements.

Python gives its lock up for each statement and has to get it back from a busy event loop, which takes longer
than the statement itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

from .encoding import Columns

MOST = 64
"""Records in one statement. There is one for each number up to that; SQLite keeps what it has compiled."""


def add_all(connection: sqlite3.Connection, statement: str, records: Sequence[Columns]) -> int:
    """Execute a statement with all records in place of `{records}`; return how many it changed."""
    changed = 0
    for begin in range(0, len(records), MOST):
        some = records[begin : begin + MOST]
        text = _with_places(statement, len(some), len(some[0]))
        changed += connection.execute(text, tuple(chain.from_iterable(some))).rowcount
    return changed


@cache
def _with_places(statement: str, size: int, width: int) -> str:
    places = f"({', '.join('?' * width)})"
    return statement.format(records=", ".join([places] * size))
