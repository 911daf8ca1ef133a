"""That one process at a time works with a journal.

SQLite's own lock on a file of its own: the system releases it however the process ends, and it also holds
between two users in one process. The file stays, because another process may be opening it just now.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack, closing
from pathlib import Path

from ..errors import JournalError
from .connection import connect
from .files import lock_path, make

_BUSY_SECONDS = 0.2
"""Outlasts `is_held` of another process, which takes microseconds."""

_making = threading.Lock()
"""Closing a descriptor of a file drops the locks of the whole process on it, also another thread's."""


def hold(path: Path) -> sqlite3.Connection:
    """Take the lock of the journal at this path, until the connection is closed; raise if it is taken."""
    with _making, ExitStack() as opened:
        make(lock_path(path))
        try:
            connection = connect(lock_path(path), mode="rw", busy_seconds=_BUSY_SECONDS)
            opened.enter_context(closing(connection))
            # In memory, so that there is no further file.
            connection.execute("PRAGMA journal_mode = MEMORY").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if _is_busy(error):
                raise JournalError(f"the journal {path} is in use by another process") from error
            raise JournalError(f"the journal {path} cannot be locked: {error}") from error
        opened.pop_all()
    return connection


def is_held(path: Path) -> bool:
    """Say whether a process works with the journal at this path."""
    if not lock_path(path).exists():
        return False
    with closing(connect(lock_path(path), mode="ro", busy_seconds=0.0)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            if _is_busy(error):
                return True
            raise
    return False


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
