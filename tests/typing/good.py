"""Calls as users make them. Never run: each checker must take all of it, and see the asserted types."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import assert_never, assert_type

import httpx

from dintero_claims_client import (
    UNSET,
    APIStatusError,
    Claim,
    ClaimDiscount,
    ClaimDiscountRef,
    Claimed,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    ClientHealth,
    ClientStats,
    InvalidClaimError,
    Journal,
    Outcome,
    OutcomeUnknownError,
    Rejected,
    RetryPolicy,
    Unknown,
    Unset,
    claim_request_from_json,
)
from dintero_claims_client.events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    Ending,
    Event,
    Paused,
    Refreshed,
    Retried,
)


async def secret() -> str:
    return "secret"


def watch(event: Event) -> None:
    match event:
        case AttemptSent():
            assert_type(event.ref, str | None)
        case AttemptEnded():
            assert_type(event.status, int | None)
        case Retried():
            assert_type(event.delay, float)
        case Refreshed():
            assert_type(event.reason, str | None)
        case Paused():
            assert_type(event.seconds, float)
        case CallEnded():
            assert_type(event.ending, Ending)
        case _:
            assert_never(event)


def clients() -> list[ClaimsClient]:
    return [
        ClaimsClient(account_id="T12345678", client_id="id", client_secret="secret"),
        ClaimsClient(
            account_id="T12345678",
            client_id="id",
            client_secret=lambda: "secret",
            retry=RetryPolicy(max_attempts=3),
            timeout=5,
            ssl_context=ssl.create_default_context(),
            on_event=watch,
        ),
        ClaimsClient(account_id="T12345678", client_id="id", client_secret=secret, on_event=print),
        ClaimsClient(
            account_id="T12345678", client_id="id", client_secret="s", http_client=httpx.AsyncClient()
        ),
        ClaimsClient.from_env(on_event=list[Event]().append),
        ClaimsClient.from_env(on_event=asyncio.Queue[Event]().put_nowait),
        ClaimsClient.from_env(on_event=lambda event: watch(event)),
        ClaimsClient.from_env(),
        ClaimsClient.from_env(timeout=5.0, max_connections=20, on_event=watch, client_secret=secret),
    ]


def request() -> ClaimRequest:
    assert_type(claim_request_from_json({}), ClaimRequest)
    return ClaimRequest(
        purchase_at=datetime.now(UTC),
        customer_id="customer-1",
        discounts=[ClaimDiscount(id="d", refs=[ClaimDiscountRef(id="item", amount=100, usage=1)])],
        ref="order-1",
    )


async def one(client: ClaimsClient) -> str | None:
    async with client as opened:
        assert_type(opened, ClaimsClient)
        claim = await opened.claim(request(), timeout=3, if_exists="return")
        assert_type(claim, Claim)
        assert_type(await opened.get_claim("id"), Claim)
        assert_type(await opened.find_claim(ref="order-1"), Claim | None)
        async for each in opened.list_claims(page_size=50):
            assert_type(each, Claim)
        assert_type(opened.stats(), ClientStats)
        assert_type(opened.health(), ClientHealth)
        assert_type(await opened.drain(10), bool)
    assert_type(UNSET, Unset)
    return None if isinstance(claim.ref, Unset) else claim.ref


async def errors(client: ClaimsClient) -> None:
    try:
        await client.claim(request())
    except InvalidClaimError as error:
        assert_type(error.field, str)
        assert_type(error.rule, str)
    except OutcomeUnknownError as error:
        assert_type(error.ref, str | None)
        assert_type(error.taken, bool | None)
    except APIStatusError as error:
        assert_type(error.status, int)
        assert_type(error.retry_after, float | None)
    except ClaimsError as error:
        assert_type(error.ref, str | None)


async def requests() -> AsyncIterator[ClaimRequest]:
    yield request()


async def batches(client: ClaimsClient) -> None:
    async with Journal.open("claims.journal") as journal:
        assert_type(journal, Journal)
        async for outcome in client.claim_many(requests(), concurrency=200, rate=50.0, journal=journal):
            told(outcome)
        async for outcome in client.resume(journal):
            told(outcome)
    async for outcome in client.claim_many([request()], ordered=True):
        told(outcome)
    async with client.claim_many(request() for _ in range(10)) as batch:
        told(await anext(batch))
        batch.stop()


def told(outcome: Outcome) -> int:
    match outcome:
        case Claimed(claim=claim, recovered=recovered):
            assert_type(claim, Claim | None)
            assert_type(recovered, bool)
        case Rejected(error=error):
            assert_type(error, ClaimsError)
        case Unknown(error=error):
            assert_type(error, OutcomeUnknownError)
        case _:
            assert_never(outcome)
    return outcome.row
