"""The sandbox on a loopback socket, served by uvicorn inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from dintero_claims_client.sandbox.app import DROP_EXTENSION

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from starlette.types import Receive, Scope, Send

    from dintero_claims_client.sandbox.sandbox import Sandbox

_LOOPBACK = "127.0.0.1"
# A burst of clients waits in the kernel's queue instead of seconds for a second SYN.
_BACKLOG = 2048
_ACCEPT_AGAIN = 0.1
# On, with no seconds to linger: closing the socket sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class _State(ServerState):
    """What the connections of one server share."""

    def __init__(self) -> None:
        super().__init__()
        self.without_connections = asyncio.Event()
        self.without_connections.set()


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 connection, which the app can reset, and the server end at any moment."""

    server_state: _State

    def __init__(self, config: Config, server_state: _State) -> None:
        super().__init__(config, server_state, app_state={})
        # Here and not in uvicorn's configuration, which would turn off its logger in the whole process.
        self.access_log = False
        app = self.app

        async def app_that_drops(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {DROP_EXTENSION: self.reset}
            # Only a server that stops cancels an exchange; uvicorn would log that as the app's failure.
            with contextlib.suppress(asyncio.CancelledError):
                await app(scope, receive, send)

        self.app = app_that_drops

    def reset(self) -> None:
        """Send RST, unless the client was the first to close the connection."""
        if not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets it only on sockets that name their protocol, which accepted ones do not; without it
        # an answer in two writes waits for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server_state.without_connections.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.connections:
            self.server_state.without_connections.set()


class _Running(NamedTuple):
    """What a server has only while it runs."""

    listener: socket.socket
    state: _State
    acceptor: asyncio.Task[None]


class SandboxServer:
    """Serves a sandbox on 127.0.0.1 while its context is entered; listening when that is entered.

    Runs in the event loop that enters it and installs no signal handlers. Leaving ends every connection
    and every request at once: one that is being delayed does nothing any more. `port` 0 takes a free one,
    `keep_alive` is after how many idle seconds a connection is closed. With a certificate it speaks TLS.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        port: int = 0,
        keep_alive: int = 5,
        certfile: str | Path | None = None,
        keyfile: str | Path | None = None,
    ) -> None:
        self.sandbox = sandbox
        self._port = port
        self._config = Config(
            sandbox.app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            timeout_keep_alive=keep_alive,
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
        )
        self._running: _Running | None = None

    def __repr__(self) -> str:
        return f"<SandboxServer {'not running' if self._running is None else f'at {self.base_url}'}>"

    @property
    def base_url(self) -> str:
        """The API's address, known while the server runs."""
        port = self._require_running().listener.getsockname()[1]
        return f"{'https' if self._config.is_ssl else 'http'}://{_LOOPBACK}:{port}/v1"

    def client_settings(self) -> dict[str, Any]:
        """Return the arguments of a `ClaimsClient` that claims here, known while the server runs."""
        settings = self.sandbox.client_settings()
        del settings["http_client"]
        return {**settings, "base_url": self.base_url}

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("the sandbox's server is running already")
        if not self._config.loaded:
            self._config.load()
        listener = socket.create_server((_LOOPBACK, self._port), backlog=_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        state = _State()
        # uvicorn's own Server takes over the signal handlers of the process, and polls for its end.
        acceptor = asyncio.create_task(self._accept(listener, state))
        self._running = _Running(listener, state, acceptor)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        listener, state, acceptor = self._require_running()
        self._running = None
        acceptor.cancel()
        await asyncio.wait([acceptor])
        listener.close()
        # Connections before exchanges: without one, uvicorn lets the app return without an answer.
        for connection in list(state.connections):
            connection.transport.abort()
        await state.without_connections.wait()
        exchanges = list(state.tasks)
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)
        if not acceptor.cancelled():
            # It ended before it was told to: a bug here must not look like a client's trouble.
            acceptor.result()

    async def _accept(self, listener: socket.socket, state: _State) -> None:
        # asyncio's own Server forgets connections that it accepts, or shakes hands with, as it closes.
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as handshakes:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:
                    # Out of file descriptors, most likely: the client waits until others are done.
                    await asyncio.sleep(_ACCEPT_AGAIN)
                else:
                    handshakes.create_task(self._open(connection, state))

    async def _open(self, connection: socket.socket, state: _State) -> None:
        # A client that breaks off a TLS handshake has an error of its own; this side goes on.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Protocol(self._config, state), connection, ssl=self._config.ssl
            )

    def _require_running(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the sandbox's server is not running")
        return self._running
