"""The tables of a journal, by version.

A version that was released is never changed: a later one is a further function.
"""

from __future__ import annotations

import secrets
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import JournalError
from .connection import as_text
from .encoding import DamagedError, fact_columns

APPLICATION_ID = 0x44436C6A
"""`DClj`; at offset 68 of the file, by which also `file` can tell it."""

ADD_FACT = "REPLACE INTO fact VALUES (?, ?, ?)"


def _to_1(connection: sqlite3.Connection) -> None:
    for table in (
        "claim (number INTEGER PRIMARY KEY, ref BLOB, minted INTEGER, digest BLOB, body BLOB, line INTEGER,"
        " crc INTEGER)",
        "sent (number INTEGER PRIMARY KEY, under_way INTEGER, crc INTEGER)",
        "outcome (number INTEGER PRIMARY KEY, kind TEXT, data BLOB, recovered INTEGER, crc INTEGER)",
        "repetition (number INTEGER PRIMARY KEY, original INTEGER, crc INTEGER)",
        "reject (line INTEGER PRIMARY KEY, ref BLOB, data BLOB, crc INTEGER)",
        "fact (key TEXT PRIMARY KEY, value BLOB, crc INTEGER) WITHOUT ROWID",
    ):
        connection.execute(f"CREATE TABLE {table}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    facts = {"journal_id": uuid.uuid4().bytes, "digest_key": secrets.token_bytes(32)}
    connection.executemany(ADD_FACT, [fact_columns(*fact) for fact in facts.items()])


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_to_1,)
"""Each makes the version that is its position, from 1; in one transaction with the number."""


def check(connection: sqlite3.Connection, path: Path, *, may_be_new: bool) -> int:
    """Return the version, 0 for a new file; raise where it is no journal that this library knows."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if not application_id and not version and not _tables(connection):
        # Also one whose making was cut short.
        if not may_be_new:
            raise JournalError(f"there is no journal at {path}")
        return 0
    if application_id != APPLICATION_ID:
        raise JournalError(f"{path} is not a journal: it is an SQLite file of another program")
    if version < 1:
        raise DamagedError("it has no version")
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {path} has version {version}; this library knows versions up to {len(MIGRATIONS)}"
        )
    return int(version)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables to the newest version."""
    for target in range(version + 1, len(MIGRATIONS) + 1):
        connection.execute("BEGIN IMMEDIATE")
        MIGRATIONS[target - 1](connection)
        connection.execute(f"PRAGMA user_version = {target}")
        connection.execute("COMMIT")


def check_tables(connection: sqlite3.Connection) -> None:
    """Raise if the tables are not the ones of the newest version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        model.text_factory = as_text
        upgrade(model, 0)
        if _tables(connection) != _tables(model):
            raise DamagedError("its tables are not those of its version")


def _tables(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
