"""Who may send now: places, their order, pauses, and what happens to who gives up."""

import asyncio
import math

import pytest

from dintero_claims_client._limiter import Limiter, NoPlace, Place


def _limiter(size):
    return Limiter(size, clock=asyncio.get_running_loop().time)


def _soon(seconds=60.0):
    return asyncio.get_running_loop().time() + seconds


async def test_the_limiter_is_first_come_first_served():
    """Places are given in the order in which they were asked for, and cancelled ones are passed over."""
    limiter = _limiter(1)
    held = await limiter.acquire(deadline=_soon(0))
    order = []

    async def wait(n):
        place = await limiter.acquire(deadline=_soon())
        order.append(n)
        limiter.release(place, answered=True)

    tasks = [asyncio.create_task(wait(n)) for n in range(5)]
    await asyncio.sleep(0)
    assert limiter.waiting == 5
    tasks[1].cancel()
    limiter.release(held, answered=True)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 3, 4]
    assert limiter.waiting == 0


async def test_nobody_overtakes_those_that_wait():
    """A place that has become free is not for who comes just then, but for who waits."""
    limiter = _limiter(1)
    held = await limiter.acquire(deadline=_soon())
    waiter = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    limiter.release(held, answered=True)
    late = asyncio.create_task(limiter.acquire(deadline=_soon()))
    first = await waiter
    assert not late.done()
    limiter.release(first, answered=True)
    assert isinstance(await late, Place)


async def test_the_limiter_gives_up_at_the_deadline():
    """A place that does not come in time is not had, and is not lost for the others."""
    limiter = _limiter(1)
    held = await limiter.acquire(deadline=_soon(0))
    assert await limiter.acquire(deadline=_soon(0)) == NoPlace("no connection became free in time")
    limiter.release(held, answered=True)
    assert isinstance(await limiter.acquire(deadline=_soon(0)), Place)


async def test_a_place_given_to_a_caller_that_is_cancelled_just_then():
    """A place is passed on when its new holder was cancelled before it could run."""
    limiter = _limiter(1)
    held = await limiter.acquire(deadline=_soon())
    gone = asyncio.create_task(limiter.acquire(deadline=_soon()))
    heir = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    limiter.release(held, answered=True)
    gone.cancel()
    assert isinstance(await heir, Place)
    assert gone.cancelled()


async def test_all_wait_out_a_pause():
    """After a push-back nobody gets a place before the pause is over, and then one at a time at first."""
    limiter = _limiter(10)
    place = await limiter.acquire(deadline=_soon())
    limiter.push_back(place, seconds=0.02)
    limiter.release(place, answered=False)
    began = asyncio.get_running_loop().time()
    others = [asyncio.create_task(limiter.acquire(deadline=_soon())) for _ in range(5)]
    done, pending = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    assert asyncio.get_running_loop().time() - began >= 0.02
    assert (len(done), len(pending)) == (1, 4)
    limiter.release(done.pop().result(), answered=True)
    await asyncio.gather(*others)


async def test_a_pause_beyond_the_deadline_is_not_waited_for():
    """Who cannot outlast the pause is told at once what the server wishes, also if it waits already."""
    limiter = _limiter(1)
    place = await limiter.acquire(deadline=_soon())
    waiting = asyncio.create_task(limiter.acquire(deadline=_soon(30)))
    await asyncio.sleep(0)
    limiter.push_back(place, seconds=3600)
    for none in (await waiting, await limiter.acquire(deadline=_soon(30))):
        assert isinstance(none, NoPlace)
        assert none.retry_after == pytest.approx(3600, abs=60)
        assert not none.final


async def test_settling_goes_in_spite_of_a_pause_that_leaves_no_time():
    """A read that settles a claim is let through a pause beyond its deadline, if there is a place."""
    limiter = _limiter(2)
    first = await limiter.acquire(deadline=_soon())
    limiter.push_back(first, seconds=3600)
    assert isinstance(await limiter.acquire(deadline=_soon(30), settling=True), Place)
    assert isinstance(await limiter.acquire(deadline=_soon(0), settling=True), NoPlace)


async def test_settling_that_had_to_queue_goes_during_the_pause():
    """A read that settles a claim is not sent away by a pause, and takes the next place that is free."""
    limiter = _limiter(1)
    place = await limiter.acquire(deadline=_soon())
    other = asyncio.create_task(limiter.acquire(deadline=_soon(30)))
    settling = asyncio.create_task(limiter.acquire(deadline=_soon(30), settling=True))
    await asyncio.sleep(0)
    limiter.push_back(place, seconds=3600)
    assert isinstance(await other, NoPlace)
    assert not settling.done()
    limiter.release(place, answered=False)
    assert isinstance(await settling, Place)


async def test_those_that_left_do_not_pile_up():
    """The queue forgets callers that were cancelled, also behind one that goes on waiting."""
    limiter = _limiter(1)
    await limiter.acquire(deadline=_soon())
    first = asyncio.create_task(limiter.acquire(deadline=_soon()))
    for _ in range(30):
        others = [asyncio.create_task(limiter.acquire(deadline=_soon())) for _ in range(100)]
        await asyncio.sleep(0)
        for other in others:
            other.cancel()
        await asyncio.wait(others)
    assert len(limiter._queue._waiters) < 1500
    first.cancel()


async def test_settling_waits_out_a_pause_that_leaves_time():
    """A read that settles a claim waits as all do where the pause ends before its deadline."""
    limiter = _limiter(2)
    place = await limiter.acquire(deadline=_soon())
    limiter.push_back(place, seconds=0.02)
    limiter.release(place, answered=False)
    began = asyncio.get_running_loop().time()
    assert isinstance(await limiter.acquire(deadline=_soon(), settling=True), Place)
    assert asyncio.get_running_loop().time() - began >= 0.02


async def test_a_window_that_nobody_answers_reopens_by_itself():
    """With the first request after a pause stalled for ever, the others go all the same."""
    limiter = _limiter(1000)
    place = await limiter.acquire(deadline=_soon())
    limiter.push_back(place, seconds=0.0)
    limiter.release(place, answered=False)
    await asyncio.gather(*(limiter.acquire(deadline=_soon()) for _ in range(5)))


async def test_closing_sends_all_away():
    """Who waits when the limiter is closed, or comes later, is told that it is final."""
    limiter = _limiter(1)
    await limiter.acquire(deadline=_soon())
    waiting = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    limiter.close()
    for none in (await waiting, await limiter.acquire(deadline=math.inf)):
        assert none == NoPlace("the client is closed", final=True)
