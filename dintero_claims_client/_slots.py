"""Which rows of a batch may go on: so many at once, none in a pause, those in hand before new ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Place:
    """The place of one row, under way from the beginning."""

    __slots__ = ("_is_under_way", "_slots")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._is_under_way = True

    def leave(self) -> None:
        """Let another row be under way; again is no error."""
        if self._is_under_way:
            self._is_under_way = False
            self._slots.leave()

    async def enter_again(self) -> bool:
        """Be under way again, when it is its turn; False when the batch was stopped."""
        self._is_under_way = await self._slots.enter_again()
        return self._is_under_way


class Slots:
    """Places for rows that are being claimed, and for rows that are held until they are given out.

    `window` says how many may be claimed at this moment, `most` how many may be held at all. For one event
    loop.
    """

    def __init__(self, *, window: Callable[[], int], most: int) -> None:
        self._window = window
        self._most = most
        self._in_hand: deque[asyncio.Future[bool]] = deque()
        self._new: deque[asyncio.Future[bool]] = deque()
        self._room = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._resume_at = float("-inf")
        self._ended = False
        self._stopped = False
        self.under_way = 0
        self.held = 0

    async def hold(self) -> bool:
        """Make room for one more row; False when there is to be none any more. One caller at a time."""
        while self.held >= self._most and not self._ended:
            self._room.clear()
            await self._room.wait()
        if self._ended:
            return False
        self.held += 1
        return True

    def let_go(self) -> None:
        """Hold a row no longer: it was given out."""
        self.held -= 1
        self._room.set()

    async def enter(self) -> Place | None:
        """Take a place for a new row, after all in hand; None when the batch was stopped."""
        if self._stopped:
            return None
        if not self._new and not self._in_hand and self._is_open():
            self.under_way += 1
        elif not await self._wait(self._new):
            return None
        return Place(self)

    async def enter_again(self) -> bool:
        """Take part again with a row in hand, before all new ones; False when the batch was stopped."""
        if self._stopped:
            return False
        if not self._in_hand and self._is_open():
            self.under_way += 1
            return True
        return await self._wait(self._in_hand)

    def leave(self) -> None:
        """Count a row as no longer under way; it stays held."""
        self.under_way -= 1
        self.admit()

    def pause(self, seconds: float) -> None:
        """Let nobody in for so many seconds."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)
        self._set_timer()

    def end(self) -> None:
        """Hold no new row: the source has none."""
        self._ended = True
        self._room.set()

    def stop(self) -> None:
        """Let nobody in any more."""
        self.end()
        self._stopped = True
        for queue in (self._in_hand, self._new):
            for waiter in queue:
                if not waiter.done():
                    waiter.set_result(False)
            queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def seconds_paused(self) -> float:
        """How long the pause lasts from now."""
        return max(0.0, self._resume_at - asyncio.get_running_loop().time())

    def admit(self) -> None:
        """Let in as many as there are places for."""
        for queue in (self._in_hand, self._new):
            while queue and self._is_open():
                waiter = queue.popleft()
                if not waiter.done():
                    self.under_way += 1
                    waiter.set_result(True)

    def _is_open(self) -> bool:
        return self.under_way < self._window() and self.seconds_paused <= 0

    async def _wait(self, queue: deque[asyncio.Future[bool]]) -> bool:
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Let in at the moment in which it was cancelled.
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.leave()
            raise

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._resume_at, self._resume)

    def _resume(self) -> None:
        if self.seconds_paused > 0:
            # Timers may fire a moment early.
            self._set_timer()
        else:
            self.admit()
