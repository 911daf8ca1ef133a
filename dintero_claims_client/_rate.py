"""A ceiling for how many requests leave in a second."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

_LATE = 0.005
"""Seconds that a turn which came too late may be made up for. Timers are no finer than a millisecond, and
without that a thousand turns a second could not be given one by one."""


class RateLimit:
    """Gives turns, evenly spaced: in no second more than `rate` of them. For one event loop.

    Who is to need a turn is admitted first, and only as many are as get their turns within a second: so
    nobody waits for one for long.
    """

    def __init__(
        self, rate: float, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        # What can be made up for would come on top, and so would what the way to the server makes uneven.
        self._interval = (1 + 2 * _LATE) / rate
        self._most = math.ceil(rate)
        self._admitted = 0
        self._room = asyncio.Event()
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")

    async def admit(self) -> None:
        """Wait until there are few enough that have not had their turn; one caller at a time."""
        while self._admitted >= self._most:
            self._room.clear()
            await self._room.wait()
        self._admitted += 1

    def dismiss(self) -> None:
        """Expect one that was admitted no longer: it had its turn, or needs none."""
        self._admitted -= 1
        self._room.set()

    async def wait(self) -> None:
        """Wait for a turn; a turn whose caller is cancelled is not given to another."""
        now = self._clock()
        turn = max(now - _LATE, self._next)
        self._next = turn + self._interval
        if turn > now:
            await self._sleep(turn - now)
