"""The rules that are written by hand are those of the contract: a limit that changes there turns this red."""

from pathlib import Path

import pytest
import yaml

# Its patterns are those of JavaScript, as the contract's are; Python's know other spaces and line ends.
from jsonschema_rs import Draft4Validator

from contract import documents
from dintero_claims_client import ConfigurationError, InvalidClaimError, claim_request_from_json
from dintero_claims_client._pages import PAGE_SIZE
from dintero_claims_client._validation import check_claim
from dintero_claims_client.settings import check_account_id

CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "openapi/discounts.yaml").read_text())
CLAIM = documents.plain(CONTRACT, CONTRACT["components"]["schemas"]["ClaimRequest"])
CLAIMS = "/accounts/{aid}/discounts/available_for_receipt/claims"

VALID = {
    "purchase_at": "2026-11-23T12:00:00Z",
    "customer_id": "customer-1",
    "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
    "ref": "order-1",
    "type": "pos",
}


def _probes():
    """Give claims on both sides of each limit, wherever the contract has it at this moment."""
    yield "valid", VALID
    for name, schema in CLAIM["properties"].items():
        yield f"without {name}", {key: value for key, value in VALID.items() if key != name}
        yield f"{name} is a number", VALID | {name: 7}
        if schema["type"] == "string" and "format" not in schema:
            limits = {schema.get("minLength", 0), schema.get("maxLength", 300)}
            for length in sorted({length + step for length in limits for step in (-1, 0, 1)}):
                if length >= 0:
                    yield f"{name} of {length}", VALID | {name: "x" * length}
            for text in (
                " x",
                "x ",
                "\tx",
                "x\n",
                "x y",
                "\N{NO-BREAK SPACE}x",
                "\N{ZERO WIDTH NO-BREAK SPACE}x",
            ):
                if name == "customer_id" or "pattern" in schema:
                    yield f"{name} {text!r}", VALID | {name: text}
        if schema["type"] == "array":
            for count in range(schema.get("minItems", 0) + 2):
                yield f"{count} {name}", VALID | {name: VALID[name] * count}
    yield "another field", VALID | {"another": "x"}


@pytest.mark.parametrize(("claim"), [pytest.param(claim, id=name) for name, claim in _probes()])
def test_a_claim_that_the_contract_allows_is_one_that_is_sent(claim):
    """What is refused before it is sent is just what the contract does not allow, at each of its limits."""
    allowed = Draft4Validator(CLAIM, validate_formats=True).is_valid(claim)
    try:
        check_claim(claim_request_from_json(claim))
        sent = True
    except InvalidClaimError:
        sent = False
    assert sent == allowed


@pytest.mark.parametrize(
    "account_id",
    [
        "T12345678",
        "P12345678",
        "X12345678",
        "T1234567",
        "T123456789",
        "t12345678",
        "T1234567x",
        "TT1234567",
        "",
    ],
)
def test_an_account_that_the_contract_allows(account_id):
    """An account id is taken where the contract's pattern and lengths allow it, and nowhere else."""
    schema = CONTRACT["components"]["parameters"]["AccountId"]["schema"]
    allowed = Draft4Validator(schema).is_valid(account_id)
    try:
        check_account_id(account_id)
        taken = True
    except ConfigurationError:
        taken = False
    assert taken == allowed


def test_pages_are_as_large_as_the_contract_allows():
    """Lists are read in the largest pages that there are."""
    (limit,) = [one for one in CONTRACT["paths"][CLAIMS]["get"]["parameters"] if one.get("name") == "limit"]
    assert limit["schema"]["maximum"] == PAGE_SIZE
