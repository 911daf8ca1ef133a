"""Fixtures: the fault server with its script, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dintero_claims_client import _tokens
from faults.script import Queues
from faults.server import FaultServer


@pytest.fixture
def plan() -> Queues:
    """Return the script of the server: queues of faults, empty at first."""
    return Queues()


@pytest.fixture
async def server(plan: Queues) -> AsyncIterator[FaultServer]:
    """Return a server that does as its script says."""
    async with FaultServer(plan=plan) as server:
        yield server


@pytest.fixture
def quick_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failed token requests follow one another without the seconds between them."""
    monkeypatch.setattr(_tokens, "_FAILURE_DELAYS", (0.001, 0.001, 0.001))


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Leave out log lines below WARNING, which would be most of the work of thousands of calls."""
    caplog.set_level(logging.WARNING)


class Network:
    """What lies before the server: names that are not found, and ports at which nobody listens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._find, self._connect = self._loop.getaddrinfo, self._loop.sock_connect
        self.lookups: deque[Exception | None] = deque()
        self.connects: deque[bool | None] = deque()
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(self._loop, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(self._loop, "sock_connect", self._sock_connect)

    async def _getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        if self.lookups and (error := self.lookups.popleft()) is not None:
            raise error
        return await self._find(*args, **kwargs)

    async def _sock_connect(self, sock: socket.socket, address: Any) -> None:
        if sock.family is socket.AF_INET and self.connects and self.connects.popleft():
            address = self._closed.getsockname()
        await self._connect(sock, address)

    def close(self) -> None:
        self._closed.close()


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    """Return the network between the client and the server."""
    with contextlib.closing(Network(monkeypatch)) as network:
        yield network
