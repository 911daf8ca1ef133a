"""The contract: which requests it allows, and what it says of the others."""

import warnings
from pathlib import Path

import pytest
import yaml
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator, oas30_format_checker

from dintero_claims_client.sandbox import contract as contract_module
from dintero_claims_client.sandbox.contract import ListQuery, load_contract
from dintero_claims_client.sandbox.refusal import Refusal

ROOT = Path(__file__).resolve().parents[2]

GOOD = {
    "as short as can be": {},
    "a longest customer id": {"customer_id": "c" * 255},
    "a longest customer id, counted in characters": {"customer_id": "😀" * 255},
    "a customer id of one character": {"customer_id": "c"},
    "a space inside the customer id": {"customer_id": "customer 1"},
    "an offset": {"purchase_at": "2026-11-07T05:31:56+02:00"},
    "a negative offset": {"purchase_at": "2026-11-07T05:31:56-11:30"},
    "fractions of a second": {"purchase_at": "2026-11-07T05:31:56.123456Z"},
    "the last day of February in a leap year": {"purchase_at": "2028-02-29T00:00:00Z"},
    "a ref of one character": {"ref": "r"},
    "a type": {"type": "pos"},
    "an empty type": {"type": ""},
    "null in a discount": {"discounts": [{"id": None, "refs": None}]},
    "null in a use of a discount": {"discounts": [{"refs": [{"id": None, "amount": None, "usage": None}]}]},
    "no uses of a discount": {"discounts": [{"refs": []}]},
    "zero and negative amounts": {"discounts": [{"refs": [{"amount": 0}, {"amount": -1}]}]},
    "an amount larger than 64 bits": {"discounts": [{"refs": [{"amount": 2**70}]}]},
    "a field of a discount that the contract does not name": {"discounts": [{"name": "ten off"}]},
}
BAD = {
    "a customer id that is too long": ({"customer_id": "c" * 256}, "/customer_id"),
    "an empty customer id": ({"customer_id": ""}, "/customer_id"),
    "a leading space": ({"customer_id": " c"}, "/customer_id"),
    "a trailing space": ({"customer_id": "c "}, "/customer_id"),
    "a leading no-break space": ({"customer_id": "\u00a0c"}, "/customer_id"),
    "nothing but a space": ({"customer_id": " "}, "/customer_id"),
    "a customer id that is null": ({"customer_id": None}, "/customer_id"),
    "a customer id that is a number": ({"customer_id": 1}, "/customer_id"),
    "a time without offset": ({"purchase_at": "2026-11-07T05:31:56"}, "/purchase_at"),
    "a space between date and time": ({"purchase_at": "2026-11-07 05:31:56Z"}, "/purchase_at"),
    "a date": ({"purchase_at": "2026-11-07"}, "/purchase_at"),
    "a day that February lacks": ({"purchase_at": "2027-02-29T00:00:00Z"}, "/purchase_at"),
    "hour 24": ({"purchase_at": "2026-11-07T24:00:00Z"}, "/purchase_at"),
    "a time that is a number": ({"purchase_at": 1794029516}, "/purchase_at"),
    "no discounts": ({"discounts": []}, "/discounts"),
    "discounts that are null": ({"discounts": None}, "/discounts"),
    "discounts that are an object": ({"discounts": {}}, "/discounts"),
    "a discount that is null": ({"discounts": [None]}, "/discounts/0"),
    "a discount's id that is a number": ({"discounts": [{}, {"id": 1}]}, "/discounts/1/id"),
    "an amount that is true": ({"discounts": [{"refs": [{"amount": True}]}]}, "/discounts/0/refs/0/amount"),
    "an amount with a fraction": ({"discounts": [{"refs": [{"amount": 1.5}]}]}, "/discounts/0/refs/0/amount"),
    "an amount of 1.0": ({"discounts": [{"refs": [{"amount": 1.0}]}]}, "/discounts/0/refs/0/amount"),
    "an amount in words": ({"discounts": [{"refs": [{"amount": "1"}]}]}, "/discounts/0/refs/0/amount"),
    "a usage that is true": ({"discounts": [{"refs": [{"usage": True}]}]}, "/discounts/0/refs/0/usage"),
    "an empty ref": ({"ref": ""}, "/ref"),
    "a ref that is null": ({"ref": None}, "/ref"),
    "a ref that is a number": ({"ref": 1}, "/ref"),
    "a type that is null": ({"type": None}, "/type"),
    "a field that the contract does not name": ({"reff": "r"}, ""),
    "a field that the server fills": ({"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a"}, ""),
}


@pytest.fixture
def contract():
    """Return the contract of this checkout."""
    return load_contract()


@pytest.fixture(scope="module")
def oracle():
    """Return a function that asks another validator of OpenAPI schemas."""
    document = yaml.safe_load((ROOT / "openapi/discounts.yaml").read_text(encoding="utf-8"))

    def is_valid(name: str, value: object, *, validator=OAS30WriteValidator) -> bool:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        with warnings.catch_warnings():
            # jsonschema deprecates the way in which this validator resolves references.
            warnings.simplefilter("ignore", DeprecationWarning)
            return validator(schema, format_checker=oas30_format_checker).is_valid(value)

    return is_valid


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
def test_allows(contract, oracle, body, changes):
    """What the contract allows is allowed, and an independent validator agrees."""
    assert body | changes == contract.read_claim_request(body | changes)
    assert oracle("ClaimRequest", body | changes)


@pytest.mark.parametrize(("changes", "path"), BAD.values(), ids=BAD)
def test_refuses(contract, oracle, body, changes, path):
    """What the contract forbids is refused with its place, and an independent validator agrees."""
    with pytest.raises(Refusal) as caught:
        contract.read_claim_request(body | changes)
    assert caught.value.status == 400
    assert {path} == {detail["path"] for detail in caught.value.details}
    assert not oracle("ClaimRequest", body | changes)


@pytest.mark.parametrize("customer_id", ["c\n", "c\ufeff", "\ufeffc"], ids=ascii)
def test_patterns_are_those_of_the_contract(contract, body, customer_id):
    """A pattern means what ECMAScript says: Python's would let these pass, and the other validator does."""
    with pytest.raises(Refusal):
        contract.read_claim_request(body | {"customer_id": customer_id})


@pytest.mark.parametrize("content", [None, [], "text", 1, True], ids=repr)
def test_refuses_what_is_no_object(contract, content):
    """A claim request is an object."""
    with pytest.raises(Refusal):
        contract.read_claim_request(content)


def test_lists_everything_that_is_wrong(contract):
    """One answer names every missing field and every wrong one."""
    with pytest.raises(Refusal) as caught:
        contract.read_claim_request({"ref": ""})
    messages = " ".join(detail["message"] for detail in caught.value.details)
    assert len(caught.value.details) == 4
    assert all(field in messages for field in ("purchase_at", "customer_id", "discounts"))


def test_does_not_echo_values(contract, body):
    """A refusal names the rule and the place, and not what was sent."""
    with pytest.raises(Refusal) as caught:
        contract.read_claim_request(body | {"customer_id": " someone@example.com"})
    assert "someone" not in repr(caught.value.details)


@pytest.mark.parametrize(
    ("account_id", "expected"),
    [
        ("T12345678", True),
        ("P00000000", True),
        ("T1234567", False),
        ("T123456789", False),
        ("X12345678", False),
        ("t12345678", False),
        ("T1234567a", False),
        ("T12345678\n", False),
        ("T" + "\N{FULLWIDTH DIGIT ONE}" * 8, False),
        ("", False),
    ],
)
def test_account_ids(contract, account_id, expected):
    """An account id is P or T and eight ASCII digits, and nothing after them."""
    assert expected is contract.is_account_id(account_id)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ListQuery(10, None)),
        ([("limit", "1")], ListQuery(1, None)),
        ([("limit", "100")], ListQuery(100, None)),
        ([("starting_after", "x"), ("limit", "7")], ListQuery(7, "x")),
        ([("starting_after", "7")], ListQuery(10, "7")),
        ([("starting_after", "")], ListQuery(10, "")),
        ([("ref", "r"), ("ref", "s")], ListQuery(10, None)),
    ],
)
def test_list_queries(contract, items, expected):
    """Parameters have the contract's types and defaults; others are ignored."""
    assert expected == contract.read_list_query(items)


@pytest.mark.parametrize(
    "limit", ["0", "101", "-1", "", "ten", "1.0", "1e1", " 5", "\N{ARABIC-INDIC DIGIT FIVE}", "9" * 30]
)
def test_refuses_limits(contract, limit):
    """A limit is an integer from 1 to 100, in ASCII digits."""
    with pytest.raises(Refusal) as caught:
        contract.read_list_query([("limit", limit)])
    assert caught.value.status == 400
    assert {"/limit"} == {detail["path"] for detail in caught.value.details}


def test_refuses_a_parameter_given_twice(contract):
    """Two cursors are not a cursor."""
    with pytest.raises(Refusal) as caught:
        contract.read_list_query([("starting_after", "a"), ("starting_after", "b")])
    assert [error["message"] for error in caught.value.details] == ["the parameter is given more than once"]


async def test_answers_are_what_the_contract_says(api, oracle):
    """Claims, pages and errors that are answered have the contract's form, by an independent validator."""
    claim = (await api.claim(ref="r")).json()
    conflict = (await api.claim(ref="r")).json()
    invalid = (await api.claim(customer_id="")).json()
    api.sandbox.rules.delete_claim(claim["id"])
    (deleted,) = (await api.page()).json()
    for name, value in [
        ("Claim", claim),
        ("Claim", deleted),
        ("ErrorResponse", conflict),
        ("ErrorResponse", invalid),
    ]:
        assert oracle(name, value, validator=OAS30ReadValidator)


def test_is_compiled_once():
    """All sandboxes of a process share one contract."""
    assert load_contract() is load_contract()


def test_says_where_the_contract_was_looked_for(monkeypatch, tmp_path):
    """A package without its contract says which file is missing."""
    monkeypatch.setattr(contract_module, "_PLACES", (tmp_path / "discounts.yaml",))
    with pytest.raises(FileNotFoundError, match=r"discounts\.yaml"):
        load_contract.__wrapped__()
