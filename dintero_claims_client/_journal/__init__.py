"""The durable record of a batch of claims: one SQLite file, used by one process and one thread at a time."""

from __future__ import annotations

from .records import (
    Counts,
    Kind,
    MarkSent,
    MarkUnsent,
    Operation,
    Outcome,
    Record,
    Reject,
    Row,
    SetOutcome,
)
from .store import JournalStore

__all__ = [
    "Counts",
    "JournalStore",
    "Kind",
    "MarkSent",
    "MarkUnsent",
    "Operation",
    "Outcome",
    "Record",
    "Reject",
    "Row",
    "SetOutcome",
]
