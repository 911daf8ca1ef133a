"""How many repetitions all calls of a client may make together.

In an outage each call alone would try again, which multiplies the load on a server that is in trouble. This
quota bounds that, and is out of the way as long as most requests succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._waiting import WaitQueue

CAPACITY = 500.0
"""Repetitions that can be made in a row before the first success. 10,000 calls into a total outage then
make 10,500 requests, and a few for the seconds that it lasts."""

COST = 1.0

REFUND = 0.5
"""What every success gives back. A repetition that succeeds gives back its cost as well: after an outage
only those that waited may be left, and their first successes must let the next ones go. Up to every second
request may fail before the quota shrinks."""

PER_SECOND = 1.0
"""What time gives back, so that somebody finds out that an outage is over when nobody calls anew."""


class RetryQuota:
    """A token bucket over all calls of a client; for one event loop."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._level = CAPACITY
        self._counted_at = clock()
        self._queue = WaitQueue(give_back=self._put_back)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def left(self) -> float:
        """How many repetitions could be made now."""
        self._put(0.0)
        return self._level

    def try_take(self) -> bool:
        """Take a repetition if there is one; those that wait go first."""
        self._put(0.0)
        if self._queue or self._level < COST:
            return False
        self._level -= COST
        return True

    async def take(self, *, deadline: float) -> bool:
        """Take a repetition, waiting for one until the deadline; False when none came."""
        if self.try_take():
            return True
        if self._closed or self._clock() >= deadline:
            return False
        turn = self._queue.join(deadline=deadline)
        self._serve()
        return await turn

    def succeed(self, *, repeated: bool) -> None:
        """Count a request that the server answered for good; `repeated` where it had been paid for."""
        self._put(REFUND + COST if repeated else REFUND)
        self._serve()

    @property
    def seconds_to_next(self) -> float:
        """How long it takes until time alone gives the next repetition."""
        return max(0.0, COST - self.left) / PER_SECOND

    def close(self) -> None:
        """Send away all that wait, and let nobody wait any more."""
        self._closed = True
        self._queue.dismiss(until=float("inf"), all_of_them=True)
        self._stop_timer()

    def _put_back(self) -> None:
        self._put(COST)
        self._serve()

    def _put(self, amount: float) -> None:
        now = self._clock()
        self._level = min(CAPACITY, self._level + amount + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now

    def _serve(self) -> None:
        """Give turns for what there is, and come back when time has given more."""
        if not self._queue:
            return
        self._put(0.0)
        while self._level >= COST and self._queue:
            self._level -= COST
            self._queue.give_turn()
        self._stop_timer()
        if self._queue:
            # A little later than exact, because the sums of floats may be a little less.
            self._timer = asyncio.get_running_loop().call_later(self.seconds_to_next + 0.001, self._serve)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
