"""Fixtures of the journal's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dintero_claims_client._journal import JournalStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a journal can be made."""
    return tmp_path / "batch.journal"


@pytest.fixture
def store(path: Path) -> Iterator[JournalStore]:
    """Return an open, empty journal."""
    store = JournalStore.open(path)
    yield store
    store.close()
