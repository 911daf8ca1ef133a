"""The default engine, on aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .base import EngineRequest, EngineResponse, RequestMaybeSent, RequestNotSent, inflate

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class _TrackedBody(aiohttp.BytesPayload):
    """A body that remembers whether any of it was handed to the connection.

    Without its body a claim cannot be executed, so until then it counts as not sent.
    """

    started = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.started = True
        await super().write_with_length(writer, content_length)


class _Response(aiohttp.ClientResponse):
    """An answer that remembers its connection, which aiohttp gives back to the pool with the last byte."""

    transport: asyncio.Transport | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        self.transport = connection.transport
        return await super().start(connection)


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
        self._connector = aiohttp.TCPConnector(
            limit=max_connections,
            keepalive_timeout=idle_seconds,
            ssl=ssl_context or True,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            response_class=_Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            # The deadline is kept here, for every phase alike.
            timeout=_NO_TIMEOUT,
            # Inflating is capped here; aiohttp inflates whatever comes.
            auto_decompress=False,
            trust_env=trust_env,
        )

    async def send(self, request: EngineRequest, *, deadline: float) -> EngineResponse:
        """See `Engine.send`."""
        body = None if request.body is None else _TrackedBody(request.body)
        try:
            async with asyncio.timeout_at(deadline):
                # The cast says what `response_class` does.
                response = cast(
                    "_Response",
                    await self._session.request(
                        request.method,
                        URL(request.url, encoded=True),
                        data=body,
                        headers=request.headers,
                        allow_redirects=False,
                        proxy=self._proxy,
                    ),
                )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._session.closed and task is not None and not task.cancelling():
                # Closing a pool cancels those that wait in it for a connection.
                raise RequestNotSent("the client was closed", permanent=True) from None
            # aiohttp's frames hold the headers, and a traceback can be printed with its locals.
            raise error.with_traceback(None) from None
        except Exception as error:  # noqa: BLE001 - whatever fails here, the claim may be taken
            raise _verdict(error, sent=body is None or body.started) from None
        answer, whole = await self._read(response, request.body_cap, deadline)
        content, inflated = inflate(answer, response.headers.get("Content-Encoding", ""), request.body_cap)

        async def drop() -> None:
            if response.transport is not None:
                response.transport.abort()

        return EngineResponse(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            complete=whole and inflated,
            drop=drop,
        )

    async def _read(self, response: _Response, cap: int, deadline: float) -> tuple[bytes, bool]:
        """Return what came of the body, and whether that is all of it."""
        content, answer, whole = response.content, bytearray(), False
        try:
            async with asyncio.timeout_at(deadline):
                while len(answer) <= cap and (chunk := await content.readany()):
                    answer += chunk
                whole = len(answer) <= cap
        except Exception:  # noqa: BLE001 - the status is known, and says more than how the body broke off
            whole = False
        finally:
            if not whole:
                response.close()
        return bytes(answer[:cap]), whole

    async def aclose(self) -> None:
        """Close the pool and all its connections."""
        await self._session.close()

    def abandon(self) -> None:
        """See `Engine.abandon`."""
        if self._loop.is_running():
            # From a finalizer, which may run in any thread.
            self._loop.call_soon_threadsafe(_close_in_background, self._loop, self._session)
        else:
            # Nothing can be sent any more; this keeps aiohttp from warning a second time.
            self._session.detach()


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
