"""The API's contract, read from the OpenAPI document and compiled into checks of requests."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

import yaml
from jsonschema_rs import Draft4Validator

from dintero_claims_client.sandbox.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

JsonObject: TypeAlias = dict[str, Any]

_HERE = Path(__file__).parent
# Packed beside this module in a wheel; in a checkout the document is read where it is edited.
_PLACES = (_HERE / "discounts.yaml", _HERE.parents[1] / "openapi" / "discounts.yaml")
_CLAIMS_PATH = "/accounts/{aid}/discounts/available_for_receipt/claims"
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Detail(TypedDict):
    """One reason why a request is not valid, as it appears under `errors` in an answer."""

    message: str
    path: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The query parameters of the list operation, checked and with the contract's defaults."""

    limit: int
    starting_after: str | None


class Contract:
    """Checks of requests against the contract; immutable, so any number of sandboxes share one.

    Messages name the place and the rule, never the value: what was sent is not echoed.
    """

    def __init__(self, document: JsonObject, *, digest: str = "") -> None:
        self.version = str(document["info"]["version"])
        self.digest = digest
        """SHA-256 of the document, in hexadecimal."""
        components = cast("JsonObject", _translate(document["components"]))
        self._claim_request = _compile(
            {"$ref": "#/components/schemas/ClaimRequest", "components": components}
        )
        self._account_id = _compile(components["parameters"]["AccountId"]["schema"])
        self._list_schemas: dict[str, JsonObject] = {
            parameter["name"]: cast("JsonObject", _translate(parameter["schema"]))
            for parameter in document["paths"][_CLAIMS_PATH]["get"]["parameters"]
        }
        self._list_defaults: JsonObject = {
            name: schema.get("default") for name, schema in self._list_schemas.items()
        }
        self._list_validators = {name: _compile(schema) for name, schema in self._list_schemas.items()}

    def is_account_id(self, account_id: str) -> bool:
        """Return whether a text has the form of an account id."""
        return self._account_id.is_valid(account_id)

    def read_claim_request(self, content: object) -> JsonObject:
        """Return a decoded JSON body as a claim request; refuse it (400) with all that is wrong in it."""
        if details := _details(self._claim_request, content):
            raise Refusal(400, "The claim is not valid", details=details)
        return cast("JsonObject", content)

    def read_list_query(self, items: Iterable[tuple[str, str]]) -> ListQuery:
        """Return the list operation's parameters; refuse them (400) with all that is wrong in them.

        A parameter that is given twice is not valid; those that the contract does not name are ignored.
        """
        details: list[Detail] = []
        values: dict[str, Any] = {}
        for name, text in items:
            if name not in self._list_schemas:
                continue
            if name in values:
                details.append({"message": "the parameter is given more than once", "path": f"/{name}"})
            is_integer = self._list_schemas[name]["type"] == "integer" and _INTEGER.fullmatch(text)
            values[name] = int(text) if is_integer else text
            details += _details(self._list_validators[name], values[name], at=f"/{name}")
        if details:
            raise Refusal(400, "The query is not valid", details=details)
        return ListQuery(**self._list_defaults | values)


@functools.cache
def load_contract() -> Contract:
    """Return the contract that this package came with; read and compiled once for each process."""
    for place in _PLACES:
        if place.is_file():
            content = place.read_bytes()
            loaded: object = yaml.safe_load(content)
            return Contract(cast("JsonObject", loaded), digest=hashlib.sha256(content).hexdigest())
    raise FileNotFoundError(f"the contract discounts.yaml is in none of: {', '.join(map(str, _PLACES))}")


def _compile(schema: JsonObject) -> Draft4Validator:
    # OpenAPI 3.0 has the numbers of JSON Schema's draft 4: 1.0 is not an integer.
    return Draft4Validator(schema, validate_formats=True, mask="the value")


def _translate(schema: object) -> object:
    """Return OpenAPI 3.0 as JSON Schema: `nullable` becomes a type, its other additions are ignored."""
    if isinstance(schema, list):
        return [_translate(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    translated = {name: _translate(value) for name, value in cast("JsonObject", schema).items()}
    # Compared with True, because a property may have this name.
    if translated.get("nullable") is True:
        translated["type"] = [translated["type"], "null"]
    return translated


def _details(validator: Draft4Validator, value: object, at: str = "") -> list[Detail]:
    return [
        {"message": error.message, "path": at + "".join(f"/{step}" for step in error.instance_path)}
        for error in validator.iter_errors(value)
    ]
