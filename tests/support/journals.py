"""Journals for tests: rows and outcomes by number, and the files as a crash leaves them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dintero_claims_client._journal import (
    JournalStore,
    Kind,
    MarkSent,
    Operation,
    Outcome,
    Record,
    Row,
    SetOutcome,
)


def row(number: int, **changes: Any) -> Row:
    """Return the row of this number, with a body that can be found in a file."""
    fields: dict[str, Any] = {
        "number": number,
        "ref": f"order-{number}",
        "minted": False,
        "digest": bytes([number % 256]) * 16,
        "body": b'{"person":"body-%06d"}' % number,
        "line": number + 1,
    }
    return Row(**(fields | changes))


def taken(number: int) -> Outcome:
    """Return the outcome of a claim that was taken, with data that can be found in a file."""
    return Outcome(Kind.TAKEN, b'{"id":"claim-%06d","person":"data-%06d"}' % (number, number))


def refused(number: int) -> Outcome:
    """Return the outcome of a claim that the server refused."""
    return Outcome(Kind.REFUSED, b'{"person":"data-%06d"}' % number)


UNKNOWN = Outcome(Kind.UNKNOWN, b'{"status":500}')


def claimed(number: int) -> list[Operation]:
    """Return all that is written of a claim that is taken."""
    return [row(number), MarkSent(number), SetOutcome(number, taken(number))]


def record_of(number: int) -> Record:
    """Return what `claimed` leaves."""
    return Record(row(number), sent=True, outcome=taken(number))


def all_records(store: JournalStore) -> list[Record]:
    """Return everything that a journal knows of its rows."""
    return store.records(0, 1_000_000)


def read(path: Path) -> list[Record]:
    """Open a journal, and return everything that it knows of its rows."""
    with closing(JournalStore.open(path)) as store:
        return all_records(store)


def crashed(path: Path, to: Path) -> Path:
    """Copy the files of an open journal, as they are when its process is killed now."""
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{to}{suffix}")
    return to


def execute(path: Path, *statements: str) -> None:
    """Change a journal behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
