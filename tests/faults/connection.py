"""One connection: TLS, reading requests, writing answers, and doing what a fault says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from faults.script import CUTS, Act, Fault, Operation, Point
from faults.wire import Wire

_GARBAGE = b"\x00\xffneither TLS nor HTTP\r\n" * 4


@dataclass(slots=True)
class Exchange:
    """A request as it was read from the wire, and where it came from."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int
    used: bool
    body: bytes = b""
    operation: Operation | None = None
    claim_id: str = ""
    query: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The length of the body that the head announces."""
        return int(self.headers.get("content-length", "0"))


class Host(Protocol):
    """What a connection asks its server."""

    def opened(self, connection: Connection) -> tuple[int, Fault | None]:
        """Return the number of a new connection, and the fault that strikes it."""

    def closed(self, connection: Connection) -> None:
        """Note that a connection is gone."""

    def head(self, exchange: Exchange) -> Fault | None:
        """Note the head of a request, and return the fault that strikes during its upload."""

    def whole(self, exchange: Exchange) -> tuple[Wire, Fault | None]:
        """Execute a request, or not, and return the answer with the fault that strikes it."""

    def struck(self) -> None:
        """Note that a fault has struck before a request was whole."""


class _Tls:
    """The server's side of TLS, between the bytes of the connection and those of HTTP.

    Not asyncio's, which would leave no way to act on the raw connection in and before the handshake.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready = False
        self.ended = False
        """Whether the client has said that it sends no more."""

    def open(self, raw: bytes) -> bytes:
        """Return what came; raises `ssl.SSLError` where the handshake fails."""
        self._incoming.write(raw)
        parts = []
        try:
            if not self._ready:
                self._object.do_handshake()
                self._ready = True
            while data := self._object.read(65536):
                parts.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def seal(self, data: bytes) -> bytes:
        """Return what has to be sent for this, and for the handshake."""
        if data:
            self._object.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return what has to be sent to say that there is no more."""
        # An error says that the client has not said it yet, which need not be waited for.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        return self._outgoing.read()


class Connection(asyncio.Protocol):
    """Serves one connection; all of it happens in callbacks, so there is no task to clean up."""

    def __init__(self, host: Host, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._tls = None if context is None else _Tls(context)
        self._received = 0
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._upload: Fault | None = None
        self._used = False
        # An answer is still on its way, so the next request waits.
        self._busy = False
        # What comes is thrown away.
        self._deaf = False
        self._flushed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        # So that `resume_writing` says when the last byte is gone.
        self._transport.set_write_buffer_limits(high=0)
        self.number, self._fault = self._host.opened(self)
        self._strike_raw()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._deaf = True
        self._flushed = None
        if self._timer is not None:
            self._timer.cancel()
        self._host.closed(self)

    def abort(self) -> None:
        """End the connection at once."""
        self._deaf = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += len(data)
        if not self._deaf and self._strike_raw():
            return
        if self._tls is None:
            self._buffer += data
        else:
            try:
                self._buffer += self._tls.open(data)
            except ssl.SSLError:
                self._deaf = True
            if not self._transport.is_closing():
                self._transport.write(self._tls.seal(b""))
        if self._deaf:
            self._buffer.clear()
        else:
            self._serve()
        if self._tls is not None and self._tls.ended:
            self._end()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._flushed is not None:
            flushed, self._flushed = self._flushed, None
            flushed()

    def _serve(self) -> None:
        """Read and answer what has come, one request after the other."""
        while not self._busy and not self._deaf:
            exchange = self._exchange
            if exchange is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                exchange = self._exchange = self._read_head(bytes(self._buffer[:end]))
                del self._buffer[: end + 4]
                self._upload = self._host.head(exchange)
            here, length = len(self._buffer), exchange.length
            if self._upload is not None:
                if here >= min(self._upload.after, length):
                    self._host.struck()
                    self._strike(self._upload)
                return
            if here < length:
                return
            exchange.body = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._exchange = None
            self._used = True
            self._answer(*self._host.whole(exchange))

    def _read_head(self, head: bytes) -> Exchange:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Exchange(method, target, headers, self.number, self._used)

    def _answer(self, wire: Wire, fault: Fault | None) -> None:
        if fault is None or (fault.at, fault.act) == (Point.ANSWERED, Act.KEEP):
            self._write(bytes(wire))
            if wire.close:
                self._end()
        elif fault.at is Point.ANSWERED and fault.act is Act.CLOSE:
            self._write(bytes(wire))
            self._end()
        elif fault.act is Act.TRICKLE:
            sent, rest = cut(wire, fault)
            self._write(sent)
            self._busy = True
            self._trickle(rest, fault.gap, wire)
        else:
            if fault.at in CUTS:
                self._write(cut(wire, fault)[0])
            elif fault.at is Point.ANSWERED:
                self._write(bytes(wire))
            self._busy = True
            self._when_flushed(lambda: self._strike(fault))

    def _trickle(self, rest: bytes, gap: float, wire: Wire) -> None:
        if rest:
            self._write(rest[:1])
            self._timer = asyncio.get_running_loop().call_later(gap, self._trickle, rest[1:], gap, wire)
            return
        self._busy = False
        if wire.close:
            self._end()
        else:
            self._serve()

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data if self._tls is None else self._tls.seal(data))

    def _when_flushed(self, then: Callable[[], None]) -> None:
        if self._transport.get_write_buffer_size():
            self._flushed = then
        else:
            then()

    def _strike_raw(self) -> bool:
        """Let a fault at `ACCEPT` strike when its time has come, and say whether it has."""
        fault = self._fault
        if fault is None or self._received < fault.after:
            return False
        self._fault = None
        self._host.struck()
        self._strike(fault)
        return True

    def _strike(self, fault: Fault) -> None:
        self._deaf = True
        self._buffer.clear()
        if fault.act is Act.RESET:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        elif fault.act is not Act.STALL:
            if fault.act is Act.GARBAGE:
                self._transport.write(_GARBAGE)
            if fault.at in (Point.ACCEPT, Point.UPLOAD):
                # Closing while something is left to read would send a RST, so the rest is read.
                try:
                    self._transport.write_eof()
                except OSError:
                    # The client was quicker.
                    self._transport.abort()
            else:
                # Without the goodbye of TLS: that is how a connection looks that was cut.
                self._transport.close()

    def _end(self) -> None:
        """Close as an honest server does."""
        self._deaf = True
        if not self._transport.is_closing():
            if self._tls is not None:
                self._transport.write(self._tls.end())
            self._transport.close()


def cut(wire: Wire, fault: Fault) -> tuple[bytes, bytes]:
    """Return what of an answer is sent before the fault strikes, and what is left."""
    before = {
        Point.STATUS_LINE: b"",
        Point.HEADERS: wire.status_line,
        Point.BODY: wire.status_line + wire.headers,
    }[fault.at]
    part = {Point.STATUS_LINE: wire.status_line, Point.HEADERS: wire.headers, Point.BODY: wire.body}[fault.at]
    sent = len(before) + min(fault.after, len(part))
    whole = bytes(wire)
    return whole[:sent], whole[sent:]
