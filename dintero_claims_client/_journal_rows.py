"""Where the rows of a batch with a journal come from: requests beside it, or the journal alone."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import Any

from ._batch_rows import BatchRow, Source, prepare
from ._generated.models.claim_request import ClaimRequest
from ._journal.records import Kind, MarkSent, MarkUnsent, Record, SetOutcome
from ._journal.records import Outcome as JournalOutcome
from ._journal.records import Row as JournalRow
from ._operations import Operations, make_claim
from ._validation import encode_body
from .errors import InvalidClaimError, JournalError
from .journal import Journal, WhenWritten
from .outcomes import (
    Claimed,
    Outcome,
    Rejected,
    Unknown,
    claim_from_json,
    claim_to_json,
    error_from_json,
    error_to_json,
)

CHUNK = 500
"""Rows that are read from a journal at once."""


class _Journaled:
    """What rows have in common that are in a journal."""

    def __init__(self, journal: Journal, operations: Operations) -> None:
        self._journal = journal
        self._operations = operations
        self._known: deque[Record] = deque()

    def begin(self, row: BatchRow, then: WhenWritten) -> None:
        """See `BatchRows`."""
        row.begun = True
        # A mark also where it was sent before: it may have been refused since, and asked for again.
        self._journal.write(then, MarkSent(row.number) if row.in_journal else self._new(row))

    def end(self, row: BatchRow, outcome: Outcome, answer: bytes | None, then: WhenWritten) -> None:
        """See `BatchRows`."""
        kept = SetOutcome(row.number, _to_journal(outcome, answer))
        if row.in_journal:
            self._journal.write(then, kept)
        else:
            # Together, because a row that has no claim cannot be resumed.
            self._journal.write(then, self._new(row), kept)

    def leave_open(self, row: BatchRow, then: WhenWritten) -> None:
        """See `BatchRows`."""
        if row.begun and not row.marked:
            self._journal.write(then, MarkUnsent(row.number))
        else:
            then(None)

    def _new(self, row: BatchRow) -> JournalRow:
        """Return what adds a row that the journal does not have yet."""
        row.in_journal = True
        body, minted = (None, False) if row.claim is None else (row.claim.content, row.claim.minted)
        return JournalRow(row.number, row.ref, minted, self._journal.digest(body or b""), body)


class JournaledRequests(_Journaled):
    """The requests of a caller, beside a journal that may know some of them from before."""

    def __init__(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        operations: Operations,
        journal: Journal,
    ) -> None:
        super().__init__(journal, operations)
        self._source = Source(requests)
        self._known_rows = journal.next_number
        self._was_used = journal.was_used

    async def next(self) -> BatchRow | None:
        """See `BatchRows`; raises `JournalError` for a request that is not the journal's."""
        given = await self._source.next()
        if given is None:
            count = self._source.count
            if count < self._known_rows:
                raise self._other(f"it has {self._known_rows:,} rows, and this one {count:,}")
            # So that nobody takes for the whole what a resume without the requests can do.
            await self._journal.run(lambda store: store.finish_source(count))
            return None
        number, request = given
        row = prepare(
            number,
            request,
            self._operations,
            lambda body: self._journal.ref_for(number, encode_body(dict(body))),
        )
        if number >= self._known_rows:
            row.sent_before = self._was_used
            return row
        if not self._known:
            most = min(CHUNK, self._known_rows - number)
            self._known.extend(await self._journal.records(number, most))
        record = self._known.popleft()
        if record.row.number != number or record.row.digest != self._journal.digest(_body(row) or b""):
            raise self._other(f"row {number:,} is not the claim that it holds there")
        row.in_journal, row.marked, row.sent_before = True, record.sent, True
        row.settled = _from_journal(row, record.outcome) or row.settled
        return row

    def _other(self, why: str) -> JournalError:
        return JournalError(f"{self._journal.path}: the journal is of another input: {why}")


class JournalRows(_Journaled):
    """The rows of a journal that have no final outcome yet."""

    _next = 0

    async def next(self) -> BatchRow | None:
        """See `BatchRows`."""
        if not self._known:
            self._known.extend(await self._journal.unsettled(self._next, CHUNK))
        if not self._known:
            return None
        record = self._known.popleft()
        number, body = record.row.number, record.row.body
        self._next = number + 1
        if body is None:
            raise JournalError(f"{self._journal.path}: row {number} has no claim that could be sent")
        claim = self._operations.restore_claim(body, minted=record.row.minted)
        return BatchRow(
            number,
            ClaimRequest.from_dict(claim.body),
            claim,
            in_journal=True,
            marked=record.sent,
            sent_before=record.sent or self._journal.was_used,
        )


def _body(row: BatchRow) -> bytes | None:
    return None if row.claim is None else row.claim.content


def _to_journal(outcome: Outcome, answer: bytes | None) -> JournalOutcome:
    match outcome:
        case Claimed():
            return JournalOutcome(Kind.TAKEN, claim_to_json(outcome.claim, answer), outcome.recovered)
        case Unknown():
            return JournalOutcome(Kind.UNKNOWN, error_to_json(outcome.error))
        case Rejected(error=InvalidClaimError()):
            return JournalOutcome(Kind.REJECTED, error_to_json(outcome.error))
        case Rejected():
            return JournalOutcome(Kind.REFUSED, error_to_json(outcome.error))


def _from_journal(row: BatchRow, kept: JournalOutcome | None) -> Outcome | None:
    """Return the outcome that a journal has of a row, if that is final."""
    if kept is None or kept.kind is Kind.UNKNOWN:
        return None
    facts: dict[str, Any] = {"request": row.request, "ref": row.ref, "row": row.number, "replayed": True}
    if kept.kind is Kind.TAKEN:
        raw = claim_from_json(kept.data)
        return Claimed(claim=None if raw is None else make_claim(raw), recovered=kept.recovered, **facts)
    return Rejected(error=error_from_json(kept.data), **facts)
