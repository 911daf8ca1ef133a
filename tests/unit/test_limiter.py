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


class Frozen:
    """A clock that only a test moves; deadlines are readings of the event loop's, which is ahead of it."""

    def __init__(self):
        self.now = asyncio.get_running_loop().time() - 1.0

    def __call__(self):
        return self.now


async def _narrowed(clock, *, size, under_way):
    """Return a limiter that was pushed back with so many under way, whose pause is over."""
    limiter = Limiter(size, clock=clock)
    places = [await limiter.acquire(deadline=_soon()) for _ in range(under_way)]
    limiter.push_back(places[0], seconds=0.5)
    for place in places:
        limiter.release(place, answered=False)
    clock.now += 0.5
    return limiter


async def _take_all(limiter):
    """Take all places that there are."""
    places = []
    while isinstance(place := await limiter.acquire(deadline=_soon(0)), Place):
        places.append(place)
    return places


async def test_each_round_of_answers_opens_more():
    """After a pause the places double with each round that is answered, up to most of those before."""
    limiter = await _narrowed(Frozen(), size=100, under_way=16)
    seen = []
    for _ in range(5):
        places = await _take_all(limiter)
        seen.append(len(places))
        for place in places:
            limiter.release(place, answered=True)
    assert seen == [1, 2, 4, 8, 13]


async def test_what_is_not_answered_opens_nothing():
    """Requests that fail after a push-back say nothing about what the server can bear."""
    limiter = await _narrowed(Frozen(), size=100, under_way=16)
    for _ in range(5):
        places = await _take_all(limiter)
        assert len(places) == 1
        limiter.release(places[0], answered=False)


async def test_who_waits_for_a_window_to_reopen_is_not_overtaken():
    """A place that time alone has opened is for who waits, before who comes just then."""
    clock = Frozen()
    limiter = await _narrowed(clock, size=10, under_way=1)
    await limiter.acquire(deadline=_soon())
    early = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    clock.now += 1.0
    late = asyncio.create_task(limiter.acquire(deadline=_soon()))
    assert isinstance(await early, Place)
    assert not late.done()
    late.cancel()


async def test_a_window_is_looked_at_ten_times_a_second():
    """Waiting for a window to reopen costs no turns of the event loop."""
    limiter = await _narrowed(Frozen(), size=10, under_way=1)
    await limiter.acquire(deadline=_soon())
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    assert limiter._timer.when() >= began + 0.1
    waiting.cancel()


async def test_who_can_wait_out_a_pause_is_not_sent_away_by_it():
    """A push-back ends the waiting of those whose deadline comes before its end, and of nobody else."""
    limiter = _limiter(1)
    place = await limiter.acquire(deadline=_soon())
    waiting = asyncio.create_task(limiter.acquire(deadline=_soon()))
    await asyncio.sleep(0)
    limiter.push_back(place, seconds=0.02)
    limiter.release(place, answered=False)
    assert isinstance(await waiting, Place)


async def test_a_free_place_is_not_taken_in_a_pause_beyond_the_deadline():
    """A request that settles nothing is not sent in the pause, although there is a place for it."""
    limiter = _limiter(2)
    limiter.push_back(await limiter.acquire(deadline=_soon()), seconds=3600)
    assert isinstance(await limiter.acquire(deadline=_soon(30)), NoPlace)


async def test_settling_does_not_wait_behind_those_that_wait_out_a_pause():
    """A read that settles a claim and cannot outlast the pause goes before those that can."""
    limiter = _limiter(2)
    limiter.push_back(await limiter.acquire(deadline=_soon()), seconds=3600)
    waiting = asyncio.create_task(limiter.acquire(deadline=_soon(7200)))
    await asyncio.sleep(0)
    assert isinstance(await limiter.acquire(deadline=_soon(1), settling=True), Place)
    assert not waiting.done()
    waiting.cancel()


async def test_closing_sends_settling_away_too():
    """A read that settles a claim, and that a pause spares, does not outlive the limiter."""
    limiter = _limiter(1)
    await limiter.acquire(deadline=_soon())
    settling = asyncio.create_task(limiter.acquire(deadline=_soon(600), settling=True))
    await asyncio.sleep(0)
    limiter.close()
    async with asyncio.timeout(20):
        assert await settling == NoPlace("the client is closed", final=True)
