"""Counts what becomes of claims under faults, through this library and through the policies of other clients.

    .venv/bin/python benchmarks/reliability.py [--claims N] [--seeds S] [--rate R]

Each client makes the same claims to a local server that fails by a seed: which fault strikes an attempt
follows from the seed, the customer, the number of the attempt and whether the claim has a `ref`, whoever
sends it and whenever. Faults of connections and of list reads follow from their number among their like, so
counts differ a little from run to run. The server keeps a ledger, and all counts come from comparing it with
what the callers were told. One row is one claim of one customer:

claimed         the ledger has the row once, and the caller was told so, without the id of another claim
doubled         the ledger holds more than one live claim for the row
lost            the caller was told that it succeeded, or was told nothing at all, and the ledger has none
falsely failed  the caller was told that it failed, and the ledger has it
misattributed   the caller was given an id that is not the row's although the ledger has one for the row, or
                the id of another row
unknown         the caller was told that the outcome is unknown, which only this library does: the callers of
                the others get an error that does not say so, and it counts as a failure
still unknown   what is left of that after the claims that have a `ref` were asked for again with
                `if_exists="return"` and without faults; their answers then count in all other columns
requests        requests for claims that reached the server, for each row, without those that asked again
look-ups        reads of the list, for each row, likewise

One row can count in several columns: what is doubled may be reported as failed as well. What is in none was
not taken, and its caller told that it failed.

What is made equal for all: the token is good and its endpoint never fails; an attempt may take a second; at
most 50 claims are under way; delays are a hundredth of what the policies say. Faults that take real time or
much memory are left out. The callers of the others take a 2xx with JSON for a success, and its `id` for the
claim's; any other status, and any exception, for a failure, as these clients do. The `ref` is in the body, so
each attempt of each client carries the same one.

The exit status is 1 where this library was wrong about a claim; each such claim is then written to stderr,
with the faults that struck it.

The adapters apply the policies that the other clients have by default, on httpx and in words of our own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import email.utils
import json
import math
import random
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import httpx

from dintero_claims_client import (
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    OutcomeUnknownError,
    RetryPolicy,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from faults.script import Queues, Request
from faults.seeded import Seeded
from faults.server import CLAIMS, TOKEN, FaultServer

SCALE = 1 / 100
"""All delays of all policies are multiplied by this."""

ATTEMPT_TIMEOUT = 1.0
AT_ONCE = 50

CONNECTION_RATE = 0.02
"""The share of connections that fail before a request."""

PATIENCE = 600.0
"""Seconds, before scaling: a caller who is to wait longer than this for one attempt has been told nothing."""

PURCHASED = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Row:
    """One claim to make."""

    customer_id: str
    ref: str | None

    def body(self) -> bytes:
        """Return the claim as the other clients send it."""
        value: dict[str, Any] = {
            "purchase_at": PURCHASED.isoformat(),
            "customer_id": self.customer_id,
            "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
        }
        if self.ref is not None:
            value["ref"] = self.ref
        return json.dumps(value).encode()

    def request(self) -> ClaimRequest:
        """Return the claim as this library takes it."""
        discount = ClaimDiscount(id="discount-1", refs=[ClaimDiscountRef(id="item-1", amount=100, usage=1)])
        request = ClaimRequest(purchase_at=PURCHASED, customer_id=self.customer_id, discounts=[discount])
        if self.ref is not None:
            request.ref = self.ref
        return request


class Word(Enum):
    """What a caller can be told."""

    TAKEN = "taken"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Told:
    """What the caller of a row was told; `claim_id` is whatever was given as the claim's id."""

    word: Word
    claim_id: object = None
    error: str = ""


class WaitsForEverError(Exception):
    """The policy waits for longer than any caller does."""


async def pause(seconds: float) -> None:
    """Wait as a policy says, scaled down."""
    if seconds > PATIENCE:
        raise WaitsForEverError
    await asyncio.sleep(seconds * SCALE)


class Adapter(ABC):
    """A client that posts claims over one `httpx.AsyncClient`; what it repeats is in `send`."""

    name: ClassVar[str]
    follows_redirects: ClassVar[bool] = False

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self.http = httpx.AsyncClient(
            transport=self.transport(),
            timeout=ATTEMPT_TIMEOUT,
            follow_redirects=self.follows_redirects,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            trust_env=False,
        )

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what is below the client."""
        return httpx.AsyncHTTPTransport()

    async def post(self, body: bytes) -> httpx.Response:
        """Make one attempt."""
        return await self.http.post(self._url, content=body)

    @abstractmethod
    async def send(self, body: bytes) -> httpx.Response:
        """Post a claim, as often as the policy says."""

    async def claim(self, row: Row) -> Told:
        """Post a claim and do what the caller of such a client does with the answer."""
        try:
            response = await self.send(row.body())
            value = response.raise_for_status().json()
        except WaitsForEverError:
            return Told(Word.NOTHING)
        except Exception as error:  # noqa: BLE001 - whatever comes out of a client is a failure to its caller
            return Told(Word.FAILED, error=type(error).__name__)
        return Told(Word.TAKEN, value.get("id") if isinstance(value, dict) else None)


class NoRetry(Adapter):
    """The provider's own SDK: no repetition, whatever happens.

    From Dintero/Dintero.Python.SDK, dintero/checkout.py, 0.0.9, which knows no claims: this is how it posts.
    It sets no timeout either, and takes nothing but 200 for a success; neither is held against it here.
    """

    name = "no retry (dintero 0.0.9)"

    async def send(self, body: bytes) -> httpx.Response:
        """Post once."""
        return await self.post(body)


class OpenAI(Adapter):
    """Repeats twice: on any exception of the transport, and on 408, 409, 429 and all from 500.

    Waits 0.5 s, doubled each time up to 8 s, less up to a quarter by chance; or for Retry-After, up to 120 s,
    and gives up where that asks for more. Obeys `x-should-retry`. Sends no idempotency key by default, and
    follows redirects. From openai/openai-python, src/openai/_base_client.py and _constants.py, 3.3.1.
    """

    name = "openai-python 3.3.1"
    follows_redirects = True

    async def send(self, body: bytes) -> httpx.Response:
        """Post up to three times."""
        for attempt in range(3):
            wait: float | None = None
            try:
                response = await self.post(body)
            except Exception:
                if attempt == 2:
                    raise
            else:
                wait = self._retry_after(response)
                if attempt == 2 or response.is_success or not self._again(response, wait):
                    return response
            if wait is None or not 0 < wait <= 120:
                wait = min(0.5 * 2**attempt, 8.0) * (1 - 0.25 * random.random())
            await pause(wait)
        raise AssertionError

    def _again(self, response: httpx.Response, wait: float | None) -> bool:
        if wait is not None and math.isfinite(wait) and wait > 120:
            return False
        if (said := response.headers.get("x-should-retry")) in ("true", "false"):
            return bool(said == "true")
        return response.status_code in (408, 409, 429) or response.status_code >= 500

    def _retry_after(self, response: httpx.Response) -> float | None:
        given = response.headers.get("retry-after")
        with contextlib.suppress(TypeError, ValueError):
            return float(given)
        date = email.utils.parsedate_tz(given) if given else None
        return None if date is None else email.utils.mktime_tz(date) - time.time()


class Stripe(Adapter):
    """Repeats twice: on any exception of the transport, on 409 and on all from 500.

    Waits 0.5 s, doubled each time up to 5 s, times a half to one by chance, and never less than 0.5 s. Obeys
    `stripe-should-retry`, and no Retry-After. Each attempt has the same idempotency key; here that is the
    `ref`. The rows without one show what the policy does where the API has no key, which Stripe's always has.
    From stripe/stripe-python, stripe/_http_client.py, 15.3.1.
    """

    name = "stripe-python 15.3.1"

    async def send(self, body: bytes) -> httpx.Response:
        """Post up to three times."""
        for attempt in range(3):
            try:
                response = await self.post(body)
            except Exception:
                if attempt == 2:
                    raise
            else:
                said = response.headers.get("stripe-should-retry")
                again = response.status_code == 409 or response.status_code >= 500
                if said in ("true", "false"):
                    again = said == "true"
                if attempt == 2 or not again:
                    return response
            wait = min(0.5 * 2**attempt, 5.0) * 0.5 * (1 + random.random())
            await pause(max(0.5, wait))
        raise AssertionError


class _Repeating(httpx.AsyncBaseTransport):
    """See `HttpxRetries`, whose policy is below the client: it sees the head of an answer, and no body."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(11):
            given = ""
            try:
                response = await self._inner.handle_async_request(request)
            except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError):
                if attempt == 10:
                    raise
            else:
                if attempt == 10 or response.status_code not in (429, 502, 503, 504):
                    return response
                given = response.headers.get("retry-after", "").strip()
                await response.aclose()
            await pause(min(self._seconds(given), 120.0))
        raise AssertionError

    def _seconds(self, given: str) -> float:
        if given.isascii() and given.isdigit():
            return float(given)
        try:
            date = email.utils.parsedate_to_datetime(given)
        except (TypeError, ValueError):
            return 0.0
        return max(0.0, date.timestamp() - time.time())


class HttpxRetries(Adapter):
    """Repeats ten times: on timeouts, network and protocol errors before the body, and on 429, 502, 503, 504.

    Waits not at all, as its backoff factor is 0, but for Retry-After, up to 120 s. Does not repeat POST by
    default; whoever uses it for claims has to allow that, as here. From will-ockmore/httpx-retries,
    httpx_retries/retry.py and transport.py, 0.6.0.
    """

    name = "httpx-retries 0.6.0, POST allowed"

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return the transport that repeats."""
        return _Repeating()

    async def send(self, body: bytes) -> httpx.Response:
        """Post once; the transport repeats."""
        return await self.post(body)


class AzureCore(Adapter):
    """Repeats a POST on 500, 503 and 504, and on any status from 400 that has a Retry-After; on no exception.

    Its total is 10, but 3 for statuses. Waits not at all before the first repetition, then 0.8 s times 2 to
    the power of the repetitions so far, up to 120 s; for Retry-After as long as that says, which may be for
    ever, and one that it cannot read ends the call. It also follows some redirects; here they lead to an
    error, as without. From Azure/azure-sdk-for-python, azure/core/pipeline/policies/_retry.py and _utils.py,
    as they are in azure-core 1.41.0.
    """

    name = "azure-core 1.41.0"

    async def send(self, body: bytes) -> httpx.Response:
        """Post up to four times."""
        for attempt in range(4):
            response = await self.post(body)
            given = response.headers.get("retry-after")
            again = response.status_code in (500, 503, 504) or (given and response.status_code >= 400)
            if attempt == 3 or not again:
                return response
            wait = self._seconds(given) if given else 0.0
            if not wait and attempt:
                wait = min(0.8 * 2**attempt, 120.0)
            await pause(wait)
        raise AssertionError

    def _seconds(self, given: str) -> float:
        try:
            seconds = float(given)
        except ValueError:
            date = email.utils.parsedate_tz(given)
            if date is None:
                raise
            seconds = email.utils.mktime_tz(date) - time.time()
        # The order makes 0 of what is no number.
        return max(0.0, seconds)


Claim = Callable[[Row], Awaitable[Told]]
Opener = Callable[[FaultServer], AbstractAsyncContextManager[tuple[Claim, Claim | None]]]
"""Opens a client of a server: what makes a claim, and what asks again for one that is unknown."""


def opener(adapter: type[Adapter]) -> Opener:
    """Return what opens one of the other clients, with a token that it was given before."""

    @contextlib.asynccontextmanager
    async def opened(server: FaultServer) -> AsyncIterator[tuple[Claim, Claim | None]]:
        origin = f"http://localhost:{server.port}"
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(origin + TOKEN, json={})
        client = adapter(origin + CLAIMS, answer.raise_for_status().json()["access_token"])
        async with client.http:
            yield client.claim, None

    return opened


@contextlib.asynccontextmanager
async def this_library(server: FaultServer) -> AsyncIterator[tuple[Claim, Claim | None]]:
    """Open this library's client, with its own defaults but for the scale."""
    usual = RetryPolicy()
    async with ClaimsClient(
        account_id="T12345678",
        client_id="client-1",
        client_secret="secret-1",  # noqa: S106 - the server takes any
        base_url=server.base_url,
        generate_refs=False,
        retry=RetryPolicy(
            attempt_timeout=ATTEMPT_TIMEOUT,
            base_delay=usual.base_delay * SCALE,
            max_delay=usual.max_delay * SCALE,
        ),
    ) as client:

        async def claim(row: Row, *, if_exists: Literal["raise", "return"] = "raise") -> Told:
            try:
                taken = await client.claim(row.request(), if_exists=if_exists)
            except OutcomeUnknownError as error:
                return Told(Word.UNKNOWN, error=str(error))
            except ClaimsError as error:
                return Told(Word.FAILED, error=f"{type(error).__name__}: {error}")
            return Told(Word.TAKEN, taken.id)

        async def again(row: Row) -> Told:
            return await claim(row, if_exists="return")

        yield claim, again


THIS = "this library"

CLIENTS: dict[str, Opener] = {
    **{adapter.name: opener(adapter) for adapter in (NoRetry, OpenAI, Stripe, HttpxRetries, AzureCore)},
    THIS: this_library,
}

WRONG = ("doubled", "lost", "falsely failed", "misattributed")
COLUMNS = ("claims", "claimed", *WRONG, "unknown", "still unknown", "requests", "look-ups")


def judge(row: Row, told: Told, server: FaultServer, row_of: dict[str, str]) -> set[str]:
    """Say in which columns a row counts; `row_of` has the customer of each id in the ledger."""
    live = [claim["id"] for claim in server.ledger.by_customer[row.customer_id] if not claim["deleted_at"]]
    given = told.claim_id
    # What is no text can be nobody's id.
    owner = row_of.get(given) if isinstance(given, str) else None
    stray = told.word is Word.TAKEN and given is not None and given not in live and bool(live or owner)
    found = {
        "doubled": len(live) > 1,
        "lost": not live and told.word in (Word.TAKEN, Word.NOTHING),
        "falsely failed": bool(live) and told.word is Word.FAILED,
        "misattributed": stray,
        "still unknown": told.word is Word.UNKNOWN,
        "claimed": len(live) == 1 and told.word is Word.TAKEN and not stray,
    }
    return {name for name, is_so in found.items() if is_so}


def faults_of(plan: Seeded, row: Row, attempts: int) -> str:
    """Write down what struck the attempts of a row."""
    made = (
        Request("claim", n, 0, used=False, ref=row.ref, customer_id=row.customer_id)
        for n in range(1, attempts + 1)
    )
    return ", ".join(str(plan.for_request(request) or "none") for request in made)


async def all_at_once(claim: Claim, rows: list[Row]) -> list[Told]:
    """Make the claims, so many at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> Told:
        async with places:
            return await claim(row)

    return await asyncio.gather(*(one(row) for row in rows))


async def measure(
    open_client: Opener, plan: Seeded, *, claims: int, with_ref: bool
) -> tuple[Counter[str], list[str]]:
    """Run one client through the faults of one seed; return the counts, and a line for each wrong row."""
    rows = [Row(f"customer-{n}", f"order-{n}" if with_ref else None) for n in range(claims)]
    counts: Counter[str] = Counter(claims=claims)
    lines: list[str] = []
    async with FaultServer() as server, open_client(server) as (claim, again):
        server.plan = plan
        told = await all_at_once(claim, rows)
        counts["requests"], counts["look-ups"] = server.claim_requests, server.list_requests
        seen = Counter(server.refs_seen) + Counter(server.customers_seen)
        unknown = [n for n, word in enumerate(told) if word.word is Word.UNKNOWN]
        counts["unknown"] = len(unknown)
        if again is not None and with_ref:
            server.plan = Queues()
            for n, word in zip(unknown, await all_at_once(again, [rows[n] for n in unknown]), strict=True):
                told[n] = word
        row_of = {claim["id"]: claim["customer_id"] for claim in server.ledger.claims}
        for row, word in zip(rows, told, strict=True):
            columns = judge(row, word, server, row_of)
            counts.update(columns)
            if wrong := columns & set(WRONG):
                faults = faults_of(plan, row, seen[row.ref or row.customer_id])
                lines.append(
                    f"{', '.join(sorted(wrong))}: seed {plan.seed}, {row}, told {word}; faults: {faults}"
                )
    return counts, lines


def cells(name: str, *, with_ref: bool, counts: Counter[str]) -> list[str]:
    """Return a line of the table."""
    values = {column: f"{counts[column]:,}" for column in COLUMNS}
    for column in ("requests", "look-ups"):
        values[column] = f"{counts[column] / counts['claims']:.2f}"
    if name != THIS:
        values["unknown"] = values["still unknown"] = values["look-ups"] = "-"
    return [name, "yes" if with_ref else "no", *values.values()]


def print_row(values: list[str]) -> None:
    """Print a line of Markdown."""
    print(f"| {' | '.join(values)} |", flush=True)


LEGEND = """
- claimed: the ledger has the row once, and the caller was told so, without the id of another claim.
- doubled: the ledger holds more than one live claim for the row.
- lost: the caller was told that it succeeded, or was told nothing at all, and the ledger has none.
- falsely failed: the caller was told that it failed, and the ledger has it.
- misattributed: the caller was given an id that is not the row's though the ledger has one, or another's.
- unknown: the caller was told that the outcome is unknown, which only this library does.
- still unknown: the same after asking again, without faults, for those that have a ref.
- requests, look-ups: requests for claims, and reads of the list, for each claim, without asking again.
"""


async def main() -> int:
    """Run all clients; return 1 if this library was wrong about a claim."""
    parser = argparse.ArgumentParser(description="Count what becomes of claims under faults.")
    parser.add_argument("--claims", type=int, default=1000, help="for each client and seed; 2,000 at most")
    parser.add_argument("--seeds", type=int, default=2, help="how many; the first is 1")
    parser.add_argument("--rate", type=float, default=0.3, help="the share of attempts that is struck")
    parser.add_argument("--only", default="", help="only the clients with this in their names")
    parser.add_argument("--verbose", action="store_true", help="list the wrong rows of all clients")
    args = parser.parse_args()
    if not 1 <= args.claims <= 2000 or args.seeds < 1 or not 0 <= args.rate <= 1:
        # This library looks through the newest 2,000 claims, and each client and seed has a list of its own.
        parser.error("claims: 1 to 2,000; seeds: 1 or more; rate: 0 to 1")
    rates = {"token": 0.0, "connection": CONNECTION_RATE if args.rate else 0.0}
    wrong: list[str] = []
    started = time.monotonic()
    print_row(["client", "ref", *COLUMNS])
    print_row(["---", "---", *["---:"] * len(COLUMNS)])
    for with_ref in (True, False):
        for name, open_client in CLIENTS.items():
            if args.only not in name:
                continue
            total: Counter[str] = Counter()
            for seed in range(1, args.seeds + 1):
                plan = Seeded(seed, args.rate, rates=rates, slow=0.0, heavy=0.0)
                counts, lines = await measure(open_client, plan, claims=args.claims, with_ref=with_ref)
                total.update(counts)
                wrong += [f"{name}: {line}" for line in lines if args.verbose or name == THIS]
            print_row(cells(name, with_ref=with_ref, counts=total))
    print(LEGEND)
    seeds = "seed 1" if args.seeds == 1 else f"seeds 1 to {args.seeds}"
    took = time.monotonic() - started
    print(f"{args.claims:,} claims for each client and seed, {seeds}, rate {args.rate}; {took:.0f} seconds")
    for line in wrong:
        print(line, file=sys.stderr)
    return int(any(line.startswith(THIS) for line in wrong))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
