"""Callers that wait their turn, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

import attrs


@attrs.frozen(eq=False)
class _Waiter:
    turn: asyncio.Future[bool]
    deadline: float


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

    def join(self, *, deadline: float) -> Coroutine[None, None, bool]:
        """Join the queue now; what is returned waits for the turn, and must be awaited.

        It gives False when no turn came before the deadline, or none is to come.
        """
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(_Waiter(turn, deadline))
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

    def dismiss(self, *, until: float) -> None:
        """Send away those whose deadline is not after `until`."""
        for waiter in self._waiters:
            if waiter.deadline <= until and not waiter.turn.done():
                waiter.turn.set_result(False)
