"""How a batch begins: what it is asked for is checked, and it is said where its rows come from."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeAlias, cast

from ._batch_rows import BatchRows, Requests
from ._batch_run import BatchRun, BatchSettings
from ._calls import Calls, IfExists, check_if_exists
from ._generated.models.claim_request import ClaimRequest
from ._operations import Mint, Operations
from ._retry import check_count, check_seconds
from .errors import ConfigurationError
from .journal import Journal

MakeRows: TypeAlias = Callable[[BatchRun], Awaitable[BatchRows]]
"""Called when somebody begins to go through the outcomes; raises `JournalError`."""


def rows_of_requests(
    requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
    journal: Journal | None,
    operations: Operations,
    account_id: str,
    *,
    mint: Mint | None,
) -> MakeRows:
    """Return what makes the rows of a caller's requests."""

    async def make(run: BatchRun) -> BatchRows:
        if journal is None:
            return Requests(requests, operations, mint=mint)
        # Only here, because who has no journal needs no SQLite.
        from ._journal_rows import JournaledRequests

        await journal.acquire(run, account_id, for_requests=True)
        return JournaledRequests(requests, operations, journal)

    return make


def rows_of_journal(journal: Journal, operations: Operations, account_id: str) -> MakeRows:
    """Return what makes the rows that a journal has and that are not settled."""

    async def make(run: BatchRun) -> BatchRows:
        # As above.
        from ._journal_rows import JournalRows

        await journal.acquire(run, account_id)
        return JournalRows(journal, operations)

    return make


def start(
    make_rows: MakeRows,
    journal: Journal | None,
    calls: Calls,
    *,
    concurrency: int,
    rate: float | None,
    ordered: bool,
    timeout: float,
    patience: float,
    if_exists: IfExists | None,
    is_closed: Callable[[], bool],
) -> BatchRun:
    """Return a batch that begins when somebody goes through it; raises `ConfigurationError`."""
    if journal is not None and not isinstance(cast("object", journal), Journal):
        raise ConfigurationError(
            f"journal: must be a Journal; got {type(journal).__name__}: "
            "use `async with Journal.open(path) as journal`"
        )
    if if_exists is None:
        if_exists = "raise" if journal is None else "return"
    check_if_exists(if_exists)
    if rate is not None and (isinstance(rate, bool) or not 0 < rate < math.inf):
        raise ConfigurationError("rate: must be a number of claims per second above 0")
    settings = BatchSettings(
        concurrency=check_count("concurrency", concurrency),
        rate=rate,
        ordered=ordered,
        timeout=check_seconds("timeout", timeout),
        patience=check_seconds("patience", patience),
        if_exists=if_exists,
        # A journal knows what it has sent.
        may_exist=journal is None and if_exists == "return",
    )
    release = _nothing_to_release if journal is None else journal.release
    return BatchRun(make_rows, release, settings, calls, is_closed=is_closed)


def _nothing_to_release(_run: object) -> None:
    pass
