"""Who may send now: a first-come queue in front of the connection pool, and the pauses of all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from ._pacing import Pacing
from ._waiting import WaitQueue

_LOOK_AGAIN = 0.1
"""Seconds between two looks at how far time alone has reopened a window."""

_LONGER = 1.0
"""By so many seconds a pause must grow to be told again: a `Retry-After` has no fractions."""


@attrs.frozen
class Place:
    """A place among the requests that are under way; to be given back."""

    epoch: int


@attrs.frozen
class NoPlace:
    """There was none before the deadline; `retry_after` is set where that was the server's wish."""

    reason: str
    retry_after: float | None = None
    final: bool = False


class Limiter:
    """Lets so many requests be under way at once, in the order in which they came.

    Waiting here is not a failure, and never counts against one attempt: pools time waiting requests out,
    and some scan all that wait for every request. When the server asks one caller to slow down, all pause.
    For one event loop, whose clock is `clock`. `on_pause` is told for how many seconds.
    """

    def __init__(
        self,
        size: int,
        *,
        clock: Callable[[], float],
        on_pause: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._size = size
        self._on_pause = on_pause
        self._clock = clock
        self._pacing = Pacing(size)
        self._place = Place(self._pacing.epoch)
        """The same for all until the server pushes back."""
        self._queue = WaitQueue(give_back=self._leave)
        self._under_way = 0
        self._told_until = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._queue.waiting

    @property
    def paused_for(self) -> float:
        """For how many seconds from now all callers pause."""
        return max(0.0, self._pacing.resume_at - self._clock())

    @property
    def pushed_back_in_a_row(self) -> int:
        """How often the server asked to slow down since it last answered otherwise."""
        return self._pacing.in_a_row

    async def acquire(self, *, deadline: float, settling: bool = False) -> Place | NoPlace:
        """Take a place, waiting for it until the deadline.

        A pause that lasts longer than that is not waited for. Where the request is to settle the outcome of
        a claim it is sent in spite of such a pause: it is a read, and the only way to find out.
        """
        paused = self._pacing.resume_at >= deadline
        if self._closed or (paused and not settling):
            return self._no_place(deadline)
        window = self._size if paused else self._pacing.window(self._clock())
        if (self._queue and not paused) or self._under_way >= window:
            turn = self._queue.join(deadline=deadline, spared=settling)
            self._admit()
            if not await turn:
                return self._no_place(deadline)
        else:
            self._under_way += 1
        if self._place.epoch != self._pacing.epoch:
            self._place = Place(self._pacing.epoch)
        return self._place

    def _no_place(self, deadline: float) -> NoPlace:
        if self._closed:
            return NoPlace("the client is closed", final=True)
        if self._pacing.resume_at >= deadline:
            return NoPlace(
                "the server asked to slow down", retry_after=self._pacing.told_until - self._clock()
            )
        return NoPlace("no connection became free in time")

    def release(self, place: Place, *, answered: bool) -> None:
        """Give a place back; `answered` where the server answered and did not ask to slow down."""
        if answered:
            self._pacing.answered(place.epoch)
        self._leave()

    def push_back(self, place: Place, *, seconds: float) -> None:
        """Let all callers pause: the server answered the request in this place by asking for it."""
        now, epoch = self._clock(), self._pacing.epoch
        self._pacing.push_back(place.epoch, seconds=seconds, now=now, under_way=self._under_way)
        longer = self._pacing.resume_at - self._told_until >= _LONGER
        if seconds > 0 and (self._pacing.epoch != epoch or longer):
            # Once for all that were under way together and are told about the same.
            self._told_until = self._pacing.resume_at
            self._on_pause(self._pacing.resume_at - now)
        self._queue.dismiss(until=self._pacing.resume_at)
        self._admit()

    def close(self) -> None:
        """Send away all that wait, and let nobody in any more."""
        self._closed = True
        self._queue.dismiss(until=float("inf"), all_of_them=True)
        self._stop_timer()

    def _leave(self) -> None:
        self._under_way -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in as many as there are places for, and come back when time alone makes more."""
        if not self._queue:
            return
        now = self._clock()
        window = self._pacing.window(now)
        while self._under_way < window and self._queue:
            self._under_way += 1
            self._queue.give_turn()
        while (
            not window
            and self._under_way < self._size
            and self._queue.give_spared_turn(until=self._pacing.resume_at)
        ):
            self._under_way += 1
        self._stop_timer()
        if self._queue and window < self._size:
            wait = max(self._pacing.resume_at - now, _LOOK_AGAIN if window else 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._admit)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
