"""The clients that are compared. For every claim each makes the model of the answer, and JSON both ways."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httptools
import httpx
import httpx2
import requests

from benchmarks.speed.server import ACCOUNT, SENT
from dintero_claims_client import ClaimDiscount, ClaimDiscountRef, ClaimRequest, ClaimsClient
from dintero_claims_client._engines.aiohttp_engine import AiohttpEngine
from dintero_claims_client._engines.base import EngineRequest
from dintero_claims_client._generated.api.claims import claim_discounts
from dintero_claims_client._generated.client import AuthenticatedClient
from dintero_claims_client._generated.models.claim import Claim

MakeClaim = Callable[[ClaimRequest], Awaitable[object]]
_PATH = f"/accounts/{ACCOUNT}/discounts/available_for_receipt/claims"
_AT = datetime.datetime.fromisoformat(SENT["purchase_at"])


def request() -> ClaimRequest:
    """Return a claim, made anew: always the same, because its answer is."""
    return ClaimRequest(
        purchase_at=_AT,
        customer_id="customer-4711",
        discounts=[
            ClaimDiscount(id="discount-1", refs=[ClaimDiscountRef(id="item-1", amount=12900, usage=1)])
        ],
        ref="order-20261123-4711",
        type_="pos",
    )


@asynccontextmanager
async def library(base_url: str, width: int, context: ssl.SSLContext | None) -> AsyncIterator[MakeClaim]:
    """Give this library, with all that it does."""
    async with ClaimsClient(
        account_id=ACCOUNT,
        client_id="client",
        client_secret="secret",  # noqa: S106 - nobody checks it
        base_url=base_url,
        max_connections=width,
        ssl_context=context,
    ) as client:
        yield client.claim


@asynccontextmanager
async def bare_engine(base_url: str, width: int, context: ssl.SSLContext | None) -> AsyncIterator[MakeClaim]:
    """Give the generated code on this library's engine, without tokens, retries, checks and queues."""
    loop = asyncio.get_running_loop()
    engine = AiohttpEngine(
        max_connections=width, idle_seconds=15.0, ssl_context=context, proxy=None, trust_env=False
    )
    try:
        yield _generated(_OnEngine(engine, base_url, loop), base_url)
    finally:
        await engine.aclose()


class _OnEngine:
    """What the generated code uses of an `httpx.AsyncClient`."""

    def __init__(self, engine: AiohttpEngine, base_url: str, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._base_url = base_url
        self._loop = loop

    async def request(self, method: str, url: str, json: object, headers: dict[str, str]) -> _OfEngine:
        answer = await self._engine.send(
            EngineRequest(
                method.upper(),
                self._base_url + url,
                {**headers, "Authorization": "Bearer token"},
                _encode(json),
            ),
            deadline=self._loop.time() + 30,
        )
        return _OfEngine(answer.status, answer.body, answer.headers)


class _OfEngine:
    def __init__(self, status_code: int, content: bytes, headers: object) -> None:
        self.status_code, self.content, self.headers = status_code, content, headers

    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.content)


@asynccontextmanager
async def generated_httpx(
    base_url: str, width: int, context: ssl.SSLContext | None
) -> AsyncIterator[MakeClaim]:
    """Give the generated client on httpx, with a pool as large as the concurrency."""
    async with _pooled(httpx, base_url, width, context) as client:
        yield _generated(client, base_url)


@asynccontextmanager
async def generated_httpx2(
    base_url: str, width: int, context: ssl.SSLContext | None
) -> AsyncIterator[MakeClaim]:
    """Give the same on httpx2."""
    async with _pooled(httpx2, base_url, width, context) as client:
        yield _generated(client, base_url)


def _pooled(
    module: Any,  # noqa: ANN401 - httpx or httpx2, whose classes are each its own
    base_url: str,
    width: int,
    context: ssl.SSLContext | None,
) -> Any:  # noqa: ANN401 - the client of whichever of the two it is
    return module.AsyncClient(
        base_url=base_url,
        limits=module.Limits(max_connections=width, max_keepalive_connections=width),
        verify=context or True,
        timeout=120,
        headers=_BEARER,
    )


def _generated(http_client: Any, base_url: str) -> MakeClaim:  # noqa: ANN401 - any of four
    """Return the generated function on something that looks like an `httpx.AsyncClient`."""
    client = AuthenticatedClient(base_url=base_url, token="token")  # noqa: S106 - nobody checks it
    client.set_async_httpx_client(http_client)

    async def claim(request: ClaimRequest) -> object:
        response = await claim_discounts.asyncio_detailed(ACCOUNT, client=client, body=request)
        assert isinstance(response.parsed, Claim)
        return response.parsed

    return claim


@asynccontextmanager
async def plain_aiohttp(
    base_url: str, width: int, context: ssl.SSLContext | None
) -> AsyncIterator[MakeClaim]:
    """Give aiohttp as one writes it by hand."""
    connector = aiohttp.TCPConnector(limit=width, ssl=context or True)
    async with aiohttp.ClientSession(connector=connector, headers=_BEARER) as session:

        async def claim(request: ClaimRequest) -> object:
            async with session.post(base_url + _PATH, json=request.to_dict()) as response:
                response.raise_for_status()
                return Claim.from_dict(await response.json())

        yield claim


@asynccontextmanager
async def raw_sockets(base_url: str, _width: int, context: ssl.SSLContext | None) -> AsyncIterator[MakeClaim]:
    """Give asyncio's transports with httptools, and nothing else: the limit."""
    loop = asyncio.get_running_loop()
    url = httpx.URL(base_url)
    port = url.port or 80
    head = (
        f"POST {url.path}{_PATH} HTTP/1.1\r\nHost: {url.host}:{port}\r\nAccept: */*\r\n"
        "Authorization: Bearer token\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    idle: deque[_RawConnection] = deque()
    connections: list[_RawConnection] = []

    async def claim(request: ClaimRequest) -> object:
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(_RawConnection, url.host, port, ssl=context)
            connections.append(connection)
        body = _encode(request.to_dict())
        status, content = await connection.send(head + b"%d\r\n\r\n" % len(body) + body, loop)
        idle.append(connection)
        assert status == 200
        return Claim.from_dict(json.loads(content))

    try:
        yield claim
    finally:
        for connection in connections:
            connection.transport.close()


class _RawConnection(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, data: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[tuple[int, bytes]]:
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self.transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answer.set_result((self._parser.get_status_code(), self._body))


CLIENTS = {
    "library": library,
    "bare engine": bare_engine,
    "aiohttp": plain_aiohttp,
    "httpx": generated_httpx,
    "httpx2": generated_httpx2,
    "raw sockets": raw_sockets,
}
"""All but the one in threads, by their names in tables."""

THREADS = "requests"
"""The style of the provider's own SDK: a session of `requests` in each thread."""


def claim_in_threads(
    base_url: str,
    width: int,
    verify: str | None,
    is_over: Callable[[], bool],
    done: Callable[[float, float], None],
) -> None:
    """Claim in so many threads, until it is over; `done` is told when each claim began and ended."""
    import time

    def work() -> None:
        with requests.Session() as session:
            session.headers.update(_BEARER)
            # What the environment says of authorities would go before what is given here.
            session.trust_env = False
            session.verify = verify or True
            while not is_over():
                began = time.perf_counter()
                response = session.post(base_url + _PATH, json=request().to_dict(), timeout=120)
                response.raise_for_status()
                Claim.from_dict(response.json())
                done(began, time.perf_counter())

    threads = [threading.Thread(target=work) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_BEARER = {"Authorization": "Bearer token"}


def _encode(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
