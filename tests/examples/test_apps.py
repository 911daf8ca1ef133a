"""What all example apps do alike, each served on a real socket against a sandbox on another."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from dintero_claims_client import ClaimsClient, OutcomeUnknownError, claim_request_from_json
from dintero_claims_client.events import CallEnded
from dintero_claims_client.sandbox import Fault, FaultPlan, Operation

PROMPT = 15.0
"""Seconds that an answer, or an end, may take on a slow machine; without the apps' deadline it is 30."""


def hold(shop, operation):
    """Let the sandbox be late with the next request of an operation, until the gate is opened."""
    shop.sandbox.faults.next(Fault.LATENCY, operation=operation)


async def test_one_client_claims_for_all_requests(shop):
    """Concurrent checkouts are all taken, by one client, which asks for one token."""
    numbers = [f"order-{index}" for index in range(20)]
    answers = await asyncio.gather(*map(shop.check_out, numbers))
    assert [answer.status for answer in answers] == [200] * 20
    assert [answer.body["order"] for answer in answers] == numbers
    assert shop.taken == dict.fromkeys(numbers, 1)
    assert len(shop.clients) == 1
    assert shop.sandbox.ledger.token_requests == 1


@pytest.mark.parametrize("answer_is_lost", [False, True])
async def test_a_double_click_is_one_claim(shop, answer_is_lost):
    """Clicks at once and later are one claim with one answer, also where the API's own answer got lost."""
    if answer_is_lost:
        shop.sandbox.drop_after_commit()
    at_once = await asyncio.gather(*(shop.check_out("order-1") for _ in range(3)))
    later, found = await shop.check_out("order-1"), await shop.find("order-1")
    (claim,) = shop.sandbox.ledger.claims
    for answer in (*at_once, later, found):
        assert answer.status == 200
        assert answer.body == {
            "order": "order-1",
            "status": "taken",
            "claim": claim.id,
            "taken_at": later.body["taken_at"],
        }


async def test_a_number_that_another_order_has(shop):
    """Another order under a number that has a claim is refused, and claims nothing."""
    assert (await shop.check_out("order-1")).status == 200
    other = await shop.check_out("order-1", customer_id="customer-2")
    assert (other.status, other.body) == (409, {"order": "order-1", "status": "conflict"})
    assert shop.taken == {"order-1": 1}


async def test_what_is_no_order(shop):
    """What is no order is the sender's fault, and nothing of it reaches the API."""
    wrong = [
        await shop.check_out("order-1", discounts=[]),
        await shop.check_out("order-1", purchase_at="2026-11-23T12:00:00"),
        await shop.check_out("order-1", number=None),
        await shop.check_out(""),
        await shop.ask("POST", "/checkout", json=["order-1"]),
        await shop.ask("POST", "/checkout", data=b"{", headers={"Content-Type": "application/json"}),
    ]
    assert {answer.status for answer in wrong} <= {400, 422}
    assert shop.sandbox.ledger.requests.total() == 0


async def test_an_order_without_a_claim(shop):
    """An order that was never checked out is not found, which is said with its number."""
    answer = await shop.find("order-1")
    assert (answer.status, answer.body) == (404, {"order": "order-1", "status": "not_found"})


async def test_a_claim_that_was_deleted(shop):
    """A claim that was deleted is told apart from one that holds, and is not made again."""
    taken = await shop.check_out("order-1")
    shop.sandbox.rules.delete_claim(taken.body["claim"])
    found, again = await shop.find("order-1"), await shop.check_out("order-1")
    assert (found.status, found.body["status"]) == (200, "deleted")
    assert (again.status, again.body["status"]) == (409, "deleted")
    assert shop.taken == {"order-1": 1}


@pytest.mark.parametrize("late", [Operation.TOKEN, Operation.CLAIM, Operation.LIST])
async def test_a_shopper_who_goes_away_while_it_is_claimed(shop, gate, late):
    """Who goes away leaves one claim at most, which is found again; checking out again gives that one."""
    hold(shop, late)
    if late is Operation.LIST:
        # So that the claim is looked up.
        shop.sandbox.drop_after_commit()
    browser = await shop.begin_check_out("order-1")
    await gate.arrived.wait()
    browser.close()
    await browser.wait_closed()
    if shop.served.cancels:
        await shop.told.until(lambda event: isinstance(event, CallEnded) and event.ending == "cancelled")
    else:
        # A whole request later, so that the app has seen who left.
        await shop.health()
        assert shop.client.stats().in_flight > 0
    gate.opened.set()
    if not shop.served.cancels:
        await shop.told.until(lambda event: isinstance(event, CallEnded) and event.ending == "taken")
    found = await shop.find("order-1")
    # Only who is cancelled before the claim is sent makes none.
    never_sent = shop.served.cancels and late is Operation.TOKEN
    assert found.status == (404 if never_sent else 200)
    again = await shop.check_out("order-1")
    assert again.status == 200
    assert never_sent or again.body == found.body
    assert shop.taken == {"order-1": 1}


async def test_a_shopper_who_goes_away_while_it_is_sent(shop):
    """Half a request claims nothing, and disturbs nobody."""
    browser = await shop.begin_check_out("order-1", share=0.8)
    # Another one in between, so that the app has begun to read it.
    assert (await shop.check_out("order-2")).status == 200
    browser.close()
    await browser.wait_closed()
    assert (await shop.check_out("order-3")).status == 200
    assert shop.taken == {"order-2": 1, "order-3": 1}


OUTAGES = {
    "unreachable": (FaultPlan(), 503),
    "out of order": (FaultPlan(rate=1, kinds={Fault.UNAVAILABLE: 1}), 202),
    "silent": (FaultPlan(rate=1, kinds={Fault.LATENCY: 1}), 202),
    "without tokens": (FaultPlan(token_rate=1, kinds={Fault.UNAVAILABLE: 1}), 503),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage(make_shop, served, gate, monkeypatch, outage):
    """In an outage a shopper has an answer in time, which is honest; after it the order is claimed once."""
    faults, status = OUTAGES[outage]
    shop = await make_shop(served, faults, sleep=gate)
    monkeypatch.setattr(shop.module, "DEADLINE", 0.5)
    if outage == "unreachable":
        await shop.close_api()
    answers = await asyncio.gather(shop.check_out("order-1"), shop.find("order-1"))
    assert [answer.status for answer in answers] == [status, 503]
    assert answers[0].body == {"order": "order-1", "status": "unknown" if status == 202 else "not_now"}
    for answer in answers:
        assert answer.seconds < PROMPT
        assert int(answer.headers["Retry-After"]) >= 1
    monkeypatch.setattr(shop.module, "DEADLINE", PROMPT)
    shop.sandbox.faults.plan = FaultPlan()
    gate.opened.set()
    if outage == "unreachable":
        await shop.open_api()
    again = await shop.check_out("order-1")
    assert (again.status, again.body["status"]) == (200, "taken")
    assert shop.taken == {"order-1": 1}


async def test_an_outage_after_a_click_whose_answer_was_lost(make_shop, served, monkeypatch):
    """A click that gets nowhere does not say of the order that it was not taken: the one before took it."""
    shop = await make_shop(served)
    monkeypatch.setattr(shop.module, "DEADLINE", 0.5)
    shop.sandbox.drop_after_commit()
    shop.sandbox.fail_next(503, operation=Operation.LIST, times=99)
    first = await shop.check_out("order-1")
    await shop.close_api()
    second = await shop.check_out("order-1")
    assert shop.taken == {"order-1": 1}
    assert (first.status, first.body["status"]) == (202, "unknown")
    assert (second.status, second.body["status"]) == (503, "not_now")


async def test_too_many_requests(make_shop, served):
    """When the API asks the shop to slow down, the shopper is told at once when to come back."""
    faults = FaultPlan(rate=1, kinds={Fault.TOO_MANY_REQUESTS: 1}, retry_after=40)
    shop = await make_shop(served, faults)
    answer = await shop.check_out("order-1")
    assert (answer.status, answer.body) == (503, {"order": "order-1", "status": "not_now"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 40
    assert shop.taken == {}


async def test_credentials_that_are_refused(shop, monkeypatch, caplog):
    """Where the shop's own credentials are refused, its owner is told, and health says so."""
    await shop.stop()
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "another")
    await shop.start()
    answer, health = await shop.check_out("order-1"), await shop.health()
    assert (answer.status, answer.body) == (500, {"order": "order-1", "status": "not_now"})
    assert "no discounts can be claimed" in caplog.text
    assert health.status == 503
    assert health.body["problems"] == ["the token endpoint answered 401"]


async def test_shutdown_while_an_order_is_checked_out(shop, gate):
    """Who is being served when the app is told to end gets the claim; then nobody is let in."""
    hold(shop, Operation.CLAIM)
    order = asyncio.create_task(shop.check_out("order-1"))
    await gate.arrived.wait()
    end = asyncio.create_task(shop.stop())
    await shop.ends.begun.wait()
    gate.opened.set()
    assert (await order).body["status"] == "taken"
    await end
    assert shop.client.health().state == "closed"
    async with aiohttp.ClientSession() as browser:
        with pytest.raises(aiohttp.ClientConnectorError):
            await browser.get(f"{shop.url}/health")


def claim_in_background(shop):
    """Claim with the app's client, as a task of the app that no request waits for."""
    claim = {
        "ref": "order-1",
        "customer_id": "customer-1",
        "purchase_at": "2026-11-23T12:00:00Z",
        "discounts": [{"id": "discount-1"}],
    }
    return asyncio.create_task(shop.client.claim(claim_request_from_json(claim)))


@pytest.fixture
def drained(monkeypatch):
    """Return an event that is set when a client begins to drain."""
    begun, drain = asyncio.Event(), ClaimsClient.drain

    async def watched(client, timeout):
        begun.set()
        return await drain(client, timeout)

    monkeypatch.setattr(ClaimsClient, "drain", watched)
    return begun


async def test_shutdown_waits_for_claims(shop, gate, drained):
    """A claim that no request waits for ends before the client is closed."""
    hold(shop, Operation.CLAIM)
    claim = claim_in_background(shop)
    await gate.arrived.wait()
    end = asyncio.create_task(shop.stop())
    async with asyncio.timeout(PROMPT):
        await drained.wait()
    gate.opened.set()
    assert (await claim).ref == "order-1"
    await end
    assert shop.client.health().state == "closed"


async def test_shutdown_does_not_wait_for_ever(shop, gate, drained, monkeypatch):
    """A claim without an answer holds up the shutdown for no longer than the app says."""
    monkeypatch.setattr(shop.module, "DRAIN", 0.1)
    hold(shop, Operation.CLAIM)
    claim = claim_in_background(shop)
    await gate.arrived.wait()
    async with asyncio.timeout(PROMPT):
        await shop.stop()
    assert drained.is_set()
    with pytest.raises(OutcomeUnknownError):
        await claim
    assert shop.client.health().state == "closed"
