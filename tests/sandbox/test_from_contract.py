"""Whatever the contract allows, and much that it does not, is answered as the contract says.

Schemathesis makes the requests from the contract, the same in every run; they go to a sandbox on a socket.
"""

import re
from pathlib import Path

import attrs
import httpx
import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from dintero_claims_client.sandbox import Sandbox, SandboxServer

CONTRACT = Path(__file__).parent.parent.parent / "openapi" / "discounts.yaml"

ACCOUNT = r"[PT]\d{8}"

schema = schemathesis.openapi.from_path(CONTRACT)


@attrs.frozen
class Served:
    """A sandbox that runs in a thread of its own: its account, a claim of that, and what lets one in."""

    url: str
    account_id: str
    claim_id: str
    authorization: str = attrs.field(repr=False)


@pytest.fixture(scope="module")
def served():
    """Return a sandbox on a socket, with one claim."""
    sandbox = Sandbox()
    account = f"accounts/{sandbox.account_id}"
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(SandboxServer(sandbox)) as server,
        httpx.Client(base_url=server.base_url) as http,
    ):
        token = http.post(
            f"{account}/auth/token",
            auth=(sandbox.client.client_id, sandbox.client.client_secret),
            json={
                "grant_type": "client_credentials",
                "audience": f"https://api.dintero.com/v1/{account}",
            },
        ).json()["access_token"]
        authorization = http.headers["Authorization"] = f"Bearer {token}"
        claim = http.post(
            f"{account}/discounts/available_for_receipt/claims",
            json={
                "purchase_at": "2026-11-07T05:31:56Z",
                "customer_id": "customer-1",
                "discounts": [{"id": "discount-1"}],
                "ref": "order-1",
            },
        ).json()
        yield Served(server.base_url, sandbox.account_id, claim["id"], authorization)


@schema.parametrize()
@pytest.mark.parametrize("of", ["what there is", "what there is not"])
@settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    # The sandbox is the same for all of them.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_request_is_answered_as_the_contract_says(case, of, served):
    """What the contract allows is executed, all else refused, each with a status and a body that it has."""
    is_allowed = case.meta.generation.mode == GenerationMode.POSITIVE
    excluded = []
    if of == "what there is not":
        # A page after a claim that there is not is refused.
        excluded.append(positive_data_acceptance)
    else:
        if re.fullmatch(ACCOUNT, str(case.path_parameters["aid"])):
            case.path_parameters["aid"] = served.account_id
        if is_allowed and "claim_id" in case.path_parameters:
            case.path_parameters["claim_id"] = served.claim_id
        if is_allowed and "starting_after" in case.query:
            case.query["starting_after"] = served.claim_id
    if set(case.query) - {"limit", "starting_after"}:
        # Parameters that the contract does not name are ignored.
        excluded.append(negative_data_rejection)
    head = case.meta.components.get(ParameterLocation.HEADER)
    is_let_in = head is None or head.mode == GenerationMode.POSITIVE
    answer = case.call_and_validate(
        base_url=served.url,
        headers={"Authorization": served.authorization} if is_let_in else {},
        excluded_checks=excluded,
    )
    if is_allowed and of == "what there is":
        # 409 where the same ref was made twice.
        assert answer.status_code in ((200, 409) if case.method == "POST" else (200,))
