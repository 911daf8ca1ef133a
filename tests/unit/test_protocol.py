"""The pure rules: what an answer means, and what may be believed."""

import datetime
import json

import pytest

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
)
from dintero_claims_client._protocol import (
    UNREADABLE,
    Verdict,
    answers,
    parse_retry_after,
    read_json,
    read_object,
    read_objects,
    same_claim,
    status_error,
    token_lifetime,
    usable_id,
    usable_token,
    verdict,
)

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (100, Verdict.AMBIGUOUS),
        (199, Verdict.AMBIGUOUS),
        (200, Verdict.SUCCESS),
        (204, Verdict.SUCCESS),
        (299, Verdict.SUCCESS),
        (300, Verdict.REFUSED),
        (307, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (401, Verdict.UNAUTHORIZED),
        (402, Verdict.REFUSED),
        (407, Verdict.REFUSED),
        (408, Verdict.AMBIGUOUS),
        (409, Verdict.CONFLICT),
        (428, Verdict.REFUSED),
        (429, Verdict.THROTTLED),
        (430, Verdict.REFUSED),
        (499, Verdict.REFUSED),
        (500, Verdict.AMBIGUOUS),
        (520, Verdict.AMBIGUOUS),
        (530, Verdict.AMBIGUOUS),
        (599, Verdict.AMBIGUOUS),
        (600, Verdict.AMBIGUOUS),
        (999, Verdict.AMBIGUOUS),
    ],
)
def test_verdict(status, expected):
    """Each status says whether the request was executed, refused, or possibly either."""
    assert expected is verdict(status)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0.0),
        ("2", 2.0),
        (" 120 ", 120.0),
        ("99999999999", 99999999999.0),
        ("9" * 16, None),
        ("9" * 5000, None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("1e999", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("5, 10", None),
        ("٣", None),
        ("soon", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
        ("Mon Nov 23 12:00:30 2026", 30.0),
        ("Mon, 23 Nov 99999 12:00:30 GMT", None),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
        ("Mon, 23", None),
    ],
)
def test_retry_after(value, expected):
    """Seconds and HTTP dates are read; a past date is 0, and anything malformed is ignored."""
    assert expected == parse_retry_after(value, NOW)


@pytest.mark.parametrize(
    ("expires_in", "expected"),
    [
        (14400, 14400.0),
        (0.5, 0.5),
        ("3600", 3600.0),
        ("3600.5", 3600.5),
        (1e308, 1e308),
        (0, 60.0),
        (-1, 60.0),
        ("0", 60.0),
        ("-5", 60.0),
        ("1e5", 60.0),
        ("٣", 60.0),
        ("1_000", 60.0),
        ("", 60.0),
        ("soon", 60.0),
        (None, 60.0),
        (True, 60.0),
        (False, 60.0),
        ([3600], 60.0),
        (float("nan"), 60.0),
        (float("inf"), 60.0),
        (10**400, 60.0),
    ],
)
def test_token_lifetime(expires_in, expected):
    """A positive number, or its text, is the lifetime; anything else counts as 60 seconds."""
    assert expected == token_lifetime(expires_in)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"access_token": "a.b-c_d~+/="}, "a.b-c_d~+/="),
        ({"access_token": "x", "token_type": "bearer"}, "x"),
        ({"access_token": "x", "token_type": "mac"}, None),
        ({"access_token": "x", "token_type": None}, None),
        ({"access_token": "x", "error": None}, None),
        ({"access_token": ""}, None),
        ({"access_token": "x\r\nEvil: 1"}, None),
        ({"access_token": "é"}, None),
        ({}, None),
    ],
)
def test_usable_token(answer, expected):
    """A token counts when it is a bearer token that fits into a header."""
    assert expected == usable_token(answer)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"{", b"nul"],
)
def test_unreadable_json(body):
    """A body that is not JSON, or more than Python reads, is unreadable and no exception."""
    assert UNREADABLE is read_json(body)
    assert read_object(body) is None
    assert read_objects(body) is None


def test_read_json_forms():
    """Objects and arrays of objects are told from everything else, `null` among it."""
    assert read_json(b"null") is None
    assert read_object(b'{"a": 1}') == {"a": 1}
    assert read_object(b"[]") is None
    assert read_objects(b'[{"a": 1}, {}]') == [{"a": 1}, {}]
    assert read_objects(b"[]") == []
    assert read_objects(b"[{}, 1]") is None
    assert read_objects(b"{}") is None


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"id": "x"}, "x"),
        ({"id": ""}, None),
        ({"id": "  "}, None),
        ({"id": 7}, None),
        ({"id": None}, None),
        ({}, None),
    ],
)
def test_usable_id(claim, expected):
    """An id counts when it is text that a claim can be read back by."""
    assert expected == usable_id(claim)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({}, True),
        ({"ref": "r", "customer_id": "c"}, True),
        ({"ref": None, "customer_id": None}, True),
        ({"ref": "other"}, False),
        ({"customer_id": "other"}, False),
        ({"ref": 5}, False),
        ({"ref": "r", "customer_id": "other"}, False),
    ],
)
def test_answers(claim, expected):
    """An answer that names another ref or customer is not believed; one that names none is."""
    assert expected is answers(claim, ref="r", customer_id="c")


def test_an_answer_with_a_ref_to_a_claim_without_one():
    """An answer that names a ref is not for a claim that had none."""
    assert not answers({"ref": "r"}, ref=None, customer_id="c")


SENT = {
    "purchase_at": "2026-11-23T12:00:00.123456+01:00",
    "customer_id": "c",
    "ref": "r",
    "discounts": [
        {"id": "d1", "refs": [{"id": "a", "amount": 5, "usage": 1}, {"id": "b", "amount": 7}]},
        {"id": "d2"},
    ],
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"id": "x", "created_at": "now", "new_field": {}}, True),
        ({"type": "set by the server"}, True),
        ({"purchase_at": "2026-11-23T11:00:00Z"}, True),
        ({"purchase_at": "2026-11-23t11:00:00.123z"}, True),
        ({"purchase_at": "2026-11-23T11:00:02Z"}, False),
        ({"purchase_at": "2026-11-23T12:00:00Z"}, False),
        ({"purchase_at": "2026-11-23T11:00:00"}, False),
        ({"purchase_at": "yesterday"}, False),
        ({"purchase_at": None}, True),
        ({"customer_id": "other"}, False),
        ({"customer_id": None}, True),
        ({"ref": "other"}, False),
        ({"discounts": None}, True),
        ({"discounts": []}, False),
        ({"discounts": SENT["discounts"][::-1]}, True),
        ({"discounts": [*SENT["discounts"], {"id": "d2"}]}, False),
        ({"discounts": [SENT["discounts"][0], SENT["discounts"][0]]}, False),
        ({"discounts": [{"id": "d1", "refs": None}, {"id": "d2", "refs": None, "name": "new"}]}, True),
        ({"discounts": [{"id": "d1", "refs": [{"id": "a", "amount": 6}, {"id": "b"}]}, {"id": "d2"}]}, False),
        (
            {"discounts": [{"id": "d1", "refs": [{"id": "b", "amount": 7.0}, {"id": "a"}]}, {"id": "d2"}]},
            True,
        ),
        ({"discounts": [{"id": "d1"}, {"id": "d1"}]}, False),
        ({"discounts": "d1"}, False),
        ({"discounts": [1, 2]}, False),
        (
            {"discounts": [{"id": "d1", "refs": [{"id": "b"}, {"id": "a", "usage": True}]}, {"id": "d2"}]},
            False,
        ),
    ],
)
def test_same_claim(changes, expected):
    """A claim read back is the same when all that the server shows of it is what was sent."""
    assert expected is same_claim(SENT, SENT | changes)


def test_same_claim_prefers_what_is_shown_in_full():
    """A discount that is shown in part does not take the place of one that is shown in full."""
    full = {"id": "a", "refs": [{"id": "i"}]}
    assert same_claim(
        SENT | {"discounts": [{"id": "a"}, full]}, {"discounts": [full, {"id": "a", "refs": []}]}
    )


def test_same_claim_of_many_refs():
    """Thousands of refs in another order, with additions of the server, are compared in one pass."""
    refs = [{"id": f"item-{n}", "amount": n, "usage": 1} for n in range(8000)]
    found = [ref | {"name": "added", "amount": float(ref["amount"])} for ref in refs[::-1]]
    assert same_claim(SENT | {"discounts": [{"refs": refs}]}, {"discounts": [{"refs": found}]})
    assert not same_claim(
        SENT | {"discounts": [{"refs": refs}]}, {"discounts": [{"refs": [*found[1:], {"id": "x"}]}]}
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, APIStatusError),
        (400, APIStatusError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, RefConflictError),
        (429, RateLimitedError),
        (499, APIStatusError),
        (500, ServerError),
        (520, ServerError),
        (999, ServerError),
    ],
)
def test_status_error(status, kind):
    """Each status has its class of error, which carries what the server said."""
    body = json.dumps({"error": {"code": "C", "message": "m", "errors": [{"a": 1}, 2]}}).encode()
    headers = {"retry-after": "7", "request-id": "q"}
    error = status_error(status, headers, body, now=NOW, ref="r")
    assert kind is type(error)
    assert (status, "C", "m", ({"a": 1},)) == (error.status, error.code, error.message, error.errors)
    assert ("q", 7.0, body, "r") == (error.request_id, error.retry_after, error.body, error.ref)
    assert f"{status} C: m" == str(error)


def test_status_error_of_other_forms():
    """An error as plain text is the message; without any words the error says so."""
    assert str(status_error(418, {}, b'{"error": "short and stout"}', now=NOW)) == "418 short and stout"
    assert len(status_error(418, {}, b'{"error": "' + b"x" * 9999 + b'"}', now=NOW).message) == 1024
    assert str(status_error(418, {}, b"<html>", now=NOW)) == "418 the server gave no reason"
