"""The bucket of repetitions that all calls of a client share."""

import asyncio
import random

import pytest

from dintero_claims_client._quota import CAPACITY, RetryQuota


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def _empty(clock=None):
    quota = RetryQuota(clock=clock or Clock())
    while quota.try_take():
        pass
    return quota


def _soon(seconds=60.0):
    return asyncio.get_running_loop().time() + seconds


def test_500_repetitions_without_a_success():
    """The quota is used up after 500 repetitions."""
    quota = RetryQuota(clock=Clock())
    assert quota.left == CAPACITY
    assert sum(quota.try_take() for _ in range(600)) == 500
    assert quota.left == 0


def test_success_gives_back():
    """A success gives back a half, and its cost too where it was a repetition; never more than it holds."""
    quota = _empty()
    quota.succeed(repeated=False)
    assert not quota.try_take()
    quota.succeed(repeated=False)
    assert quota.left == 1.0
    quota.succeed(repeated=True)
    assert quota.left == 2.5
    for _ in range(1000):
        quota.succeed(repeated=True)
    assert quota.left == CAPACITY


def test_time_gives_one_a_second():
    """With no success at all one repetition a second is given back."""
    clock = Clock()
    quota = _empty(clock)
    assert quota.seconds_to_next == 1.0
    clock.now += 0.25
    assert quota.seconds_to_next == 0.75
    clock.now += 0.75
    assert (quota.seconds_to_next, quota.try_take(), quota.try_take()) == (0.0, True, False)


@pytest.mark.parametrize("seed", range(5))
def test_at_30_percent_faults_nobody_is_denied(seed):
    """With 30 % of all requests failing at random, 100,000 calls never find the quota used up."""
    quota, chance = RetryQuota(clock=Clock()), random.Random(seed)
    for _ in range(100_000):
        repeated = False
        while chance.random() < 0.3:
            assert quota.try_take()
            repeated = True
        quota.succeed(repeated=repeated)


async def test_who_waits_gets_what_success_gives_back():
    """Those that wait are served in their order, as soon as somebody succeeds."""
    quota = _empty()
    order = []

    async def wait(n):
        assert await quota.take(deadline=_soon())
        order.append(n)

    tasks = [asyncio.create_task(wait(n)) for n in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    quota.succeed(repeated=True)
    quota.succeed(repeated=True)
    assert not quota.try_take()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 3]
    assert quota.left == 0


async def test_after_an_outage_the_first_success_lets_the_next_ones_go():
    """5,000 that wait, and nobody else: each success lets more than one follow, so all are served soon."""
    quota = _empty(asyncio.get_running_loop().time)

    async def call():
        nonlocal served
        assert await quota.take(deadline=_soon())
        served += 1
        quota.succeed(repeated=True)

    served = 0
    tasks = [asyncio.create_task(call()) for _ in range(5000)]
    await asyncio.gather(*tasks)
    assert served == 5000


async def test_who_waits_in_vain():
    """Waiting ends at the deadline, and costs nobody anything."""
    quota = _empty()
    assert not await quota.take(deadline=_soon(0))
    quota.succeed(repeated=True)
    assert quota.try_take()


async def test_a_repetition_given_to_a_caller_that_is_cancelled_just_then():
    """What was given to a caller that was cancelled before it could run goes to the next."""
    quota = _empty()
    gone = asyncio.create_task(quota.take(deadline=_soon()))
    heir = asyncio.create_task(quota.take(deadline=_soon()))
    await asyncio.sleep(0)
    quota.succeed(repeated=False)
    quota.succeed(repeated=False)
    gone.cancel()
    assert await heir
    assert gone.cancelled()


async def test_time_alone_serves_those_that_wait():
    """Who waits gets a repetition by time alone, with nobody else about."""
    loop = asyncio.get_running_loop()
    quota = _empty(lambda: loop.time() * 100)
    assert await quota.take(deadline=1e12)
    assert await quota.take(deadline=1e12)


async def test_closing_sends_all_away():
    """Who waits when the quota is closed, or comes later, gets none."""
    quota = _empty()
    waiting = asyncio.create_task(quota.take(deadline=_soon()))
    await asyncio.sleep(0)
    quota.close()
    assert not await waiting
    assert not await quota.take(deadline=_soon())


async def test_a_success_serves_those_that_wait_at_once():
    """What a success gives back goes to those that wait before anything else happens."""
    quota = _empty()
    waiting = [asyncio.create_task(quota.take(deadline=_soon())) for _ in range(2)]
    await asyncio.sleep(0)
    quota.succeed(repeated=True)
    assert quota.left == 0.5
    quota.succeed(repeated=False)
    assert quota.left == 0.0
    assert await asyncio.gather(*waiting) == [True, True]


async def test_nobody_overtakes_those_that_wait():
    """What time has given is for those that wait, and not for who comes just then."""
    clock = Clock()
    quota = _empty(clock)
    waiting = asyncio.create_task(quota.take(deadline=_soon()))
    await asyncio.sleep(0)
    clock.now += 1.0
    assert not quota.try_take()
    quota.succeed(repeated=False)
    assert await waiting
