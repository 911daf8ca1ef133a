"""A server on a real socket that does as it is told, and keeps its own ledger of claims.

It writes HTTP itself, byte by byte where a test wants that, and shares no code with the library.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from support.canary import TOKEN

CLAIMS = "/discounts/available_for_receipt/claims"


@dataclass
class Incoming:
    """A request as it was read from the wire."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """An answer, and what becomes of the connection after it: "keep", "close", "reset" or "hang"."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    then: str = "keep"
    # Instead of all that: exactly these bytes.
    raw: bytes | None = None

    def bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        headers = {"Content-Type": "application/json", "Content-Length": str(len(self.body))} | self.headers
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode() + self.body


RESET = Answer(raw=b"", then="reset")
CLOSE = Answer(raw=b"", then="close")
HANG = Answer(raw=b"", then="hang")

Step = Callable[[Incoming], Answer] | Answer


def json_answer(value: Any, status: int = 200, **changes: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), **changes)


def error_answer(status: int, message: str = "no", code: str = "NO", **changes: Any) -> Answer:
    return json_answer({"error": {"code": code, "message": message}}, status, **changes)


class FakeServer:
    """Takes claims and gives tokens; steps that are queued for an operation replace its next answers."""

    def __init__(self, *, ssl: Any = None, token_answer: dict[str, Any] | None = None) -> None:
        self._ssl = ssl
        self.token_answer = token_answer or {"token_type": "Bearer", "expires_in": 14400}
        self.claims: list[dict[str, Any]] = []
        self._refs: set[str] = set()
        self.posts: list[Incoming] = []
        self.reads: list[Incoming] = []
        self.token_requests: list[Incoming] = []
        self.good_tokens: set[str] = set()
        self.on_claim: deque[Step] = deque()
        self.on_read: deque[Step] = deque()
        self.on_token: deque[Step] = deque()
        self.connections = 0
        self.open_now = 0
        self.open_most = 0
        # Claims are answered only while it is open; `held` are those that wait for that.
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0
        self.held_most = 0
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._ssl, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.gate.set()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://localhost:{self.port}/v1"

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has become true of what this server saw."""
        while not happened():
            self._changed.clear()
            await self._changed.wait()

    def commit(self, incoming: Incoming) -> Answer:
        """Take a claim as the API would, and return the answer to it."""
        body = incoming.json
        ref = body.get("ref")
        if ref is not None and ref in self._refs:
            return error_answer(409, "ref is in use", "CONFLICT")
        self._refs.add(ref)
        claim = {
            "ref": None,
            **body,
            "id": str(uuid.uuid4()),
            "created_at": "2026-11-23T12:00:00Z",
            "deleted_at": None,
        }
        self.claims.append(claim)
        return json_answer(claim)

    def commit_then(self, answer: Answer) -> Callable[[Incoming], Answer]:
        """Return a step that takes the claim and answers something else."""

        def step(incoming: Incoming) -> Answer:
            self.commit(incoming)
            return answer

        return step

    def give_token(self, _incoming: Incoming | None = None) -> Answer:
        token = f"{TOKEN}-{len(self.token_requests)}-{uuid.uuid4()}"
        self.good_tokens.add(token)
        return json_answer({"access_token": token} | self.token_answer)

    def _page(self, incoming: Incoming) -> Answer:
        query = dict(part.split("=", 1) for part in incoming.query.split("&") if part)
        claims = self.claims[::-1]
        after = query.get("starting_after")
        start = next((i + 1 for i, claim in enumerate(claims) if claim["id"] == after), 0)
        return json_answer(claims[start : start + int(query.get("limit", 10))])

    def _handle(self, incoming: Incoming) -> Answer:
        if incoming.path.endswith("/auth/token"):
            self.token_requests.append(incoming)
            return self._step(self.on_token, incoming, self.give_token)
        is_claim = incoming.method == "POST"
        (self.posts if is_claim else self.reads).append(incoming)
        queue = self.on_claim if is_claim else self.on_read
        if (
            not queue
            and incoming.headers.get("authorization", "").removeprefix("Bearer ") not in self.good_tokens
        ):
            return error_answer(401, "the token is not good", "UNAUTHORIZED")
        if is_claim:
            return self._step(queue, incoming, self.commit)
        if incoming.path.endswith("/claims"):
            return self._step(queue, incoming, self._page)
        return self._step(queue, incoming, self._one)

    def _one(self, incoming: Incoming) -> Answer:
        claim_id = incoming.path.rpartition("/")[2]
        claim = next((claim for claim in self.claims if claim["id"] == claim_id), None)
        return error_answer(404, "no such claim", "NOT FOUND") if claim is None else json_answer(claim)

    @staticmethod
    def _step(queue: deque[Step], incoming: Incoming, default: Callable[[Incoming], Answer]) -> Answer:
        step = queue.popleft() if queue else default
        return step if isinstance(step, Answer) else step(incoming)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            await self._converse(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_now -= 1
            self._changed.set()
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        while True:
            incoming = await _read_request(reader, number)
            if incoming.method == "POST" and not incoming.path.endswith("/auth/token"):
                await self._hold()
            answer = self._handle(incoming)
            self._changed.set()
            writer.write(answer.bytes())
            await writer.drain()
            if answer.then == "hang":
                # Until the client hangs up.
                await reader.read()
                return
            if answer.then == "reset":
                _reset(writer)
                return
            if answer.then == "close":
                return

    async def _hold(self) -> None:
        self.held += 1
        self.held_most = max(self.held_most, self.held)
        self._changed.set()
        try:
            await self.gate.wait()
        finally:
            self.held -= 1


async def _read_request(reader: asyncio.StreamReader, number: int) -> Incoming:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _version = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Incoming(method, path, query, headers, body, number)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
