"""What is forgotten of rows that have their outcome: that they were refused, or what they hold of persons."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import attrs

from .bulk import add_all
from .encoding import (
    Columns,
    outcome_columns,
    read_outcome,
    read_reject,
    read_row,
    reject_columns,
    row_columns,
    sent_columns,
)
from .records import Kind, Outcome
from .statements import UNMARK_SENT

_BATCH = 1000
_NOTHING = b"{}"

_REFUSED = """
SELECT number, body IS NULL FROM claim JOIN outcome USING (number)
WHERE number >= ? AND kind = 'refused' ORDER BY number LIMIT ?
"""

_SETTLED = """
SELECT c.*, r.number, o.* FROM claim AS c
LEFT JOIN repetition AS r ON r.number = c.number
JOIN outcome AS o ON o.number = coalesce(r.original, c.number)
WHERE c.number >= ? AND o.kind <> 'unknown' ORDER BY c.number LIMIT ?
"""

_REJECTS = "SELECT * FROM reject WHERE line >= ? ORDER BY line LIMIT ?"


def forget_refusals(connection: sqlite3.Connection) -> tuple[int, int]:
    """Make refused rows pending; return how many, and how many have no body to send."""
    requeued = left = 0
    for batch in _batches(connection, _REFUSED):
        numbers = [number for number, has_no_body in batch if not has_no_body]
        requeued, left = requeued + len(numbers), left + len(batch) - len(numbers)
        connection.executemany("DELETE FROM outcome WHERE number = ?", [(number,) for number in numbers])
        add_all(connection, UNMARK_SENT, [sent_columns(number, under_way=False) for number in numbers])
    return requeued, left


def erase(connection: sqlite3.Connection) -> int:
    """Erase bodies and data of what is settled, but the ids of claims; return how many rows had any."""
    count = 0
    for batch in _batches(connection, _SETTLED):
        bodies: list[Any] = []
        data: list[Any] = []
        for columns in batch:
            row, is_repetition = read_row(columns[:7]), columns[7] is not None
            outcome = read_outcome(columns[8:])
            if row.body is not None:
                bodies.append((row_columns(attrs.evolve(row, body=None))[-1], row.number))
            less = attrs.evolve(outcome, data=_without_persons(outcome))
            if not is_repetition and less != outcome:
                data.append((less.data, outcome_columns(row.number, less)[-1], row.number))
        connection.executemany("UPDATE claim SET body = NULL, crc = ? WHERE number = ?", bodies)
        connection.executemany("UPDATE outcome SET data = ?, crc = ? WHERE number = ?", data)
        count += len({change[-1] for change in (*bodies, *data)})
    for batch in _batches(connection, _REJECTS):
        less_rejects = [
            reject_columns(attrs.evolve(read_reject(columns), data=_NOTHING)) for columns in batch
        ]
        connection.executemany(
            "UPDATE reject SET data = ?, crc = ? WHERE line = ?",
            [(data, crc, line) for line, _, data, crc in less_rejects],
        )
    return count


def _batches(connection: sqlite3.Connection, statement: str) -> Iterator[list[Columns]]:
    first = 0
    while batch := connection.execute(statement, (first, _BATCH)).fetchall():
        yield batch
        first = batch[-1][0] + 1


def _without_persons(outcome: Outcome) -> bytes:
    if outcome.kind is not Kind.TAKEN:
        return _NOTHING
    try:
        claim_id = json.loads(outcome.data)["id"]
    except (ValueError, KeyError, TypeError):
        return _NOTHING
    return json.dumps({"id": claim_id}).encode() if isinstance(claim_id, str) else _NOTHING
