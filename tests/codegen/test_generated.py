"""The generated package on its own: its models, and its endpoints on httpx."""

import copy
import datetime
import inspect
import json
import pickle
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest
import respx

from dintero_claims_client._generated import AuthenticatedClient, errors
from dintero_claims_client._generated.api.claims import claim_discounts, get_claim, list_claims
from dintero_claims_client._generated.models import (
    Claim,
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ErrorResponse,
)
from dintero_claims_client._generated.types import UNSET

BASE_URL = "https://api.example.test/v1"
CLAIMS = f"{BASE_URL}/accounts/T12345678/discounts/available_for_receipt/claims"

REQUEST = ClaimRequest(
    purchase_at=datetime.datetime(2023, 11, 7, 5, 31, 56, tzinfo=datetime.UTC),
    customer_id="customer-1",
    discounts=[ClaimDiscount(id="discount-1", refs=[ClaimDiscountRef(id="item-1", amount=1, usage=1)])],
)
REQUEST_JSON = {
    "purchase_at": "2023-11-07T05:31:56+00:00",
    "customer_id": "customer-1",
    "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 1, "usage": 1}]}],
}
CLAIM_JSON = {
    "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
    **REQUEST_JSON,
    "ref": "transactionid1",
    "type": "pos",
    "created_at": "2023-11-07T05:31:57+00:00",
    "created_by": "1c92f7e1-2897-4d46-bdcc-c127a914fb4e",
    "updated_at": None,
    "deleted_at": None,
    "deleted_by": None,
}
ERROR_JSON = {"error": {"code": "NOT FOUND", "message": "Customer not found"}}

# What each operation needs besides `client`.
OPERATIONS = [
    pytest.param(claim_discounts, {"aid": "T12345678", "body": REQUEST}, id="claim_discounts"),
    pytest.param(get_claim, {"aid": "T12345678", "claim_id": "claim-1"}, id="get_claim"),
    pytest.param(list_claims, {"aid": "T12345678"}, id="list_claims"),
]

COPIES = [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    *(
        pytest.param(lambda value, n=n: pickle.loads(pickle.dumps(value, protocol=n)), id=f"pickle-{n}")
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.fixture
async def client() -> AsyncIterator[AuthenticatedClient]:
    async with AuthenticatedClient(base_url=BASE_URL, token="token") as client:
        yield client


@pytest.mark.parametrize("duplicate", COPIES)
def test_unset_is_one_object(duplicate: Callable[[Any], Any]) -> None:
    """UNSET stays itself in a copy and in a pickle, and its repr is its name."""
    assert duplicate(UNSET) is UNSET
    assert duplicate([UNSET])[0] is UNSET
    assert repr(UNSET) == "UNSET"
    assert not UNSET


@pytest.mark.parametrize("duplicate", COPIES)
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(REQUEST, id="request"),
        pytest.param(Claim.from_dict(CLAIM_JSON), id="claim"),
        pytest.param(Claim(), id="claim-without-fields"),
    ],
)
def test_models_survive_copies(duplicate: Callable[[Any], Any], model: ClaimRequest | Claim) -> None:
    """A copy of a model equals it and is sent as the same JSON, without the fields that are not set."""
    duplicated = duplicate(model)
    assert duplicated is not model
    assert duplicated == model
    assert json.dumps(duplicated.to_dict()) == json.dumps(model.to_dict())


def test_models_read_what_they_write() -> None:
    """A model made from a model's JSON equals it."""
    assert REQUEST.to_dict() == REQUEST_JSON
    assert ClaimRequest.from_dict(REQUEST_JSON) == REQUEST
    assert Claim.from_dict(CLAIM_JSON).to_dict() == CLAIM_JSON


@pytest.mark.parametrize("name", sorted(CLAIM_JSON))
def test_any_field_of_a_claim_may_be_null_or_absent(name: str) -> None:
    """A claim that was taken is readable whatever the server leaves out, and null is told from absent."""
    attribute = "type_" if name == "type" else name
    assert getattr(Claim.from_dict({**CLAIM_JSON, name: None}), attribute) is None
    absent = {key: value for key, value in CLAIM_JSON.items() if key != name}
    assert getattr(Claim.from_dict(absent), attribute) is UNSET
    assert Claim.from_dict(absent).to_dict() == absent


def test_unknown_fields_are_kept() -> None:
    """Fields that the contract does not name are readable and are there when the claim is written again."""
    extended = {**CLAIM_JSON, "store": {"id": "store-1"}, "points": [1, 2]}
    claim = Claim.from_dict(extended)
    assert claim["store"] == {"id": "store-1"}
    assert sorted(claim.additional_keys) == ["points", "store"]
    assert claim.to_dict() == extended


@respx.mock
async def test_operations_work_on_httpx_alone(client: AuthenticatedClient) -> None:
    """The functions `asyncio` send what the contract says and return models."""
    post = respx.post(CLAIMS).respond(200, json=CLAIM_JSON)
    respx.get(CLAIMS, params={"limit": "2", "starting_after": "claim-0"}).respond(200, json=[CLAIM_JSON])
    respx.get(f"{CLAIMS}/a%2Fb").respond(404, json=ERROR_JSON)

    claim = Claim.from_dict(CLAIM_JSON)
    assert await claim_discounts.asyncio("T12345678", client=client, body=REQUEST) == claim
    sent = post.calls.last.request
    assert json.loads(sent.content) == REQUEST_JSON
    assert (sent.headers["authorization"], sent.headers["content-type"]) == (
        "Bearer token",
        "application/json",
    )
    page = await list_claims.asyncio("T12345678", client=client, limit=2, starting_after="claim-0")
    assert page == [claim]
    error = await get_claim.asyncio("T12345678", "a/b", client=client)
    assert isinstance(error, ErrorResponse)
    assert (error.error.code, error.error.message) == ("NOT FOUND", "Customer not found")


@pytest.mark.parametrize(("operation", "arguments"), OPERATIONS)
@pytest.mark.parametrize("status", [204, 299, 302, 418, 499, 502, 520, 999])
@respx.mock
async def test_any_status_is_a_number(
    client: AuthenticatedClient, operation: ModuleType, arguments: dict[str, Any], status: int
) -> None:
    """A status outside the contract, registered or not, comes back as an int with headers and bytes."""
    respx.route().respond(status, headers={"x-request-id": "r-1"}, content=b"<h1>no</h1>")
    response = await operation.asyncio_detailed(**arguments, client=client)
    assert type(response.status_code) is int
    assert (response.status_code, response.content, response.parsed) == (status, b"<h1>no</h1>", None)
    assert response.headers["X-Request-Id"] == "r-1"


@pytest.mark.parametrize(("operation", "arguments"), OPERATIONS)
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<!doctype html><h1>Bad gateway</h1>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"id": "claim-1"', id="cut-short"),
        pytest.param(b"null", id="null"),
        pytest.param(b"true", id="boolean"),
        pytest.param(b"17", id="number"),
        pytest.param(b'""', id="empty-string"),
        pytest.param(b'"claim-1"', id="string"),
        pytest.param(b"[[]]", id="list-of-a-list"),
        pytest.param(b"[null]", id="list-of-null"),
        pytest.param(b'["ab"]', id="list-of-a-string"),
        pytest.param(b'{"id": "\xff\xfe"}', id="not-utf-8"),
        pytest.param(b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested-too-deeply"),
        pytest.param(b'{"id": ' + b"9" * 5_000 + b"}", id="integer-too-long"),
    ],
)
@respx.mock
async def test_unreadable_body_keeps_the_rest_of_the_answer(
    client: AuthenticatedClient,
    operation: ModuleType,
    arguments: dict[str, Any],
    status: int,
    content: bytes,
) -> None:
    """A body that is not what the status promises gives parsed=None, never an exception."""
    respx.route().respond(status, headers={"retry-after": "7"}, content=content)
    response = await operation.asyncio_detailed(**arguments, client=client)
    assert (response.status_code, response.content, response.parsed) == (status, content, None)
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("operation", "arguments", "content"),
    [
        pytest.param(*OPERATIONS[0].values, b"[]", id="claim-is-a-list"),
        pytest.param(*OPERATIONS[1].values, b"[]", id="claim-by-id-is-a-list"),
        pytest.param(*OPERATIONS[2].values, b"{}", id="page-is-an-object"),
    ],
)
@respx.mock
async def test_list_and_object_are_not_confused(
    client: AuthenticatedClient, operation: ModuleType, arguments: dict[str, Any], content: bytes
) -> None:
    """An empty list is no claim without fields, and an empty object is no page without claims."""
    respx.route().respond(200, content=content)
    response = await operation.asyncio_detailed(**arguments, client=client)
    assert (response.status_code, response.content, response.parsed) == (200, content, None)


@respx.mock
async def test_unexpected_status_raises_for_those_who_ask() -> None:
    """The generator's option to raise on a status outside the contract still does, with any number."""
    respx.route().respond(520)
    async with AuthenticatedClient(
        base_url=BASE_URL, token="token", raise_on_unexpected_status=True
    ) as client:
        with pytest.raises(errors.UnexpectedStatus) as caught:
            await get_claim.asyncio("T12345678", "claim-1", client=client)
    assert caught.value.status_code == 520


@pytest.mark.parametrize(
    "operation", [claim_discounts, get_claim, list_claims], ids=lambda module: module.__name__
)
def test_endpoints_have_no_blocking_functions(operation: ModuleType) -> None:
    """What an endpoint module offers is a builder and two coroutine functions."""
    assert operation.__all__ == ["_get_kwargs", "asyncio", "asyncio_detailed"]
    functions = inspect.getmembers(operation, inspect.isfunction)
    own = {name: function for name, function in functions if function.__module__ == operation.__name__}
    assert sorted(own) == ["_build_response", "_get_kwargs", "_parse_response", "asyncio", "asyncio_detailed"]
    assert inspect.iscoroutinefunction(operation.asyncio)
    assert inspect.iscoroutinefunction(operation.asyncio_detailed)


def test_builder_needs_no_client() -> None:
    """The builder gives method, path, query, headers and JSON as plain data, for any way of sending."""
    claims = "/accounts/T12345678/discounts/available_for_receipt/claims"
    assert claim_discounts._get_kwargs("T12345678", body=REQUEST) == {
        "method": "post",
        "url": claims,
        "json": REQUEST_JSON,
        "headers": {"Content-Type": "application/json"},
    }
    assert list_claims._get_kwargs("T12345678", limit=100) == {
        "method": "get",
        "url": claims,
        "params": {"limit": 100},
    }
    assert get_claim._get_kwargs("T12345678", "a/../b?c") == {
        "method": "get",
        "url": f"{claims}/a%2F..%2Fb%3Fc",
    }
