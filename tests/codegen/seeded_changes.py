"""Changes of a contract whose effect on callers is known: what classifies changes is tried on them.

The contract is the real one. Each change is made to it as a provider would, and `level` is what it does to
somebody whose program claims with the code that was generated before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import yaml

CONTRACT = Path(__file__).parent.parent.parent / "openapi" / "discounts.yaml"
CLAIMS = "/accounts/{aid}/discounts/available_for_receipt/claims"
ONE = f"{CLAIMS}/{{claim_id}}"

BREAKING, COMPATIBLE, WORDS = "breaking", "compatible", "words"


@attrs.frozen
class Seeded:
    """One change: its name, what it does to callers, and how it is made."""

    name: str
    level: str
    make: Callable[[Any], object]

    def __str__(self) -> str:
        return self.name


def contract() -> Any:
    """Return the contract as it is."""
    return yaml.safe_load(CONTRACT.read_text())


def changed(seeded: Seeded) -> Any:
    """Return the contract with a change."""
    document = copy.deepcopy(contract())
    seeded.make(document)
    return document


def _schema(document: Any, name: str) -> Any:
    return document["components"]["schemas"][name]


def _field(document: Any, schema: str, field: str) -> Any:
    return _schema(document, schema)["properties"][field]


def _post(document: Any) -> Any:
    return document["paths"][CLAIMS]["post"]


def _limit(document: Any) -> Any:
    return document["paths"][CLAIMS]["get"]["parameters"][0]["schema"]


def _move(document: Any) -> None:
    document["paths"]["/v2" + CLAIMS] = document["paths"].pop(CLAIMS)


def _rename(document: Any, schema: str, old: str, new: str) -> None:
    properties = _schema(document, schema)["properties"]
    properties[new] = properties.pop(old)


def _refer_elsewhere(document: Any) -> None:
    other = copy.deepcopy(_schema(document, "ClaimDiscount"))
    other["properties"]["id"]["type"] = "integer"
    document["components"]["schemas"]["OtherDiscount"] = other
    _field(document, "ClaimRequest", "discounts")["items"]["$ref"] = "#/components/schemas/OtherDiscount"


def _inline(document: Any) -> None:
    # Says the same in other words.
    error = document["components"]["responses"]["BadRequest"]
    document["paths"][CLAIMS]["get"]["responses"]["400"] = error


CHANGES = (
    # Paths and operations.
    Seeded("the path moves", BREAKING, _move),
    Seeded("an operation is gone", BREAKING, lambda d: d["paths"][ONE].pop("get")),
    Seeded(
        "an operation is new",
        COMPATIBLE,
        lambda d: d["paths"][ONE].update(
            delete={"operationId": "x", "responses": {"204": {"description": ""}}}
        ),
    ),
    Seeded("an operationId changes", BREAKING, lambda d: _post(d).update(operationId="post_claim")),
    Seeded("a tag changes", BREAKING, lambda d: _post(d).update(tags=["other"])),
    Seeded("a summary changes", WORDS, lambda d: _post(d).update(summary="Claim")),
    Seeded(
        "another scope is asked for", BREAKING, lambda d: _post(d).update({"x-scopes": ["admin:discounts"]})
    ),
    Seeded("nobody needs a token any more", BREAKING, lambda d: _post(d).update(security=[])),
    # Parameters.
    Seeded(
        "a required query parameter is new",
        BREAKING,
        lambda d: _post(d).update(
            parameters=[{"name": "store", "in": "query", "required": True, "schema": {"type": "string"}}]
        ),
    ),
    Seeded(
        "an optional query parameter is new",
        COMPATIBLE,
        lambda d: _post(d).update(
            parameters=[{"name": "store", "in": "query", "schema": {"type": "string"}}]
        ),
    ),
    Seeded("a parameter is gone", BREAKING, lambda d: d["paths"][CLAIMS]["get"]["parameters"].pop()),
    Seeded("a parameter's maximum falls", BREAKING, lambda d: _limit(d).update(maximum=50)),
    Seeded("a parameter's maximum rises", COMPATIBLE, lambda d: _limit(d).update(maximum=200)),
    Seeded("a default changes", BREAKING, lambda d: _limit(d).update(default=50)),
    Seeded(
        "the pattern of the account changes",
        BREAKING,
        lambda d: d["components"]["parameters"]["AccountId"]["schema"].update(pattern=r"^[PTX]{1}\d{8}$"),
    ),
    # What is sent.
    Seeded(
        "a required field is new in the request",
        BREAKING,
        lambda d: (
            _schema(d, "ClaimRequest")["properties"].update(currency={"type": "string"}),
            _schema(d, "ClaimRequest")["required"].append("currency"),
        ),
    ),
    Seeded(
        "an optional field is new in the request",
        COMPATIBLE,
        lambda d: _schema(d, "ClaimRequest")["properties"].update(store={"type": "string"}),
    ),
    Seeded(
        "a field of the request is gone",
        BREAKING,
        lambda d: _schema(d, "ClaimRequest")["properties"].pop("type"),
    ),
    Seeded(
        "a field of the request is renamed",
        BREAKING,
        lambda d: _rename(d, "ClaimRequest", "ref", "reference"),
    ),
    Seeded(
        "an optional field of the request becomes required",
        BREAKING,
        lambda d: _schema(d, "ClaimRequest")["required"].append("ref"),
    ),
    Seeded(
        "a required field of the request becomes optional",
        COMPATIBLE,
        lambda d: _schema(d, "ClaimRequest")["required"].remove("customer_id"),
    ),
    Seeded(
        "a longest text becomes shorter",
        BREAKING,
        lambda d: _field(d, "ClaimRequest", "customer_id").update(maxLength=100),
    ),
    Seeded(
        "a longest text becomes longer",
        COMPATIBLE,
        lambda d: _field(d, "ClaimRequest", "customer_id").update(maxLength=500),
    ),
    Seeded(
        "a pattern is new",
        BREAKING,
        lambda d: _field(d, "ClaimRequest", "ref").update(pattern="^[a-z0-9]*$"),
    ),
    Seeded(
        "a pattern is gone",
        COMPATIBLE,
        lambda d: _field(d, "ClaimRequest", "customer_id").pop("pattern"),
    ),
    Seeded(
        "only some values may be sent",
        BREAKING,
        lambda d: _field(d, "ClaimRequest", "type").update(enum=["pos", "web"]),
    ),
    Seeded(
        "a field that is sent may be null",
        COMPATIBLE,
        lambda d: _field(d, "ClaimRequest", "ref").update(nullable=True),
    ),
    Seeded(
        "a format that has a type of its own",
        BREAKING,
        lambda d: _field(d, "ClaimRequest", "ref").update(format="uuid"),
    ),
    Seeded(
        "a type changes",
        BREAKING,
        lambda d: _field(d, "ClaimDiscountRef", "amount").update(type="string"),
    ),
    Seeded(
        "a whole number may be any",
        BREAKING,
        # Sent freely, but read too.
        lambda d: _field(d, "ClaimDiscountRef", "amount").update(type="number"),
    ),
    Seeded("a reference to another schema", BREAKING, _refer_elsewhere),
    Seeded(
        "another media type is taken too",
        COMPATIBLE,
        lambda d: _post(d)["requestBody"]["content"].update(
            {"application/xml": {"schema": {"type": "object"}}}
        ),
    ),
    Seeded(
        "JSON is not taken any more",
        BREAKING,
        lambda d: _post(d)["requestBody"].update(content={"application/xml": {"schema": {"type": "object"}}}),
    ),
    # What is answered.
    Seeded(
        "an optional field is new in the answer",
        COMPATIBLE,
        lambda d: _schema(d, "Claim")["properties"].update(store={"type": "string"}),
    ),
    Seeded(
        "a required field is new in the answer",
        COMPATIBLE,
        lambda d: (
            _schema(d, "Claim")["properties"].update(store={"type": "string"}),
            _schema(d, "Claim").update(required=["store"]),
        ),
    ),
    Seeded(
        "a field of the answer is gone",
        BREAKING,
        lambda d: _schema(d, "Claim")["properties"].pop("created_by"),
    ),
    Seeded("a field of the answer is renamed", BREAKING, lambda d: _rename(d, "Claim", "id", "claim_id")),
    Seeded(
        "a field of the answer is always there",
        COMPATIBLE,
        lambda d: _schema(d, "Claim").update(required=["id"]),
    ),
    Seeded(
        "a field of the answer is never null",
        COMPATIBLE,
        lambda d: _field(d, "Claim", "id").update(nullable=False),
    ),
    Seeded(
        "a field of an error may be null",
        BREAKING,
        lambda d: _field(d, "ErrorDetail", "message").update(nullable=True),
    ),
    Seeded(
        "a field of an error may be missing",
        BREAKING,
        lambda d: _schema(d, "ErrorDetail").pop("required"),
    ),
    Seeded(
        "an answer has only some values",
        COMPATIBLE,
        lambda d: _field(d, "Claim", "type").update(enum=["pos", "web"]),
    ),
    Seeded(
        "a date of the answer is any text",
        BREAKING,
        lambda d: _field(d, "Claim", "created_at").pop("format"),
    ),
    Seeded(
        "a success has another status",
        BREAKING,
        lambda d: _post(d)["responses"].update({"202": _post(d)["responses"].pop("200")}),
    ),
    Seeded(
        "an error is new", COMPATIBLE, lambda d: _post(d)["responses"].update({"422": {"description": "no"}})
    ),
    Seeded("an error is gone", COMPATIBLE, lambda d: _post(d)["responses"].pop("404")),
    Seeded(
        "a header of an answer is gone",
        BREAKING,
        lambda d: d["components"]["responses"]["TooManyRequests"].pop("headers"),
    ),
    Seeded(
        "a description changes",
        WORDS,
        lambda d: _field(d, "Claim", "id").update(description="Another."),
    ),
    Seeded("the same in other words", WORDS, _inline),
)
"""Breaking and not, in both directions: paths, parameters, bodies, answers, errors, formats, references."""
