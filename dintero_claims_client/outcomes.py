"""How each claim of a batch ended: one of three values, and their form in a journal."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import attrs

from . import errors
from ._generated.models.claim import Claim
from ._generated.models.claim_request import ClaimRequest
from .errors import ClaimsError, OutcomeUnknownError

__all__ = ["Claimed", "Outcome", "Rejected", "Unknown"]


@attrs.frozen(kw_only=True)
class Claimed:
    """The claim was taken.

    `request` is what the batch was given, `row` its position in the source, from 0, and `ref` what the
    claim goes by, also where that was made here. `claim` is None where it is known to be taken, but could
    not be read. `recovered` where its answer was lost and it was read back; `replayed` where the journal
    knew the outcome and nothing was sent.
    """

    request: ClaimRequest
    claim: Claim | None
    ref: str | None
    row: int
    recovered: bool = False
    replayed: bool = False


@attrs.frozen(kw_only=True)
class Rejected:
    """The claim was not taken, and `error` says why; the other fields are as in `Claimed`.

    It broke a rule (`InvalidClaimError`), the server refused it (`APIStatusError`), or the batch was
    stopped by something else before it could be sent.
    """

    request: ClaimRequest
    error: ClaimsError
    ref: str | None
    row: int
    replayed: bool = False


@attrs.frozen(kw_only=True)
class Unknown:
    """The claim may have been taken, and that could not be found out; the fields are as in `Rejected`."""

    request: ClaimRequest
    error: OutcomeUnknownError
    ref: str | None
    row: int


Outcome = Claimed | Rejected | Unknown

_SURELY_READABLE = 100
"""Objects and arrays."""


def claim_to_json(claim: Claim | None, answer: bytes | None = None) -> bytes:
    """Return a claim as a journal keeps it; one that could not be read is an empty object.

    `answer` is what it was read from, if that is at hand.
    """
    if claim is None:
        return b"{}"
    # What is nested deeper may be read here, and not by who has less of the stack left.
    if answer is not None and answer.count(b"{") + answer.count(b"[") <= _SURELY_READABLE:
        return answer
    try:
        return json.dumps(claim.to_dict()).encode()
    except (ValueError, TypeError, RecursionError):
        # Nested deeper than can be written again. By its id it can be read from the server.
        return json.dumps({"id": claim.id}).encode()


def claim_from_json(data: bytes) -> dict[str, Any] | None:
    """Return the claim that `claim_to_json` was given, as a JSON object."""
    return cast("dict[str, Any]", json.loads(data)) or None


def error_to_json(error: ClaimsError) -> bytes:
    """Return an error as a journal keeps it: its class, its text and its data."""
    facts: dict[str, Any] = {"error": type(error).__name__, "text": str(error)}
    for name, value in error.__dict__.items():
        if name == "body":
            facts["body_base64"] = base64.b64encode(value).decode()
        elif name != "message" or value != facts["text"]:
            facts[name] = value
    try:
        return json.dumps(facts).encode()
    except (ValueError, TypeError, RecursionError):
        facts.pop("errors", None)
        return json.dumps(facts, default=repr).encode()


def error_facts(error: ClaimsError) -> dict[str, Any]:
    """Return an error for people and scripts: its class, its text, and what it says beside that."""
    facts = {name: value for name, value in error.__dict__.items() if value not in (None, (), b"", "")}
    facts.pop("body", None)
    return {"error": type(error).__name__, **facts, "message": str(error)}


def error_from_json(data: bytes) -> ClaimsError:
    """Return the error that `error_to_json` was given."""
    facts = cast("dict[str, Any]", json.loads(data)) or {"text": "the reason was erased from the journal"}
    found = getattr(errors, str(facts.pop("error", "")), ClaimsError)
    kind = found if isinstance(found, type) and issubclass(found, ClaimsError) else ClaimsError
    text = facts.pop("text", "")
    error = kind.__new__(kind, text)
    error.args = (text,)
    if "body_base64" in facts:
        facts["body"] = base64.b64decode(facts.pop("body_base64"))
    if "errors" in facts:
        facts["errors"] = tuple(facts["errors"])
    error.__dict__.update({"ref": None, **facts})
    if issubclass(kind, errors.APIStatusError):
        error.__dict__.setdefault("message", text)
        error.__dict__.setdefault("errors", ())
    return error
