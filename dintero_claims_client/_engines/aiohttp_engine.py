"""The default engine, on aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from .aiohttp_direct import NO_TIMEOUT, DirectPost, Received, parsed, unsent
from .base import EngineRequest, EngineResponse, RequestMaybeSent, RequestNotSent, inflate
from .deadlines import Deadlines

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


HANDSHAKES = 16
HANDSHAKE_SECONDS = 0.25
"""TLS handshakes at once, and how long one counts. Each takes a millisecond of the event loop: hundreds at
once would hold it up, and time each other out."""


class _Handshake:
    """A TLS handshake that counts, until it ends or takes long."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended: Callable[[], None] | None = ended

    def end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


class _Line:
    """Callers that wait for a connection, and how many of them were told to go on and have not yet."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.going = 0


class _TrackedBody(aiohttp.BytesPayload):
    """A body that says when it is handed to the connection."""

    def __init__(self, body: bytes, received: Received) -> None:
        super().__init__(body)
        self._received = received

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._received.sent = True
        await super().write_with_length(writer, content_length)


class _Connector(aiohttp.TCPConnector):
    """A pool that hands out no connection on which something has come since its last answer.

    Whatever came unasked, a second answer or the end of the connection, would be taken for the answer to
    the next request, or leave its outcome unknown. aiohttp looks only whether the connection is closed.
    """

    def __init__(self, *, limit: int, keepalive_timeout: float, ssl: ssl.SSLContext | bool) -> None:
        # One parameter that is not used here has an incomplete type.
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout, ssl=ssl)  # pyright: ignore[reportUnknownMemberType]
        self._used: WeakSet[object] = WeakSet()
        self._handshakes = 0
        self._lines: dict[ConnectionKey, _Line] = {}

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        key = req.connection_key
        while True:
            if key.is_ssl and (key in self._lines or not self._free(key)):
                await self._wait_in_line(key)
            connection = await super().connect(req, traces, timeout)
            protocol = cast("ResponseHandler", connection.protocol)
            # A new one may have something to read that is not an answer: the tickets of TLS.
            if protocol not in self._used:
                self._used.add(protocol)
                try:
                    await _turns()
                    transport = connection.transport
                    if not protocol.should_close and transport is not None and not transport.is_closing():
                        return connection
                except BaseException:
                    connection.close()
                    raise
                connection.close()
                raise RequestNotSent("something came before the request was sent")
            if not protocol.should_close and not _is_readable(connection.transport):
                return connection
            connection.close()

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if not req.is_ssl():
            return await super()._create_connection(req, traces, timeout)
        if self._closed:
            raise aiohttp.ClientConnectionError("the pool is closed")
        self._handshakes += 1
        handshake = _Handshake(self._handshake_ended)
        # One that takes long waits for the network, and must not keep others from theirs.
        timer = self._loop.call_later(HANDSHAKE_SECONDS, handshake.end)
        try:
            return await super()._create_connection(req, traces, timeout)
        finally:
            timer.cancel()
            handshake.end()

    def _handshake_ended(self) -> None:
        self._handshakes -= 1
        for key in list(self._lines):
            self._let_go_on(key)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        if self._lines:
            self._let_go_on(key)

    async def close(self, *, abort_ssl: bool = False) -> None:
        try:
            await super().close(abort_ssl=abort_ssl)
        finally:
            if not self._loop.is_closed():
                for key in list(self._lines):
                    self._let_go_on(key)

    async def _wait_in_line(self, key: ConnectionKey) -> None:
        """Wait until a handshake may begin or a connection is given back, whichever comes first.

        First come, first served: with the event loop busy, those that have a connection would take it again
        and again, and those that wait for a handshake hardly get on.
        """
        line = self._lines.setdefault(key, _Line())
        turn: asyncio.Future[None] = self._loop.create_future()
        line.waiting.append(turn)
        self._let_go_on(key)
        goes_on = False
        try:
            await turn
            goes_on = True
        finally:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    line.waiting.remove(turn)
            else:
                line.going -= 1
            if not goes_on:
                # What was kept for it is for the next.
                self._let_go_on(key)
            # Of those that are cancelled together, one may have ended the line, and others begun a new one.
            if not line.waiting and not line.going and self._lines.get(key) is line:
                del self._lines[key]

    def _let_go_on(self, key: ConnectionKey) -> None:
        line = self._lines.get(key)
        while line is not None and line.waiting and (self._closed or line.going < self._free(key)):
            turn = line.waiting.popleft()
            if not turn.done():
                line.going += 1
                turn.set_result(None)

    def _free(self, key: ConnectionKey) -> int:
        """Return how many could go on: on a connection that nobody uses, or with a handshake."""
        return len(self._conns.get(key, ())) + max(0, HANDSHAKES - self._handshakes)


async def _turns() -> None:
    """Let the event loop take in what has come on a new connection: it hands that over a turn later."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Say whether the other side has sent something, or hung up, that has not been read yet."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return True
    if not hasattr(select, "poll"):  # pragma: no cover - Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Response(aiohttp.ClientResponse):
    """An answer that remembers its connection, which aiohttp gives back to the pool with the last byte.

    `early` where it came before the request was written. The rest of that is not sent then: aiohttp would go
    on writing it, and the server could execute what it has refused.
    """

    transport: asyncio.Transport | None = None
    early = False

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        self.transport = connection.transport
        response = await super().start(connection)
        if self.transport is not None and unsent(self.transport):
            self.early = True
            self.transport.abort()
        return response


class AiohttpEngine:
    """Sends over aiohttp, with a pool of its own."""

    name = f"aiohttp/{aiohttp.__version__}"

    def __init__(
        self,
        *,
        max_connections: int,
        idle_seconds: float,
        ssl_context: ssl.SSLContext | None,
        proxy: str | None,
        trust_env: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._proxy = proxy
        # Read once, and not by aiohttp, which asks for them anew in a thread for every request, and adds
        # credentials from .netrc to requests that have their own.
        self._environment_proxies = getproxies() if trust_env else {}
        self._proxies: dict[tuple[str, str | None], str | None] = {}
        self._connector = _Connector(
            limit=max_connections, keepalive_timeout=idle_seconds, ssl=ssl_context or True
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            response_class=_Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            # The deadline is kept here, for every phase alike.
            timeout=NO_TIMEOUT,
            # Inflating is capped here; aiohttp inflates whatever comes.
            auto_decompress=False,
        )
        self._direct = DirectPost(self._connector, self._session)
        self._deadlines = Deadlines()

    async def send(self, request: EngineRequest, *, deadline: float) -> EngineResponse:
        """See `Engine.send`."""
        if self._is_closed():
            raise RequestNotSent("the client was closed", permanent=True)
        received = Received()
        try:
            with self._deadlines.at(deadline):
                proxy = self._proxy or self._environment_proxy(request.url)
                if proxy is None and request.method == "POST":
                    await self._direct.exchange(request, received)
                else:
                    await self._exchange(request, proxy, received)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._is_closed() or task is None or task.cancelling():
                raise
            # Closing a pool cancels those that wait in it for a connection.
            if received.status is None:
                raise _verdict(aiohttp.ClientConnectionError(), sent=received.sent) from None
        except (RequestNotSent, RequestMaybeSent):
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails here, the claim may be taken
            # Once the status is known, that says more than how the body broke off.
            if received.status is None:
                raise _verdict(error, sent=received.sent) from None
        encoding, cap = received.headers.get("Content-Encoding", ""), request.body_cap
        content, inflated = inflate(bytes(received.content[:cap]), encoding, cap)
        return EngineResponse(
            status=cast("int", received.status),
            headers=received.headers,
            body=content,
            complete=received.whole and inflated,
            drop=received.drop,
        )

    async def _exchange(self, request: EngineRequest, proxy: str | None, received: Received) -> None:
        """Send over aiohttp's session: what needs a proxy, and what has no body."""
        body = None if request.body is None else _TrackedBody(request.body, received)
        # Without a body it is not told apart.
        received.sent = body is None
        # The cast says what `response_class` does.
        response = cast(
            "_Response",
            await self._session.request(
                request.method,
                parsed(request.url),
                data=body,
                headers=request.headers,
                allow_redirects=False,
                proxy=proxy,
            ),
        )
        received.transport = response.transport
        if not received.sent:
            # It came before there was a question.
            response.close()
            raise RequestNotSent("an answer came before the request was sent")
        if response.early and 200 <= response.status <= 299:
            raise RequestMaybeSent("an answer came before the request was sent")
        received.status, received.headers = response.status, response.headers
        try:
            await received.read(response.content, request.body_cap)
        finally:
            # aiohttp keeps the connection of a 101 with the answer.
            if not received.whole or not response.closed:
                if not received.whole and received.transport is not None:
                    received.transport.abort()
                response.close()

    def _is_closed(self) -> bool:
        return self._session.closed

    def _environment_proxy(self, address: str) -> str | None:
        if not self._environment_proxies:
            return None
        url = parsed(address)
        origin = (url.scheme, url.host)
        if origin not in self._proxies:
            proxy = self._environment_proxies.get(url.scheme)
            if proxy is None or (url.host is not None and proxy_bypass(url.host)):
                self._proxies[origin] = None
            else:
                self._proxies[origin] = proxy if "://" in proxy else f"http://{proxy}"
        return self._proxies[origin]

    async def aclose(self) -> None:
        """Close the pool and all its connections."""
        await self._session.close()

    def abandon(self) -> None:
        """See `Engine.abandon`."""
        if self._loop.is_running():
            # From a finalizer, which may run in any thread.
            self._loop.call_soon_threadsafe(_close_in_background, self._loop, self._session)
        else:
            # Nothing can be closed on an event loop that has ended; marking both as closed keeps aiohttp
            # from warning too. Closing the connector awaits nothing then.
            self._session.detach()
            if self._loop.is_closed():
                with contextlib.suppress(StopIteration):
                    self._connector.close().send(None)


def _close_in_background(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    task = loop.create_task(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
"""Keeps the tasks alive; the event loop holds only weak references to them."""


def _verdict(error: Exception, *, sent: bool) -> RequestNotSent | RequestMaybeSent:
    reason = _reason(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # The proxy refused to connect; 407 wants credentials, which no repetition brings.
        return RequestNotSent(f"the proxy answered {error.status}", permanent=error.status == 407)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)):
        return RequestNotSent(f"the server's certificate is not trusted ({reason})", permanent=True)
    if isinstance(error, aiohttp.InvalidURL):
        return RequestNotSent("the URL is not one that can be sent to", permanent=True)
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)) or not sent:
        return RequestNotSent(f"no connection ({reason})")
    return RequestMaybeSent(reason)


def _reason(error: Exception) -> str:
    """Name what happened, in words that cannot hold a header, a URL's password or a body."""
    if isinstance(error, TimeoutError):
        return "timed out"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return f"{type(error).__name__}: {cause.strerror}"
    return type(error).__name__
