"""Deadlines of requests under way, all kept by one timer."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class Deadlines:
    """Gives up what is not over in time, as `asyncio.timeout_at` does, for one event loop.

    That makes a timer and four objects more for each request. With hundreds of requests under way the garbage
    collector goes through all of them again and again, and almost every timer is taken back unused.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # In the order in which they began, which is the order in which they are given up.
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def at(self, deadline: float) -> Deadline:
        """Return a context manager for the current task, whose block raises `TimeoutError` at the deadline.

        `deadline` is a reading of the event loop's clock.
        """
        return Deadline(self, deadline)

    def add(self, one: Deadline) -> None:
        """Begin to keep one."""
        self._running[one] = None
        # A timer that is due sooner, for another, finds this one too.
        if one.deadline < self._due:
            self._set_timer(one.deadline)

    def remove(self, one: Deadline) -> None:
        """Keep one no longer; the timer stays, for the next."""
        self._running.pop(one, None)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)
        self._due = when

    def _expire(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._loop.time()
        for one in [one for one in self._running if one.deadline <= now]:
            self.remove(one)
            one.expire()
        if self._running:
            self._set_timer(min(one.deadline for one in self._running))


class Deadline:
    """The deadline of one block; see `Deadlines.at`."""

    __slots__ = ("_cancelling", "_deadlines", "_has_expired", "_task", "deadline")

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self._deadlines = deadlines
        self._has_expired = False
        self.deadline = deadline

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.add(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._deadlines.remove(self)
        if not self._has_expired:
            return
        # Who was cancelled from outside as well stays cancelled.
        if self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task; once."""
        self._has_expired = True
        self._task.cancel()
