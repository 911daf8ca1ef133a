"""The sandbox on a real socket: connections that are reset, kept open, encrypted, and ended."""

import asyncio
import contextlib
import errno
import json
import logging
import re
import signal
import socket
import ssl

import httpx
import pytest
import trustme

from dintero_claims_client.sandbox import Fault, FaultPlan, Operation, Sandbox, SandboxServer


class RawConnection:
    """A connection that sends bytes, and reads what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Send a request's head, and the body that is given."""
        fields = {"Host": "localhost", "Content-Length": str(len(body))} | headers
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {fields[name]}\r\n" for name in fields)
        self.writer.write(head.encode() + b"\r\n" + body)
        await self.writer.drain()

    async def read_head(self) -> str:
        """Read an answer's head."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def is_over(self) -> bool:
        """Wait for the connection's end, and return whether it was a reset."""
        try:
            assert await self.reader.read() == b""
        except ConnectionResetError:
            return True
        return False


@pytest.fixture
async def connect():
    """Return a function that opens raw connections to a server."""
    writers: list[asyncio.StreamWriter] = []

    async def open_one(server: SandboxServer, **options) -> RawConnection:
        url = httpx.URL(server.base_url)
        reader, writer = await asyncio.open_connection(url.host, url.port, **options)
        writers.append(writer)
        return RawConnection(reader, writer)

    yield open_one
    for writer in writers:
        writer.transport.abort()


@pytest.fixture
async def serve(open_api):
    """Return a function that calls a served sandbox."""

    async def call(server: SandboxServer, **options):
        http = httpx.AsyncClient(base_url=server.base_url, **options)
        return await open_api(server.sandbox, http).log_in()

    return call


@pytest.fixture(scope="module")
def authority():
    """Return a certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def certificate(authority, tmp_path):
    """Return the server's certificate and key as options of the server."""
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = {"certfile": tmp_path / "cert.pem", "keyfile": tmp_path / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(files["certfile"])
    issued.private_key_pem.write_to_path(files["keyfile"])
    return files


@pytest.fixture
def trust(authority):
    """Return a client's TLS context that trusts our authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def running_tasks() -> set[asyncio.Task]:
    """Return the tasks of the loop besides the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


def claim_request(api, body, **changes) -> tuple[str, str, dict[str, str], bytes]:
    """Return what a raw connection sends to claim."""
    path = "/v1/" + api.path()
    headers = {"Content-Type": "application/json"} | api.authorization
    return "POST", path, headers, json.dumps(body | changes).encode()


async def test_serves_the_api(serve, caplog):
    """A server is ready when its context is entered, its sandbox knows what happened, and no log does."""
    caplog.set_level(logging.DEBUG)
    async with SandboxServer(Sandbox()) as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        api = await serve(server)
        claim = (await api.claim(ref="r")).json()
        assert (await api.get(claim["id"])).json() == claim
        (stored,) = server.sandbox.ledger.claims
        assert stored.data == claim
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize(("fault", "claims"), [(Fault.DROP_BEFORE_COMMIT, 0), (Fault.DROP_AFTER_COMMIT, 1)])
async def test_drops_connections(serve, connect, body, caplog, fault, claims):
    """A raw client sees one and the same reset, before the commit and after it; the server goes on."""
    async with SandboxServer(Sandbox()) as server:
        api = await serve(server)
        server.sandbox.faults.next(fault)
        connection = await connect(server)
        await connection.send(*claim_request(api, body, ref="r"))
        assert await connection.is_over()
        assert len(server.sandbox.ledger.claims) == claims
        assert server.sandbox.ledger.arrivals == {"r": 1}
        assert server.sandbox.ledger.requests[Operation.CLAIM, "dropped"] == 1
        assert (await api.claim(ref="s")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_drops_reads(serve, connect):
    """A read, which has no body, is dropped all the same."""
    async with SandboxServer(Sandbox()) as server, asyncio.timeout(10):
        api = await serve(server)
        server.sandbox.faults.next(Fault.DROP_BEFORE_COMMIT, operation=Operation.LIST)
        connection = await connect(server)
        await connection.send("GET", "/v1/" + api.path(), api.authorization)
        assert await connection.is_over()


async def test_an_http_client_sees_a_read_error(serve):
    """On a socket httpx raises what the transport in process raises."""
    async with SandboxServer(Sandbox()) as server:
        api = await serve(server)
        server.sandbox.drop_after_commit()
        with pytest.raises(httpx.ReadError):
            await api.claim(ref="r")
        assert (await api.claim(ref="r")).status_code == 409


async def test_ends_with_an_open_connection(serve, connect):
    """A connection that a client keeps open is closed, and leaves no task behind."""
    before = running_tasks()
    async with SandboxServer(Sandbox()) as server, asyncio.timeout(10):
        connection = await connect(server)
        await connection.send("GET", "/__sandbox__/health", {})
        head = await connection.read_head()
        assert head.startswith("HTTP/1.1 200")
        (length,) = re.findall(r"(?mi)^content-length: ([0-9]+)", head)
        await connection.reader.readexactly(int(length))
    assert running_tasks() == before
    assert not await connection.is_over()


async def test_ends_while_a_request_is_delayed(serve, connect, body, caplog):
    """A request that is being delayed does nothing any more, and nothing is logged about it."""
    arrived = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        arrived.set()
        await asyncio.Event().wait()

    before = running_tasks()
    sandbox = Sandbox(faults=FaultPlan(), sleep=sleep)
    async with SandboxServer(sandbox) as server, asyncio.timeout(10):
        api = await serve(server)
        sandbox.faults.next(Fault.LATENCY)
        connection = await connect(server)
        await connection.send(*claim_request(api, body))
        await arrived.wait()
    assert running_tasks() == before
    await connection.is_over()
    assert sandbox.ledger.claims == []
    assert sandbox.ledger.requests[Operation.CLAIM, "dropped"] == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_ends_while_a_request_arrives(serve, connect, caplog):
    """A request whose body never comes is incomplete, and is no arrival."""
    before = running_tasks()
    sandbox = Sandbox()
    async with SandboxServer(sandbox) as server, asyncio.timeout(10):
        api = await serve(server)
        connection = await connect(server)
        await connection.send("POST", "/v1/" + api.path(), {"Content-Length": "10", "Expect": "100-continue"})
        assert (await connection.read_head()).startswith("HTTP/1.1 100")
    assert running_tasks() == before
    assert sandbox.ledger.requests[Operation.CLAIM, "incomplete"] == 1
    assert sandbox.ledger.summary()["arrivals"] == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("turns", range(6))
async def test_ends_while_a_client_connects(turns):
    """A connection that is accepted as the server stops is ended too, at whatever step it is."""
    async with SandboxServer(Sandbox()) as server:
        url = httpx.URL(server.base_url)
        # Connected by the kernel at once; the server's loop gets only so many turns to notice.
        client = socket.create_connection((url.host, url.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    client.setblocking(False)
    with client, contextlib.suppress(ConnectionResetError):
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""


async def test_closes_idle_connections(connect):
    """A connection is kept for as many idle seconds as the server was told."""
    async with SandboxServer(Sandbox(), keep_alive=0) as server, asyncio.timeout(10):
        connection = await connect(server)
        await connection.send("GET", "/__sandbox__/health", {})
        assert b'{"status":"ok",' in await connection.reader.read()


async def test_speaks_tls(serve, connect, certificate, trust, body):
    """With a certificate the same happens over TLS: answers, resets, and a quick end."""
    before = running_tasks()
    async with SandboxServer(Sandbox(), **certificate) as server, asyncio.timeout(10):
        assert server.base_url.startswith("https://127.0.0.1:")
        api = await serve(server, verify=trust)
        assert (await api.claim(ref="r")).status_code == 200
        server.sandbox.drop_after_commit()
        dropped = await connect(server, ssl=trust)
        await dropped.send(*claim_request(api, body, ref="s"))
        assert await dropped.is_over()
        idle = await connect(server, ssl=trust)
    assert running_tasks() == before
    await idle.is_over()
    assert list(server.sandbox.ledger.claims_by_ref()) == ["r", "s"]


async def test_ends_during_a_tls_handshake(certificate, connect, trust):
    """A client that connects and never shakes hands is ended with the server."""
    before = running_tasks()
    async with SandboxServer(Sandbox(), **certificate) as server, asyncio.timeout(10):
        connection = await connect(server)
        connection.writer.write(b"\x16\x03\x01")
        # The server has seen the first connection when a later one has shaken hands.
        await connect(server, ssl=trust)
    assert running_tasks() == before
    await connection.is_over()


async def test_survives_a_failed_tls_handshake(serve, certificate, connect, trust, caplog):
    """A client that does not speak TLS, or does not trust the certificate, ends only its own connection."""
    async with SandboxServer(Sandbox(), **certificate) as server, asyncio.timeout(10):
        plain = await connect(server)
        await plain.send("GET", "/__sandbox__/health", {})
        await plain.is_over()
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(server, ssl=ssl.create_default_context())
        assert (await (await serve(server, verify=trust)).claim()).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_survives_without_file_descriptors(serve, monkeypatch):
    """A connection that could not be accepted for once is accepted a little later."""
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept
    failures = [OSError(errno.EMFILE, "Too many open files")]

    async def sock_accept(listener):
        if failures:
            raise failures.pop()
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", sock_accept)
    async with SandboxServer(Sandbox()) as server:
        assert (await (await serve(server)).claim()).status_code == 200
    assert not failures


async def test_a_bug_of_its_own_is_loud(monkeypatch, connect):
    """An error that no client can cause ends the server with that error, when its context is left."""

    async def connect_accepted_socket(_factory, connection, **_options):
        connection.close()
        raise RuntimeError("a bug")

    monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", connect_accepted_socket)
    with pytest.raises(ExceptionGroup) as caught:
        async with SandboxServer(Sandbox()) as server, asyncio.timeout(10):
            await (await connect(server)).is_over()
    assert caught.group_contains(RuntimeError, match="a bug")


async def test_a_port_can_be_chosen_and_is_free_again(serve):
    """A server takes the port it is given, tells when it is taken, and frees it."""
    async with SandboxServer(Sandbox()) as server:
        port = httpx.URL(server.base_url).port
        with pytest.raises(OSError, match="Address already in use"):
            await SandboxServer(Sandbox(), port=port).__aenter__()
    async with SandboxServer(Sandbox(), port=port) as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"
        assert (await (await serve(server)).claim()).status_code == 200


async def test_a_server_can_be_entered_again_but_not_twice(serve):
    """A server runs once at a time, and keeps its sandbox."""
    server = SandboxServer(Sandbox())
    for claims in (1, 2):
        async with server:
            await (await serve(server)).claim()
            assert len(server.sandbox.ledger.claims) == claims
            with pytest.raises(RuntimeError, match="already"):
                await server.__aenter__()
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.base_url


async def test_leaves_the_process_alone():
    """Neither signal handlers nor the configuration of logging change, in or after a server's life."""

    def settings():
        loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access")]
        handlers = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
        return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), handlers

    before = settings()
    async with SandboxServer(Sandbox()):
        assert settings() == before
    assert settings() == before
