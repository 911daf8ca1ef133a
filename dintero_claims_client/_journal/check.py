"""Whether everything in a journal is as it was written, which is found out when it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from .encoding import (
    Columns,
    DamagedError,
    check_outcome,
    check_repetition,
    check_row,
    check_sent,
    read_fact,
    read_reject,
)
from .schema import check_tables


def check_structure(connection: sqlite3.Connection) -> None:
    """Raise where SQLite could not find its way through the file; this takes no time for each record."""
    check_tables(connection)
    # There are no indexes, which is all that the full check looks at beside.
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(verdict)


def check_all(connection: sqlite3.Connection, *, least: int) -> int:
    """Return how many rows there are, at least as many as given; raise where a record is damaged or gone."""
    check_structure(connection)
    rows = _check_table(connection, "claim", "number", check_row)
    first, last = connection.execute("SELECT min(number), max(number) FROM claim").fetchone()
    if rows and (first, last) != (0, rows - 1):
        raise DamagedError(f"there are {rows} rows, and they are numbered from {first} to {last}")
    if rows < least:
        raise DamagedError(f"there are {rows} rows, and it was read in with {least}")
    check_counted(connection)
    _check_table(connection, "repetition", "number", check_repetition)
    _check_table(connection, "reject", "line", read_reject)
    _check_table(connection, "fact", "key", read_fact)
    # Rows have no gaps, so only what is beyond the last one can be about no row.
    for column in ("sent.number", "outcome.number", "repetition.number", "repetition.original"):
        table = column.partition(".")[0]
        (number,) = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()  # noqa: S608 - a name from above
        if number is not None and number >= rows:
            raise DamagedError(f"there is no row {number}, and something is known of it")
    return rows


def check_counted(connection: sqlite3.Connection) -> None:
    """Raise where a record is damaged that rows are counted by."""
    _check_table(connection, "sent", "number", check_sent)
    _check_table(connection, "outcome", "number", check_outcome)


def _check_table(
    connection: sqlite3.Connection, table: str, order: str, check: Callable[[Columns], object]
) -> int:
    count = 0
    for columns in connection.execute(f"SELECT * FROM {table} ORDER BY {order}"):  # noqa: S608 - own names
        check(columns)
        count += 1
    return count
