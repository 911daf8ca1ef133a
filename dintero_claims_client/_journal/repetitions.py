"""Which rows of an input are one claim, and which contradict one another."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from .bulk import add_all
from .encoding import Columns, outcome_columns, repetition_columns
from .records import Kind, Outcome
from .statements import ADD_OUTCOME, ADD_REPETITION

_BATCH = 1000

# SQLite sorts on disk what is too much for its memory.
_BY_REF = """
SELECT ref, number, line, digest FROM claim WHERE ref IS NOT NULL AND NOT minted
UNION ALL SELECT ref, NULL, line, NULL FROM reject WHERE ref IS NOT NULL
ORDER BY ref, number
"""


def mark(connection: sqlite3.Connection, conflicting: Callable[[Sequence[int]], bytes]) -> None:
    """Mark rows of one ref: as repetitions of the first, or all of them as rejected where any differs."""
    for _, rows in groupby(connection.execute(_BY_REF), itemgetter(0)):
        _mark_alike(connection, rows, conflicting)


def _mark_alike(
    connection: sqlite3.Connection, rows: Iterator[Columns], conflicting: Callable[[Sequence[int]], bytes]
) -> None:
    # All rows may have the same ref, so only numbers are kept of them.
    numbers, lines, first_digest, differ = array("q"), array("q"), None, False
    for _, number, line, digest in rows:
        if line is not None:
            lines.append(line)
        if number is None:
            # A line that is no claim is another one than any claim; they come first.
            differ = True
            continue
        numbers.append(number)
        first_digest = first_digest or digest
        differ = differ or digest != first_digest
    if differ:
        outcome = Outcome(Kind.REJECTED, conflicting(lines))
        _execute(connection, ADD_OUTCOME, (outcome_columns(n, outcome) for n in numbers))
    elif len(numbers) > 1:
        _execute(connection, ADD_REPETITION, (repetition_columns(n, numbers[0]) for n in numbers[1:]))


def _execute(connection: sqlite3.Connection, statement: str, records: Iterable[Columns]) -> None:
    records = iter(records)
    while batch := list(islice(records, _BATCH)):
        add_all(connection, statement, batch)
