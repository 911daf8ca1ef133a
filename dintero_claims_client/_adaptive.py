"""How many claims of a batch may be under way at once, by how the server bears it: the rule alone.

Additive increase, multiplicative decrease, judged in rounds: as many answers as the window is wide. A server
that pushes back now and then says little about its limits, so a round counts as pushed back from a share on.
"""

from __future__ import annotations

PUSHED_BACK = frozenset((429, 503))
"""The statuses by which a server says that it is asked too much."""

_KEPT = 0.7
"""Of the window, after a round that was pushed back."""

_STEP = 0.05
"""Of the ceiling, added after a round that was not."""

_TOLERATED = 0.05
"""The share of a round that may be pushed back."""

_LEAST_ROUND = 20
"""Answers; fewer say nothing about a share, or about a mean."""

_SLOWER, _NOISE = 2.0, 0.05
"""A round is slow when its mean is so many times the usual, and so many seconds more: below that, machines
are just busy."""

_MEMORY = 0.1
"""How much of a round's mean enters what is usual: some ten rounds make a new usual."""


class AdaptiveWindow:
    """Between 1 and the ceiling; counts only what was sent since its last decrease."""

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._window = float(ceiling)
        self._usual: float | None = None
        self.epoch = 0
        """Counts the decreases. What was sent before one says nothing about the time after it."""
        self._begin_round()

    @property
    def window(self) -> int:
        """How many may be under way."""
        return int(self._window)

    def ended(self, epoch: int, *, status: int | None, seconds: float) -> None:
        """Learn how a request ended: with which status, if any, and after how long."""
        if epoch != self.epoch:
            return
        self._count += 1
        size = max(self.window, _LEAST_ROUND)
        if status in PUSHED_BACK:
            self._pushed_back += 1
            if self._pushed_back > _TOLERATED * size:
                self._decrease()
                return
        elif status is not None:
            self._answered += 1
            self._seconds += seconds
        if self._count >= size:
            self._end_round()

    def narrow(self) -> None:
        """Begin anew with one request, after the server could not be reached at all."""
        self._window = 1.0
        self.epoch += 1
        self._begin_round()

    def _end_round(self) -> None:
        mean = self._seconds / self._answered if self._answered else None
        usual = self._usual
        if mean is not None:
            self._usual = mean if usual is None else usual + _MEMORY * (mean - usual)
        if mean is not None and usual is not None and mean > _SLOWER * usual + _NOISE:
            self._decrease()
        else:
            self._window = min(float(self._ceiling), self._window + max(1.0, _STEP * self._ceiling))
            self._begin_round()

    def _decrease(self) -> None:
        self._window = max(1.0, _KEPT * self._window)
        self.epoch += 1
        self._begin_round()

    def _begin_round(self) -> None:
        self._count = 0
        self._pushed_back = 0
        self._answered = 0
        self._seconds = 0.0
