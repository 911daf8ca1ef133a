"""The engine for those who bring their own `httpx.AsyncClient`, or httpx2's, which has the same shape.

It promises less than the default engine, where the caller's pool does: httpcore 1.0's may be left full by
cancellations under contention, and a socket whose TLS handshake is cancelled is left to be collected.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, cast

from .base import (
    AsyncHttpClient,
    EngineRequest,
    EngineResponse,
    RequestMaybeSent,
    RequestNotSent,
    inflate,
)

# By name, because httpx2's classes are not httpx's.
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})
_PERMANENT = frozenset({"UnsupportedProtocol", "InvalidURL"})


class _Stream(Protocol):
    async def aclose(self) -> None: ...


class _SentMark:
    """Follows httpcore's trace, to know whether any of the body was handed to the connection."""

    def __init__(self) -> None:
        self.traced = False
        self.sent = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.traced = True
        # Asking a proxy for a tunnel is a request too, without anything of ours.
        if event.endswith("send_request_body.started") and info["request"].method != b"CONNECT":
            self.sent = True


class HttpxEngine:
    """Sends over a client that the caller made, and that stays the caller's: it is never closed here."""

    def __init__(self, client: AsyncHttpClient) -> None:
        self._client = client
        self._closed = False
        self._waiting: set[asyncio.Timeout] = set()
        self.name = type(client).__module__.partition(".")[0]

    async def send(self, request: EngineRequest, *, deadline: float) -> EngineResponse:
        """See `Engine.send`."""
        if self._closed or self._client.is_closed:
            raise RequestNotSent("the client was closed", permanent=True)
        mark = _SentMark()
        outgoing: object = mark
        left = deadline - asyncio.get_running_loop().time()
        try:
            outgoing = self._client.build_request(
                request.method,
                request.url,
                content=request.body,
                headers=dict(request.headers),
                # The deadline is kept here, for every phase alike. Only that of connecting is httpcore's
                # too, and a little before: a TLS handshake that is cancelled leaves its socket open.
                timeout=(max(left - 0.05, left * 0.9), None, None, None),
                extensions={"trace": mark},
            )
            async with self._until(deadline):
                # The caller's client may follow redirects and add credentials of its own.
                response = await self._client.send(outgoing, stream=True, auth=None, follow_redirects=False)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                # Not the call was cancelled, but something inside the caller's client.
                raise _verdict(RuntimeError("cancelled"), mark) from None
            # httpcore's frames hold the headers as bytes, and a traceback can be printed with its locals.
            raise error.with_traceback(None) from None
        except Exception as error:  # noqa: BLE001 - whatever fails here, the claim may be taken
            response = _answer_in(error, outgoing)
            if response is None:
                raise _verdict(error, mark) from None
        answer, whole = await self._read(response, request.body_cap, deadline)

        async def drop() -> None:
            stream: _Stream | None = response.extensions.get("network_stream")
            if stream is not None:
                await stream.aclose()

        if _is_followed(response):
            await drop()
        content, inflated = inflate(answer, response.headers.get("Content-Encoding", ""), request.body_cap)

        return EngineResponse(
            status=response.status_code,
            headers=response.headers,
            body=content,
            complete=whole and inflated,
            drop=drop,
        )

    async def aclose(self) -> None:
        """End what is under way, and send nothing more; the caller's client stays open."""
        self._closed = True
        for timeout in self._waiting:
            if not timeout.expired():
                timeout.reschedule(0)

    def abandon(self) -> None:
        """Do nothing: the client is the caller's."""

    @contextlib.asynccontextmanager
    async def _until(self, deadline: float) -> AsyncGenerator[None]:
        """Limit what is inside to the deadline, or to the closing of the engine."""
        async with asyncio.timeout_at(deadline) as timeout:
            self._waiting.add(timeout)
            try:
                yield
            finally:
                self._waiting.discard(timeout)

    async def _read(self, response: Any, cap: int, deadline: float) -> tuple[bytes, bool]:  # noqa: ANN401 - httpx's, or httpx2's
        """Return what came of the body, and whether that is all of it."""
        answer, whole = bytearray(), False
        try:
            if response.is_stream_consumed:
                # A hook of the caller's client has read it, and httpx has inflated it.
                response.headers.pop("Content-Encoding", None)
                return response.content[:cap], len(response.content) <= cap
            async with self._until(deadline):
                async for chunk in response.aiter_raw():
                    answer += chunk
                    if len(answer) > cap:
                        break
                whole = len(answer) <= cap
        except Exception:  # noqa: BLE001 - the status is known, and says more than how the body broke off
            whole = False
        finally:
            if not whole:
                with contextlib.suppress(Exception):
                    await response.aclose()
        return bytes(answer[:cap]), whole


def _answer_in(error: Exception, outgoing: object) -> Any:  # noqa: ANN401 - httpx's, or httpx2's
    """Return the answer to this request that an error holds, or None.

    A hook of the caller's client may raise for a status that it does not like. It may also fail on a request
    of its own, and the answer to that one says nothing about ours.
    """
    try:
        response = cast("Any", error).response
        request = response.request
    # An error without an answer, an answer that knows no request, or something else of that name.
    except (AttributeError, RuntimeError):
        return None
    return response if request is outgoing else None


def _is_followed(response: Any) -> bool:  # noqa: ANN401 - httpx's, or httpx2's
    """Say whether the connection holds bytes beyond this answer, which the next request would be given.

    httpcore notices only what comes later, while the connection is idle. What it holds is private to it, so
    this finds nothing where a transport is built in another way.
    """
    part: object = response.stream
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        part = getattr(part, name, None)
    held: tuple[bytes, bool] = getattr(part, "trailing_data", (b"", False))
    return bool(held[0])


def _verdict(error: Exception, mark: _SentMark) -> RequestNotSent | RequestMaybeSent:
    if mark.sent:
        # A transport of the caller's may try again by itself, and then only its last try failed early.
        return RequestMaybeSent(type(error).__name__ if not isinstance(error, TimeoutError) else "timed out")
    kinds = {cls.__name__ for cls in type(error).__mro__}
    reason = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
    # httpx has no class for either: a certificate that is not trusted, and a proxy that wants credentials.
    wrong = "CERTIFICATE_VERIFY_FAILED" in str(error) or (
        "ProxyError" in kinds and str(error).startswith("407")
    )
    if wrong or kinds & _PERMANENT:
        return RequestNotSent(f"cannot be sent ({reason})", permanent=True)
    # A transport of the caller's own may trace nothing; then only the kind of the error tells.
    if kinds & _NOT_SENT or (mark.traced and not mark.sent):
        return RequestNotSent(f"no connection ({reason})")
    return RequestMaybeSent(reason)
