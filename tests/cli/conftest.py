"""The command in this process and as a process of its own, and servers for it to talk to."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dintero_claims_client.cli import main
from dintero_claims_client.sandbox import Sandbox, SandboxServer

COMMAND = Path(sys.executable).with_name("dintero-claims")
CLAIM = {
    "purchase_at": "2026-11-07T05:31:56Z",
    "customer_id": "customer-1",
    "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
    "ref": "order-1",
}


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON on stderr."""
        return json.loads(self.err)


@contextlib.contextmanager
def serving(sandbox: Sandbox, **options: Any) -> Iterator[str]:
    """Serve a sandbox in a thread, and give its base URL."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with SandboxServer(sandbox, **options) as server:
            started.set_result((server.base_url, asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    base_url, loop, ended = started.result()
    try:
        yield base_url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("DINTERO_") or name in {"COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"}:
            monkeypatch.delenv(name)


@pytest.fixture
def log_in(monkeypatch):
    """Return a function that puts a sandbox's address and credentials into the environment."""

    def put(sandbox: Sandbox, base_url: str) -> None:
        monkeypatch.setenv("DINTERO_BASE_URL", base_url)
        monkeypatch.setenv("DINTERO_ACCOUNT_ID", sandbox.account_id)
        monkeypatch.setenv("DINTERO_CLIENT_ID", sandbox.client_id)
        monkeypatch.setenv("DINTERO_CLIENT_SECRET", sandbox.client_secret)

    return put


@pytest.fixture
def serve(log_in):
    """Return a function that serves a sandbox and puts its credentials into the environment."""
    with contextlib.ExitStack() as stack:

        def start(sandbox: Sandbox, **options: Any) -> Sandbox:
            log_in(sandbox, stack.enter_context(serving(sandbox, **options)))
            return sandbox

        yield start


@pytest.fixture
def sandbox(serve):
    """Return a sandbox that is served, with its credentials in the environment."""
    return serve(Sandbox())


@pytest.fixture
def claim_file(tmp_path):
    """Return a function that writes a claim to a file; changes replace fields, None leaves them out."""

    def write(**changes: Any) -> str:
        claim = {name: value for name, value in (CLAIM | changes).items() if value is not None}
        path = tmp_path / "claim.json"
        path.write_text(json.dumps(claim), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def run(capsys):
    """Return a function that runs the command in this process, and holds all output against the secret."""

    def call(*arguments: str) -> Finished:
        code = main(arguments)
        finished = Finished(code, *capsys.readouterr())
        secret = os.environ.get("DINTERO_CLIENT_SECRET")
        assert secret is None or secret not in finished.out + finished.err
        assert "\x1b" not in finished.out + finished.err
        return finished

    return call


@pytest.fixture
def run_process():
    """Return a function that runs the command as a process."""

    def call(*arguments: str, **options: Any) -> Finished:
        done = subprocess.run(
            [COMMAND, *arguments], capture_output=True, encoding="utf-8", check=False, **options
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def terminal(monkeypatch):
    """Let the command take its streams for a terminal, one without colours."""
    monkeypatch.setattr("dintero_claims_client.cli.output.is_terminal", lambda _stream: True)
    monkeypatch.setenv("TERM", "dumb")


class Answers:
    """What a server that is not the sandbox answers, by method; None breaks the connection."""

    TOKEN = (200, b'{"access_token": "token-of-the-stub", "token_type": "Bearer", "expires_in": 3600}')

    def __init__(self) -> None:
        self.by_method: dict[str, tuple[int, bytes] | None] = {"POST": self.TOKEN, "GET": (200, b"[]")}


@pytest.fixture
def answers(monkeypatch):
    """Serve fixed answers, with settings for them in the environment."""
    found = Answers()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = found.by_method[self.command]
            if answer is not None:
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Stay quiet: stderr is under test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DINTERO_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("DINTERO_ACCOUNT_ID", "T12345678")
        monkeypatch.setenv("DINTERO_CLIENT_ID", "client-1")
        monkeypatch.setenv("DINTERO_CLIENT_SECRET", "secret-of-the-stub")
        yield found
        server.shutdown()
        thread.join()
