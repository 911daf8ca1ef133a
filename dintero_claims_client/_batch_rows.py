"""Where the rows of a batch come from."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Protocol

import attrs

from ._generated.models.claim_request import ClaimRequest
from ._operations import ClaimToSend, Mint, Operations
from .errors import InvalidClaimError
from .journal import WhenWritten
from .outcomes import Outcome, Rejected


@attrs.define(eq=False)
class BatchRow:
    """One row: what was given, what is to be sent, and what is known of it already.

    `in_journal` where the journal has the row; `marked` where it has the intent to send it from before, and
    `begun` where it has one of this batch. `sent_before` holds for every row of a journal that was used,
    because power that fails can take its last words with it.
    """

    number: int
    request: ClaimRequest
    claim: ClaimToSend | None
    settled: Outcome | None = None
    in_journal: bool = False
    marked: bool = False
    sent_before: bool = False
    begun: bool = False

    @property
    def ref(self) -> str | None:
        """What the claim goes by."""
        if self.claim is not None:
            return self.claim.ref
        ref: object = getattr(self.request, "ref", None)
        return ref if isinstance(ref, str) else None


class BatchRows(Protocol):
    """Gives rows, one at a time, and keeps what becomes of them."""

    async def next(self) -> BatchRow | None:
        """Return the next row; None at the end. Raises whatever the source raises, and `JournalError`."""

    def begin(self, row: BatchRow, then: WhenWritten, /) -> None:
        """Write down that a row is about to be sent; nothing is sent before that is on disk."""
        ...

    def end(self, row: BatchRow, outcome: Outcome, answer: bytes | None, then: WhenWritten, /) -> None:
        """Write down what became of a row; `answer` is what its claim was read from."""
        ...

    def leave_open(self, row: BatchRow, then: WhenWritten, /) -> None:
        """Write down that a row was not sent after all, and is to be claimed later."""
        ...


class Requests:
    """The requests of a caller, in no journal."""

    def __init__(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        operations: Operations,
        *,
        mint: Mint | None,
    ) -> None:
        self._source = Source(requests)
        self._operations = operations
        self._mint = mint

    async def next(self) -> BatchRow | None:
        """See `BatchRows`."""
        given = await self._source.next()
        return None if given is None else prepare(*given, self._operations, self._mint)

    def begin(self, _row: BatchRow, then: WhenWritten) -> None:
        """See `BatchRows`."""
        then(None)

    def end(self, _row: BatchRow, _outcome: Outcome, _answer: bytes | None, then: WhenWritten) -> None:
        """See `BatchRows`."""
        then(None)

    def leave_open(self, _row: BatchRow, then: WhenWritten) -> None:
        """See `BatchRows`."""
        then(None)


class Source:
    """Any iterable, counted."""

    def __init__(self, requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest]) -> None:
        self._async: AsyncIterator[ClaimRequest] | None = None
        self._plain: Iterator[ClaimRequest] = iter(())
        if isinstance(requests, AsyncIterable):
            self._async = aiter(requests)
        else:
            self._plain = iter(requests)
        self.count = 0

    async def next(self) -> tuple[int, ClaimRequest] | None:
        """Return the next request and its position; None at the end."""
        # The end of the one kind is an error of the other.
        if self._async is None:
            try:
                request = next(self._plain)
            except StopIteration:
                return None
        else:
            try:
                request = await anext(self._async)
            except StopAsyncIteration:
                return None
        self.count += 1
        return self.count - 1, request


def prepare(number: int, request: ClaimRequest, operations: Operations, mint: Mint | None) -> BatchRow:
    """Return the row of a request; one that breaks a rule is settled by that."""
    try:
        return BatchRow(number, request, operations.prepare_claim(request, mint=mint))
    except Exception as given:  # noqa: BLE001 - a row may hold objects that fail in any way
        error = (
            given
            if isinstance(given, InvalidClaimError)
            else InvalidClaimError("request", "must be a claim that can be checked", type(given).__name__)
        )
        row = BatchRow(number, request, None)
        error.ref = row.ref
        row.settled = Rejected(request=request, error=error, ref=row.ref, row=number)
        return row
