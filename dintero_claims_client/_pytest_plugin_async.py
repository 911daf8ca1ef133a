"""The fixture of the pytest plugin that needs pytest-asyncio, imported only where that is loaded."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from dintero_claims_client import ClaimsClient
    from dintero_claims_client.sandbox import Sandbox, SandboxServer


@pytest_asyncio.fixture
async def claims_client(
    dintero_sandbox: Sandbox, request: pytest.FixtureRequest
) -> AsyncIterator[ClaimsClient]:
    """Return an open client of the test's sandbox: in process, or on its socket where the test has one.

    On the event loop of async fixtures, which `asyncio_default_fixture_loop_scope` chooses; retries at once.
    """
    from dintero_claims_client import ClaimsClient, RetryPolicy

    async with AsyncExitStack() as stack:
        if "dintero_sandbox_server" in request.fixturenames:
            # A sandbox belongs to one event loop, which is then the server's.
            server: SandboxServer = request.getfixturevalue("dintero_sandbox_server")
            settings = server.client_settings()
        else:
            settings = dintero_sandbox.client_settings()
            await stack.enter_async_context(settings["http_client"])
        client = ClaimsClient(**settings, retry=RetryPolicy(base_delay=0.001, max_delay=0.01))
        yield await stack.enter_async_context(client)
