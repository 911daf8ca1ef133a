"""Fixtures for all tests: a server that does as it is told, and clients of it on every engine."""

from __future__ import annotations

import datetime
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import httpx2
import pytest
from support.canary import SECRET, TOKEN, files_that_show, is_clean, pickled, shown
from support.fake_server import FakeServer

from dintero_claims_client import (
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    RetryPolicy,
)

ENGINES = ["aiohttp", "httpx", "httpx2"]

# Fast enough for tests, and still more than one attempt.
QUICK = RetryPolicy(base_delay=0.001, max_delay=0.01)


MOST_ERRORS = 100
"""How many of a test's errors are searched; some tests raise thousands that are alike."""


@pytest.fixture(autouse=True)
def _no_secret_shows(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Search every log line at DEBUG, and every error of the library, for the canaries."""
    errors: list[ClaimsError] = []
    make, make_up = ClaimsError.__init__, secrets.token_urlsafe

    def remember(self: ClaimsError, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if len(errors) < MOST_ERRORS:
            errors.append(self)

    monkeypatch.setattr(ClaimsError, "__init__", remember)
    # What the sandbox makes up is a canary too.
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: f"{TOKEN}-{make_up(size)}")
    caplog.set_level(logging.DEBUG)
    yield
    # What httpcore and httpcore2 log at DEBUG of an answer is what the server sent, and may be an echo.
    lines = [
        message
        for record in caplog.get_records("call")
        if not (message := record.getMessage()).startswith("receive_response_headers.")
    ]
    assert [line for line in lines if not is_clean(line)] == []
    for error in errors:
        assert is_clean(shown(error)), shown(error)
        assert is_clean(pickled(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that printed a canary, on either stream."""
    report = yield
    if report.passed and not is_clean(report.capstdout + report.capstderr):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a secret shows in the output"
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_secret_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search every file that the tests left for the canaries."""
    yield
    assert files_that_show(tmp_path_factory.getbasetemp()) == []


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
