"""A client that knows no HTTP library: it sends bytes, and sees every byte that comes and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any, Self

from faults.server import CLAIMS, FaultServer

BODY: dict[str, Any] = {
    "purchase_at": "2026-11-23T12:00:00Z",
    "customer_id": "customer-1",
    "discounts": [{"id": "d"}],
}


class Peer:
    """One connection to a server, over TLS where it is given a context.

    Not a stream of asyncio, which forgets what came when a RST follows it.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.data = b""
        self.end = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sock.close()

    async def open(self, server: FaultServer) -> Self:
        """Connect, and do the handshake as far as the server lets it be done."""
        await self._loop.sock_connect(self._sock, ("127.0.0.1", server.port))
        while self._tls is not None and not self.end:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                self.end = "garbage"
            else:
                break
        await self._flush()
        return self

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        if self._tls is None:
            await self._loop.sock_sendall(self._sock, data)
        elif not self.end:
            self._tls.write(data)
            await self._flush()

    async def claim(
        self, ref: str | None = None, body: dict[str, Any] | None = None, token: str = ""
    ) -> None:
        """Send a claim."""
        await self.send(post(CLAIMS, {**BODY, "ref": ref} if body is None else body, token))

    def hang_up(self) -> None:
        """Say that no more will be sent; what comes can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    async def until(self, marks: bytes) -> None:
        """Read on until these bytes have come."""
        while marks not in self.data and not self.end:
            await self._receive()

    async def answer(self) -> tuple[int, Any]:
        """Read one answer; return its status and JSON."""
        await self.until(b"\r\n\r\n")
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(self.data) < length:
            await self._receive()
        body, self.data = self.data[:length], self.data[length:]
        return int(head.split()[1]), json.loads(body)

    async def rest(self) -> tuple[bytes, str]:
        """Read to the end; return what came, and whether it ended with "fin" or "rst"."""
        while not self.end:
            await self._receive()
        return self.data, self.end

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())

    async def _receive(self) -> None:
        try:
            data = await self._loop.sock_recv(self._sock, 1 << 20)
        except ConnectionResetError:
            self.end = "rst"
            return
        if not data:
            self.end = "fin"
        elif self._tls is None:
            self.data += data
        else:
            self._incoming.write(data)
            if self._tls.version() is not None:
                self._decrypt(self._tls)

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        try:
            while data := tls.read(1 << 20):
                self.data += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass


def post(path: str, body: object, token: str = "") -> bytes:
    """Return a request that sends JSON."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def get(path: str, token: str) -> bytes:
    """Return a request that reads."""
    return f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
