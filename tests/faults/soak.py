"""A stream of claims against a server that fails at random, counted in the server's ledger.

Everything follows from a seed: the claims, the faults that strike each of their attempts, and the chance of
the client. Five figures must be zero at the end:

- lost: the caller was given a claim, or told nothing, and the ledger has none;
- doubled: the ledger has more than one claim for one order, or a ref came with other bytes;
- misattributed: the caller was given another claim than the ledger has for the order;
- refused: the caller was told that it was not taken, and the ledger has it;
- unknown: the caller was told that it is not known, and asking again, once the server answers, does not help.

Claims without a `ref` are counted apart: what becomes of one cannot always be found out.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2

from dintero_claims_client import (
    AuthenticationError,
    Claim,
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RetryPolicy,
)
from faults.script import Queues
from faults.seeded import Seeded
from faults.server import FaultServer

SECRET = "canary-secret-5f1c9"

LEAST_SHARE = 0.3
"""Of the exchanges must be faulted, or the figures show nothing."""

FIGURES = ("lost", "doubled", "misattributed", "refused", "unknown")

POLICY = RetryPolicy(max_attempts=10, attempt_timeout=2.0, base_delay=0.01, max_delay=0.2)


_SAYS_NOTHING = (OutcomeUnknownError, NotSentError, RateLimitedError, AuthenticationError)
"""Ends of a second call that leave open what became of the first."""


@dataclass
class Report:
    """What a soak counted."""

    seed: int
    claims: int = 0
    exchanges: int = 0
    faulted: int = 0
    seconds: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    """How calls ended at first, before those that were unknown asked again."""
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Say whether all five figures are zero."""
        return not any(self.figures[name] for name in FIGURES)

    @property
    def share(self) -> float:
        """The share of all exchanges that a fault struck."""
        return self.faulted / max(1, self.exchanges)

    def __str__(self) -> str:
        figures = ", ".join(f"{self.figures[name]} {name}" for name in FIGURES)
        return (
            f"{self.claims:,} claims, {self.exchanges:,} exchanges, {self.share:.0%} of them faulted, "
            f"{self.seconds:.0f} s, seed {self.seed}\n"
            f"at first: {dict(sorted(self.ended.items()))}\n"
            f"{figures}"
        )


def order(number: int, chance: random.Random) -> ClaimRequest:
    """Return the claim of an order; its customer claims nothing else."""
    fields: dict[str, Any] = {} if chance.random() < 0.1 else {"ref": f"order-{number}"}
    limited = "limited-" if chance.random() < 0.2 else ""
    return ClaimRequest(
        purchase_at=datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC) + datetime.timedelta(seconds=number),
        customer_id=f"customer-{number}",
        discounts=[
            ClaimDiscount(
                id=f"{limited}{index}",
                refs=[ClaimDiscountRef(id=f"item-{index}", amount=chance.randrange(1, 10**6), usage=1)],
            )
            for index in range(chance.randrange(1, 4))
        ],
        **fields,
    )


class Soak:
    """Makes the claims of one seed, and counts."""

    def __init__(self, count: int, seed: int, *, concurrency: int = 100, engine: str = "aiohttp") -> None:
        self.count = count
        self.engine = engine
        self.concurrency = concurrency
        self.report = Report(seed, claims=count)
        self.plan = Seeded(
            seed,
            0.4,
            rates={"connection": 0.3, "list": 0.3, "get": 0.3, "token": 0.03},
            attempts=6,
            slow=0.002,
            heavy=0.002,
            throttling=0.1,
            gap=0.02,
        )
        self._chance = random.Random(seed)
        self._unknown: list[ClaimRequest] = []

    async def run(self) -> Report:
        """Make all claims, and return what was counted."""
        report = self.report
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(FaultServer(plan=self.plan))
            http_client: Any = None
            if self.engine != "aiohttp":
                library = {"httpx": httpx, "httpx2": httpx2}[self.engine]
                http_client = await stack.enter_async_context(library.AsyncClient(verify=False))
            async with ClaimsClient(
                account_id="T12345678",
                client_id="client-1",
                client_secret=SECRET,
                base_url=server.base_url,
                generate_refs=False,
                max_connections=self.concurrency,
                timeout=30.0,
                retry=POLICY,
                http_client=http_client,
            ) as client:
                numbers = iter(range(self.count))
                await asyncio.gather(*(self._work(numbers, client, server) for _ in range(self.concurrency)))
                report.exchanges, report.faulted = server.exchanges, server.faulted
                # The server answers again: what is unknown is found out.
                server.plan = Queues()
                for request in self._unknown:
                    await self._ask_again(request, client, server)
            report.figures["doubled"] += len(server.changed)
        report.seconds = time.monotonic() - began
        return report

    async def _work(self, numbers: Any, client: ClaimsClient, server: FaultServer) -> None:
        for number in numbers:
            request = order(number, random.Random(f"{self.report.seed}/{number}"))
            ended = await _claim(client, request)
            if isinstance(ended, OutcomeUnknownError) and isinstance(request.ref, str):
                self.report.ended["unknown"] += 1
                # As an application does; what is unknown even then is asked for at the end.
                ended = await _claim(client, request, again=True)
                if isinstance(ended, _SAYS_NOTHING):
                    self._unknown.append(request)
                    continue
            else:
                self.report.ended["taken" if isinstance(ended, Claim) else type(ended).__name__] += 1
            self._count(request, ended, server)

    async def _ask_again(self, request: ClaimRequest, client: ClaimsClient, server: FaultServer) -> None:
        ended = await _claim(client, request, again=True)
        if isinstance(ended, OutcomeUnknownError) and ended.taken:
            # Too far down for a look-up, which reads 2,000 claims at most.
            async for claim in client.list_claims(page_size=100):
                if claim.ref == request.ref:
                    ended = claim
                    break
        self._count(request, ended, server)

    def _count(self, request: ClaimRequest, ended: Claim | ClaimsError, server: FaultServer) -> None:
        """Compare what the caller was told with what the ledger holds."""
        held = server.ledger.by_customer.get(request.customer_id, [])
        found = set()
        if len(held) > 1:
            found.add("doubled")
        if isinstance(ended, Claim):
            if not held:
                found.add("lost")
            elif ended.id not in {claim["id"] for claim in held}:
                found.add("misattributed")
        elif isinstance(ended, OutcomeUnknownError):
            if isinstance(request.ref, str):
                found.add("unknown")
            else:
                self.report.ended["unknown without a ref"] += 1
        elif held:
            found.add("refused")
        for name in found:
            self.report.figures[name] += 1
            if len(self.report.examples) < 20:
                self.report.examples.append(f"{name}: {request.customer_id} -> {ended!r}; {held}")


async def _claim(client: ClaimsClient, request: ClaimRequest, *, again: bool = False) -> Claim | ClaimsError:
    try:
        return await client.claim(request, if_exists="return" if again else "raise")
    except ClaimsError as error:
        return error


async def soak(count: int, seed: int, *, engine: str = "aiohttp", progress: bool = False) -> Report:
    """Run a soak, and say on stdout how to run it again if it is not clean."""
    one = Soak(count, seed, engine=engine)
    again = f"{count} --seed {seed} --engine {engine}"
    return await told(one.run(), one.report, one.plan, again, progress=progress)


async def told(
    run: Coroutine[Any, Any, Report], report: Report, plan: Seeded, again: str, *, progress: bool
) -> Report:
    """Run a soak, and say how far it is, and how to run it again if it is not clean."""
    watch = asyncio.create_task(_watch(report)) if progress else None
    try:
        await run
    finally:
        if watch is not None:
            watch.cancel()
    if not report.is_clean:
        print("\n".join(report.examples))
        print(f"the faults: {json.dumps(plan.describe())}")
        print(f"again with: ./scripts/soak.sh {again}")
    return report


async def _watch(report: Report) -> None:
    while True:
        await asyncio.sleep(10)
        done = report.ended.total() - report.ended["unknown without a ref"]
        print(f"{done:,} of {report.claims:,}", file=sys.stderr)


def arguments(prog: str, what: str) -> argparse.ArgumentParser:
    """Return what reads the arguments that every soak has."""
    parser = argparse.ArgumentParser(prog=prog, description=what)
    parser.add_argument("count", type=int, help="how many claims")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(10**6),
        help="what to repeat; by default another each time",
    )
    return parser


def judged(report: Report, least_share: float) -> int:
    """Print what was counted; 0 if all five figures are zero and enough was faulted."""
    print(report)
    if report.share < least_share:
        print(f"less than {least_share:.0%} of the exchanges were faulted")
    return 0 if report.is_clean and report.share >= least_share else 1


def main() -> int:
    """Run a soak from the command line."""
    parser = arguments("soak", "Claims against a server that fails at random.")
    parser.add_argument("--engine", choices=("aiohttp", "httpx", "httpx2"), default="aiohttp")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    return judged(asyncio.run(soak(given.count, given.seed, engine=given.engine, progress=True)), LEAST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
