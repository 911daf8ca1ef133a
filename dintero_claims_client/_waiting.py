"""Callers that wait: for their turn, first come, first served, or for a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

import attrs

_MANY = 1000
"""Waiters that left, above which it pays to clear them out; a thousand of them are some 100 KiB."""


@attrs.frozen(eq=False)
class _Waiter:
    turn: asyncio.Future[bool]
    deadline: float
    spared: bool


class WaitQueue:
    """A queue whose owner gives turns. `give_back` is called with a turn that its waiter no longer wants.

    For one event loop; deadlines are readings of its clock.
    """

    def __init__(self, *, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._waiters: deque[_Waiter] = deque()
        self.waiting = 0

    def __bool__(self) -> bool:
        """Say whether anybody waits who has no turn yet."""
        # Those that were cancelled, or timed out, left themselves in the queue.
        while self._waiters and self._waiters[0].turn.done():
            self._waiters.popleft()
        return bool(self._waiters)

    def join(self, *, deadline: float, spared: bool = False) -> Coroutine[None, None, bool]:
        """Join the queue now; what is returned waits for the turn, and must be awaited.

        It gives False when no turn came before the deadline, or none is to come. Who is `spared` is not sent
        away before its deadline, and can be given a turn before its time.
        """
        if len(self._waiters) > 2 * self.waiting + _MANY:
            # Those that left stay in the queue until they come to its head, which may be never.
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.turn.done())
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(_Waiter(turn, deadline, spared))
        return self._wait(turn, deadline)

    async def _wait(self, turn: asyncio.Future[bool], deadline: float) -> bool:
        self.waiting += 1
        taken = False
        try:
            async with asyncio.timeout_at(deadline):
                taken = await turn
        except TimeoutError:
            taken = False
        finally:
            self.waiting -= 1
            # Given in the same moment in which the caller was cancelled, or ran out of time.
            if not taken and turn.done() and not turn.cancelled() and turn.result():
                self._give_back()
        return taken

    def give_turn(self) -> None:
        """Give the first that waits its turn; somebody must be waiting."""
        self._waiters.popleft().turn.set_result(True)

    def give_spared_turn(self, *, until: float) -> bool:
        """Give a turn to the first spared one whose deadline is not after `until`; False if there is none."""
        for waiter in self._waiters:
            if waiter.spared and waiter.deadline <= until and not waiter.turn.done():
                waiter.turn.set_result(True)
                return True
        return False

    def dismiss(self, *, until: float, all_of_them: bool = False) -> None:
        """Send away those whose deadline is not after `until`; the spared only where it is all of them."""
        for waiter in self._waiters:
            if waiter.deadline <= until and not waiter.turn.done() and (all_of_them or not waiter.spared):
                waiter.turn.set_result(False)


class Gathering:
    """Counts those that are inside, and lets others wait until nobody is. For one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._empty: asyncio.Event | None = None

    def enter(self) -> None:
        """Count one more."""
        self.count += 1

    def leave(self) -> None:
        """Count one less."""
        self.count -= 1
        if not self.count and self._empty is not None:
            self._empty.set()

    async def until_empty(self) -> None:
        """Wait until nobody is inside."""
        while self.count:
            if self._empty is None:
                self._empty = asyncio.Event()
            self._empty.clear()
            await self._empty.wait()


class Sleeper:
    """Waits, but no longer than until it is closed. For one event loop."""

    def __init__(self) -> None:
        self._asleep: set[asyncio.Future[None]] = set()
        self._closed = False

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        timer = loop.call_later(seconds, _wake, woken)
        self._asleep.add(woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._asleep.discard(woken)

    def close(self) -> None:
        """Wake all, and let nobody sleep any more."""
        self._closed = True
        for woken in self._asleep:
            _wake(woken)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
