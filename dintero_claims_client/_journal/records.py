"""What a journal holds, and what can be done to it."""

from __future__ import annotations

from enum import StrEnum

import attrs


class Kind(StrEnum):
    """How a claim ended. All are final but `UNKNOWN`, which is settled on resuming."""

    TAKEN = "taken"
    REFUSED = "refused"
    """By the server."""
    REJECTED = "rejected"
    """It broke a rule, and was never sent."""
    UNKNOWN = "unknown"


@attrs.define
class Row:
    """A claim of the batch.

    To write one is to append it. Where the rows are not those of an input, it is the intent to send it too.
    `number` is its position, from 0 and without gaps; `line` the line of the input that it comes from.
    `body` is the claim as it is sent; None where it could not be encoded, or was purged.
    """

    number: int
    ref: str | None
    minted: bool
    digest: bytes
    body: bytes | None = attrs.field(repr=False)
    line: int | None = None


@attrs.define
class Outcome:
    """How a claim ended; `data` is a JSON object that only the facade reads."""

    kind: Kind
    data: bytes = attrs.field(repr=False)
    recovered: bool = False


@attrs.frozen
class Record:
    """A row and what became of it: of the earlier row, where it repeats one.

    `sent` where it may have been sent; it says nothing where there is a final outcome.
    """

    row: Row
    sent: bool
    outcome: Outcome | None
    duplicate_of: int | None = None


@attrs.frozen
class Reject:
    """A line of the input that is no claim; `data` is a JSON object, as in an outcome.

    `ref` where it has one: rows with the same `ref` contradict it.
    """

    line: int
    data: bytes = attrs.field(repr=False)
    ref: str | None = None


@attrs.frozen
class Counts:
    """How far the batch is. A row that repeats another counts in `rows` and `duplicates` only.

    `in_flight` are those that may have been sent and have no outcome; a refused one that waits to be sent
    again counts as `pending`. `rejects` are lines, and no rows.
    """

    rows: int
    pending: int
    in_flight: int
    taken: int
    refused: int
    rejected: int
    unknown: int
    duplicates: int
    rejects: int


@attrs.define
class MarkSent:
    """Record the intent to send a row that is there."""

    number: int


@attrs.frozen
class MarkUnsent:
    """Record that nothing was executed of what was to be sent, and that the row is pending again."""

    number: int


@attrs.define
class SetOutcome:
    """Record an outcome: the first of its row, or the one that settles an unknown one."""

    number: int
    outcome: Outcome


Operation = Row | MarkSent | MarkUnsent | SetOutcome
