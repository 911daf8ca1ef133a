"""Engines send bytes and bring bytes back, each over one HTTP library."""

from __future__ import annotations

import ssl

from .base import AsyncHttpClient, Engine

IDLE_SECONDS = 4.0
"""How long an unused connection is kept. Common servers drop theirs after 5 seconds, and a request that
meets the closing of its connection has an unknown outcome."""


def make_engine(
    http_client: AsyncHttpClient | None,
    *,
    max_connections: int,
    ssl_context: ssl.SSLContext | None,
    proxy: str | None,
    trust_env: bool,
) -> Engine:
    """Return the engine for the caller's client, or the default one; call it on the event loop it is for."""
    if http_client is not None:
        from .httpx_engine import HttpxEngine

        return HttpxEngine(http_client)
    from .aiohttp_engine import AiohttpEngine

    return AiohttpEngine(
        max_connections=max_connections,
        idle_seconds=IDLE_SECONDS,
        ssl_context=ssl_context,
        proxy=proxy,
        trust_env=trust_env,
    )


def is_async_client(client: object) -> bool:
    """Say whether this is httpx's AsyncClient, or httpx2's, or a subclass of one."""
    return any(cls.__name__ == "AsyncClient" for cls in type(client).__mro__)
