"""Turns that keep a rate, with a clock that the tests move."""

import asyncio

import pytest

from dintero_claims_client._rate import RateLimit


class World:
    """A clock, and a sleep that moves it, late by so much."""

    def __init__(self, late=0.0):
        self.now = 100.0
        self.late = late

    async def sleep(self, seconds):
        self.now += seconds + self.late
        await asyncio.sleep(0)

    async def turns(self, rate, count):
        limit = RateLimit(rate, clock=lambda: self.now, sleep=self.sleep)
        given = []
        for _ in range(count):
            await limit.wait()
            given.append(self.now)
        return given


def _most_in_a_second(turns):
    return max(sum(1 for other in turns if 0 <= other - turn < 1.0) for turn in turns)


@pytest.mark.parametrize("rate", [0.5, 1.0, 7.0, 100.0, 1000.0, 5000.0])
@pytest.mark.parametrize("late", [0.0, 0.001, 0.02])
async def test_no_second_has_more(rate, late):
    """However late the timers are, no second has more turns than the rate."""
    turns = await World(late).turns(rate, int(rate * 2) + 3)
    assert _most_in_a_second(turns) <= max(1, rate)


@pytest.mark.parametrize("rate", [10.0, 1000.0, 5000.0])
async def test_timers_of_a_millisecond_do_not_slow_it_down(rate):
    """With timers that are a millisecond late the rate is still reached, within two percent."""
    turns = await World(0.001).turns(rate, int(rate * 3))
    assert (turns[-1] - turns[0]) <= 3.0 * 1.02


async def test_time_that_nobody_used_is_gone():
    """After a pause there is no burst of what could have been sent in it."""
    world = World()
    limit = RateLimit(10.0, clock=lambda: world.now, sleep=world.sleep)
    await limit.wait()
    world.now += 60.0
    turns = []
    for _ in range(5):
        await limit.wait()
        turns.append(world.now)
    assert turns[1] - turns[0] > 0.09


async def test_who_is_admitted_gets_a_turn_within_a_second():
    """No more are admitted than get their turns in a second, until one has had its turn."""
    world = World()
    limit = RateLimit(2.5, clock=lambda: world.now, sleep=world.sleep)
    for _ in range(3):
        await limit.admit()
    waiting = asyncio.create_task(limit.admit())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    limit.dismiss()
    await waiting
