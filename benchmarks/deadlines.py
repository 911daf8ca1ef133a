"""By how much a call outlasts its deadline, where the server stalls or sends a byte now and then.

Run it on a machine with nothing else to do: `.venv/bin/python benchmarks/deadlines.py`. Exits with 1 where a
call was more than 100 ms late.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import httpx
import httpx2
from faults.script import CUTS, Act, Fault, Point, Queues
from faults.server import FaultServer

from dintero_claims_client import ClaimDiscount, ClaimRequest, ClaimsClient, ClaimsError, RetryPolicy

TIMEOUT = 0.5
"""Seconds for each call."""

TIMES = 5
"""How often each case is measured."""

MOST = 0.1
"""Seconds that a call may be late."""

LOST = Fault(Point.RECEIVED, Act.RESET, commit=True)
SLOW = [
    Fault(Point.RECEIVED, Act.STALL, commit=True),
    *(Fault(at, Act.STALL, commit=True, after=5) for at in CUTS),
    *(Fault(at, Act.TRICKLE, commit=True, gap=0.05) for at in CUTS),
    Fault(Point.ANSWERED, Act.KEEP, answer="429-retry-after-2"),
    Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="503"),
]
CASES: dict[str, dict[str, list[Fault | None]]] = {
    **{f"claim: {fault}": {"claim": [fault] * 50} for fault in SLOW},
    **{f"look-up: {fault}": {"claim": [LOST], "list": [fault] * 50} for fault in SLOW[:7]},
    **{f"token: {fault}": {"token": [fault] * 50} for fault in SLOW[:7]},
    "connection: stalls": {"connection": [Fault(Point.ACCEPT, Act.STALL)] * 50},
}


def _http_client(engine: str) -> Any:  # noqa: ANN401 - each library's own
    return (
        None if engine == "aiohttp" else {"httpx": httpx, "httpx2": httpx2}[engine].AsyncClient(verify=False)
    )


async def lateness(engine: str, queues: dict[str, list[Fault | None]]) -> float:
    """Return by how many seconds a call outlasted its deadline; below 0 where it ended before."""
    async with FaultServer() as server:
        http_client = _http_client(engine)
        async with ClaimsClient(
            account_id="T12345678",
            client_id="client",
            client_secret="secret",  # noqa: S106 - nobody checks it
            base_url=server.base_url,
            http_client=http_client,
            retry=RetryPolicy(max_attempts=50, base_delay=0.01, max_delay=0.05),
        ) as client:
            if not {"token", "connection"} & set(queues):
                await client.claim(_request("warm-up"))
            server.plan = Queues(**queues)
            loop = asyncio.get_running_loop()
            began = loop.time()
            with contextlib.suppress(ClaimsError):
                await client.claim(_request("order-1"), timeout=TIMEOUT)
            late = loop.time() - began - TIMEOUT
        if http_client is not None:
            await http_client.aclose()
        return late


def _request(ref: str) -> ClaimRequest:
    return ClaimRequest(
        purchase_at=datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC),
        customer_id="customer-1",
        discounts=[ClaimDiscount(id="discount-1")],
        ref=ref,
    )


async def main() -> int:
    """Measure all cases on all engines, and print the worst of each."""
    worst = 0.0
    for engine in ("aiohttp", "httpx", "httpx2"):
        for name, queues in CASES.items():
            late = max([await lateness(engine, queues) for _ in range(TIMES if "trickle" in name else 3)])
            worst = max(worst, late)
            print(f"{engine:8} {name:45} {late * 1000:+8.1f} ms")
    print(f"at most {worst * 1000:.1f} ms late; allowed are {MOST * 1000:.0f}")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
