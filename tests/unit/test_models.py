"""From JSON to a claim request."""

import datetime

import pytest

from dintero_claims_client import UNSET, InvalidClaimError, claim_request_from_json

CLAIM = {
    "purchase_at": "2023-11-07T05:31:56Z",
    "customer_id": "c",
    "discounts": [{"id": "d", "refs": [{"id": "a", "amount": 1, "usage": 1}]}],
}


def test_a_claim():
    """A JSON object in the API's form becomes the request that is sent as that object."""
    request = claim_request_from_json(CLAIM | {"ref": "r", "type": "pos"})
    assert datetime.datetime(2023, 11, 7, 5, 31, 56, tzinfo=datetime.UTC) == request.purchase_at
    expected = CLAIM | {"ref": "r", "type": "pos", "purchase_at": "2023-11-07T05:31:56+00:00"}
    assert expected == request.to_dict()


def test_optional_fields():
    """A ref or type that is null or absent is unset, and lower-case dates are read."""
    request = claim_request_from_json(CLAIM | {"ref": None, "purchase_at": "2023-11-07t05:31:56z"})
    assert (request.ref, request.type_) == (UNSET, UNSET)
    assert claim_request_from_json(CLAIM | {"discounts": []}).discounts == []


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "claim"),
        ([], "claim"),
        ({}, "purchase_at"),
        ({"purchase_at": "2023-11-07T05:31:56Z"}, "customer_id"),
        ({"purchase_at": "2023-11-07T05:31:56Z", "customer_id": "c"}, "discounts"),
        (CLAIM | {"reff": "r"}, "claim"),
        (CLAIM | {"id": "x"}, "claim"),
        (CLAIM | {"purchase_at": 5}, "purchase_at"),
        (CLAIM | {"purchase_at": "yesterday"}, "purchase_at"),
        (CLAIM | {"discounts": {}}, "discounts"),
        (CLAIM | {"discounts": [7]}, "discounts[0]"),
        (CLAIM | {"discounts": [{"idd": "x"}]}, "discounts[0]"),
        (CLAIM | {"discounts": [{"refs": "x"}]}, "discounts[0].refs"),
        (CLAIM | {"discounts": [{"refs": [7]}]}, "discounts[0].refs[0]"),
        (CLAIM | {"discounts": [{"refs": [{"amout": 1}]}]}, "discounts[0].refs[0]"),
    ],
    ids=str,
)
def test_what_is_not_a_claim(value, field):
    """Another shape, an unknown field and a missing one are refused by name."""
    with pytest.raises(InvalidClaimError) as caught:
        claim_request_from_json(value)
    assert field == caught.value.field
