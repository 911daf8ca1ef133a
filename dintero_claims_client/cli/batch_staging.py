"""Rows put aside on disk until all are known, because those of one claim may stand anywhere in a file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, cast

from dintero_claims_client._validation import BODY_MAX
from dintero_claims_client.cli.batch_rows import BadRow, Flaw, InputClaim, broken_rule, checked_claim
from dintero_claims_client.errors import InvalidClaimError
from dintero_claims_client.models import ClaimRequest

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE rows (
    line INTEGER PRIMARY KEY, ref TEXT, purchase_at TEXT, customer_id TEXT, type TEXT, discount TEXT,
    item TEXT, text TEXT NOT NULL, reason TEXT, field TEXT, rule TEXT
);
CREATE TABLE suspects (cell TEXT NOT NULL, line INTEGER NOT NULL);
"""

# Made when all rows are there, which takes a fraction of the time.
_INDEXES = """
CREATE INDEX rows_by_ref ON rows (ref, line);
CREATE INDEX suspects_by_cell ON suspects (cell, line);
"""

# A row without a ref is its own: NULL is equal to nothing.
_FIRST_ROWS = """
SELECT line, ref FROM rows AS first
WHERE NOT EXISTS (SELECT 1 FROM rows WHERE ref = first.ref AND line < first.line)
ORDER BY line
"""

_SHARED = ("purchase_at", "customer_id", "type")
"""The fields that are a claim's, and so the same in all of its rows."""

_SAID = ", ".join(("reason IS NOT NULL", "discount", "item", *_SHARED))


class StagedRow(NamedTuple):
    """What a row says of a claim; None is an absent field. Items that are the same are the same JSON."""

    ref: str | None = None
    purchase_at: str | None = None
    customer_id: str | None = None
    type: str | None = None
    discount: str | None = None
    item: str | None = None


class Staging:
    """Takes rows, and then gives claims in the order of their first lines.

    In a file without a name that is gone when this is closed, or the process ends in any way: rows are
    personal data. Raises `sqlite3.Error` where the disk is full, or fails.
    """

    def __init__(self) -> None:
        # A generator may be continued on another thread; two never use it at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)

    def __enter__(self) -> Staging:
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, line: int, text: str, row: StagedRow, flaw: Flaw | None = None) -> None:
        """Put a row aside; one with a flaw brings the whole claim down that its ref names."""
        why = (None, None, None) if flaw is None else (flaw.reason, flaw.field, flaw.rule)
        self._db.execute(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (line, *row, text, *why),
        )

    def bring_down(self, line: int, flaw: Flaw) -> None:
        """Let no claim be made of a row that was put aside."""
        self._db.execute("UPDATE rows SET reason = ? WHERE line = ? AND reason IS NULL", (flaw.reason, line))

    def suspect(self, line: int, cells: Iterable[str]) -> None:
        """Remember what stands in a row whose ref is unknown: the claims with such a ref may lack it."""
        self._db.executemany("INSERT INTO suspects VALUES (?, ?)", ((cell, line) for cell in cells))

    def claims(self) -> Iterator[InputClaim | BadRow]:
        """Give each claim, or the rows of which none is made."""
        self._db.executescript(_INDEXES)
        for line, ref in cast("Iterator[tuple[int, str | None]]", self._db.execute(_FIRST_ROWS)):
            claim = self._claim(line, ref)
            if isinstance(claim, Flaw):
                yield from self._bad_rows(line, ref, claim)
            else:
                yield InputClaim(line, claim)

    def _rows(self, columns: str, line: int, ref: str | None) -> Iterator[tuple[Any, ...]]:
        """Give the rows of the claim that begins on a line."""
        which = ("line = ?", line) if ref is None else ("ref = ?", ref)
        return self._db.execute(
            f"SELECT line, {columns} FROM rows WHERE {which[0]} ORDER BY line",  # noqa: S608 - our own words
            (which[1],),
        )

    def _bad_rows(self, line: int, ref: str | None, why: Flaw) -> Iterator[BadRow]:
        for at, text, reason, name, rule in self._rows("text, reason, field, rule", line, ref):
            flaw = why if reason is None else Flaw(reason, name, rule)
            yield replace(flaw, ref=ref).at(at, text)

    def _claim(self, line: int, ref: str | None) -> ClaimRequest | Flaw:
        # A claim that lacks a row would be another one, and its ref be spent.
        ((suspect,),) = self._db.execute("SELECT min(line) FROM suspects WHERE cell = ?", (ref,))
        if suspect is not None:
            return Flaw(f"line {suspect} cannot be read, and may be of the same ref")
        try:
            claim = self._assemble(line, ref)
            return claim if isinstance(claim, Flaw) else checked_claim(claim)
        except InvalidClaimError as error:
            return broken_rule(error)

    def _assemble(self, line: int, ref: str | None) -> dict[str, Any] | Flaw:
        """Return the claim as JSON. Holds no more of it than may be sent, however many rows it has."""
        shared: list[str | None] = []
        # The lines of a discount's items; None is a row without one.
        discounts: dict[str, dict[str | None, int]] = {}
        size = 0
        for at, bad, discount, item, *values in self._rows(_SAID, line, ref):
            if bad:
                return Flaw(f"line {at}, of the same ref, is bad")
            shared = shared or values
            for name, value, first in zip(_SHARED, values, shared, strict=True):
                if value != first:
                    got = f"another in line {at} than in line {line}"
                    raise InvalidClaimError(name, "must be the same in all rows of a ref", got)
            if discount not in discounts:
                discounts[discount] = {}
                size += len(discount)
            lines = discounts[discount]
            if item in lines:
                return Flaw(f"line {at} repeats line {lines[item]}, and an amount must not count twice")
            lines[item] = at
            size += len(item or "")
            if size > BODY_MAX:
                raise InvalidClaimError("claim", f"must have at most {BODY_MAX} bytes as JSON", "more")
        return {
            "ref": ref,
            **dict(zip(_SHARED, shared, strict=True)),
            "discounts": [_discount(name, lines) for name, lines in discounts.items()],
        }


def _discount(name: str, items: Iterable[str | None]) -> dict[str, Any]:
    refs = [json.loads(item) for item in items if item is not None]
    return {"id": name, "refs": refs} if refs else {"id": name}
