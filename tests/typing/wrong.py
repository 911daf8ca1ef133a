"""Mistakes that every checker must find, each on a line that says so, and no others. Never run."""

from __future__ import annotations

from typing import assert_never

from dintero_claims_client import (
    Claimed,
    ClaimRequest,
    ClaimsClient,
    ClientHealth,
    Journal,
    Outcome,
    Rejected,
    RetryPolicy,
)
from dintero_claims_client.events import CallEnded, Ending, Event


async def watch(event: Event) -> None: ...


def settings() -> None:
    ClaimsClient(account_id="T12345678", client_id="id")  # error: the secret is missing
    ClaimsClient("T12345678", "id", "secret")  # error: arguments have names
    ClaimsClient(account_id="T12345678", client_id="id", client_secret=b"secret")  # error: bytes
    ClaimsClient.from_env(timeout="5")  # error: text
    ClaimsClient.from_env(time_out=5)  # error: no such setting
    ClaimsClient.from_env(on_event=lambda: None)  # error: takes no event
    ClaimsClient.from_env(on_event=watch)  # error: nobody awaits it
    RetryPolicy(max_attempts="3")  # error: text


async def calls(client: ClaimsClient, request: ClaimRequest, journal: Journal) -> None:
    await client.claim({"ref": "order-1"})  # error: a dict
    await client.claim(request, if_exists="ignore")  # error: no such way
    await client.find_claim("order-1")  # error: the ref has a name
    (await client.find_claim(ref="order-1")).id  # error: may be None
    client.claim(request).id  # error: not awaited
    client.claim_many(request)  # error: one, and not many
    for _ in client.claim_many([request]):  # error: async for
        pass
    client.resume("claims.journal")  # error: a path
    client.drain()  # error: until when
    client.health().ok = False  # error: frozen


def outcomes(outcome: Outcome) -> None:
    outcome.claim  # error: only what was claimed has one
    match outcome:
        case Claimed():
            outcome.error  # error: what was claimed has none
        case Rejected():
            pass
        case _:
            assert_never(outcome)  # error: Unknown is left


def events(event: Event, health: ClientHealth) -> None:
    event.status  # error: not all have one
    health.problems.append("mine")  # error: a tuple
    ending: Ending = "done"  # error: no such ending
    CallEnded(operation="claim", ending=ending)  # error: no such operation, and more is missing
