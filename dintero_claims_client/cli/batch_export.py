"""What became of each row of a batch, as JSON lines."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from typing import Any

from dintero_claims_client._journal.records import Kind, Record
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.errors import (
    AuthenticationError,
    ClientStateError,
    ConfigurationError,
    JournalError,
    NotSentError,
    RateLimitedError,
    ServerError,
)
from dintero_claims_client.outcomes import (
    Claimed,
    Outcome,
    Rejected,
    claim_from_json,
    error_facts,
    error_from_json,
)

ERASED = "the reason was erased from the journal"
"""Why a line was rejected, after a purge."""

_AT_ONCE = 1000
_PENDING = "pending"

# With these a row is given up that was not executed, and may be claimed later. Of others the server has said
# something to the claim itself.
_NOT_ABOUT_THE_CLAIM = (
    NotSentError,
    RateLimitedError,
    AuthenticationError,
    ServerError,
    ConfigurationError,
    ClientStateError,
    JournalError,
)


def exported(store: JournalStore) -> Iterator[Mapping[str, Any]]:
    """Give every row of the input in the order of its lines: what it was, and what became of it."""
    rows = (_row(record) for record in _records(store))
    return heapq.merge(rows, _rejects(store), key=lambda row: row["line"] or 0)


def is_settled(outcome: Outcome) -> bool:
    """Say whether a row has ended, and was not only given up because the batch was stopped."""
    return not (isinstance(outcome, Rejected) and isinstance(outcome.error, _NOT_ABOUT_THE_CLAIM))


def shown(outcome: Outcome) -> Mapping[str, Any]:
    """Return an outcome as an export shows it, but for its line."""
    facts: dict[str, Any] = {"ref": outcome.ref, "row": outcome.request.to_dict()}
    match outcome:
        case Claimed():
            claim = None if outcome.claim is None else outcome.claim.to_dict()
            return {"outcome": Kind.TAKEN, "recovered": outcome.recovered, "claim": claim, **facts}
        case Rejected():
            # As the journal has it, and so as a later export shows it.
            ended = Kind.REFUSED if is_settled(outcome) else _PENDING
            return {"outcome": ended, "error": error_facts(outcome.error), **facts}
        case _:
            return {"outcome": Kind.UNKNOWN, "error": error_facts(outcome.error), **facts}


def _records(store: JournalStore) -> Iterator[Record]:
    number = 0
    while records := store.records(number, _AT_ONCE):
        yield from records
        number = records[-1].row.number + 1


def _row(record: Record) -> Mapping[str, Any]:
    row, outcome = record.row, record.outcome
    facts: dict[str, Any] = {
        "line": row.line,
        "outcome": "in_flight" if record.sent else _PENDING,
        "ref": row.ref,
        "row": None if row.body is None else json.loads(row.body),
    }
    if record.duplicate_of is not None:
        facts["repeats_row"] = record.duplicate_of
    if outcome is None:
        return facts
    facts["outcome"] = outcome.kind
    if outcome.kind is Kind.TAKEN:
        return {**facts, "recovered": outcome.recovered, "claim": claim_from_json(outcome.data)}
    return {**facts, "error": error_facts(error_from_json(outcome.data))}


def _rejects(store: JournalStore) -> Iterator[Mapping[str, Any]]:
    line = 0
    while rejects := store.rejects(line, _AT_ONCE):
        for reject in rejects:
            yield {
                "line": reject.line,
                "outcome": Kind.REJECTED,
                "ref": reject.ref,
                "reason": ERASED,
                **json.loads(reject.data),
            }
        line = rejects[-1].line + 1
