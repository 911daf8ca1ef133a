"""One timer for all deadlines does for each block what `asyncio.timeout_at` does."""

import asyncio
import contextlib

import pytest

from dintero_claims_client._engines.deadlines import Deadlines


class Clock:
    """An event loop's clock and timers, turned by hand."""

    def __init__(self, monkeypatch):
        loop = asyncio.get_running_loop()
        self.now, self.timers = 1000.0, []
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(loop, "call_at", self._call_at)

    def _call_at(self, when, callback, *args):
        timer = asyncio.TimerHandle(when, callback, args, asyncio.get_running_loop())
        self.timers.append(timer)
        return timer

    @property
    def pending(self):
        return [timer for timer in self.timers if not timer.cancelled()]

    async def turn_to(self, now):
        """Let the time be `now`, run what is due, and let tasks go on that it woke."""
        self.now = now
        for timer in self.pending:
            if timer.when() <= now:
                self.timers.remove(timer)
                timer._run()
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch):
    """Return the running loop's clock, stopped."""
    clock = Clock(monkeypatch)
    yield clock
    monkeypatch.undo()


async def _begin(deadlines, deadline):
    """Return a task that waits in a block until its deadline."""

    async def wait():
        with deadlines.at(deadline):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_each_at_its_own(clock):
    """Blocks that began in any order are given up each at its deadline, and not before."""
    deadlines = Deadlines()
    tasks = {at: await _begin(deadlines, at) for at in (1003.0, 1001.0, 1002.0, 1001.0)}
    for at in sorted(tasks):
        await clock.turn_to(at - 0.001)
        assert not tasks[at].done()
        await clock.turn_to(at)
        assert isinstance(tasks[at].exception(), TimeoutError)
    assert clock.pending == []


async def test_one_timer(clock):
    """However many blocks there are and whichever ends first, one timer waits, for the first of them."""
    deadlines = Deadlines()
    tasks = [await _begin(deadlines, 1100.0 - number) for number in range(50)]
    assert [timer.when() for timer in clock.pending] == [1051.0]
    for task in tasks[25:]:
        task.cancel()
    await asyncio.gather(*tasks[25:], return_exceptions=True)
    assert len(clock.pending) == 1
    await clock.turn_to(1051.0)
    # None of the 25 was due then; the timer is for the first of those that are left.
    assert not any(task.done() for task in tasks[:25])
    assert [timer.when() for timer in clock.pending] == [1076.0]
    await clock.turn_to(1100.0)
    assert all(isinstance(task.exception(), TimeoutError) for task in tasks[:25])


async def test_timer_that_is_early(clock):
    """A timer that fires a moment early gives nothing up, and is set again."""
    deadlines = Deadlines()
    task = await _begin(deadlines, 1001.0)
    (timer,) = clock.timers
    clock.timers.clear()
    clock.now = 1000.999
    timer._run()
    await asyncio.sleep(0)
    assert not task.done()
    await clock.turn_to(1001.0)
    assert isinstance(task.exception(), TimeoutError)


async def test_ended_in_time(clock):
    """A block that ends in time is not given up later, whatever its task does then."""
    deadlines = Deadlines()
    other = await _begin(deadlines, 1001.0)

    async def work():
        with deadlines.at(1001.0):
            await asyncio.sleep(0)
        await waiting

    waiting = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0)
    await clock.turn_to(1001.0)
    assert isinstance(other.exception(), TimeoutError)
    assert not task.done()
    waiting.set_result(None)
    await task


async def test_error_of_the_block():
    """An error of the block goes through, and leaves nothing behind that would be given up later."""
    deadlines = Deadlines()
    with pytest.raises(ValueError, match="its own"), deadlines.at(asyncio.get_running_loop().time() + 30):
        raise ValueError("its own")
    assert not deadlines._running


@pytest.mark.parametrize("order", ["before", "after"])
async def test_cancelled_as_well(clock, order):
    """A task that is cancelled in the moment of its deadline is cancelled, whichever comes first."""
    task = await _begin(Deadlines(), 1001.0)
    if order == "before":
        task.cancel()
    clock.now = 1001.0
    clock.pending[0]._run()
    if order == "after":
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_task_of_the_block_is_left_as_it_was(clock):
    """After a deadline the task counts no cancellation, so that a timeout around it still works."""
    deadlines, counts = Deadlines(), []

    async def work():
        with contextlib.suppress(TimeoutError), deadlines.at(1001.0):
            await asyncio.get_running_loop().create_future()
        counts.append(asyncio.current_task().cancelling())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await clock.turn_to(1001.0)
    await task
    assert counts == [0]


async def test_deadline_that_is_past():
    """A block whose deadline is past is given up at its first wait, as with `asyncio.timeout_at`."""
    with pytest.raises(TimeoutError), Deadlines().at(asyncio.get_running_loop().time() - 1):
        await asyncio.get_running_loop().create_future()


async def test_blocks_within_one_another():
    """An outer deadline that comes first is the outer block's, and the inner one's the inner block's."""
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    ended = []
    try:
        with deadlines.at(loop.time() - 1):
            try:
                with deadlines.at(loop.time() + 30):
                    await loop.create_future()
            except TimeoutError:
                ended.append("inner")
    except TimeoutError:
        ended.append("outer")
    assert ended == ["outer"]


def test_without_a_task():
    """Outside of a task there is nothing to give up, and that is said."""

    async def make():
        return Deadlines()

    deadlines = asyncio.run(make())
    with pytest.raises(RuntimeError), deadlines.at(0):
        pass
