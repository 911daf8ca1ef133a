"""The doctor on the way to the server: DNS, TCP, proxies, TLS and clocks, each over real sockets."""

import asyncio
import datetime
import os
import select
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
import trustme

from dintero_claims_client.cli.doctor_clock import check_clock
from dintero_claims_client.cli.doctor_network import Server, connect
from dintero_claims_client.cli.doctor_probe import Probe, ask
from dintero_claims_client.cli.doctor_tls import Certificate
from dintero_claims_client.sandbox import Sandbox

from .test_doctor import checks, diagnosis

PASSWORD = "hunter-two"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Keep the proxies, and the trusted certificates, of whoever runs the tests out of them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def credentials(monkeypatch):
    """Put credentials for no server into the environment."""
    monkeypatch.setenv("DINTERO_ACCOUNT_ID", "T12345678")
    monkeypatch.setenv("DINTERO_CLIENT_ID", "client-1")
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "secret-of-the-stub")


@contextmanager
def threaded(handler):
    """Serve connections with this function, each in a thread, and give the port."""

    class Handler(StreamRequestHandler):
        def handle(self):
            handler(self)

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def proxy(answer=None):
    """Serve a proxy that answers CONNECT so, or goes where it is asked; give its port, and requests."""
    heads = []

    def serve(connection):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = connection.rfile.readline()
            if not line:
                return
            head += line
        heads.append(head.decode())
        if answer is not None:
            connection.wfile.write(answer)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            connection.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {server: connection.connection, connection.connection: server}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    try:
                        data = end.recv(65536)
                    except ConnectionError:
                        data = b""
                    if not data:
                        return
                    ends[end].sendall(data)

    with threaded(serve) as port:
        yield port, heads


@pytest.fixture
def closed_port():
    """Return a port on which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# DNS and TCP.


def test_a_host_without_a_name(run, credentials, monkeypatch):
    """A name that DNS does not know is said to be the reason."""

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "network")
    assert "DNS: api.dintero.invalid is not known (Name or service not known)" in said
    found = checks(finished)
    assert [found[name] for name in ("TLS", "token", "list")] == [("skipped", "see network")] * 3


def test_a_host_that_cannot_be_one(run, credentials):
    """A name that DNS cannot be asked for is one that it does not know."""
    finished = run("doctor", "--json", "--base-url", f"https://{'a' * 70}.example/v1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "network")
    assert "is not known (not a name)" in said


def test_a_dns_that_says_nothing(run, credentials, monkeypatch):
    """A DNS that does not answer is told from one that does not know the name."""

    async def wait(*_, **__):
        await asyncio.Future()

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", wait)
    finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1", "--timeout", "0.1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "network")
    assert "DNS: no answer for api.dintero.invalid in 0.1 s" in said


def test_nobody_listens(run, credentials, closed_port):
    """A port on which nobody listens is said to be one, and on this machine it is a sandbox's."""
    base_url = f"http://127.0.0.1:{closed_port}/v1"
    code, check, said = diagnosis(run("doctor", "--json", "--base-url", base_url))
    assert (code, check) == (1, "network")
    assert f"TCP: 127.0.0.1:{closed_port} refuses connections" in said
    assert "dintero-claims sandbox serve" in said


@pytest.mark.skipif(not os.path.exists("/proc/net"), reason="drops connections as Linux does")  # noqa: PTH110
def test_a_firewall_that_drops(run, credentials):
    """What is not answered at all is told from what is refused."""
    with ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Linux drops what comes to a queue that is full, as a firewall does.
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        code, check, said = diagnosis(run("doctor", "--json", "--base-url", base_url, "--timeout", "1"))
    assert (code, check) == (1, "network")
    assert "TCP: no answer from 127.0.0.1" in said
    assert "a firewall drops" in said


def test_no_way_at_all(run, credentials):
    """A network that this machine has no way to is told from one that refuses."""
    finished = run("doctor", "--json", "--base-url", "https://255.255.255.255/v1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "network")
    assert "TCP: there is no way to 255.255.255.255:443" in said


def test_a_name_with_two_addresses(run, sandbox, monkeypatch):
    """An address that refuses is not the end, where the name has another."""
    port = int(os.environ["DINTERO_BASE_URL"].rpartition(":")[2].removesuffix("/v1"))
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("127.0.0.2", "127.0.0.1")
    ]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: addresses)

    async def look():
        server = Server.of(f"http://localhost:{port}/v1")
        stream = await connect(server, None, 10.0)
        stream[1].transport.abort()
        return stream

    assert isinstance(asyncio.run(look()), tuple)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.dintero.com/v1", "https://api.dintero.com:443"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("https://user@api.dintero.com/v1", None),
        ("https://api.dintero.com:99999/v1", None),
        ("https:///v1", None),
        ("ftp://api.dintero.com", None),
    ],
)
def test_where_an_address_leads(url, origin):
    """An address leads to a host and a port, or nowhere."""
    server = Server.of(url)
    assert (None if server is None else server.origin) == origin


# Proxies.


def test_a_proxy_that_is_not_used(run, sandbox, monkeypatch, closed_port):
    """A proxy of the environment is not used without the option; where all works, nothing is wrong."""
    monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@127.0.0.1:{closed_port}")
    finished = run("doctor", "--json")
    assert finished.code == 0
    status, said = checks(finished)["proxy"]
    assert status == "ok"
    assert f"$http_proxy names http://[secret]@127.0.0.1:{closed_port}, which is not used" in said
    assert PASSWORD not in finished.out


def test_a_proxy_that_should_be_used(run, credentials, monkeypatch, closed_port):
    """Where the server is not reached, a proxy that is not used is the first guess."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    finished = run("doctor", "--json", "--base-url", f"http://127.0.0.1:{closed_port}/v1")
    assert diagnosis(finished)[1] == "network"
    status, said = checks(finished)["proxy"]
    assert status == "warning"
    assert "$HTTP_PROXY names http://proxy.example:3128" in said
    assert "add --trust-env" in said


@pytest.mark.parametrize(
    ("name", "value"), [("no_proxy", "127.0.0.1"), ("all_proxy", "http://proxy.example")]
)
def test_a_proxy_that_is_not_for_this(run, sandbox, monkeypatch, name, value):
    """What NO_PROXY leaves out has none, and ALL_PROXY is said not to count."""
    if name == "no_proxy":
        monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv(name, value)
    finished = run("doctor", "--json", "--trust-env")
    assert finished.code == 0
    said = checks(finished)["proxy"][1]
    assert "names none for 127.0.0.1" in said
    assert ("ALL_PROXY" in said) == (name == "all_proxy")


def test_a_proxy_that_does_not_answer(run, credentials, monkeypatch, closed_port):
    """A proxy that is not there is told from a server that is not."""
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{closed_port}")
    finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1", "--trust-env")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "proxy")
    assert f"TCP: 127.0.0.1:{closed_port} refuses connections" in said
    assert "check $https_proxy" in said
    assert checks(finished)["network"] == ("skipped", "see proxy")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "asks for a password (407)"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "it answered no HTTP"),
        (b"", "answers nothing that a proxy would"),
    ],
)
@pytest.mark.parametrize("user", ["", f"user:{PASSWORD}@"])
def test_a_proxy_that_refuses(run, credentials, monkeypatch, answer, words, user):
    """A proxy's refusal is not the server's; a password in its address is sent to it, and not shown."""
    with proxy(answer) as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{port}")
        finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1", "--trust-env")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "proxy")
    assert words in said
    if "407" in words:
        assert f"needs {'another' if user else 'a user and a'} password" in said
    assert PASSWORD not in finished.out
    assert all("Proxy-Authorization: Basic" in head for head in heads) == bool(user)


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1080", "http://127.0.0.1:99999"])
def test_a_proxy_of_another_kind(run, credentials, monkeypatch, url):
    """A proxy that cannot be used is refused for what it is."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1", "--trust-env")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "proxy")
    assert "which is no HTTP proxy" in said


def test_a_proxy_that_speaks_tls(run, credentials, monkeypatch):
    """A proxy over TLS is reached, and not looked through."""
    with threaded(lambda _connection: None) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{port}")
        finished = run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1", "--trust-env")
    found = checks(finished)
    assert found["proxy"][0] == "ok"
    assert found["TLS"][0] == "skipped"
    assert found["token"][0] == "failed"


@pytest.fixture
def tls(serve):
    """Return a function that serves a sandbox with a certificate for these names, and returns its CA's."""
    with ExitStack() as files:

        def start(*names, **options):
            ca = trustme.CA(organization_name="The company's own CA")
            certificate = ca.issue_cert(*(names or ("127.0.0.1",)), **options)
            key = files.enter_context(certificate.private_key_pem.tempfile())
            chain = files.enter_context(certificate.cert_chain_pems[0].tempfile())
            serve(Sandbox(), certfile=chain, keyfile=key)
            return files.enter_context(ca.cert_pem.tempfile())

        yield start


def test_through_a_proxy(run_process, tls):
    """Through a proxy that goes where it is asked, all is well, and every connection is the proxy's."""
    trusted = tls()
    with proxy() as (port, heads):
        environment = os.environ | {"https_proxy": f"http://127.0.0.1:{port}", "SSL_CERT_FILE": trusted}
        finished = run_process("doctor", "--json", "--trust-env", env=environment)
    assert finished.code == 0
    found = checks(finished)
    assert "which goes to 127.0.0.1" in found["proxy"][1]
    assert found["network"] == ("skipped", "all goes through the proxy")
    assert [found[name][0] for name in ("TLS", "token", "list")] == ["ok"] * 3
    # The way, TLS, the clock, and the API.
    assert len(heads) >= 4


# TLS.


def test_tls_interception(run, tls):
    """A certificate that nobody vouches for is shown, with what to do where it is the company's own."""
    tls()
    finished = run("doctor", "--json")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "TLS")
    assert "is not trusted" in said
    assert "it is of organizationName=" in said
    assert "issued by organizationName=The company's own CA" in said
    assert "have $SSL_CERT_FILE name a PEM file" in said
    assert checks(finished)["token"] == ("skipped", "see TLS")


def test_nothing_is_sent_to_who_is_not_trusted(run, credentials, tls, monkeypatch):
    """The certificate is read on a connection of its own, on which nothing else is said."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ended = threading.Semaphore(0)
    handshakes, heard = [], []

    def serve(connection):
        try:
            with context.wrap_socket(connection.connection, server_side=True) as secured:
                handshakes.append(secured.version())
                heard.append(secured.recv(1))
        except OSError:
            pass
        ended.release()

    with threaded(serve) as port:
        finished = run("doctor", "--json", "--base-url", f"https://127.0.0.1:{port}/v1")
        # The first that only connects, the one that checks, and the one that reads.
        for _ in range(3):
            assert ended.acquire(timeout=60)
    assert diagnosis(finished)[1] == "TLS"
    assert handshakes
    assert b"".join(heard) == b""


def test_a_certificate_that_is_trusted(run_process, tls):
    """With the company's CA in SSL_CERT_FILE all is well."""
    finished = run_process("doctor", "--json", env=os.environ | {"SSL_CERT_FILE": tls()})
    assert finished.code == 0
    assert checks(finished)["TLS"] == ("ok", "the certificate of 127.0.0.1 is trusted | None")


def test_a_file_of_certificates_that_is_not_there(run, tls, monkeypatch, tmp_path):
    """A SSL_CERT_FILE that is not there is named, because then nobody is trusted."""
    tls()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    assert "$SSL_CERT_FILE names a file that is not there" in diagnosis(run("doctor", "--json"))[2]


def test_a_certificate_of_another_host(run, tls, monkeypatch):
    """A certificate that is trusted for another host is told from one that is not trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", tls("api.example.org", "example.org"))
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (1, "TLS")
    assert "is for api.example.org, example.org, and not for 127.0.0.1" in said


@pytest.mark.parametrize(
    ("days", "words", "direction"),
    [((-20, -10), "has expired", "after it ends"), ((10, 20), "is not valid yet", "before it begins")],
)
def test_a_certificate_of_another_time(run, tls, monkeypatch, days, words, direction):
    """A certificate that is not valid now says when it is, and lets the clock be looked at."""
    begins, ends = (datetime.datetime.now(UTC) + datetime.timedelta(days=day) for day in days)
    monkeypatch.setenv("SSL_CERT_FILE", tls(not_before=begins, not_after=ends))
    finished = run("doctor", "--json")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "TLS")
    assert words in said
    assert f"from {begins:%Y-%m-%d}" in said
    status, said = checks(finished)["clock"]
    assert status == "warning"
    assert direction in said


def test_a_server_without_tls(run, sandbox):
    """A server that speaks no TLS at an https:// address is told from one that is not there."""
    base_url = os.environ["DINTERO_BASE_URL"].replace("http:", "https:")
    code, check, said = diagnosis(run("doctor", "--json", "--base-url", base_url))
    assert (code, check) == (1, "TLS")
    assert "speaks no TLS that this machine accepts" in said


@pytest.mark.parametrize("reads", [0, None])
def test_a_handshake_that_is_cut_off(run, credentials, reads):
    """A connection that breaks, or stands still, when TLS begins is a firewall's work."""
    ended = threading.Event()

    def serve(connection):
        if reads is None:
            ended.wait()

    with threaded(serve) as port:
        base_url = f"https://127.0.0.1:{port}/v1"
        finished = run("doctor", "--json", "--base-url", base_url, "--timeout", "1")
        ended.set()
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "TLS")
    assert "broke, or stood still, in the handshake" in said


# Clocks.


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (0, "ok", "within a minute"),
        (-30, "ok", "within a minute"),
        (-605, "warning", "10 min ahead of the server's"),
        (2 * 86_400 + 3 * 3_600 + 90, "warning", "2 d 3 h 1 min behind the server's"),
    ],
)
def test_the_clock(run, answers, monkeypatch, seconds, status, words):
    """A clock that is off by more than a minute is said to be, and by how much."""
    began = datetime.datetime.now(UTC).timestamp()
    monkeypatch.setattr(
        BaseHTTPRequestHandler,
        "date_time_string",
        lambda _self, _timestamp=None: formatdate(began + seconds, usegmt=True),
    )
    finished = run("doctor", "--json")
    assert finished.code == 0
    found, said = checks(finished)["clock"]
    assert found == status
    assert words in said


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2026 00:00:00 GMT"])
def test_a_date_that_is_none(run, answers, monkeypatch, date):
    """A server without a date says nothing of the clock."""
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: date)
    assert checks(run("doctor", "--json"))["clock"] == ("skipped", "no answer says what time it is")


def test_a_clock_and_a_certificate_that_is_not_trusted():
    """A certificate that is valid now says nothing of the clock."""
    now = datetime.datetime(2026, 11, 24, tzinfo=UTC)
    day = datetime.timedelta(days=1)
    certificate = Certificate("us", "them", "", now - day, now + day)
    assert check_clock(None, certificate, now).status == "skipped"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"contract": 7}',
        b'{"contract": {"version": 1, "sha256": "a"}}',
        b'{"contract": {"version": "1", "sha256": "a"}}' + b" " * 100_000,
    ],
)
def test_a_server_that_is_no_sandbox(answers, body):
    """What another server on this machine answers is no contract."""
    answers.by_method["GET"] = (200, body)
    server = Server.of(os.environ["DINTERO_BASE_URL"])
    probe = asyncio.run(ask(server, None, seconds=10.0))
    assert probe == Probe(probe.ahead, None)
    assert probe.ahead is not None
