"""The command that each example names, run as a process of its own."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from dintero_claims_client.sandbox import Sandbox, SandboxServer

EXAMPLES = Path(__file__).parents[2] / "examples"
APPS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "shop")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by signals")


def named(app: str) -> str:
    """Return the command that an example's docstring ends with."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{app}.py").read_text()))
    return docstring.rpartition("\nRun: ")[2]


def command(app: str) -> list[str]:
    """Return it as a process is started, at a free port."""
    program, *arguments = shlex.split(named(app))
    # In the environment of these tests, whatever else the machine has.
    free = {"uvicorn": ["--port", "0"], "hypercorn": ["--bind", "127.0.0.1:0"], "python": []}[program]
    return [str(Path(sys.executable).parent / program), *arguments, *free]


@contextlib.asynccontextmanager
async def running(app: str, **variables: str):
    """Run an example; give the process, whose output is one stream."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DINTERO_")}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default", "PORT": "0"} | variables
    process = await asyncio.create_subprocess_exec(
        *command(app),
        cwd=EXAMPLES.parent,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Some have processes of their own, which end with it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def address(process: asyncio.subprocess.Process) -> str:
    """Read what a process says until it says where it listens."""
    async for line in process.stdout:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", line.decode(), re.IGNORECASE)
        if found:
            return found[1]
    raise AssertionError("it ended before it listened")


@pytest.mark.parametrize("app", APPS)
def test_the_command_that_is_told(app):
    """The README of the examples tells the command that the example names."""
    assert f"$ {named(app)}\n" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("app", APPS)
async def test_the_command_runs(app):
    """An example runs by the command that it names, claims, and closes its client when it is told to end."""
    sandbox = Sandbox()
    order = {
        "number": "order-1",
        "customer_id": "customer-1",
        "purchase_at": "2026-11-23T12:00:00Z",
        "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 500, "usage": 1}]}],
    }
    async with SandboxServer(sandbox) as api:
        account = {
            "DINTERO_BASE_URL": api.base_url,
            "DINTERO_ACCOUNT_ID": sandbox.account_id,
            "DINTERO_CLIENT_ID": sandbox.client_id,
            "DINTERO_CLIENT_SECRET": sandbox.client_secret,
        }
        async with running(app, **account) as process, aiohttp.ClientSession() as browser:
            url = await address(process)
            async with browser.post(f"{url}/checkout", json=order) as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "taken")
            process.terminate()
            said, _ = await process.communicate()
            # uvicorn cleans up, and then ends by the signal as if it had not.
            assert process.returncode in (0, -signal.SIGTERM)
            assert b"ResourceWarning" not in said
            assert b"Traceback" not in said
            assert sandbox.client_secret.encode() not in said
    assert [claim.ref for claim in sandbox.ledger.claims] == ["order-1"]


@pytest.mark.parametrize("app", APPS)
async def test_the_command_without_settings(app):
    """An example that is not set up does not start, and names the variable that is missing."""
    async with running(app) as process:
        said, _ = await process.communicate()
        assert b"DINTERO_ACCOUNT_ID" in said
        assert b"running on" not in said.lower()
