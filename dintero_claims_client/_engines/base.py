"""The seam between the rules and an HTTP library: one method, plain data, two exceptions."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs

BODY_CAP = 1024 * 1024
"""Bytes of an answer that are kept, on the wire and inflated."""

TOKEN_BODY_CAP = 64 * 1024
"""The same for the token endpoint."""


# Not frozen, because one is made for each request, and that would take three times as long.
@attrs.define
class EngineRequest:
    """What is sent. The URL is encoded; a secret among the headers is a `MaskedStr`."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    body_cap: int = BODY_CAP


# As above.
@attrs.define(eq=False)
class EngineResponse:
    """What came back. Headers are looked up by their names in lower case.

    `complete` is False where the body broke off, grew over the cap, or could not be inflated; `body` is
    then what there was. `drop` closes the connection that the answer came on, so that nobody else is
    handed what may still be on it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    drop: Callable[[], Awaitable[None]] = attrs.field(repr=False)


class RequestNotSent(Exception):  # noqa: N818 - a verdict, not an error of its own
    """The request cannot have reached the server; `permanent` where repeating it cannot help."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class RequestMaybeSent(Exception):  # noqa: N818 - a verdict, not an error of its own
    """The request may have reached the server, and no status came back."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AsyncHttpClient(Protocol):
    """What is used of a caller's `httpx.AsyncClient`; httpx2's has the same shape and other classes."""

    @property
    def is_closed(self) -> bool: ...

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401 - each library's own

    async def send(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401 - each library's own


class Engine(Protocol):
    """Sends one request over one HTTP library. Knows no tokens, no retries and no meaning of a status."""

    name: str

    async def send(self, request: EngineRequest, *, deadline: float) -> EngineResponse:
        """Send once, never follow a redirect, and give up at the deadline (the event loop's clock).

        Raises `RequestNotSent` and `RequestMaybeSent` and nothing else; once a status has come it is
        returned, whatever became of the body. May be called concurrently on one event loop.
        """
        ...

    async def aclose(self) -> None:
        """Close what the engine itself opened; requests under way end with one of the two exceptions."""
        ...

    def abandon(self) -> None:
        """Close without waiting, for a client that nobody closed."""
        ...


def inflate(body: bytes, encoding: str, cap: int) -> tuple[bytes, bool]:
    """Undo a Content-Encoding that was not asked for; give at most `cap` bytes, and whether that is all."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body, True
    # 32 + 15: zlib or gzip, whichever the header says. Servers send either as "deflate".
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return body, False
    inflater = zlib.decompressobj(47)
    try:
        inflated = inflater.decompress(body, cap)
    except zlib.error:
        return body, False
    return inflated, inflater.eof and not inflater.unused_data
