"""What reading a batch gives: claims, and rows that make none; and what a claim must be."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from dintero_claims_client._validation import check_claim, encode_body, without_null
from dintero_claims_client.errors import InvalidClaimError
from dintero_claims_client.models import ClaimRequest, claim_request_from_json

BOM = codecs.BOM_UTF8
"""Some editors begin UTF-8 with it."""

ROW_MAX = 1024 * 1024
"""Bytes of a row, with its line end: more than any claim needs, and what is held of one that is longer."""

TOO_LONG = f"is longer than {ROW_MAX} bytes"

TEXT_MAX = 4096
REASON_MAX = 500
"""Characters. A reason may name fields, whose names may be as long as a row."""

_MINTED_REF = "0" * 36
"""As long as the ref that a claim without one is given."""


@dataclass(frozen=True, slots=True)
class InputClaim:
    """A claim that may be sent, and the number of its first line, from 1."""

    line: int
    request: ClaimRequest


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of which no claim is made, and why.

    `text` is the row as far as it can be shown, `line` the number of its first line; `field` and `rule` are
    there where a rule for claims is broken, `ref` where it is known.
    """

    line: int
    reason: str
    text: str
    field: str | None = None
    rule: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a row makes no claim, without what it holds: that may be personal data."""

    reason: str
    field: str | None = None
    rule: str | None = None
    ref: str | None = None

    def at(self, line: int, text: str) -> BadRow:
        """Return the row that has this flaw."""
        reason = self.reason if len(self.reason) <= REASON_MAX else f"{self.reason[: REASON_MAX - 1]}…"
        return BadRow(line, reason, text, self.field, self.rule, self.ref)


HOLDS_NUL = Flaw("holds a NUL byte, as UTF-16 does; save the file as UTF-8")


def broken_rule(error: InvalidClaimError) -> Flaw:
    """Return the flaw that an error describes."""
    return Flaw(str(error), error.field, error.rule)


def excerpt(row: bytes) -> str:
    """Return the beginning of a row, with escapes for what is not UTF-8."""
    # A character has four bytes at most, so that none that is shown is cut.
    return row[: 4 * TEXT_MAX].decode(errors="backslashreplace")[:TEXT_MAX].rstrip("\r\n")


def checked_claim(value: object) -> ClaimRequest:
    """Return the claim that a JSON value is; raises `InvalidClaimError` for one that could not be sent."""
    request = claim_request_from_json(value)
    check_claim(request)
    # As it is sent: with a ref, and without null.
    encode_body({"ref": _MINTED_REF, **without_null(request.to_dict())})
    return request
