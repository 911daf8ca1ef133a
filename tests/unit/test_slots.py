"""The places of a batch: how many, in which order, and that none is lost."""

import asyncio

import pytest

from dintero_claims_client._slots import Slots


class World:
    """Slots whose window the test sets."""

    def __init__(self, window=2, most=100):
        self.window = window
        self.slots = Slots(window=lambda: self.window, most=most)

    async def waiting(self, enter):
        """Return a task that waits to get in."""
        task = asyncio.create_task(enter())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


async def _let_run():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_and_then_in_their_order():
    """As many as the window is wide are let in, and the others in their order when one leaves."""
    world = World(2)
    first = await world.slots.enter()
    await world.slots.enter()
    third, fourth = [await world.waiting(world.slots.enter) for _ in range(2)]
    assert not third.done()
    first.leave()
    await _let_run()
    assert (third.done(), fourth.done(), world.slots.under_way) == (True, False, 2)
    fourth.cancel()


async def test_leaving_twice_counts_once():
    """A place is given back once, however often."""
    world = World(1)
    place = await world.slots.enter()
    place.leave()
    place.leave()
    assert world.slots.under_way == 0


async def test_what_is_held_holds_up_new_rows():
    """No new row is taken while too many are held, though none is under way."""
    world = World(5, most=2)
    for _ in range(2):
        assert await world.slots.hold()
        (await world.slots.enter()).leave()
    third = await world.waiting(world.slots.hold)
    assert not third.done()
    world.slots.let_go()
    await _let_run()
    assert third.done()


async def test_rows_in_hand_go_first():
    """A row that is to be claimed again goes before those that were not begun, also when all wait."""
    world = World(1)
    place = await world.slots.enter()
    new = await world.waiting(world.slots.enter)
    place.leave()
    await _let_run()
    other = new.result()
    newer = await world.waiting(world.slots.enter)
    again = await world.waiting(place.enter_again)
    other.leave()
    await _let_run()
    assert (again.done(), newer.done()) == (True, False)
    newer.cancel()


async def test_a_pause_holds_all_and_ends_by_itself():
    """During a pause nobody gets in; when it is over they do, without anybody leaving."""
    world = World(3)
    place = await world.slots.enter()
    place.leave()
    world.slots.pause(0.05)
    again, new = await world.waiting(place.enter_again), await world.waiting(world.slots.enter)
    assert not again.done()
    assert not new.done()
    assert 0 < world.slots.seconds_paused <= 0.05
    assert await again
    assert await new


async def test_a_shorter_pause_does_not_shorten_a_longer_one():
    """The longest of the pauses counts."""
    world = World()
    world.slots.pause(60.0)
    world.slots.pause(0.001)
    assert world.slots.seconds_paused > 50


async def test_after_the_end_no_new_row_but_those_in_hand():
    """When the source is over no row is taken any more, and one in hand goes on."""
    world = World(1, most=1)
    assert await world.slots.hold()
    place = await world.slots.enter()
    new = await world.waiting(world.slots.hold)
    world.slots.end()
    await _let_run()
    assert new.result() is False
    assert not await world.slots.hold()
    place.leave()
    assert await place.enter_again()


async def test_after_stopping_nobody():
    """Stopping sends away all that wait, also during a pause, and lets nobody in any more."""
    world = World(1, most=1)
    assert await world.slots.hold()
    place = await world.slots.enter()
    place.leave()
    world.slots.pause(60.0)
    waiting = [
        await world.waiting(enter) for enter in (place.enter_again, world.slots.enter, world.slots.hold)
    ]
    world.slots.stop()
    await _let_run()
    assert [task.result() for task in waiting] == [False, None, False]
    assert not await place.enter_again()
    assert await world.slots.enter() is None


@pytest.mark.parametrize("kind", ["new", "again"])
@pytest.mark.parametrize("let_in_before", [False, True])
async def test_a_cancelled_waiter_takes_no_place(kind, let_in_before):
    """Who is cancelled while it waits, or in the moment in which it is let in, leaves its place to others."""
    world = World(1)
    place = await world.slots.enter()
    if kind == "again":
        place.leave()
        blocker = await world.slots.enter()
        waiter = await world.waiting(place.enter_again)
    else:
        blocker = place
        waiter = await world.waiting(world.slots.enter)
    held = world.slots.held
    if let_in_before:
        blocker.leave()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    if not let_in_before:
        blocker.leave()
    await _let_run()
    assert (world.slots.under_way, world.slots.held) == (0, held)
    assert await asyncio.wait_for(world.slots.enter(), 5) is not None


async def test_a_wider_window_lets_in_at_the_next_admission():
    """What a window that grew makes room for is let in."""
    world = World(1)
    await world.slots.enter()
    second = await world.waiting(world.slots.enter)
    world.window = 2
    world.slots.admit()
    await _let_run()
    assert second.done()
