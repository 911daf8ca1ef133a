"""What the five apps have in common: the claim of an order, and what the shopper is told of it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claim,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    ConfigurationError,
    InvalidClaimError,
    NoAnswerError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
    claim_request_from_json,
)

DEADLINE = 3.0
"""Seconds within which a shopper is told something, whatever the API does."""

DRAIN = 10.0
"""Seconds that a shutdown waits for claims; above the deadline, so that all of them can end."""

_COME_BACK_AFTER = 5
"""Seconds, where nothing better is known."""

_log = logging.getLogger("shop")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, before a framework has made it one of its own."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def claim_of(order: object) -> ClaimRequest:
    """Return the claim of an order as it came; raises `InvalidClaimError` for what is none.

    A double click must be the same claim: its `ref` is the order's number, and `purchase_at` is the order's
    own time too. With the time of the request the second click would be another claim, and a conflict.
    """
    match order:
        case {"number": str(number), **fields}:
            return claim_request_from_json({**fields, "ref": number})
        case _:
            raise InvalidClaimError("number", "must be the order's number, as text", "an order without")


def claimed(claim: Claim) -> Answer:
    """Tell of a claim that exists: just taken, taken by an earlier click, or found again."""
    taken_at = claim.created_at.isoformat() if claim.created_at else None
    return Answer(
        200,
        {
            "order": claim.ref or None,
            "status": "deleted" if claim.deleted_at else "taken",
            "claim": claim.id or None,
            "taken_at": taken_at,
        },
    )


def not_found(number: str) -> Answer:
    """Tell that an order has no claim so far.

    That is not yet final: a request may still be on its way, and only the last 2,000 claims are looked
    through. To check out again settles it.
    """
    return Answer(404, {"order": number, "status": "not_found"})


def answer_to(error: ClaimsError) -> Answer:
    """Tell what became of an order that did not simply go through; this is decided here and nowhere else."""
    match error:
        case InvalidClaimError():
            return Answer(422, {"status": "invalid", "field": error.field, "rule": error.rule})
        case OutcomeUnknownError(taken=False):
            # Asking again would find the same deleted claim for ever.
            return Answer(409, {"order": error.ref, "status": "deleted"})
        case OutcomeUnknownError():
            # Not a 5xx: the discount may be spent, and who reads "failed" charges the full price, or orders
            # again under a new number and spends it twice. Not a 200 either: it may not be. So the order
            # stays open, under its number: to look it up, or to check out once more, finds out.
            return Answer(202, {"order": error.ref, "status": "unknown"}, _come_back(error))
        case RefConflictError():
            # The number has a claim already, for something else; nothing of this order was claimed.
            return Answer(409, {"order": error.ref, "status": "conflict"})
        case AuthenticationError() | PermissionDeniedError() | ConfigurationError():
            # Nothing that a shopper can do; whoever runs the shop must hear of it.
            _log.error("no discounts can be claimed: %s", error)
            return _not_now(500, error, {})
        case NotSentError() | RateLimitedError() | ServerError() | NoAnswerError():
            # It can be tried again. A 429 is the shop's limit, not the shopper's.
            return _not_now(503, error, _come_back(error))
        case APIStatusError():
            return Answer(422, {"order": error.ref, "status": "refused", "reason": error.message})
        case _:
            # The client is closing: the next process takes the order.
            return _not_now(503, error, _come_back(error))


def _not_now(status: int, error: ClaimsError, headers: dict[str, str]) -> Answer:
    """Tell that this click has claimed nothing, which says nothing of the order: an earlier one may have."""
    return Answer(status, {"order": error.ref, "status": "not_now"}, headers)


def health(claims: ClaimsClient) -> Answer:
    """Tell a load balancer whether this process can claim; makes no call."""
    found = claims.health()
    body = {"ok": found.ok, "state": found.state, "problems": list(found.problems)}
    return Answer(200 if found.ok else 503, body)


def _come_back(error: ClaimsError) -> dict[str, str]:
    seconds: float | None = getattr(error, "retry_after", None)
    return {"Retry-After": str(math.ceil(seconds) if seconds else _COME_BACK_AFTER)}
