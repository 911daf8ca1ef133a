"""The apps of `examples/`, each served on a real socket, against a sandbox on another."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import hypercorn.asyncio
import pytest
import uvicorn
from aiohttp import web

from dintero_claims_client import ClaimsClient
from dintero_claims_client.events import Event
from dintero_claims_client.sandbox import FaultPlan, Sandbox, SandboxServer

EXAMPLES = Path(__file__).parents[2] / "examples"
# Where their own commands put them too.
sys.path.insert(0, str(EXAMPLES))


@dataclass(frozen=True)
class Served:
    """A module that makes an app, and what serves it.

    `cancels` where the handler of who goes away is cancelled; `once` where an app can be served only once.
    """

    module: str
    app: str
    serve: Callable[..., Any]
    cancels: bool = False
    once: bool = False


class Gate:
    """Holds what the sandbox is told to be late with, until it is opened; takes the place of its sleep."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        self.arrived.set()
        await self.opened.wait()


class Watched:
    """What the clients of an app have told, and who waits for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._told = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._told.set()

    async def until(self, matches: Callable[[Event], bool]) -> None:
        """Wait for an event, also one that was told before."""
        async with asyncio.timeout(30):
            while not any(map(matches, self.events)):
                self._told.clear()
                await self._told.wait()


class Ends:
    """When a server is told to end, and when it begins to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.begun = asyncio.Event()


class _Uvicorn(uvicorn.Server):
    """Ends when it is told to, and leaves the signals of the process alone."""

    def __init__(self, config: uvicorn.Config, ends: Ends) -> None:
        super().__init__(config)
        self._ends = ends

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._ends.told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends.begun.set()
        await super().shutdown(sockets)


async def with_uvicorn(app: Any, listener: socket.socket, ends: Ends) -> None:
    """Serve an ASGI app with uvicorn."""
    config = uvicorn.Config(app, lifespan="on", log_config=None)
    await _Uvicorn(config, ends).serve(sockets=[listener])


async def with_hypercorn(app: Any, listener: socket.socket, ends: Ends) -> None:
    """Serve an ASGI app with hypercorn."""
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    # Its own handlers would write to stderr.
    config.errorlog = logging.getLogger("hypercorn.error")

    async def end() -> None:
        await ends.told.wait()
        ends.begun.set()

    await hypercorn.asyncio.serve(app, config, shutdown_trigger=end)


async def with_aiohttp(make_app: Callable[[], web.Application], listener: socket.socket, ends: Ends) -> None:
    """Serve an aiohttp app as `run_app` does."""
    runner = web.AppRunner(make_app())
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        await ends.told.wait()
        ends.begun.set()
    finally:
        await runner.cleanup()


APPS = {
    "fastapi": Served("fastapi_checkout", "app", with_uvicorn),
    "litestar": Served("litestar_app", "app", with_uvicorn),
    "aiohttp": Served("aiohttp_app", "make_app", with_aiohttp),
    "quart": Served("quart_app", "app", with_hypercorn, cancels=True, once=True),
    "django": Served("django_app", "application", with_uvicorn, cancels=True),
}


def order(number: str, /, **changes: Any) -> dict[str, Any]:
    """Return an order as a till sends it."""
    return {
        "number": number,
        "customer_id": "customer-1",
        "purchase_at": datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC).isoformat(),
        "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 500, "usage": 1}]}],
    } | changes


@dataclass(frozen=True)
class Answer:
    """What a shopper was told, and after how many seconds."""

    status: int
    body: Any
    headers: Any
    seconds: float


class Shop:
    """An app that is served, the sandbox that it claims at, and the browsers of its shoppers."""

    def __init__(self, served: Served, sandbox: Sandbox, told: Watched, clients: list[ClaimsClient]) -> None:
        self.served = served
        self.module = importlib.import_module(served.module)
        self.sandbox = sandbox
        self.told = told
        self.clients = clients
        """All that the app has made."""
        self.ends = Ends()
        self.url = ""
        self._task: asyncio.Task[None] | None = None
        self._api = contextlib.AsyncExitStack()
        self._api_port = 0
        self._browser: aiohttp.ClientSession | None = None

    @property
    def client(self) -> ClaimsClient:
        """The one of the app that is served now."""
        return self.clients[-1]

    async def open_api(self) -> str:
        """Let the sandbox be reached, at the same address each time."""
        server = await self._api.enter_async_context(SandboxServer(self.sandbox, port=self._api_port))
        self._api_port = urlsplit(server.base_url).port or 0
        return server.base_url

    async def close_api(self) -> None:
        """Let nobody reach the sandbox."""
        await self._api.aclose()

    async def start(self) -> None:
        """Serve the app, and return when it answers."""
        # From here on connections wait until they are accepted.
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.ends = Ends()
        if self.served.once:
            importlib.reload(self.module)
        app = getattr(self.module, self.served.app)
        self._task = asyncio.create_task(self.served.serve(app, listener, self.ends))
        # Each request on a connection of its own, as if each came from another shopper.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._browser = aiohttp.ClientSession(self.url, connector=connector)
        answer = asyncio.create_task(self.health())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            answer.cancel()
            self._task.result()
        assert (await answer).status == 200

    async def stop(self) -> None:
        """Tell the app to end, as SIGTERM does, and return when it has."""
        task, self._task = self._task, None
        if task is not None:
            assert self._browser is not None
            self.ends.told.set()
            try:
                await task
            finally:
                await self._browser.close()

    async def ask(self, method: str, path: str, **with_: Any) -> Answer:
        """Ask the app, as a browser does."""
        assert self._browser is not None
        began = time.monotonic()
        async with self._browser.request(method, path, **with_) as answer:
            content = await answer.read()
            seconds = time.monotonic() - began
            body = json.loads(content) if answer.content_type == "application/json" else content
            return Answer(answer.status, body, answer.headers, seconds)

    async def check_out(self, number: str, /, **changes: Any) -> Answer:
        """Check an order out."""
        return await self.ask("POST", "/checkout", json=order(number, **changes))

    async def find(self, number: str) -> Answer:
        """Ask what became of an order."""
        return await self.ask("GET", f"/orders/{number}")

    async def health(self) -> Answer:
        """Ask how the app is."""
        return await self.ask("GET", "/health")

    async def begin_check_out(self, number: str, *, share: float = 1.0) -> asyncio.StreamWriter:
        """Send a share of the request, and leave the answer unread; closing is up to the caller."""
        address = urlsplit(self.url)
        body = json.dumps(order(number)).encode()
        head = (
            f"POST /checkout HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request[: int(len(request) * share)])
        await writer.drain()
        return writer

    @property
    def taken(self) -> dict[str, int]:
        """How many claims the sandbox has taken for each order."""
        return {ref: len(claims) for ref, claims in self.sandbox.ledger.claims_by_ref().items()}


@pytest.fixture
def gate() -> Gate:
    """Return what holds the requests that the sandbox is late with."""
    return Gate()


@pytest.fixture
async def make_shop(monkeypatch):
    """Return a maker of shops that are open, each with a sandbox of its own."""
    told, clients = Watched(), []
    make_client = ClaimsClient.from_env

    def from_env(**settings: Any) -> ClaimsClient:
        clients.append(make_client(on_event=told, **settings))
        return clients[-1]

    monkeypatch.setattr(ClaimsClient, "from_env", from_env)
    async with contextlib.AsyncExitStack() as stack:

        async def make(served: Served, faults: FaultPlan | None = None, **settings: Any) -> Shop:
            sandbox = Sandbox(faults=faults or FaultPlan(), **settings)
            shop = Shop(served, sandbox, told, clients)
            stack.push_async_callback(shop.close_api)
            stack.push_async_callback(shop.stop)
            monkeypatch.setenv("DINTERO_BASE_URL", await shop.open_api())
            monkeypatch.setenv("DINTERO_ACCOUNT_ID", sandbox.account_id)
            monkeypatch.setenv("DINTERO_CLIENT_ID", sandbox.client_id)
            monkeypatch.setenv("DINTERO_CLIENT_SECRET", sandbox.client_secret)
            await shop.start()
            return shop

        yield make
    # Nobody has to look after a client of the app.
    assert {client.health().state for client in clients} == {"closed"}


@pytest.fixture(params=APPS)
def served(request: pytest.FixtureRequest) -> Served:
    """Run the test with every app."""
    return APPS[request.param]


@pytest.fixture
async def shop(make_shop, served: Served, gate: Gate) -> Shop:
    """Return an open shop, whose sandbox is late with nothing until the test says so."""
    return await make_shop(served, sleep=gate)


@pytest.fixture
def served_fastapi() -> Served:
    """Run the test with the point of sale alone."""
    return APPS["fastapi"]
