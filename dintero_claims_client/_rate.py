"""A ceiling for how many requests leave in a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

_LATE = 0.005
"""Seconds that a turn which came too late may be made up for. Timers are no finer than a millisecond, and
without that a thousand turns a second could not be given one by one."""


class RateLimit:
    """Gives turns, evenly spaced: in no second more than `rate` of them. For one event loop."""

    def __init__(
        self, rate: float, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        # What can be made up for would come on top.
        self._interval = (1 + _LATE) / rate
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")

    async def wait(self) -> None:
        """Wait for a turn; a turn whose caller is cancelled is not given to another."""
        now = self._clock()
        turn = max(now - _LATE, self._next)
        self._next = turn + self._interval
        if turn > now:
            await self._sleep(turn - now)
