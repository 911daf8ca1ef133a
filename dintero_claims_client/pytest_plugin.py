"""Fixtures for the tests of applications that claim discounts: a sandbox, and clients of it.

    async def test_an_order_is_claimed_once(claims_client, dintero_sandbox):
        dintero_sandbox.drop_after_commit()  # the claim is taken, and its answer lost
        await place_order(claims_client, "order-1001")
        dintero_sandbox.ledger.assert_claimed(ref="order-1001", times=1)

pytest finds this module by itself and loads it at every start, also where nobody asks for its fixtures. So
only the fixtures import what they need, and say how to get what is missing.

PYTEST_DONT_REWRITE: it asserts nothing, and a filter for its warning may import it before pytest does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from dintero_claims_client import ClaimsClient
    from dintero_claims_client.sandbox import Sandbox, SandboxServer


class FaultNotMetWarning(pytest.PytestWarning):
    """A fault was asked for, and the test ended without a request that could meet it."""


@pytest.fixture
def dintero_sandbox() -> Iterator[Sandbox]:
    """Return a sandbox of the test's own, in process: the rules of the API, faults on request, a ledger.

    Warns of a fault that was asked for and did not happen at all.
    """
    package = _sandbox_package()
    # Tests do not wait for what a server asks others to wait for.
    sandbox: Sandbox = package.Sandbox(faults=package.FaultPlan(retry_after=0))
    yield sandbox
    if unmet := [str(fault) for fault in sandbox.faults.scripted if fault.left == fault.times]:
        # Of those that happened in part some may be left on purpose, as in an outage of any length.
        message = f"a fault that was asked for did not happen at all: {'; '.join(unmet)}"
        warnings.warn(FaultNotMetWarning(message), stacklevel=1)


@pytest.fixture
def dintero_sandbox_server(dintero_sandbox: Sandbox) -> Iterator[SandboxServer]:
    """Serve the test's sandbox on a free port of 127.0.0.1; its `base_url` says where.

    It runs in a thread, so that it also answers who blocks the test's event loop, or has none.
    """
    package = _sandbox_package()
    from anyio.from_thread import start_blocking_portal

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(package.SandboxServer(dintero_sandbox)) as server,
    ):
        yield server


@pytest.fixture
def dintero_environment(dintero_sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of `ClaimsClient.from_env()`: its clients talk to the test's sandbox, on a socket."""
    monkeypatch.delenv("DINTERO_CLIENT_SECRET_FILE", raising=False)
    for name, value in dintero_sandbox_server.client_settings().items():
        monkeypatch.setenv(f"DINTERO_{name.upper()}", value)


@pytest.fixture
def claims_client(dintero_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[ClaimsClient]:
    """Return a client of the test's sandbox: in process, or on its socket where the test has one.

    It opens with its first call, on the event loop of whoever makes that, so it does not matter which loop
    async tests or fixtures have. Retries at once.
    """
    _sandbox_package()
    from dintero_claims_client import RetryPolicy
    from dintero_claims_client._pytest_plugin_client import FixtureClient

    if "dintero_sandbox_server" in request.fixturenames:
        # A sandbox belongs to one event loop, which is then the server's.
        server: SandboxServer = request.getfixturevalue("dintero_sandbox_server")
        settings = server.client_settings()
    else:
        settings = dintero_sandbox.client_settings()
    client = FixtureClient(**settings, retry=RetryPolicy(base_delay=0.001, max_delay=0.01))
    yield client
    client.end()


def _sandbox_package() -> ModuleType:
    try:
        from dintero_claims_client import sandbox
    except ModuleNotFoundError:
        # A bug, which must not look like a missing extra.
        raise
    except ImportError as error:
        missing = str(error)
    else:
        return sandbox
    # Not while the error is handled, which would be shown too.
    pytest.fail(missing, pytrace=False)
