"""Fixtures for all tests: a server that does as it is told, and clients of it on every engine."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import httpx2
import pytest
from support.fake_server import FakeServer

from dintero_claims_client import (
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    RetryPolicy,
)

SECRET = "canary-secret-5f1c9"
ENGINES = ["aiohttp", "httpx", "httpx2"]

# Fast enough for tests, and still more than one attempt.
QUICK = RetryPolicy(base_delay=0.001, max_delay=0.01)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in ("ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "BASE_URL"):
        monkeypatch.delenv(f"DINTERO_{name}", raising=False)


def claim_request(ref: str | None = "order-1", **changes: Any) -> ClaimRequest:
    """Return a claim that meets all rules."""
    fields: dict[str, Any] = {
        "purchase_at": datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC),
        "customer_id": "customer-1",
        "discounts": [
            ClaimDiscount(id="discount-1", refs=[ClaimDiscountRef(id="item-1", amount=100, usage=1)])
        ],
    }
    if ref is not None:
        fields["ref"] = ref
    return ClaimRequest(**(fields | changes))


@pytest.fixture
def make_request() -> Callable[..., ClaimRequest]:
    """Return the maker of valid claims."""
    return claim_request


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """Return a server that takes claims, until a test tells it otherwise."""
    async with FakeServer() as server:
        yield server


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Run the test on every engine."""
    return request.param


ClientMaker = Callable[..., Awaitable[ClaimsClient]]


@pytest.fixture
async def make_client(server: FakeServer) -> AsyncIterator[ClientMaker]:
    """Return a maker of open clients of the server, which are closed after the test."""
    async with AsyncExitStack() as stack:

        async def make(engine: str = "aiohttp", **settings: Any) -> ClaimsClient:
            http_client: Any = None
            if engine != "aiohttp":
                library = {"httpx": httpx, "httpx2": httpx2}[engine]
                verify = settings.pop("ssl_context", True)
                http_client = await stack.enter_async_context(library.AsyncClient(verify=verify))
            defaults: dict[str, Any] = {
                "account_id": "T12345678",
                "client_id": "client-1",
                "client_secret": SECRET,
                "base_url": server.base_url,
                "retry": QUICK,
                "timeout": 10.0,
                "http_client": http_client,
            }
            return await stack.enter_async_context(ClaimsClient(**(defaults | settings)))

        yield make
