"""The plugin's fixtures, used as an application's tests use them."""

import contextlib
import gc
import os

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dintero_claims_client import (
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    RefConflictError,
)
from dintero_claims_client.sandbox import FaultPlan, Operation


def shop(make_client):
    """Return an application that holds a client, and claims one discount for each order."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with make_client() as app.state.claims:
            yield

    async def order(request):
        claim = await request.app.state.claims.claim(
            ClaimRequest.from_dict(
                {
                    "purchase_at": "2026-11-23T12:00:00Z",
                    "customer_id": "customer-1",
                    "discounts": [{"id": "discount-1"}],
                    "ref": request.path_params["ref"],
                }
            )
        )
        return JSONResponse({"claim": claim.id})

    return Starlette(routes=[Route("/orders/{ref}", order, methods=["POST"])], lifespan=lifespan)


async def test_a_client_that_is_open(claims_client, dintero_sandbox, make_request):
    """The client claims at the test's sandbox, in process, and reads back."""
    claim = await claims_client.claim(make_request("order-1"))
    (stored,) = dintero_sandbox.ledger.assert_claimed(ref="order-1")
    assert claim.id == stored.id == (await claims_client.get_claim(claim.id)).id
    assert repr(claims_client) == "<ClaimsClient T12345678 at http://localhost/v1, open>"


@pytest.mark.parametrize(
    ("script", "outcomes"),
    [
        (lambda sandbox: sandbox.fail_next(), {"503": 1, "200": 1}),
        (lambda sandbox: sandbox.fail_next(500), {"500": 1, "200": 1}),
        (lambda sandbox: sandbox.fail_next(429), {"429": 1, "200": 1}),
        (lambda sandbox: sandbox.fail_next(502, times=3), {"502": 3, "200": 1}),
        (lambda sandbox: sandbox.expire_tokens(), {"401": 1, "200": 1}),
        (lambda sandbox: sandbox.drop_after_commit(), {"dropped": 1, "409": 1}),
        (lambda sandbox: sandbox.fail_next(operation="token"), {"200": 1}),
    ],
)
async def test_a_fault_in_one_line(claims_client, dintero_sandbox, make_request, script, outcomes):
    """A fault on request happens once, or as often as it says, and never again; the claim is taken once."""
    script(dintero_sandbox)
    await claims_client.claim(make_request("order-1"))
    dintero_sandbox.assert_no_faults_left()
    await claims_client.claim(make_request("order-2"))
    ledger = dintero_sandbox.ledger
    ledger.assert_claimed(ref="order-1", times=1)
    assert {
        outcome: count for (ref, outcome), count in ledger.outcomes.items() if ref == "order-1"
    } == outcomes
    assert ledger.outcomes["order-2", "200"] == ledger.arrivals["order-2"] == 1


async def test_a_fault_makes_nobody_wait(claims_client, dintero_sandbox):
    """429 asks for no pause, and the client waits for a hundredth of a second at most."""
    assert dintero_sandbox.faults.plan == FaultPlan(retry_after=0)
    assert claims_client._settings.retry.max_delay == 0.01


async def test_a_client_on_the_socket(dintero_sandbox_server, claims_client, dintero_sandbox, make_request):
    """In a test that has the server the client claims there, whichever of them is asked for first."""
    assert dintero_sandbox_server.base_url in repr(claims_client)
    dintero_sandbox.drop_after_commit()
    await claims_client.claim(make_request("order-1"))
    dintero_sandbox.ledger.assert_claimed(ref="order-1")
    assert dintero_sandbox_server.sandbox is dintero_sandbox


async def test_a_client_before_its_server(claims_client, dintero_sandbox_server, make_request):
    """The same where the client comes first."""
    assert dintero_sandbox_server.base_url in repr(claims_client)
    await claims_client.claim(make_request("order-1"))
    dintero_sandbox_server.sandbox.ledger.assert_claimed(ref="order-1")


def health(server):
    """Ask a server how it is, in a way that blocks the event loop."""
    address = httpx.URL(server.base_url).join("/__sandbox__/health")
    return httpx.get(address, timeout=10, trust_env=False).json()["status"]


async def test_who_blocks_the_loop_is_answered(dintero_sandbox_server):
    """The server answers from a thread: a call that blocks the test's event loop comes back."""
    assert health(dintero_sandbox_server) == "ok"
    assert repr(dintero_sandbox_server) == f"<SandboxServer at {dintero_sandbox_server.base_url}>"


def test_an_application_finds_its_sandbox_in_the_environment(dintero_environment, dintero_sandbox):
    """An application that makes its client by `from_env`, in a loop of its own, needs no change."""
    dintero_sandbox.fail_next(503)
    with TestClient(shop(ClaimsClient.from_env)) as browser:
        assert browser.post("/orders/order-1").status_code == 200
    dintero_sandbox.ledger.assert_claimed(ref="order-1")
    dintero_sandbox.assert_no_faults_left()


async def test_an_application_that_blocks_an_asynchronous_test(dintero_environment, dintero_sandbox):
    """The same from an asynchronous test, whose loop stands still meanwhile."""
    with TestClient(shop(ClaimsClient.from_env)) as browser:
        browser.post("/orders/order-1")
    dintero_sandbox.ledger.assert_claimed(ref="order-1")


def test_an_application_that_is_given_the_server(dintero_sandbox_server, dintero_sandbox):
    """An application that takes settings takes the server's."""
    settings = dintero_sandbox_server.client_settings()
    with TestClient(shop(lambda: ClaimsClient(**settings, timeout=5))) as browser:
        browser.post("/orders/order-1")
    dintero_sandbox.ledger.assert_claimed(ref="order-1")


async def test_an_application_that_is_given_the_sandbox(dintero_sandbox, make_request):
    """Those of the sandbox work in process, and leave nothing open."""
    settings = dintero_sandbox.client_settings()
    async with ClaimsClient(**settings) as client:
        await client.claim(make_request("order-1"))
    dintero_sandbox.ledger.assert_claimed(ref="order-1")
    # What is not closed warns when it is collected, and warnings are errors.
    del settings, client
    gc.collect()


def test_settings_do_not_show_the_secret(dintero_sandbox, dintero_sandbox_server):
    """Settings that a failing test prints have the secret, and do not show it."""
    for settings in (dintero_sandbox.client_settings(), dintero_sandbox_server.client_settings()):
        assert settings["client_secret"] == dintero_sandbox.client_secret
        assert dintero_sandbox.client_secret not in repr(settings)
        assert "[secret]" in repr(settings)


@pytest.fixture
def settings_of_a_developer(monkeypatch, tmp_path):
    monkeypatch.setenv("DINTERO_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("DINTERO_BASE_URL", "https://api.dintero.com/v1")


@pytest.mark.usefixtures("settings_of_a_developer", "dintero_environment")
def test_the_environment_is_all_of_it(dintero_sandbox_server):
    """Settings that are there already do not lead a test to another server, or a client to an error."""
    client = ClaimsClient.from_env()
    assert dintero_sandbox_server.base_url in repr(client)
    assert "DINTERO_CLIENT_SECRET_FILE" not in os.environ


async def test_the_rules_hold_in_a_test_too(claims_client, dintero_sandbox):
    """The sandbox refuses another claim with a ref that is in use, and the ledger says what came of both."""
    request = ClaimRequest.from_dict(
        {"purchase_at": "2026-11-23T12:00:00Z", "customer_id": "a", "discounts": [{"id": "b"}], "ref": "r"}
    )
    await claims_client.claim(request)
    request.discounts = [ClaimDiscount(refs=[ClaimDiscountRef(amount=1)])]
    with pytest.raises(RefConflictError):
        await claims_client.claim(request)
    dintero_sandbox.ledger.assert_claimed(ref="r", times=1)
    assert dintero_sandbox.ledger.requests[Operation.CLAIM, "409"] == 1
