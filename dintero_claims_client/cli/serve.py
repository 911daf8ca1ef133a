"""The command `sandbox serve`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Literal

from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.sandbox import FaultPlan, Sandbox, SandboxServer


async def serve(
    *,
    port: int,
    fault_rate: float,
    seed: int,
    token_lifetime: int,
    order: Literal["newest", "oldest"],
) -> int:
    """Serve a sandbox until the process is told to end; the first line says how to reach it."""
    sandbox = Sandbox(
        token_lifetime=token_lifetime, order=order, faults=FaultPlan(rate=fault_rate, seed=seed)
    )
    ended = asyncio.Event()
    # Before the first line, because whoever has read it may already end the process.
    with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C is an interruption
        for told in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(told, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(SandboxServer(sandbox, port=port))
        except OSError as error:
            raise exit_codes.CommandError(
                f"port {port} cannot be listened on: {error.strerror}; --port 0 takes a free one"
            ) from None
        settings = {
            "BASE_URL": server.base_url,
            "ACCOUNT_ID": sandbox.account_id,
            "CLIENT_ID": sandbox.client_id,
            "CLIENT_SECRET": sandbox.client_secret,
        }
        # In the form that `export` and `env` take. The secret is good for this sandbox only.
        output.write_line(" ".join(f"DINTERO_{name}={value}" for name, value in settings.items()))
        if output.is_terminal(sys.stdout):
            output.write_note(
                'in another terminal, "export" and that line, and then: dintero-claims doctor; Ctrl-C ends it'
            )
        output.flush()
        await ended.wait()
    return exit_codes.DONE
