"""A batch with a journal against a server that fails at random, counted in the server's ledger as in `soak`.

A tenth of the claims' attempts, connections and look-ups is struck, and all tokens expire three times on
the way. Every row has a `ref`, its own or one that the journal gave it, so none may stay unknown. The batch
is run to its end; what is unknown then is resumed once the server answers again.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from dintero_claims_client import Claimed, ClaimRequest, ClaimsClient, Journal, Outcome, Rejected, Unknown
from faults.script import Queues
from faults.seeded import Seeded
from faults.server import FaultServer
from faults.soak import POLICY, SECRET, Report, arguments, judged, order, told

LEAST_SHARE = 0.1
"""Of the exchanges must be faulted, or the figures show nothing."""

_EXPIRIES = 3


class BatchSoak:
    """Claims the rows of one seed as a batch, and counts."""

    def __init__(self, count: int, seed: int, *, concurrency: int = 100) -> None:
        self.count = count
        self.concurrency = concurrency
        self.report = Report(seed, claims=count)
        self.plan = Seeded(
            seed,
            0.1,
            rates={"connection": 0.1, "list": 0.1, "get": 0.1, "token": 0.03},
            slow=0.002,
            heavy=0.002,
            throttling=0.1,
            gap=0.02,
        )
        self._given: set[int] = set()

    async def run(self, journal: Path) -> Report:
        """Claim all rows, and return what was counted."""
        report = self.report
        began = time.monotonic()
        async with (
            FaultServer(plan=self.plan) as server,
            ClaimsClient(
                account_id="T12345678",
                client_id="client-1",
                client_secret=SECRET,
                base_url=server.base_url,
                max_connections=self.concurrency,
                retry=POLICY,
            ) as client,
            Journal.open(journal) as opened,
        ):
            async for outcome in client.claim_many(
                self._rows(server), concurrency=self.concurrency, journal=opened
            ):
                self._tell(outcome, server)
            report.exchanges, report.faulted = server.exchanges, server.faulted
            server.plan = Queues()
            async for outcome in client.resume(opened):
                self._count(outcome, server)
            report.figures["lost"] += self.count - len(self._given)
            report.figures["doubled"] += len(server.changed)
        report.seconds = time.monotonic() - began
        return report

    async def _rows(self, server: FaultServer) -> AsyncIterator[ClaimRequest]:
        for number in range(self.count):
            if number and number % (self.count // (_EXPIRIES + 1)) == 0:
                server.revoke()
            yield order(number, random.Random(f"{self.report.seed}/{number}"))

    def _tell(self, outcome: Outcome, server: FaultServer) -> None:
        self.report.ended[type(outcome).__name__.lower()] += 1
        if isinstance(outcome, Unknown):
            # Told for now; what resuming says counts.
            return
        self._count(outcome, server)

    def _count(self, outcome: Outcome, server: FaultServer) -> None:
        """Compare what was told with what the ledger holds."""
        customer = f"customer-{outcome.row}"
        held = server.ledger.by_customer.get(customer, [])
        found = set()
        if outcome.row in self._given or len(held) > 1:
            found.add("doubled")
        self._given.add(outcome.row)
        match outcome:
            case Claimed(claim=claim):
                if not held:
                    found.add("lost")
                elif claim is not None and claim.id not in {one["id"] for one in held}:
                    found.add("misattributed")
            case Rejected():
                if held:
                    found.add("refused")
            case _:
                found.add("unknown")
        for name in found:
            self.report.figures[name] += 1
            if len(self.report.examples) < 20:
                self.report.examples.append(f"{name}: {customer} -> {outcome!r}; {held}")


async def batch_soak(count: int, seed: int, journal: Path, *, progress: bool = False) -> Report:
    """Run a soak, and say on stdout how to run it again if it is not clean."""
    one = BatchSoak(count, seed)
    return await told(
        one.run(journal), one.report, one.plan, f"--batch {count} --seed {seed}", progress=progress
    )


def main() -> int:
    """Run a soak from the command line."""
    given = arguments("batch-soak", "A batch with a journal against a server that fails.").parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory, "journal")
        report = asyncio.run(batch_soak(given.count, given.seed, journal, progress=True))
    return judged(report, LEAST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
