"""The command `demo`: many claims against a sandbox in which things go wrong, and the account of them.

What the client says about each claim is compared with what the sandbox's ledger holds.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter
from typing import Any

from dintero_claims_client import ClaimsClient, RetryPolicy
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.demo_batch import BatchReport, run_batch
from dintero_claims_client.errors import ClaimsError, OutcomeUnknownError
from dintero_claims_client.models import Claim, ClaimDiscount, ClaimDiscountRef, ClaimRequest
from dintero_claims_client.sandbox import Fault, FaultPlan, Operation, Sandbox, SandboxServer

_PARTS = 4
"""A token expires at the start of each part but the first."""

_KINDS: Mapping[Fault, float] = {fault: 1.0 for fault in Fault if fault is not Fault.EXPIRE_TOKEN}

# Short waits, for a demonstration; more attempts than usual, so that a high rate of faults is survived.
_RETRY = RetryPolicy(max_attempts=20, base_delay=0.02, max_delay=1.0)


@dataclass(frozen=True, slots=True)
class Record:
    """A claim as the client returned it, or as the ledger holds it."""

    ref: object
    claim_id: object
    customer_id: object


class Said(StrEnum):
    """What the client says became of a claim."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Told:
    """What was sent in one claim, and what the client said about it: the claim, or an error's name."""

    ref: str
    customer_id: str
    said: Said
    record: Record | None = None
    error: str | None = None


class Verdict(StrEnum):
    """What the ledger says about what the client said."""

    TAKEN = "taken"
    """Both hold the same claim, once."""
    DOUBLED = "doubled"
    """The ledger holds more than one."""
    LOST = "lost"
    """Only one of them holds it."""
    MISATTRIBUTED = "misattributed"
    """They hold different claims."""
    REFUSED = "refused"
    """Neither holds it, and the client said so."""
    UNKNOWN = "unknown"
    """The client said that it does not know."""


def compare(told: Iterable[Told], ledger: Iterable[Record]) -> Counter[Verdict]:
    """Judge every claim; one in the ledger that was never sent counts as misattributed."""
    by_ref: defaultdict[object, list[Record]] = defaultdict(list)
    for record in ledger:
        by_ref[record.ref].append(record)
    verdicts = Counter(_judge(one, by_ref.pop(one.ref, [])) for one in told)
    verdicts[Verdict.MISATTRIBUTED] += sum(map(len, by_ref.values()))
    return verdicts


def _judge(told: Told, records: list[Record]) -> Verdict:
    if len(records) > 1:
        return Verdict.DOUBLED
    match told.said, records:
        case Said.UNKNOWN, _:
            return Verdict.UNKNOWN
        case Said.REFUSED, []:
            return Verdict.REFUSED
        case Said.TAKEN, [record]:
            same = told.record == record and record.customer_id == told.customer_id
            return Verdict.TAKEN if same else Verdict.MISATTRIBUTED
        case _:
            return Verdict.LOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demonstration found."""

    verdicts: Counter[Verdict]
    refusals: Counter[str]
    retried: int
    recovered: int
    replayed: int
    tokens: int
    faults: Counter[Fault]
    seconds: float

    @property
    def exit_code(self) -> int:
        """Return 0 only if each claim was taken, once, by whom the client says."""
        wrong = {verdict for verdict, count in self.verdicts.items() if count} - {Verdict.TAKEN}
        if not wrong:
            return exit_codes.DONE
        return exit_codes.OUTCOME_UNKNOWN if wrong == {Verdict.UNKNOWN} else exit_codes.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            **{verdict.value: self.verdicts[verdict] for verdict in Verdict},
            "refusals": dict(self.refusals),
            "retried": self.retried,
            "recovered": self.recovered,
            "replayed_401": self.replayed,
            "tokens_fetched": self.tokens,
            "faults": {fault.value: self.faults[fault] for fault in Fault},
            "seconds": round(self.seconds, 3),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the report as names and values for people."""
        return [
            *((f"claims {verdict.value}", f"{self.verdicts[verdict]:,}") for verdict in Verdict),
            *((f"refused as {name}", f"{count:,}") for name, count in self.refusals.items()),
            ("sent again", f"{self.retried:,}"),
            ("recovered after a lost answer", f"{self.recovered:,}"),
            ("401s replayed", f"{self.replayed:,}"),
            ("tokens fetched", f"{self.tokens:,}"),
            *((f"fault {fault.value}", f"{self.faults[fault]:,}") for fault in Fault),
            ("seconds", f"{self.seconds:.1f}"),
        ]

    def conclusion(self) -> str:
        """Return the report in one line."""
        return ", ".join(
            f"{self.verdicts[verdict]:,} {verdict.value}"
            for verdict in (Verdict.TAKEN, Verdict.DOUBLED, Verdict.LOST)
        )


async def demo(
    *, count: int, batch: int, concurrency: int, seed: int, fault_rate: float, as_json: bool
) -> int:
    """Run the demonstration and show what it found."""
    with _progress(count) as advance:
        report = await run(
            count=count, concurrency=concurrency, seed=seed, fault_rate=fault_rate, advance=advance
        )
    of_batch: BatchReport | None = None
    if batch:
        if not as_json:
            output.write_note(f"now a batch of {batch:,} rows, which is killed half way")
        of_batch = await run_batch(rows=batch, concurrency=concurrency, faults=_faults(fault_rate, seed))
    if as_json:
        output.write_json({**report.to_dict(), "batch": None if of_batch is None else of_batch.to_dict()})
    else:
        output.write_rows(report.rows())
        if of_batch is not None:
            output.write_line(of_batch.conclusion())
        output.write_line(report.conclusion())
    return report.exit_code or (exit_codes.DONE if of_batch is None else of_batch.exit_code)


def _faults(rate: float, seed: int) -> FaultPlan:
    # A 429 pauses all callers, and these come by chance: a second for each would be all that is seen.
    return FaultPlan(rate=rate, seed=seed, kinds=_KINDS, latency=(0.0, 0.1), retry_after=0)


async def run(
    *, count: int, concurrency: int, seed: int, fault_rate: float, advance: Callable[[], None]
) -> Report:
    """Make so many claims, so many at a time, and report; `advance` is called after each."""
    sandbox = Sandbox(faults=_faults(fault_rate, seed))
    async with (
        SandboxServer(sandbox) as server,
        ClaimsClient(
            account_id=sandbox.account_id,
            client_id=sandbox.client_id,
            client_secret=sandbox.client_secret,
            base_url=server.base_url,
            max_connections=concurrency,
            retry=_RETRY,
        ) as client,
    ):
        began = perf_counter()
        told: list[Told] = []
        for part in range(_PARTS):
            numbers = range(count * part // _PARTS, count * (part + 1) // _PARTS)
            # Between two parts, because a request whose token expires twice in a row is refused.
            if part > 0 and numbers and fault_rate > 0:
                sandbox.expire_tokens()
            told += await _claim_all(client, numbers, concurrency=concurrency, advance=advance)
        told = [await _look_up(client, one) if one.said is Said.UNKNOWN else one for one in told]
        ledger = sandbox.ledger
        return Report(
            verdicts=compare(
                told,
                [Record(claim.ref, claim.id, claim.data["customer_id"]) for claim in ledger.claims],
            ),
            refusals=Counter(one.error for one in told if one.said is Said.REFUSED and one.error),
            retried=ledger.arrivals.total() - len(ledger.arrivals),
            recovered=client.stats().recovered,
            replayed=sum(ledger.requests[operation, "401"] for operation in Operation),
            tokens=ledger.tokens_issued,
            faults=ledger.faults,
            seconds=perf_counter() - began,
        )


async def _claim_all(
    client: ClaimsClient, numbers: Iterable[int], *, concurrency: int, advance: Callable[[], None]
) -> list[Told]:
    told: list[Told] = []

    async def work(left: Iterator[int]) -> None:
        for number in left:
            told.append(await _claim(client, number))
            advance()

    left = iter(numbers)
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(left))
    return told


async def _claim(client: ClaimsClient, number: int) -> Told:
    ref, customer_id = f"order-{number}", f"customer-{number}"
    request = ClaimRequest(
        purchase_at=datetime.now(UTC),
        customer_id=customer_id,
        discounts=[
            ClaimDiscount(id="discount-1", refs=[ClaimDiscountRef(id=f"item-{number}", amount=100, usage=1)])
        ],
        ref=ref,
    )
    try:
        claim = await client.claim(request)
    except OutcomeUnknownError:
        return Told(ref, customer_id, Said.UNKNOWN)
    except ClaimsError as error:
        return Told(ref, customer_id, Said.REFUSED, error=type(error).__name__)
    return Told(ref, customer_id, Said.TAKEN, _record(claim))


async def _look_up(client: ClaimsClient, told: Told) -> Told:
    """Ask once more about a claim whose outcome is unknown; one that is not found stays unknown."""
    try:
        claim = await client.find_claim(ref=told.ref)
    except ClaimsError:
        claim = None
    return told if claim is None else Told(told.ref, told.customer_id, Said.TAKEN, _record(claim))


def _record(claim: Claim) -> Record:
    return Record(claim.ref, claim.id, claim.customer_id)


@contextmanager
def _progress(count: int) -> Generator[Callable[[], None], None, None]:
    """Show on a terminal how many claims are over; give what to call after each."""
    if not output.is_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("claiming"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=output.console(sys.stderr),
        transient=True,
        # Nothing else is written meanwhile.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress:
        task = progress.add_task("claiming", total=count)
        yield lambda: progress.advance(task)
