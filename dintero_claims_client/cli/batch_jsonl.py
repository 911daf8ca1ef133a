"""Claims from lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from json import JSONDecodeError
from typing import BinaryIO, cast

from dintero_claims_client.cli.batch_rows import (
    BOM,
    HOLDS_NUL,
    ROW_MAX,
    TOO_LONG,
    BadRow,
    Flaw,
    InputClaim,
    broken_rule,
    checked_claim,
    excerpt,
)
from dintero_claims_client.cli.claim_file import json_flaw, parse_json
from dintero_claims_client.errors import InvalidClaimError
from dintero_claims_client.models import ClaimRequest

_SKIPPED_AT_ONCE = 64 * 1024


def read_jsonl(stream: BinaryIO) -> Iterator[InputClaim | BadRow]:
    """Give what each line is that is not blank, in order."""
    number = 0
    while line := stream.readline(ROW_MAX + 1):
        number += 1
        row = line.removeprefix(BOM) if number == 1 else line
        if len(line) > ROW_MAX:
            _skip_rest(stream, line)
            yield Flaw(TOO_LONG).at(number, excerpt(row))
        elif row.strip():
            claim = _claim(row)
            if isinstance(claim, Flaw):
                yield claim.at(number, excerpt(row))
            else:
                yield InputClaim(number, claim)


def _skip_rest(stream: BinaryIO, piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = stream.readline(_SKIPPED_AT_ONCE)


def _claim(row: bytes) -> ClaimRequest | Flaw:
    if b"\0" in row:
        # Said first, because it is how UTF-16 looks, of which JSON would name a column.
        return HOLDS_NUL
    try:
        # Without the line end, after which JSON would count another line.
        value = parse_json(row.rstrip(b"\r\n").decode())
    except UnicodeDecodeError:
        return Flaw("is not UTF-8")
    except JSONDecodeError as error:
        return Flaw(f"is not JSON: {json_flaw(error)}, column {error.colno}")
    except ValueError as error:
        return Flaw(str(error))
    try:
        return checked_claim(value)
    except InvalidClaimError as error:
        ref: object = cast("dict[str, object]", value).get("ref") if isinstance(value, dict) else None
        return replace(broken_rule(error), ref=ref if isinstance(ref, str) else None)
