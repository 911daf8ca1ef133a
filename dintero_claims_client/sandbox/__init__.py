"""A stateful stand-in for the API: rules, faults by seed and rate, and a ledger of what happened.

    sandbox = Sandbox(faults=FaultPlan(rate=0.3, seed=1))
    async with SandboxServer(sandbox) as server:
        ...  # claim at server.base_url with sandbox.client_id and sandbox.client_secret
    assert sandbox.ledger.doubled == 0

It knows the contract, and shares no code with the library's client.
"""

from __future__ import annotations

try:
    from dintero_claims_client.sandbox.app import ConnectionDropped
    from dintero_claims_client.sandbox.faults import Fault, FaultInjector, FaultPlan, Operation
    from dintero_claims_client.sandbox.ledger import Ledger
    from dintero_claims_client.sandbox.rules import Claim, Client, Order, Rules
    from dintero_claims_client.sandbox.sandbox import Sandbox
    from dintero_claims_client.sandbox.server import SandboxServer
except ModuleNotFoundError as error:
    # Anything else that is missing is a bug, and must not look like a missing extra.
    if (error.name or "").partition(".")[0] not in {"jsonschema_rs", "starlette", "uvicorn", "yaml"}:
        raise
    raise ImportError(
        f"the sandbox needs the package {error.name}: pip install 'dintero-claims-client[sandbox]'",
        name=error.name,
    ) from error

__all__ = [
    "Claim",
    "Client",
    "ConnectionDropped",
    "Fault",
    "FaultInjector",
    "FaultPlan",
    "Ledger",
    "Operation",
    "Order",
    "Rules",
    "Sandbox",
    "SandboxServer",
]
