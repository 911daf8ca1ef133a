"""A sale at the point of sale: many shoppers at once, an API with faults, and browsers that go away."""

from __future__ import annotations

import asyncio
import random

from dintero_claims_client.sandbox import FaultPlan

SEED = 3
REQUESTS = 300
LEAVE = 60
"""How many of them are of browsers that go away."""
CLICK_TWICE = 30
"""How many of them are a second click."""

SLACK = 7.0
"""Seconds that an answer may take above the app's deadline: this machine is browsers, app and API at once."""


async def test_a_sale(make_shop, served_fastapi):
    """Of 300 checkouts at once, with 10 % faults and 20 % disconnects, no order is claimed twice.

    Each answer comes within its deadline, and what it says of its order is what the ledger says. What was
    taken without anybody being told is found again, by another process too.
    """
    shop = await make_shop(served_fastapi, FaultPlan(rate=0.1, seed=SEED))
    chance = random.Random(SEED)
    numbers = [f"order-{index}" for index in range(REQUESTS - CLICK_TWICE)]
    clicks = numbers + chance.sample(numbers, CLICK_TWICE)
    chance.shuffle(clicks)
    leaving, staying = clicks[:LEAVE], clicks[LEAVE:]

    async def leave(number: str, share: float, patience: float) -> None:
        browser = await shop.begin_check_out(number, share=share)
        # Not to wait for anything: browsers go away at any moment of what happens meanwhile.
        await asyncio.sleep(patience)
        browser.transport.abort()

    # Some in the middle of their request.
    shares = chance.choices([0.5, 1.0], [1, 5], k=LEAVE)
    patience = [chance.uniform(0.0, 1.5) for _ in leaving]
    answers, _ = await asyncio.gather(
        asyncio.gather(*map(shop.check_out, staying)), asyncio.gather(*map(leave, leaving, shares, patience))
    )

    assert len(answers) == REQUESTS - LEAVE
    assert {answer.status for answer in answers} <= {200, 202, 503}
    assert max(answer.seconds for answer in answers) <= shop.module.DEADLINE + SLACK
    # Ends what those who left have begun, and everything that the app may remember.
    await shop.stop()
    ledger = shop.sandbox.ledger
    claims = ledger.claims_by_ref()
    assert ledger.doubled == 0
    assert set(shop.taken.values()) == {1}
    for number, answer in zip(staying, answers, strict=True):
        if answer.status == 200:
            assert answer.body["claim"] == claims[number][0].id
        else:
            assert answer.body["order"] == number
            assert int(answer.headers["Retry-After"]) >= 1
    # Otherwise nothing of this was shown.
    assert ledger.faults.total() > 10
    assert sum(answer.status == 200 for answer in answers) > REQUESTS / 10

    shop.sandbox.faults.plan = FaultPlan()
    await shop.start()
    for number in numbers:
        found = await shop.find(number)
        assert found.status == (200 if number in claims else 404)
        assert number not in claims or found.body["claim"] == claims[number][0].id
    for number in set(numbers) - set(claims):
        assert (await shop.check_out(number)).status == 200
    assert shop.taken == dict.fromkeys(numbers, 1)
