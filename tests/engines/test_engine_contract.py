"""What every engine keeps: what was sent and what was not, bounded answers, a deadline, no redirects.

Each rule is shown on a real socket, against bytes that a server wrote by hand.
"""

import asyncio
import contextlib
import gzip
import re
import socket
import ssl
import zlib
from contextlib import asynccontextmanager

import aiohttp
import attrs
import httpx
import httpx2
import pytest
import trustme
from support.fake_server import CLOSE, HANG, RESET, Answer, FakeServer

from dintero_claims_client._engines import aiohttp_engine, make_engine
from dintero_claims_client._engines.aiohttp_direct import Received
from dintero_claims_client._engines.base import EngineRequest, RequestMaybeSent, RequestNotSent, inflate
from dintero_claims_client._secrets import MaskedStr

CA = trustme.CA()

SESSION = "aiohttp, by its session"
"""As the default engine sends what needs a proxy, and what has no body."""


@pytest.fixture(params=["aiohttp", SESSION, "httpx", "httpx2"])
def engine(request):
    """Return each engine in turn."""
    return request.param


def _server_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("localhost").configure_cert(context)
    return context


def _client_tls():
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


@asynccontextmanager
async def _engine(name, *, ssl_context=None, proxy=None, max_connections=10):
    library = {"httpx": httpx, "httpx2": httpx2}.get(name)
    if library is None:
        engine = make_engine(
            None, max_connections=max_connections, ssl_context=ssl_context, proxy=proxy, trust_env=False
        )
        if name == SESSION:
            engine._direct.exchange = lambda request, received: engine._exchange(request, None, received)
        try:
            yield engine
        finally:
            await engine.aclose()
        return
    async with library.AsyncClient(verify=ssl_context or True, proxy=proxy, trust_env=False) as client:
        yield make_engine(client, max_connections=1, ssl_context=None, proxy=None, trust_env=False)


def _request(server, *, method="POST", body=b'{"ref": "r"}', **changes):
    headers = {
        "Authorization": MaskedStr("Bearer x"),
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    return EngineRequest(method, f"{server.base_url}/claims", headers, body, **changes)


async def _send(engine, request, seconds=5.0):
    return await engine.send(request, deadline=asyncio.get_running_loop().time() + seconds)


async def test_a_request_and_its_answer(engine, server):
    """Bytes and headers arrive as they were given; status, lower-case headers and body come back."""
    server.on_claim.append(Answer(418, b"tea", {"X-Y": "Z"}))
    async with _engine(engine) as sender:
        response = await _send(sender, _request(server))
    (incoming,) = server.posts
    assert (
        incoming.body,
        incoming.headers["authorization"],
        incoming.headers["accept-encoding"],
    ) == (b'{"ref": "r"}', "Bearer x", "identity")
    assert (
        response.status,
        response.body,
        response.headers["x-y"],
        response.complete,
    ) == (418, b"tea", "Z", True)


async def test_connections_are_kept_and_dropped(engine, server):
    """A connection serves the next request, unless its answer was dropped."""
    server.on_claim.extend([Answer(200, b"{}")] * 3)
    async with _engine(engine) as sender:
        await _send(sender, _request(server))
        response = await _send(sender, _request(server))
        await response.drop()
        await _send(sender, _request(server))
    first, second, third = (incoming.connection for incoming in server.posts)
    assert first == second != third


@pytest.mark.parametrize(
    "answer",
    [RESET, CLOSE, Answer(raw=b"HTTP/1.1 2", then="close"), Answer(raw=b"\x00\x01\r\n\r\n", then="close")],
    ids=["reset", "closed", "half a line", "garbage"],
)
async def test_no_status_after_the_request_is_maybe_sent(engine, server, answer):
    """When the request is out and no status comes back, it may have been executed."""
    server.on_claim.append(answer)
    async with _engine(engine) as sender:
        with pytest.raises(RequestMaybeSent):
            await _send(sender, _request(server))
    assert len(server.posts) == 1


async def test_a_kept_connection_that_is_reset_on_use_is_maybe_sent(engine, server):
    """An idle connection that dies under the next request proves nothing about that request."""
    server.on_claim.extend([Answer(200, b"{}"), RESET])
    async with _engine(engine) as sender:
        await _send(sender, _request(server))
        with pytest.raises(RequestMaybeSent):
            await _send(sender, _request(server))
    assert server.posts[0].connection == server.posts[1].connection
    assert len(server.posts) == 2


STRAYS = {
    "400": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "200": b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"id": "stranger"',
    "408 and the end": b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n",
    "garbage": b"\x00",
}


@pytest.mark.parametrize("read", [True, False], ids=["read", "not read yet"])
@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
async def test_what_comes_on_an_idle_connection_is_no_answer(engine, stray, read):
    """Bytes that a server sends unasked after an answer are not the answer to the next request."""
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b'{"ref": "r"}')
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    request = EngineRequest("POST", url, {}, b'{"ref": "r"}')
    async with listener, _engine(engine) as sender:
        assert (await _send(sender, request)).body == b"mine"
        writers[0].write(stray)
        if read:
            # Turns of the event loop, in which the client's side takes the bytes in.
            for _ in range(10):
                await asyncio.sleep(0)
        assert (await _send(sender, request)).body == b"mine"
        assert len(writers) == 2
        for writer in writers:
            writer.close()


@pytest.mark.parametrize(
    ("engine", "early"),
    [
        ("aiohttp", "on the connection"),
        (SESSION, "on the connection"),
        (SESSION, "while it is written"),
    ],
)
async def test_an_answer_before_the_request_is_none(server, engine, early):
    """What a server says before it has been asked is not an answer, and the request was not sent."""

    async def shout(reader, writer):
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"id": "stranger"}')
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    class Early(aiohttp_engine._TrackedBody):
        """A body that is not handed over before the answer is there."""

        async def write_with_length(self, writer, content_length):
            await asyncio.Event().wait()

    connect = aiohttp.TCPConnector.connect

    async def late(self, req, traces, timeout):
        # Until the answer is at hand, but for the turns in which the event loop takes it in.
        connection = await connect(self, req, traces, timeout)
        while not aiohttp_engine._is_readable(connection.transport):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
        return connection

    listener = await asyncio.start_server(shout, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    async with listener, _engine(engine) as sender:
        with pytest.MonkeyPatch.context() as patch:
            if early == "while it is written":
                patch.setattr(aiohttp_engine, "_TrackedBody", Early)
                patch.setattr(aiohttp_engine, "_turns", lambda: asyncio.sleep(0))
            else:
                patch.setattr(aiohttp.TCPConnector, "connect", late)
            with pytest.raises(RequestNotSent, match="before the request"):
                await _send(sender, EngineRequest("POST", url, {}, b"{}"))


async def test_the_environment_is_not_asked_unless_told(server, monkeypatch):
    """Without trust_env the environment's proxy is not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with _engine("aiohttp") as sender:
        assert (await _send(sender, _request(server))).status == 401


async def test_proxies_of_the_environment(server, monkeypatch):
    """With trust_env the environment's proxy is used, without .netrc, and not for hosts that it excepts."""
    seen = []

    async def proxy(reader, writer):
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    listener = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "localhost")
    server.on_claim.append(Answer(200, b"{}"))
    async with listener:
        engine = make_engine(None, max_connections=1, ssl_context=None, proxy=None, trust_env=True)
        request = EngineRequest(
            "POST", "http://api.example.test/claims", {"Authorization": "Bearer x"}, b"{}"
        )
        assert (await _send(engine, request)).status == 200
        assert (await _send(engine, request)).status == 200
        assert (await _send(engine, _request(server))).status == 200
        assert (await _send(engine, attrs.evolve(_request(server), method="GET", body=None))).status == 401
        await engine.aclose()
    assert [line.split("\r\n")[0] for line in seen] == ["POST http://api.example.test/claims HTTP/1.1"] * 2
    assert (len(server.posts), len(server.reads)) == (1, 1)


async def test_silence_is_maybe_sent(engine, server):
    """A request that gets no answer before the deadline may have been executed."""
    server.on_claim.append(HANG)
    async with _engine(engine) as sender:
        with pytest.raises(RequestMaybeSent, match="timed out"):
            await _send(sender, _request(server), 1)


async def test_refused_is_not_sent(engine):
    """A port that nobody listens on gets nothing."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        request = EngineRequest("POST", f"http://127.0.0.1:{unused.getsockname()[1]}/", {}, b"{}")
        async with _engine(engine) as sender:
            with pytest.raises(RequestNotSent) as caught:
                await _send(sender, request)
    assert not caught.value.permanent


async def test_a_read_at_a_port_that_refuses_is_not_sent(engine):
    """Nor does it get a request without a body, for which there is no mark of what was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        request = EngineRequest("GET", f"http://127.0.0.1:{unused.getsockname()[1]}/", {})
        async with _engine(engine) as sender:
            with pytest.raises(RequestNotSent):
                await _send(sender, request)


async def test_a_host_without_an_address_is_not_sent(engine):
    """A name that does not resolve gets nothing."""
    async with _engine(engine) as sender:
        with pytest.raises(RequestNotSent) as caught:
            await _send(sender, EngineRequest("POST", "http://no-such-host.invalid/", {}, b"{}"))
    assert not caught.value.permanent


async def test_a_connection_that_does_not_come_is_not_sent(engine):
    """A connection that is not made before the deadline gets nothing."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # A listener with a full queue leaves further connections unanswered.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with _engine(engine) as sender:
            with pytest.raises(RequestNotSent):
                await _send(sender, EngineRequest("POST", f"http://127.0.0.1:{port}/", {}, b"{}"), 0.3)
        for filler in fillers:
            filler.close()


async def test_tls(engine):
    """A server whose certificate is trusted is talked to over TLS."""
    async with FakeServer(ssl=_server_tls()) as server, _engine(engine, ssl_context=_client_tls()) as sender:
        server.on_claim.append(Answer(200, b"{}"))
        assert (await _send(sender, _request(server))).status == 200


async def test_a_certificate_that_is_not_trusted_is_final(engine):
    """A server whose certificate is not trusted gets nothing, now and later."""
    async with FakeServer(ssl=_server_tls()) as server, _engine(engine) as sender:
        with pytest.raises(RequestNotSent) as caught:
            await _send(sender, _request(server))
    assert caught.value.permanent
    assert server.posts == []


async def test_a_tls_handshake_that_breaks_off_is_not_sent(engine):
    """A connection that is closed in the handshake gets nothing, and may be tried again."""

    async def hang_up(reader, writer):
        await reader.read(1)
        writer.transport.abort()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, _engine(engine, ssl_context=_client_tls()) as sender:
        with pytest.raises(RequestNotSent) as caught:
            await _send(sender, EngineRequest("POST", f"https://localhost:{port}/", {}, b"{}"))
    assert not caught.value.permanent


@pytest.mark.parametrize(("status", "permanent"), [(407, True), (502, False)])
async def test_a_proxy_that_refuses_a_tunnel_is_not_sent(engine, status, permanent):
    """A proxy that makes no tunnel passes nothing on; only wrong credentials are final."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    proxy = f"http://user:proxy-secret@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener, _engine(engine, proxy=proxy) as sender:
        with pytest.raises(RequestNotSent) as caught:
            await _send(sender, EngineRequest("POST", "https://localhost:1/", {}, b"{}"))
    assert "proxy-secret" not in str(caught.value)
    assert permanent is caught.value.permanent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_come_back_as_they_are(engine, server, status):
    """A redirect is an answer like any other."""
    server.on_claim.append(Answer(status, b"", {"Location": server.base_url + "/elsewhere"}))
    async with _engine(engine) as sender:
        assert status == (await _send(sender, _request(server))).status
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"id\r\n',
    ],
    ids=["length", "chunked"],
)
async def test_a_body_that_breaks_off(engine, server, raw):
    """A status whose body breaks off comes back, with what there was, and marked."""
    server.on_claim.append(Answer(raw=raw, then="close"))
    async with _engine(engine) as sender:
        response = await _send(sender, _request(server))
    assert (response.status, response.complete) == (200, False)
    assert b'{"id' in (response.body, b'{"id')


async def test_a_body_that_stalls(engine, server):
    """A body that does not end before the deadline does not stretch it."""
    server.on_claim.append(Answer(raw=b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id', then="hang"))
    loop = asyncio.get_running_loop()
    async with _engine(engine) as sender:
        began = loop.time()
        response = await _send(sender, _request(server), 1)
    assert (response.status, response.complete) == (200, False)
    assert loop.time() - began >= 1


def _small_buffers(monkeypatch):
    """Return a socket to listen on; the kernel takes little of what is sent to it at once."""
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def with_a_small_buffer(sock, address):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", with_a_small_buffer)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    return listening


@pytest.mark.parametrize("engine", ["aiohttp", SESSION])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("status", [200, 413])
async def test_an_answer_in_the_middle_of_the_upload_ends_it(monkeypatch, engine, status, tls):
    """After an answer before the whole request the rest is not sent, so that it cannot be executed."""
    got = 0
    gone = asyncio.Event()

    async def serve(reader, writer):
        nonlocal got
        got += len(await reader.readexactly(3000))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                got += len(piece)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    listening = _small_buffers(monkeypatch)
    context = _server_tls() if tls else None
    server = await asyncio.start_server(serve, sock=listening, limit=1024, ssl=context)
    size = 500_000
    url = f"http{'s' if tls else ''}://localhost:{listening.getsockname()[1]}/"
    trusted = _client_tls() if tls else None
    async with server, _engine(engine, ssl_context=trusted) as sender, asyncio.timeout(30):
        deadline = asyncio.get_running_loop().time() + 20
        sending = sender.send(EngineRequest("POST", url, {}, b"x" * size), deadline=deadline)
        if status == 200:
            with pytest.raises(RequestMaybeSent):
                await sending
        else:
            assert (await sending).status == 413
        await gone.wait()
    assert got < size


async def test_the_rest_of_a_request_that_is_given_up_is_not_sent(monkeypatch):
    """When a call ends while its request is written, what is left of that is not sent afterwards."""
    began, over, got = asyncio.Event(), asyncio.Event(), 0

    async def serve(reader, writer):
        nonlocal got
        await reader.readexactly(3000)
        began.set()
        await over.wait()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                got += len(piece)
        writer.transport.abort()
        over.clear()
        began.set()

    listening = _small_buffers(monkeypatch)
    server = await asyncio.start_server(serve, sock=listening, limit=1024)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    async with server, _engine("aiohttp") as sender, asyncio.timeout(30):
        call = asyncio.create_task(_send(sender, EngineRequest("POST", url, {}, b"x" * 500_000), 30))
        await began.wait()
        began.clear()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        over.set()
        await began.wait()
    assert got < 400_000


async def test_switching_protocols_leaves_nothing_open(engine, server):
    """An answer of 101, which nobody asked for, comes back as its status, and its connection is let go."""
    switching = b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    server.on_claim.append(Answer(raw=switching, then="hang"))
    async with _engine(engine) as sender, asyncio.timeout(30):
        try:
            response = await _send(sender, _request(server), 1)
        except RequestMaybeSent:
            # httpcore takes it for no answer at all.
            assert "aiohttp" not in engine
        else:
            assert response.status == 101
        await server.until(lambda: not server.open_now)


async def test_an_endless_body_is_left(engine, server):
    """A body that grows over the cap is not waited for, and its connection is closed."""
    endless = b"HTTP/1.1 500 X\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 5000
    server.on_claim.append(Answer(raw=endless, then="hang"))
    async with _engine(engine) as sender, asyncio.timeout(30):
        response = await _send(sender, _request(server, body_cap=1000), 600)
        assert (response.status, len(response.body), response.complete) == (500, 1000, False)
        await server.until(lambda: not server.open_now)


async def test_the_mark_is_set_before_the_first_byte():
    """A body counts as sent from before its first byte is handed over, so that no failure comes before it."""
    received = Received()
    body = aiohttp_engine._TrackedBody(b"x", received)

    class Writer:
        async def write(self, chunk):
            raise ConnectionResetError

    assert not received.sent
    with pytest.raises(ConnectionResetError):
        await body.write_with_length(Writer(), None)
    assert received.sent


async def test_no_cookies(server):
    """The default engine keeps no cookies: requests of one client are not tied to each other."""
    server.on_claim.extend([Answer(200, b"{}", {"Set-Cookie": "session=1"})] * 2)
    async with _engine("aiohttp") as sender:
        await _send(sender, _request(server))
        await _send(sender, _request(server))
    assert "cookie" not in server.posts[1].headers


async def test_no_timeouts_but_the_deadline():
    """The default engine has no time limit of its own that could end a request before its deadline."""
    async with _engine("aiohttp") as sender:
        timeout = sender._session.timeout
        assert (timeout.total, timeout.connect, timeout.sock_connect, timeout.sock_read) == (None,) * 4


@pytest.mark.parametrize(("size", "complete"), [(1000, True), (1001, False), (3_000_000, False)])
async def test_a_body_is_capped(engine, server, size, complete):
    """No more of a body is kept than was asked for."""
    server.on_claim.append(Answer(500, b"x" * size))
    async with _engine(engine) as sender:
        response = await _send(sender, _request(server, body_cap=1000))
    assert (500, b"x" * 1000, complete) == (response.status, response.body, response.complete)


async def test_an_inflated_body_is_capped(engine, server):
    """A small body that inflates to a large one is cut off too."""
    server.on_claim.append(Answer(200, gzip.compress(b"x" * 10_000_000), {"Content-Encoding": "gzip"}))
    async with _engine(engine) as sender:
        response = await _send(sender, _request(server, body_cap=20_000))
    assert (response.body, response.complete) == (b"x" * 20_000, False)


async def test_a_compressed_body_is_inflated(engine, server):
    """A server that compresses without being asked is understood."""
    server.on_claim.append(Answer(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}))
    async with _engine(engine) as sender:
        response = await _send(sender, _request(server))
    assert (response.body, response.complete) == (b"{}", True)


async def test_cancelling_closes_the_connection(engine, server):
    """A cancelled request leaves no connection with its answer still to come."""
    server.on_claim.append(HANG)
    async with _engine(engine) as sender:
        task = asyncio.create_task(_send(sender, _request(server)))
        await server.until(lambda: server.posts)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: not server.open_now)


async def test_a_closed_engine_sends_nothing(engine, server):
    """After closing, nothing is sent."""
    async with _engine(engine) as sender:
        await sender.aclose()
        for request in (_request(server), _request(server, method="GET", body=None)):
            with pytest.raises(RequestNotSent) as caught:
                await _send(sender, request)
            assert caught.value.permanent
    assert server.connections == 0


async def test_a_cancelled_request_stays_cancelled_when_the_engine_closes(server):
    """A caller's own cancellation is not swallowed by the closing of the engine."""
    server.on_claim.append(HANG)
    async with _engine("aiohttp") as sender:
        call = asyncio.create_task(_send(sender, _request(server)))
        await server.until(lambda: server.posts)
        call.cancel()
        await sender.aclose()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(
    "url", ["http://x:y/", "https://256.256.256.256/", f"http://localhost:9/{'x' * 70_000}"]
)
async def test_a_url_that_cannot_be_sent_to(engine, url):
    """What is no URL to a library is a request that was not sent."""
    async with _engine(engine) as sender:
        with pytest.raises(RequestNotSent):
            await _send(sender, EngineRequest("POST", url, {}, b"{}"))


async def test_closing_ends_those_that_wait_for_a_connection(server):
    """A request that waits in the pool when the engine is closed was not sent, and is not cancelled."""
    server.on_claim.append(HANG)
    async with _engine("aiohttp", max_connections=1) as sender:
        first = asyncio.create_task(_send(sender, _request(server)))
        await server.until(lambda: server.posts)
        second = asyncio.create_task(_send(sender, _request(server)))
        await asyncio.sleep(0)
        await sender.aclose()
        with pytest.raises(RequestMaybeSent):
            await first
        with pytest.raises(RequestNotSent):
            await second
    assert len(server.posts) == 1


async def test_idle_connections_are_dropped_before_servers_drop_theirs(server):
    """The default engine keeps unused connections for 4 seconds, which is less than common servers do."""
    async with _engine("aiohttp") as sender:
        assert sender._connector._keepalive_timeout == 4.0


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (b"x", "", (b"x", True)),
        (b"x", "identity", (b"x", True)),
        (gzip.compress(b"x"), " GZip ", (b"x", True)),
        (gzip.compress(b"x"), "x-gzip", (b"x", True)),
        (zlib.compress(b"x"), "deflate", (b"x", True)),
        (gzip.compress(b"x" * 11), "gzip", (b"x" * 10, False)),
        (gzip.compress(b"x")[:-9], "gzip", (b"x", False)),
        (gzip.compress(b"x") + b"more", "gzip", (b"x", False)),
        (b"xyz", "gzip", (b"xyz", False)),
        (b"x", "br", (b"x", False)),
        (b"x", "gzip, gzip", (b"x", False)),
    ],
)
def test_inflate(body, encoding, expected):
    """A body is inflated up to the cap, and said to be whole only if it is."""
    assert expected == inflate(body, encoding, 10)


async def test_few_tls_handshakes_at_once(monkeypatch):
    """At most 16 connections are in their TLS handshake; the others wait for one of these to end."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 1000.0)
    writers, enough = [], asyncio.Event()

    async def stall(reader, writer):
        writers.append(writer)
        await reader.read(1)
        if len(writers) == 16 or len(writers) == 20:
            enough.set()
        await asyncio.Event().wait()

    listener = await asyncio.start_server(stall, "127.0.0.1", 0)
    request = EngineRequest("POST", f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", {}, b"{}")
    async with listener, _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender:
        calls = [asyncio.create_task(_send(sender, request, 60)) for _ in range(20)]
        await enough.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(writers) == 16
        enough.clear()
        for writer in writers[:4]:
            writer.transport.abort()
        await enough.wait()
        assert len(writers) == 20
        for call in calls:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(one, RequestNotSent) for one in done) == 4
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def _stalling(count):
    """Give a request, the connections to a server whose TLS handshakes stall, and when there are so many."""
    writers, enough = [], asyncio.Event()

    async def stall(reader, writer):
        writers.append(writer)
        if len(writers) == count:
            enough.set()
        await reader.read()

    listener = await asyncio.start_server(stall, "127.0.0.1", 0)
    request = EngineRequest("POST", f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", {}, b"{}")
    async with listener, asyncio.timeout(60):
        yield request, writers, enough
        for writer in writers:
            writer.transport.abort()


async def test_stalled_tls_handshakes_keep_nobody_waiting(monkeypatch):
    """A handshake that takes long counts no more, so that others can begin theirs."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 0.001)
    async with (
        _stalling(40) as (request, _, enough),
        _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender,
    ):
        calls = [asyncio.create_task(_send(sender, request, 60)) for _ in range(40)]
        await enough.wait()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_closing_ends_the_line(monkeypatch):
    """Who waits for a handshake when the engine is closed is told at once, though no handshake has ended."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 1000.0)
    async with _stalling(16) as (request, writers, enough):
        async with _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender:
            stalled = [asyncio.create_task(_send(sender, request, 60)) for _ in range(16)]
            await enough.wait()
            waiting = asyncio.create_task(_send(sender, request, 60))
            await asyncio.sleep(0)
        with pytest.raises(RequestNotSent):
            await waiting
        assert not any(call.done() for call in stalled)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*stalled, return_exceptions=True)


async def test_a_line_whose_callers_are_cancelled_together(monkeypatch):
    """Those that are cancelled in one moment end so, and callers that come in that moment get their turn."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 1000.0)
    async with (
        _stalling(16) as (request, _, enough),
        _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender,
    ):
        calls = [asyncio.create_task(_send(sender, request, 60)) for _ in range(20)]
        await enough.wait()
        # 16 in their handshakes, and the first in line; then others come; then the rest of the line.
        for call in calls[:17]:
            call.cancel()
        others = [asyncio.create_task(_send(sender, request, 60)) for _ in range(20)]
        for call in calls[17:]:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in done} == {asyncio.CancelledError}
        for call in others[:16]:
            call.cancel()
        await asyncio.gather(*others[:16], return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (sender._connector._handshakes, len(sender._connector._lines)) == (4, 0)
        for call in others:
            call.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_no_handshake_begins_after_closing(monkeypatch):
    """Who waits for a handshake when the engine is closed opens no connection any more."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 1000.0)
    async with _stalling(16) as (request, writers, enough):
        async with _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender:
            calls = [asyncio.create_task(_send(sender, request, 60)) for _ in range(30)]
            await enough.wait()
        for writer in writers[:]:
            writer.transport.abort()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in done} == {RequestNotSent}
        assert len(writers) == 16


class _OneConnection:
    """A TLS server that does the handshake of its first connection only, and answers when it is told to."""

    def __init__(self, context):
        self.context = context
        self.writers = []
        self.bodies = []
        self.arrived = asyncio.Event()
        self.stalled = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, reader, writer):
        self.writers.append(writer)
        if len(self.writers) > 1:
            self.stalled.set()
            await reader.read()
            return
        await writer.start_tls(self.context)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(re.search(rb"Content-Length: (\d+)", head)[1])
                self.bodies.append(await reader.readexactly(length))
                self.arrived.set()
                await self.gate.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@asynccontextmanager
async def _one_connection(monkeypatch):
    """Give such a server, and what sends a body to it; one handshake at a time, however long it takes."""
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKES", 1)
    monkeypatch.setattr(aiohttp_engine, "HANDSHAKE_SECONDS", 1000.0)
    server = _OneConnection(_server_tls())
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"https://localhost:{listener.sockets[0].getsockname()[1]}/"
    calls = []
    async with (
        listener,
        asyncio.timeout(60),
        _engine("aiohttp", ssl_context=_client_tls(), max_connections=100) as sender,
    ):

        def send(*bodies):
            async def call():
                for body in bodies:
                    await _send(sender, EngineRequest("POST", url, {}, body), 60)

            calls.append(asyncio.create_task(call()))
            return calls[-1]

        await send(b"warm")
        server.arrived.clear()
        yield server, send, sender
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for writer in server.writers:
            writer.transport.abort()


async def test_a_connection_that_is_given_back_goes_to_who_waits_for_one(monkeypatch):
    """Who waits for a handshake takes a connection that another has used, before that one has it again."""
    async with _one_connection(monkeypatch) as (server, send, _):
        server.gate.clear()
        busy = send(b"busy", b"busy again")
        await server.arrived.wait()
        stalled = send(b"stalled")
        await server.stalled.wait()
        waiting = send(b"waiting")
        for _ in range(10):
            await asyncio.sleep(0)
        server.gate.set()
        await asyncio.gather(busy, waiting)
        assert server.bodies == [b"warm", b"busy", b"waiting", b"busy again"]
        assert (stalled.done(), len(server.writers)) == (False, 2)


async def test_who_is_cancelled_in_line_takes_nothing(monkeypatch):
    """A connection kept for a caller that is cancelled in that moment, or was before, goes to the next."""
    async with _one_connection(monkeypatch) as (server, send, sender):
        server.gate.clear()
        busy = send(b"busy")
        await server.arrived.wait()
        send(b"stalled")
        await server.stalled.wait()
        gone, cancelled, waiting = send(b"gone"), send(b"cancelled"), send(b"waiting")
        for _ in range(10):
            await asyncio.sleep(0)
        let_go_on = sender._connector._let_go_on

        def cancel_too(key):
            gone.cancel()
            let_go_on(key)
            cancelled.cancel()

        monkeypatch.setattr(sender._connector, "_let_go_on", cancel_too)
        server.gate.set()
        await asyncio.gather(busy, waiting)
        await asyncio.gather(gone, cancelled, return_exceptions=True)
        assert (gone.cancelled(), cancelled.cancelled()) == (True, True)
        assert server.bodies == [b"warm", b"busy", b"waiting"]
        assert not sender._connector._lines
