"""The sandbox in process: an httpx transport that calls the app without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from dintero_claims_client.sandbox.app import ConnectionDropped

if TYPE_CHECKING:
    from starlette.applications import Starlette


class InProcessTransport(httpx.AsyncBaseTransport):
    """Calls the app for each request; a dropped connection is the `httpx.ReadError` that a socket gives.

    httpx's timeouts are kept by its network code, so they do not end a request here.
    """

    def __init__(self, app: Starlette) -> None:
        self._asgi = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the app's answer to a request."""
        try:
            return await self._asgi.handle_async_request(request)
        except ConnectionDropped:
            raise httpx.ReadError("The connection was reset", request=request) from None
