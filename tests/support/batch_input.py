"""What the tests of a batch's input share: inputs, and what is read from them."""

import datetime
import io
import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dintero_claims_client import UNSET, ClaimDiscount, ClaimDiscountRef, ClaimRequest
from dintero_claims_client._validation import without_null
from dintero_claims_client.cli.batch_input import BadRow, InputClaim, choose_format, read_claims

ANY = settings(
    max_examples=200, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip

HEADER = (
    "purchase_at,customer_id,ref,type,"
    "discounts.id,discounts.refs.id,discounts.refs.amount,discounts.refs.usage"
)
AT = "2026-11-07T05:31:56Z"
ROW = f"{AT},customer-1"
"""How a row of a CSV with the usual header begins."""


class _Pieces(io.RawIOBase):
    def __init__(self, pieces):
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        self._left = self._left or next(self._pieces, b"")
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def generated(pieces):
    """Return a stream of pieces that are made when they are read, so that nothing holds all of it."""
    return io.BufferedReader(_Pieces(pieces))


def read(content, name="-", *, mapping=(), delimiter=None):
    """Return all that is read from bytes, text, or a stream."""
    if isinstance(content, str):
        content = content.encode()
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    return list(read_claims(stream, choose_format(name, kind=None, mapping=mapping, delimiter=delimiter)))


def read_csv(*lines, **options):
    """Return all that is read from a CSV of these lines after the usual header."""
    return read("\n".join((HEADER, *lines)), "a.csv", **options)


def sent(claim):
    """Return a claim as it would be sent."""
    return without_null(claim.request.to_dict())


def bodies(results):
    """Return what would be sent, by the line; there must be claims only."""
    assert all(isinstance(result, InputClaim) for result in results), results
    return {result.line: sent(result) for result in results}


def outline(results):
    """Return the lines of the claims, and those of the bad rows."""
    return (
        [result.line for result in results if isinstance(result, InputClaim)],
        [result.line for result in results if isinstance(result, BadRow)],
    )


def as_line(claim, **options):
    """Return a claim as a line of JSON."""
    return json.dumps(claim.to_dict(), **options).encode()


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
# A row that holds NUL is bad.
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
TIME = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1),
    timezones=st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))]),
)
NUMBER = st.integers(-(2**53) + 1, 2**53 - 1)


def no_space(text):
    """Say whether a text may be a customer's id."""
    return text == text.strip().strip("\ufeff")


def claims(text, *, ref):
    """Return claims with these texts, and such refs."""
    fields = st.fixed_dictionaries({}, optional={"id": text, "amount": NUMBER, "usage": NUMBER})
    items = st.lists(fields.map(lambda given: ClaimDiscountRef(**given)), max_size=3)
    discount = st.builds(ClaimDiscount, id=text, refs=items)
    return st.builds(
        ClaimRequest,
        purchase_at=TIME,
        customer_id=text.filter(no_space),
        discounts=st.lists(discount, min_size=1, max_size=3),
        ref=ref,
        type_=st.just(UNSET) | text,
    )
