"""How the client yields when the server asks it to slow down, and how it comes back: the rule alone.

Additive increase, multiplicative decrease, as TCP does: a push-back takes three tenths of what was under
way, and the answers of each round trip give some of it back. Where the server named a time, or pushes back
again and again, it begins anew with one request, and each answer lets one more go.
"""

from __future__ import annotations

LONGEST_PAUSE = 60.0
"""Seconds that one answer keeps all callers from sending, at most. The call that got the answer is told the
whole of the server's wish; the others look again before next year."""

RECOVERY_SECONDS = 10.0
"""How long after a pause everything is open again, also where nothing is answered: a few answers that do not
come must not hold up everybody."""


_KEPT = 0.7
"""Of what was under way at a push-back. A half would let a few push-backs among many answers, which say
little about the rate, take most of it."""

_STEP = 0.05
"""Of the ceiling, given back by the answers of one round trip."""


class Pacing:
    """How many requests may be under way, and from when. Its times are readings of any one clock."""

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._window = float(ceiling)
        self._threshold = float(ceiling)
        self.resume_at = float("-inf")
        """Nothing is to be sent before."""
        self.told_until = float("-inf")
        """What the server asked for, where that is longer than anybody waits."""
        self.epoch = 0
        """Counts the push-backs. What was sent before one says nothing about the time after it."""
        self.in_a_row = 0
        """How many push-backs there were without an answer between them."""

    @property
    def is_narrowed(self) -> bool:
        """Say whether less than everything is open."""
        return self._window < self._ceiling

    def window(self, now: float) -> int:
        """Return how many requests may be under way."""
        if now < self.resume_at:
            return 0
        if self.is_narrowed:
            reopened = (now - self.resume_at) * self._ceiling / RECOVERY_SECONDS
            if self._window + reopened >= self._ceiling:
                self._window = float(self._ceiling)
            return int(min(self._ceiling, self._window + reopened))
        return self._ceiling

    def push_back(self, epoch: int, *, seconds: float, now: float, under_way: int) -> None:
        """Pause for so many seconds, and let less be under way after; `epoch` is when it was sent."""
        if now >= self.resume_at:
            self.told_until = now
        self.told_until = max(self.told_until, now + seconds)
        self.resume_at = max(self.resume_at, now + min(seconds, LONGEST_PAUSE))
        if epoch == self.epoch:
            self.epoch += 1
            self.in_a_row += 1
            self._threshold = max(1.0, _KEPT * min(under_way, self._window))
            self._window = self._threshold if seconds <= 0 and self.in_a_row == 1 else 1.0

    def answered(self, epoch: int) -> None:
        """Count a request that was not pushed back."""
        if epoch != self.epoch:
            return
        self.in_a_row = 0
        if self.is_narrowed:
            slow_start = self._window < self._threshold
            step = 1.0 if slow_start else max(1.0, _STEP * self._ceiling) / self._window
            self._window = min(float(self._ceiling), self._window + step)
