"""A POST on a connection of aiohttp's pool, past its session.

Most of what a claim takes in aiohttp is taken by what a claim never uses: cookies, redirects, form data, a
task that writes the body. Its pool, its TLS and its parser are used here as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property, lru_cache

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from .base import EngineRequest, RequestMaybeSent

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class Received:
    """How far an exchange has come: whether the request was handed over, and what there is of an answer."""

    __slots__ = ("content", "headers", "sent", "status", "transport", "whole")

    def __init__(self) -> None:
        self.sent = False
        """From before the first byte of the body; without that a claim cannot be executed."""
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.content = bytearray()
        self.whole = False
        self.transport: asyncio.Transport | None = None

    async def read(self, content: aiohttp.StreamReader, cap: int) -> None:
        """Read a body to its end, but not much more than `cap` bytes of it."""
        answer = self.content
        if content.is_eof():
            # Most answers are there as a whole.
            answer += content.read_nowait()
        while len(answer) <= cap and (chunk := await content.readany()):
            answer += chunk
        self.whole = len(answer) <= cap

    async def drop(self) -> None:
        """Close the connection that the answer came on."""
        if self.transport is not None:
            self.transport.abort()


class _Target(aiohttp.ClientRequest):
    """Where requests go; never sent itself."""

    @cached_property
    def connection_key(self) -> ConnectionKey:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().connection_key


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes wait to be sent, also where TLS has encrypted them already."""
    raw = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.get_write_buffer_size() + (0 if raw is None else raw.get_write_buffer_size())


class DirectPost:
    """Posts on the connections of a pool, many at once, on one event loop."""

    def __init__(self, connector: aiohttp.BaseConnector, session: aiohttp.ClientSession) -> None:
        self._connector = connector
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._targets: dict[str, _Target] = {}
        self._head: tuple[str, Mapping[str, str], bytes] | None = None

    async def exchange(self, request: EngineRequest, received: Received) -> None:
        """Send, and receive until the end of the answer, or as far as it goes."""
        connection = await self._connector.connect(self._target(request.url), [], NO_TIMEOUT)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or transport.is_closing():
                # It was lost since it was handed out, and nothing can be written to it.
                raise aiohttp.ServerDisconnectedError
            received.transport = transport
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            received.sent = True
            # In one piece, and in no variable: a traceback would show the token in it.
            transport.write(self._bytes_of(request))
            while True:
                message, content = await protocol.read()
                if not 100 <= message.code <= 199 or message.code == 101:
                    break
            early = unsent(transport) > 0
            if early:
                # The rest is not sent: the server could execute what it has refused.
                transport.abort()
                if 200 <= message.code <= 299:
                    raise RequestMaybeSent("an answer came before the request was sent")
            received.status, received.headers = message.code, message.headers
            if message.code != 101:
                await received.read(content, request.body_cap)
        finally:
            if received.whole:
                connection.release()
            else:
                # Closing alone would still send what is left of a request that is given up.
                if received.transport is not None:
                    received.transport.abort()
                connection.close()

    def _target(self, url: str) -> _Target:
        """Return what the pool finds a connection by; there is one for each URL, of which there are two."""
        target = self._targets.get(url)
        if target is None:
            target = _Target("POST", parsed(url), loop=self._loop, session=self._session)
            self._targets[url] = target
        return target

    def _bytes_of(self, request: EngineRequest) -> bytes:
        """Return a request as it is sent; its head is kept, because that of the next is the same."""
        body = request.body or b""
        kept = self._head
        if kept is None or kept[1] is not request.headers or kept[0] != request.url:
            kept = self._head = request.url, request.headers, _head(request)
        return b"%b%d\r\n\r\n%b" % (kept[2], len(body), body)


def _head(request: EngineRequest) -> bytes:
    url = parsed(request.url)
    fields = {"Host": url.host_port_subcomponent or "", **request.headers}
    lines = [f"{request.method} {url.raw_path_qs} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    if any(character in line for line in lines for character in "\r\n\0"):
        raise ValueError("a header cannot have more than one line")
    return "\r\n".join([*lines, "Content-Length: "]).encode()


@lru_cache(maxsize=16)
def parsed(url: str) -> URL:
    """Return a URL that is encoded already."""
    return URL(url, encoded=True)
