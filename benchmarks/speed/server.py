"""The server that all clients are measured against: it answers at once, or after a set time.

nginx where it is installed together with its echo module, which waits without a worker of its own; else
granian, which is among the pinned packages. No part of the library is in either.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trustme

SENT: dict[str, Any] = {
    "purchase_at": "2026-11-23T12:00:00+00:00",
    "customer_id": "customer-4711",
    "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 12900, "usage": 1}]}],
    "ref": "order-20261123-4711",
    "type": "pos",
}
"""The one claim that is made again and again, so that its answer can always be the same."""

CLAIM = json.dumps(
    {
        "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
        **SENT,
        "created_at": "2026-11-23T12:00:01Z",
        "created_by": "client",
        "updated_at": "2026-11-23T12:00:01Z",
        "deleted_at": None,
        "deleted_by": None,
    }
)
TOKEN = json.dumps({"access_token": "token", "token_type": "Bearer", "expires_in": 86_400})
ACCOUNT = "T12345678"
DELAYS = (0, 50)
"""Milliseconds after which a claim is answered; each delay has ports of its own."""

_ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")

_NGINX = """
{modules}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    client_body_buffer_size 64k;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    {servers}
}}
"""

_SERVER = """
    server {{
        listen 127.0.0.1:{port} backlog=16384{ssl};
        location / {{ {answer} }}
        location @claim {{ return 200 '{claim}'; }}
        location = /v1/accounts/{account}/auth/token {{ return 200 '{token}'; }}
    }}
"""


@attrs.frozen
class Served:
    """A server that runs: what it is, where it is, and the certificate that it is trusted by."""

    name: str
    ports: dict[tuple[int, bool], int]
    certificate: str
    seconds: dict[int, float]
    """What each delay really is: timers count whole milliseconds, and whoever slept must wake up first."""

    def base_url(self, delay: int, *, tls: bool) -> str:
        """Return where the API is that answers after so many milliseconds."""
        scheme = "https" if tls else "http"
        return f"{scheme}://localhost:{self.ports[delay, tls]}/v1"


@contextmanager
def served(folder: Path, core: int | None) -> Generator[Served, None, None]:
    """Run the server, on one core if that can be."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ports = {(delay, tls): _free_port() for delay in DELAYS for tls in (False, True)}
    if shutil.which("nginx") and _ECHO.exists():
        name, processes = _start_nginx(folder, ports, core)
    else:
        name, processes = _start_granian(folder, ports, core)
    try:
        for port in ports.values():
            _wait_for(port)
        at_once = _round_trip(ports[0, False])
        seconds = {delay: _round_trip(ports[delay, False]) - at_once if delay else 0.0 for delay in DELAYS}
        yield Served(name, ports, str(folder / "ca.pem"), seconds)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _round_trip(port: int) -> float:
    """Return the median of how many seconds a claim takes alone, from a socket that waits for it."""
    body = json.dumps(SENT)
    path = f"/v1/accounts/{ACCOUNT}/discounts/available_for_receipt/claims"
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(50):
            began = time.perf_counter()
            connection.sendall(request)
            answer = b""
            while not answer.endswith(CLAIM.encode()):
                answer += connection.recv(65_536)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _start_nginx(
    folder: Path, ports: dict[tuple[int, bool], int], core: int | None
) -> tuple[str, list[subprocess.Popen[bytes]]]:
    servers = "".join(
        _SERVER.format(
            port=port,
            ssl=" ssl" if tls else "",
            answer=f"echo_sleep {delay / 1000}; echo_exec @claim;" if delay else f"return 200 '{CLAIM}';",
            claim=CLAIM,
            token=TOKEN,
            account=ACCOUNT,
        )
        for (delay, tls), port in ports.items()
    )
    configuration = folder / "nginx.conf"
    modules = f"load_module {_ECHO};"
    # Of connections no more than the system allows files.
    connections = min(16_384, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 64)
    configuration.write_text(
        _NGINX.format(folder=folder, modules=modules, servers=servers, connections=connections)
    )
    version = subprocess.run(
        ["nginx", "-v"],  # noqa: S607 - the one that is installed
        capture_output=True,
        text=True,
        check=True,
    ).stderr.strip()
    process = subprocess.Popen(  # noqa: S603 - our own configuration
        ["nginx", "-c", str(configuration), "-p", str(folder), "-e", "stderr"],  # noqa: S607 - the one whose version was read
    )
    pin(core, process.pid)
    return version.removeprefix("nginx version: "), [process]


def _start_granian(
    folder: Path, ports: dict[tuple[int, bool], int], core: int | None
) -> tuple[str, list[subprocess.Popen[bytes]]]:
    processes = []
    for (delay, tls), port in ports.items():
        ssl = ["--ssl-certificate", str(folder / "server.pem"), "--ssl-keyfile", str(folder / "server.key")]
        processes.append(
            subprocess.Popen(  # noqa: S603 - granian, with the app of this module
                [
                    sys.executable, "-m", "granian", "--interface", "rsgi", "--host", "127.0.0.1",
                    "--port", str(port), "--http", "1", "--no-ws", "--backlog", "16384", "--no-log",
                    "--loop", "uvloop", *(ssl if tls else []), f"{__name__}:app",
                ],
                env={**os.environ, "BENCHMARK_DELAY": str(delay / 1000)},
            )
        )  # fmt: skip
        pin(core, processes[-1].pid)
    from importlib.metadata import version

    return f"granian/{version('granian')}", processes


async def app(scope: Any, protocol: Any) -> None:  # noqa: ANN401 - granian's own types
    """Answer over RSGI, granian's interface."""
    await protocol()
    if scope.path.endswith("/auth/token"):
        protocol.response_str(200, [("content-type", "application/json")], TOKEN)
        return
    if _DELAY:
        await asyncio.sleep(_DELAY)
    protocol.response_str(200, [("content-type", "application/json")], CLAIM)


_DELAY = float(os.environ.get("BENCHMARK_DELAY", "0"))


def pin(core: int | None, process: int = 0) -> None:
    """Keep a process, by default this one, on one of the cores that it has."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > core:
        os.sched_setaffinity(process, {cores[core]})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            # It says nowhere that it is ready.
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not start")
