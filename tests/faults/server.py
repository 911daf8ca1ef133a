"""A server on a real socket that takes claims, and fails as its plan says."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qsl

from faults.answers import FORMS
from faults.connection import Connection, Exchange
from faults.forms_list import page
from faults.ledger import Json, Ledger
from faults.ledger import refusal as error
from faults.script import Fault, Plan, Point, Queues, Request
from faults.wire import Facts, Wire, answer

ACCOUNT = "/v1/accounts/T12345678"
CLAIMS = f"{ACCOUNT}/discounts/available_for_receipt/claims"
TOKEN = f"{ACCOUNT}/auth/token"

_PATH = re.compile(
    r"/v1/accounts/[^/?]+/(?:(auth/token)|discounts/available_for_receipt/claims(?:/([^/?]+))?)(?:\?(.*))?"
)

STRANGER: Json = {
    "id": "5747a9e0-aaaa-4aaa-8aaa-000000000000",
    "ref": "ref-of-a-stranger",
    "customer_id": "stranger",
    "purchase_at": "2026-11-23T11:00:00Z",
    "discounts": [{"id": "discount-9", "refs": [{"id": "item-9", "amount": 900, "usage": 1}]}],
    "created_at": "2026-11-23T11:00:00Z",
    "updated_at": None,
    "deleted_at": None,
}
"""A claim that is in no ledger, and that no caller may get."""

TOKEN_MARK = "canary-token-91b7"
"""What every token begins with, so that a search finds any."""

_INVENTED = "0bad0bad-0000-4000-8000-000000000000"
"""The id in answers to claims that were not taken."""


class FaultServer:
    """Serves the API on 127.0.0.1 while its context is entered.

    Without a plan nothing fails; `server.plan` can be replaced at any time. `credentials` are the user and
    password that requests for a token need, `record` keeps all requests in `requests`.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        ledger: Ledger | None = None,
        expires_in: object = 14400,
        credentials: tuple[str, str] | None = None,
        record: bool = False,
    ) -> None:
        self.plan: Plan = Queues() if plan is None else plan
        self.ledger = Ledger() if ledger is None else ledger
        self.expires_in = expires_in
        self.token_fields: Json = {}
        """What an answer with a token says instead of, or beside, the usual; `...` leaves a field out."""
        self.record = record
        self.requests: list[Exchange] = []
        self.connections = 0
        self.open_now = 0
        self.open_most = 0
        self.exchanges = 0
        """Requests of which at least the head was read."""
        self.faulted = 0
        """Exchanges and connections that a fault struck."""
        self.claim_requests = 0
        self.token_requests = 0
        self.list_requests = 0
        self.get_requests = 0
        self.refs_seen: dict[str, int] = {}
        """How often each ref was sent in a whole request."""
        self.customers_seen: dict[str, int] = {}
        """The same by customer, for claims without a ref."""
        self.changed: set[str] = set()
        """The refs that came a second time with other bytes."""
        self.trapped = 0
        """Connections to the address that redirects point to."""
        self._tls = tls
        self._basic = (
            None if credentials is None else base64.b64encode(":".join(credentials).encode()).decode()
        )
        self._tokens: set[str] = set()
        self._bodies: dict[str, int] = {}
        self._open: set[Connection] = set()
        self._changes = asyncio.Event()
        self._waiting = 0

    async def __aenter__(self) -> Self:
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        await self.resume_listening()
        loop = asyncio.get_running_loop()
        self._trap = await loop.create_server(lambda: _Trap(self), "127.0.0.1", 0)
        self.trap: str = f"http://127.0.0.1:{self._trap.sockets[0].getsockname()[1]}/trap"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pause_listening()
        self._socket.close()
        self._trap.close()
        for connection in self._open:
            connection.abort()
        await self.until(lambda: not self._open)
        await self._listener.wait_closed()
        await self._trap.wait_closed()

    @property
    def base_url(self) -> str:
        """The URL of the API."""
        return f"{'http' if self._tls is None else 'https'}://localhost:{self.port}/v1"

    def pause_listening(self) -> None:
        """Refuse new connections; those that there are go on."""
        self._listener.close()
        # Keeps the port, so that nobody else is given it meanwhile.
        self._socket = _bound(self.port)

    async def resume_listening(self) -> None:
        """Accept connections again, on the same port."""
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, self._tls), sock=self._socket, backlog=4096
        )

    def revoke(self) -> None:
        """Make all tokens bad that were given so far."""
        self._tokens.clear()

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has become true of what this server saw."""
        self._waiting += 1
        try:
            while not happened():
                self._changes.clear()
                await self._changes.wait()
        finally:
            self._waiting -= 1

    def opened(self, connection: Connection) -> tuple[int, Fault | None]:
        """See `Host`."""
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        self._open.add(connection)
        self._note()
        return self.connections, self.plan.for_connection(self.connections)

    def closed(self, connection: Connection) -> None:
        """See `Host`."""
        self.open_now -= 1
        self._open.discard(connection)
        self._note()

    def struck(self) -> None:
        """See `Host`."""
        self.faulted += 1
        self._note()

    def head(self, exchange: Exchange) -> Fault | None:
        """See `Host`."""
        self.exchanges += 1
        self._note()
        self._route(exchange)
        operation = exchange.operation
        if operation is None:
            return None
        if operation == "claim":
            self.claim_requests += 1
        elif operation == "token":
            self.token_requests += 1
        elif operation == "list":
            self.list_requests += 1
        else:
            self.get_requests += 1
        return self.plan.for_head(operation)

    def whole(self, exchange: Exchange) -> tuple[Wire, Fault | None]:
        """See `Host`."""
        if self.record:
            self.requests.append(exchange)
        self._note()
        if exchange.operation is None:
            return answer(404, json.dumps(error("NOT FOUND", "no such path")).encode()), None
        body = _read(exchange.body)
        fault = self.plan.for_request(self._request(exchange, body))
        if fault is None:
            status, value = self._honest(exchange, body, execute=True)
            return answer(status, json.dumps(value).encode()), None
        self.faulted += 1
        if fault.at is Point.UPLOAD:
            return answer(500, b""), fault
        status, value = self._honest(exchange, body, execute=fault.commit)
        facts = Facts(status, value, STRANGER, self.trap, self.ledger, exchange.query, fault.size)
        return FORMS[fault.answer](facts), fault

    def _note(self) -> None:
        if self._waiting:
            self._changes.set()

    def _route(self, exchange: Exchange) -> None:
        match = _PATH.fullmatch(exchange.target)
        if match is None:
            return
        token, claim_id, query = match.groups()
        exchange.query = dict(parse_qsl(query)) if query else {}
        if exchange.method == "POST" and claim_id is None:
            exchange.operation = "token" if token else "claim"
        elif exchange.method == "GET" and token is None:
            exchange.claim_id = claim_id or ""
            exchange.operation = "get" if claim_id else "list"

    def _request(self, exchange: Exchange, body: Any) -> Request:
        """Return what the plan is told of a request, and count it."""
        operation = exchange.operation
        assert operation is not None
        if operation != "claim":
            attempt = {"token": self.token_requests, "list": self.list_requests, "get": self.get_requests}
            return Request(operation, attempt[operation], exchange.connection, exchange.used)
        fields = body if isinstance(body, dict) else {}
        ref, customer = fields.get("ref"), str(fields.get("customer_id"))
        if ref is None:
            number = self.customers_seen[customer] = self.customers_seen.get(customer, 0) + 1
        else:
            ref = str(ref)
            number = self.refs_seen[ref] = self.refs_seen.get(ref, 0) + 1
            digest = hash(exchange.body)
            if self._bodies.setdefault(ref, digest) != digest:
                self.changed.add(ref)
        return Request("claim", number, exchange.connection, exchange.used, ref, customer)

    def _honest(self, exchange: Exchange, body: Any, *, execute: bool) -> tuple[int, Any]:
        """Return the answer that the API gives, after doing what was asked, or without that."""
        authorization = exchange.headers.get("authorization", "")
        if exchange.operation == "token":
            return self._give_token(authorization)
        if authorization.removeprefix("Bearer ") not in self._tokens:
            return 401, error("UNAUTHORIZED", "the token is not good")
        if exchange.operation == "claim":
            if execute:
                return self.ledger.commit(body)
            return 200, {**STRANGER, **(body if isinstance(body, dict) else {}), "id": _INVENTED}
        if exchange.operation == "list":
            return 200, page(Facts(200, None, STRANGER, self.trap, self.ledger, exchange.query))
        claim = self.ledger.get(exchange.claim_id)
        return (404, error("NOT FOUND", "no such claim")) if claim is None else (200, claim)

    def _give_token(self, authorization: str) -> tuple[int, Json]:
        if self._basic is not None and authorization != f"Basic {self._basic}":
            return 401, error("UNAUTHORIZED", "the client is not known")
        token = f"{TOKEN_MARK}-{self.token_requests}-of-port-{self.port}"
        # Also where the answer is lost: nobody can tell a token that was not given from one that was.
        self._tokens.add(token)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
        return 200, {name: value for name, value in (answer | self.token_fields).items() if value is not ...}


class _Trap(asyncio.Protocol):
    """Counts who follows a redirect, and hangs up."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.trapped += 1
        self._server._note()
        transport.close()


def _bound(port: int) -> socket.socket:
    """Return a socket that has a port and does not listen."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


def _read(body: bytes) -> Any:
    """Return a body's JSON, or None."""
    try:
        return json.loads(body)
    except ValueError:
        return None
