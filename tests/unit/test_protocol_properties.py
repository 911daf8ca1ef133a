"""What holds of the pure rules for any input."""

import datetime
import json
import math
import tracemalloc
from email.utils import format_datetime

import pytest
from faults.test_properties import CLAIM, ERROR, JSON, TIME, TOO_MUCH, VALID, examples, text
from hypothesis import example, given
from hypothesis import strategies as st

from dintero_claims_client import APIStatusError, ServerError
from dintero_claims_client._protocol import (
    UNREADABLE,
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
)

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


def encoded(values):
    """Return the JSON of these values as bytes."""
    return values.map(lambda value: json.dumps(value).encode())


OBJECT = st.dictionaries(text(max_size=8), JSON, max_size=3)

DIGITS = st.text(st.characters(categories=["Nd", "No", "Nl"]), min_size=1, max_size=20)
DATE = st.builds(
    "{}, {} {} {} {} {}".format,
    st.sampled_from(["Mon", "Monday", "Xyz"]),
    st.integers(-1, 99) | DIGITS,
    st.sampled_from(["Nov", "Jan", "Xyz"]),
    st.integers(0, 10**20),
    st.sampled_from(["12:00:30", "99:99:99", "12.00.30", ":", ""]) | DIGITS,
    st.sampled_from(["GMT", "", "+0100", "-2359", "+" + "9" * 20, "EST"]) | text(max_size=5),
)


@examples(400)
@given(value=text() | DIGITS | DATE | st.integers().map(str) | st.floats().map(str))
@example("²")
@example("٣")
@example("9" * 5000)
@example("Mon, 1 Jan 2026 00:00:00 -" + "9" * 5000)
def test_any_retry_after(value):
    """A Retry-After is a number of seconds, 0 or more and finite, or nothing; only ASCII digits are one."""
    seconds = parse_retry_after(value, NOW)
    if seconds is not None:
        assert type(seconds) is float
        assert 0 <= seconds < math.inf
    bare = value.strip()
    if bare.isnumeric():
        assert seconds == (float(bare) if bare.isascii() and len(bare) <= 15 else None)


@examples(120)
@given(at=st.datetimes(min_value=datetime.datetime(1900, 1, 1), timezones=st.just(datetime.UTC)))
def test_any_date_as_retry_after(at):
    """Any HTTP date is read as the seconds until then."""
    at = at.replace(microsecond=0)
    assert parse_retry_after(format_datetime(at, usegmt=True), NOW) == max(0.0, (at - NOW).total_seconds())


@examples(120)
@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "x-request-id", "request-id", "content-type"]),
        text(max_size=20) | DATE,
    ),
    body=st.binary(max_size=50) | TOO_MUCH | encoded(JSON | ERROR | OBJECT),
    ref=st.none() | text(max_size=5),
)
def test_any_status_error(status, headers, body, ref):
    """Any answer becomes an error of its status, whose fields are of the types that they promise."""
    error = status_error(status, headers, body, now=NOW, ref=ref)
    assert isinstance(error, APIStatusError)
    assert isinstance(error, ServerError) == (status >= 500)
    assert (error.status, error.ref, error.body) == (status, ref, body[: 16 * 1024])
    assert error.code is None or type(error.code) is str
    assert type(error.message) is str
    assert 0 < len(error.message) <= 1024
    assert type(error.errors) is tuple
    assert all(isinstance(item, dict) for item in error.errors)
    assert str(error).startswith(str(status))
    assert error.retry_after is None or 0 <= error.retry_after < math.inf
    said = [headers.get(name) for name in ("x-request-id", "request-id")]
    assert error.request_id in said


@examples(120)
@given(body=st.binary() | TOO_MUCH | encoded(JSON))
def test_any_body(body):
    """Any body is an object, a list of objects, something else, or unreadable; never two of them."""
    value, one, many = read_json(body), read_object(body), read_objects(body)
    assert one is None or many is None
    if value is UNREADABLE:
        assert (one, many) == (None, None)
    assert (one is not None) == isinstance(value, dict)
    if many is not None:
        assert all(isinstance(item, dict) for item in many)


@examples(150)
@given(value=JSON | text() | DIGITS | st.decimals().map(str) | st.integers().map(str))
@example("²")
@example("9" * 5000)
@example(10**400)
@example(5e-324)
def test_any_token_lifetime(value):
    """Any lifetime is a positive number of seconds that is finite."""
    seconds = token_lifetime(value)
    assert type(seconds) is float
    assert 0 < seconds < math.inf


@examples(150)
@given(
    answer=st.fixed_dictionaries(
        {},
        optional={
            "access_token": text(max_size=8) | st.text("a.b~+/=\x7f\x20\n", max_size=4) | JSON,
            "token_type": st.sampled_from(["Bearer", "bearer", "mac"]) | JSON,
            "error": JSON,
        },
    )
    | OBJECT
)
def test_any_token_answer(answer):
    """A token that is used is the one in the answer, and can stand in a header."""
    token = usable_token(answer)
    if token is not None:
        assert token == answer["access_token"]
        assert f"Bearer {token}".encode("ascii").split() == [b"Bearer", token.encode()]
        assert token.isprintable()
        assert "error" not in answer


@examples(150)
@given(claim=CLAIM | OBJECT, ref=st.none() | text(max_size=5), customer_id=text(max_size=5))
def test_any_answer_to_a_claim(claim, ref, customer_id):
    """An answer is believed with the names that were sent or with none, and with no other."""
    believed = answers(claim, ref=ref, customer_id=customer_id)
    others = [
        name
        for name, sent in (("ref", ref), ("customer_id", customer_id))
        if claim.get(name) is not None and claim[name] != sent
    ]
    assert believed is (others == [])
    assert answers({**claim, "ref": ref, "customer_id": customer_id}, ref=ref, customer_id=customer_id)
    assert not answers({**claim, "ref": "another" + (ref or "")}, ref=ref, customer_id=customer_id)
    assert not answers({**claim, "customer_id": "another" + customer_id}, ref=ref, customer_id=customer_id)
    claim_id = usable_id(claim)
    assert claim_id is None or (claim_id == claim["id"] and claim_id.strip() and claim_id.isprintable())


SENT = VALID.map(lambda request: json.loads(json.dumps(_without_none(request.to_dict()))))


def _without_none(value):
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def shuffled(data, claim):
    """Return the claim with its lists in another order."""
    discounts = [
        {**one, "refs": data.draw(st.permutations(one["refs"]))} if "refs" in one else one
        for one in data.draw(st.permutations(claim["discounts"]))
    ]
    return {**claim, "discounts": discounts}


@examples(120)
@given(sent=SENT, extra=OBJECT, data=st.data())
def test_any_claim_is_the_same_as_itself(sent, extra, data):
    """A claim is the same as itself, in any order of its lists and both ways, also with additions."""
    other = shuffled(data, sent)
    assert same_claim(sent, sent)
    assert same_claim(sent, other)
    assert same_claim(other, sent)
    assert same_claim(sent, {f"added-{name}": value for name, value in extra.items()} | other)
    assert same_claim(sent, dict.fromkeys(sent) | {"ref": sent.get("ref")})


@examples(120)
@given(sent=SENT, data=st.data())
def test_any_change_makes_it_another(sent, data):
    """A claim with one field changed is another one, whatever the order of its lists."""
    changed = json.loads(json.dumps(shuffled(data, sent)))
    discount = data.draw(st.sampled_from(changed["discounts"]))
    places = [(changed, "customer_id"), (discount, "id")]
    places += [(ref, name) for ref in discount.get("refs") or [] for name in ("id", "amount", "usage")]
    place, name = data.draw(st.sampled_from([one for one in places if one[1] in one[0]]))
    place[name] = place[name] + 1 if isinstance(place[name], int) else place[name] + "x"
    assert not same_claim(sent, changed)
    assert not same_claim(changed, sent)


@examples(150)
@given(sent=SENT, found=CLAIM | OBJECT, at=TIME | JSON)
def test_any_claim_read_back(sent, found, at):
    """Whatever is read back, it is the same claim or another one, and what names another is another."""
    assert type(same_claim(sent, found)) is bool
    assert type(same_claim(sent, {**sent, "purchase_at": at})) is bool
    assert not same_claim(sent, {**found, "customer_id": sent["customer_id"] + "x"})
    # A number's text is no number, and true is not 1.
    assert not same_claim(sent, {**found, "customer_id": 1})


@pytest.mark.parametrize("place", ["discounts", "refs"])
def test_lists_in_lists_are_compared_in_little_memory(place):
    """Lists in lists, which any answer can hold, are compared in the memory that their few bytes need."""
    deep = json.loads("[" * 18 + "]" * 18)
    found = {"discounts": deep if place == "discounts" else [{"id": "d", "refs": deep}]}
    tracemalloc.start()
    try:
        assert not same_claim({"discounts": [{"id": "d", "refs": [{"id": "i"}]}]}, found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_objects_in_objects_are_compared():
    """What is nested as deep as JSON can be read is another claim, and no exception."""
    found = read_object(b'{"discounts": [' + b'{"id":' * 900 + b"1" + b"}" * 900 + b"]}")
    assert found is not None
    assert not same_claim({"discounts": [{"id": "d"}]}, found)
