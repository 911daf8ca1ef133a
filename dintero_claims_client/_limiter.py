"""How many requests are under way at once, in the order in which they came."""

from __future__ import annotations

import asyncio


class Limiter:
    """A first-come queue in front of the connection pool.

    Waiting here is not a failure, and never counts against one attempt: pools time waiting requests out,
    and some scan all that wait for every request.
    """

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self.waiting = 0

    async def acquire(self, *, deadline: float) -> bool:
        """Take a place; False when none became free before the deadline (on the event loop's clock)."""
        if not self._free.locked():
            # Does not wait, so it needs no timer.
            return await self._free.acquire()
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1

    def release(self) -> None:
        """Give a place back."""
        self._free.release()
