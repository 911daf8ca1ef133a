"""How SQLite is opened, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..errors import JournalError, JournalWriteError
from .bulk import MOST
from .encoding import DamagedError

_BUSY_SECONDS = 5.0
"""Readers hold the file for moments only, so waiting for them ends."""


def connect(
    path: Path, *, mode: Literal["ro", "rw"], busy_seconds: float = _BUSY_SECONDS
) -> sqlite3.Connection:
    """Open an existing SQLite file; transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        # With psow each commit ends with one frame, which `wal` relies on.
        f"{path.as_uri()}?mode={mode}&psow=1",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        # Those that add many records, for each table a batch adds to, and all others.
        cached_statements=4 * MOST,
    )
    connection.text_factory = as_text
    return connection


def as_text(data: bytes) -> str:
    """Make text of any bytes: the error of text that cannot be decoded would show it.

    It is not left as bytes, so that a blob that damage made a text of, or the reverse, shows as one.
    """
    return data.decode("latin-1")


@contextmanager
def explained(path: Path, *, writing: bool = False) -> Generator[None, None, None]:
    """Let no error of SQLite out, but one of ours that shows the path and nothing of what the file holds."""
    try:
        yield
    except DamagedError as error:
        raise JournalError(f"the journal {path} is damaged: {error}") from error
    except UnicodeDecodeError as error:
        # Python's own, of a message of SQLite that holds a damaged name.
        raise JournalError(f"the journal {path} is damaged: its tables cannot be read") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise JournalError(f"{path} is not a journal: it is not an SQLite file") from error
        if code == sqlite3.SQLITE_CORRUPT and not writing:
            raise JournalError(f"the journal {path} is damaged: {error}") from error
        if writing:
            raise JournalWriteError(f"the journal {path} cannot be written: {error}") from error
        raise JournalError(f"the journal {path} cannot be used: {error}") from error
