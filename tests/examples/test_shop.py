"""What a shopper is told of each end of a claim, and what claim an order is."""

from __future__ import annotations

import pytest
import shop

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
)

ORDER = {
    "number": "order-1",
    "customer_id": "customer-1",
    "purchase_at": "2026-11-23T12:00:00Z",
    "discounts": [{"id": "discount-1"}],
}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InvalidClaimError("discounts", "must not be empty", "nothing"), 422, "invalid"),
        (OutcomeUnknownError("it may be", ref="order-1"), 202, "unknown"),
        (OutcomeUnknownError("it is, by all signs", ref="order-1", taken=True), 202, "unknown"),
        (OutcomeUnknownError("it was", ref="order-1", taken=False), 409, "deleted"),
        (RefConflictError("in use", status=409, ref="order-1"), 409, "conflict"),
        (APIStatusError("no such discount", status=400, ref="order-1"), 422, "refused"),
        (NotFoundError("no such account", status=404, ref="order-1"), 422, "refused"),
        (AuthenticationError("who", status=401, ref="order-1"), 500, "not_now"),
        (PermissionDeniedError("the scope", status=403, ref="order-1"), 500, "not_now"),
        (ConfigurationError("client_secret: cannot be got", ref="order-1"), 500, "not_now"),
        (NotSentError("no connection", ref="order-1"), 503, "not_now"),
        (RateLimitedError("slow down", status=429, ref="order-1"), 503, "not_now"),
        (ServerError("out of order", status=500, ref="order-1"), 503, "not_now"),
        (ClientStateError("draining", ref="order-1"), 503, "not_now"),
        (NoAnswerError("reset"), 503, "not_now"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_shopper_is_told(error, status, said):
    """Each error has one answer; those that pass say when to come back."""
    answer = shop.answer_to(error)
    assert (answer.status, answer.body["status"]) == (status, said)
    assert ("Retry-After" in answer.headers) == (status in (202, 503))


@pytest.mark.parametrize(("told", "said"), [(None, "5"), (0.2, "1"), (7.0, "7"), (7.1, "8")])
def test_when_to_come_back(told, said):
    """A shopper comes back no earlier than the API wishes, in whole seconds."""
    error = NotSentError("the server asked to slow down", retry_after=told)
    assert shop.answer_to(error).headers == {"Retry-After": said}


def test_the_claim_of_an_order():
    """The number of an order is the `ref` of its claim, and its time is the claim's; nothing is made up."""
    assert shop.claim_of(ORDER).to_dict() == {
        "ref": "order-1",
        "customer_id": "customer-1",
        "purchase_at": "2026-11-23T12:00:00+00:00",
        "discounts": [{"id": "discount-1"}],
    }


@pytest.mark.parametrize("order", [None, [], {}, ORDER | {"number": 1}, ORDER | {"number": None}])
def test_an_order_has_a_number(order):
    """Without a number nothing is claimed: its claim could never be found again."""
    with pytest.raises(InvalidClaimError, match="number"):
        shop.claim_of(order)
