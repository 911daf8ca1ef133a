"""What is refused before anything is sent, and how it is said."""

import datetime
from pathlib import Path

import pytest
import yaml
from conftest import claim_request

from dintero_claims_client import UNSET, ClaimDiscount, ClaimDiscountRef, InvalidClaimError
from dintero_claims_client._validation import (
    BODY_MAX,
    CUSTOMER_ID_MAX,
    EXACT_INTEGER_MAX,
    check_claim,
    check_text_argument,
    encode_body,
    shape,
    without_null,
)

NAIVE = datetime.datetime(2026, 11, 23, 12, 0)
ODD_OFFSET = datetime.datetime(
    2026, 11, 23, 12, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1, seconds=30))
)


def _ref(**changes):
    return [
        ClaimDiscount(id="d", refs=[ClaimDiscountRef(id="a"), ClaimDiscountRef(**({"id": "b"} | changes))])
    ]


class _Text(str):
    """A subclass of str, which is text too."""


@pytest.mark.parametrize(
    ("changes", "field", "shape_"),
    [
        ({"purchase_at": NAIVE}, "purchase_at", "a datetime without one"),
        ({"purchase_at": ODD_OFFSET}, "purchase_at", "an offset with seconds"),
        ({"purchase_at": "2026-11-23T12:00:00Z"}, "purchase_at", "text of 20 characters"),
        ({"purchase_at": datetime.date(2026, 11, 23)}, "purchase_at", "date"),
        ({"purchase_at": None}, "purchase_at", "nothing"),
        ({"customer_id": ""}, "customer_id", "text of 0 characters"),
        ({"customer_id": "x" * 256}, "customer_id", "text of 256 characters"),
        ({"customer_id": " x"}, "customer_id", "text with one"),
        ({"customer_id": "x "}, "customer_id", "text with one"),
        ({"customer_id": "x\n"}, "customer_id", "text with one"),
        ({"customer_id": " "}, "customer_id", "text with one"),
        ({"customer_id": "\ufeffx"}, "customer_id", "text with one"),
        ({"customer_id": 7}, "customer_id", "int"),
        ({"customer_id": None}, "customer_id", "nothing"),
        ({"customer_id": "\ud800"}, "customer_id", "text with a lone surrogate"),
        ({"ref": ""}, "ref", "text of 0 characters"),
        ({"ref": 7}, "ref", "int"),
        ({"ref": b"x"}, "ref", "bytes of 1"),
        ({"ref": "\udfff"}, "ref", "text with a lone surrogate"),
        ({"type_": 7}, "type", "int"),
        ({"discounts": []}, "discounts", "list of 0"),
        ({"discounts": None}, "discounts", "nothing"),
        ({"discounts": UNSET}, "discounts", "nothing"),
        ({"discounts": ()}, "discounts", "tuple of 0"),
        ({"discounts": "d"}, "discounts", "text of 1 characters"),
        ({"discounts": [{"id": "d"}]}, "discounts[0]", "dict of 1"),
        ({"discounts": [ClaimDiscount(id=7)]}, "discounts[0].id", "int"),
        ({"discounts": [ClaimDiscount(id="")]}, "discounts[0].id", "text of 0 characters"),
        ({"discounts": [ClaimDiscount(id="d", refs="x")]}, "discounts[0].refs", "text of 1 characters"),
        ({"discounts": [ClaimDiscount(id="d", refs=[{}])]}, "discounts[0].refs[0]", "dict of 0"),
        ({"discounts": _ref(id=7)}, "discounts[0].refs[1].id", "int"),
        ({"discounts": _ref(amount=1.0)}, "discounts[0].refs[1].amount", "float"),
        ({"discounts": _ref(amount=True)}, "discounts[0].refs[1].amount", "bool"),
        ({"discounts": _ref(amount="1")}, "discounts[0].refs[1].amount", "text of 1 characters"),
        ({"discounts": _ref(usage=float("nan"))}, "discounts[0].refs[1].usage", "float"),
        ({"discounts": _ref(usage=2**53)}, "discounts[0].refs[1].usage", "integer of 54 bits"),
        ({"discounts": _ref(amount=-(2**53))}, "discounts[0].refs[1].amount", "integer of 54 bits"),
    ],
    ids=str,
)
def test_a_claim_that_breaks_a_rule(changes, field, shape_):
    """The error names the field and the rule, and describes what was given without showing it."""
    with pytest.raises(InvalidClaimError) as caught:
        check_claim(claim_request(**changes))
    assert (field, shape_) == (caught.value.field, caught.value.shape)
    assert f"{field}: {caught.value.rule}; got {shape_}" == str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("request_", [None, {}, "claim", 7])
def test_something_else_than_a_claim(request_):
    """What is not a ClaimRequest is refused."""
    with pytest.raises(InvalidClaimError, match="must be a ClaimRequest"):
        check_claim(request_)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ref": None},
        {"ref": UNSET, "type_": None},
        {"type_": ""},
        {"customer_id": "x"},
        {"customer_id": "x" * 255},
        {"customer_id": "x y\tz"},
        {"customer_id": _Text("x")},
        {"customer_id": "ø" * 255},
        {"ref": " "},
        {"discounts": [ClaimDiscount()]},
        {"discounts": [ClaimDiscount(id=None, refs=None)]},
        {"discounts": _ref(amount=0, usage=-1)},
        {"discounts": _ref(amount=EXACT_INTEGER_MAX, usage=-EXACT_INTEGER_MAX)},
        {"discounts": _ref(amount=None, usage=UNSET)},
        {"purchase_at": datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)},
    ],
    ids=str,
)
def test_a_claim_that_meets_all_rules(changes):
    """Both sides of every limit: what is allowed passes."""
    check_claim(claim_request(**changes))


def test_none_counts_as_absent():
    """What is None is not sent, on any level."""
    request = claim_request(ref=None, type_=None, discounts=_ref(amount=None))
    assert without_null(request.to_dict()) == {
        "purchase_at": "2026-11-23T12:00:00+00:00",
        "customer_id": "customer-1",
        "discounts": [{"id": "d", "refs": [{"id": "a"}, {"id": "b"}]}],
    }


def test_bytes():
    """A body is compact UTF-8, the same for the same claim."""
    assert '{"a":"ø","b":[1,2]}'.encode() == encode_body({"a": "ø", "b": [1, 2]})


def test_a_claim_that_is_too_large():
    """A claim whose answer might be too large to be read is refused."""
    assert encode_body({"a": "x" * (BODY_MAX - 8)})
    with pytest.raises(InvalidClaimError, match="524288 bytes"):
        encode_body({"a": "x" * (BODY_MAX - 7)})


@pytest.mark.parametrize("value", ["", ".", "..", None, 7, "\ud800"])
def test_arguments_that_cannot_be_an_id(value):
    """An id goes into a path, so a step in a path is not one."""
    with pytest.raises(InvalidClaimError, match="claim_id"):
        check_text_argument("claim_id", value)


def test_shape_does_not_show_the_value():
    """A shape is the kind and size of a value."""
    assert [shape(value) for value in (None, UNSET, "abc", ["secret"], 1.5)] == [
        "nothing",
        "nothing",
        "text of 3 characters",
        "list of 1",
        "float",
    ]


def test_limits_are_the_contracts():
    """The limits that are checked here are those of the contract."""
    contract = yaml.safe_load((Path(__file__).parents[2] / "openapi/discounts.yaml").read_text())
    claim = contract["components"]["schemas"]["ClaimRequest"]["properties"]
    assert claim["customer_id"]["maxLength"] == CUSTOMER_ID_MAX
    assert [
        claim["customer_id"]["minLength"],
        claim["ref"]["minLength"],
        claim["discounts"]["minItems"],
    ] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("amount", 1.5, r"discounts\[0\].refs\[0\].amount"),
        ("usage", True, r"discounts\[0\].refs\[0\].usage"),
        (7, "x", r"discounts\[0\].refs\[0\]"),
    ],
)
def test_an_additional_field_does_not_get_past_a_rule(make_request, name, value, field):
    """A known field that is set as an additional one, or a name that is no text, is refused."""
    request = make_request("order-1", discounts=[ClaimDiscount(id="d", refs=[ClaimDiscountRef(id="i")])])
    request.discounts[0].refs[0][name] = value
    with pytest.raises(InvalidClaimError, match=field):
        check_claim(request)
    request = make_request("order-1", discounts=[ClaimDiscount()])
    request.discounts[0]["id"] = 7
    with pytest.raises(InvalidClaimError, match=r"discounts\[0\].id"):
        check_claim(request)
