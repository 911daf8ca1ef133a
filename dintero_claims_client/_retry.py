"""When an attempt is repeated: the policy, the decision, and the one loop that follows it.

The loop is told how an attempt ended and whether the call may be repeated. It knows nothing of HTTP,
tokens or claims, and is given its time, sleep and randomness.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import attrs

from .errors import APIStatusError, ClaimsError, ConfigurationError

T = TypeVar("T")


_LONGEST = 1e9
"""Seconds; thirty years. Clocks and timers count them exactly."""


def check_seconds(name: str, value: object) -> float:
    """Return a duration as a float; raises `ConfigurationError` unless it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise ConfigurationError(f"{name}: must be a number of seconds above 0")
    return float(value)


def check_count(name: str, value: object, *, most: float = math.inf) -> int:
    """Return a whole number of 1 or more; raises `ConfigurationError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(
            f"{name}: must be a whole number, 1 {'or more' if math.isinf(most) else f'to {most}'}"
        )
    return value


def _seconds(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    check_seconds(attribute.name, value)


def _count(_instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    check_count(attribute.name, value)


@attrs.frozen
class RetryPolicy:
    """How often and how fast a call is tried again; all times in seconds.

    `max_attempts` counts the first attempt too. `attempt_timeout` limits one attempt, so that one that
    stalls does not use up the call. Before attempt n + 1 the client waits a random time between 0 and
    `base_delay` times 2 to the power of n - 1, at most `max_delay`; a Retry-After of the server is obeyed
    where it is longer. Holds no state, so one policy may serve any number of clients.
    """

    max_attempts: int = attrs.field(default=8, validator=_count)
    attempt_timeout: float = attrs.field(default=10.0, validator=_seconds)
    base_delay: float = attrs.field(default=0.1, validator=_seconds)
    max_delay: float = attrs.field(default=5.0, validator=_seconds)

    def backoff(self, attempt: int, randomness: float) -> float:
        """Return how long to wait after this attempt (the first is 1), for a randomness in [0, 1)."""
        # The exponent is bounded because 2.0 ** 1024 overflows, and 2 ** 32 is beyond any delay.
        return randomness * min(self.max_delay, self.base_delay * 2.0 ** min(attempt - 1, 32))


# Not frozen, because one is made for each claim, and that would take three times as long.
@attrs.define
class Done(Generic[T]):
    """The attempt brought what was asked for; `answer` is what that was read from."""

    value: T
    answer: bytes | None = None


@attrs.frozen
class NotSent:
    """The attempt ended before the request can have reached the server.

    `permanent` where no repetition can help. `error` is what the call ends with, where that says more
    than a `NotSentError`.
    """

    reason: str
    permanent: bool = False
    retry_after: float | None = None
    error: ClaimsError | None = None


@attrs.frozen
class Refused:
    """The server answered and did not execute the request; `again` where it asks to come back later.

    `replayed` where the request was sent before in the same attempt, with a token that was refused.
    """

    error: APIStatusError
    again: bool = False
    replayed: bool = False

    @property
    def reason(self) -> str:
        """Why, for those who watch: nothing of what the server says, which may name a customer."""
        return f"the server answered {self.error.status}"

    @property
    def retry_after(self) -> float | None:
        return self.error.retry_after


@attrs.frozen
class Ambiguous:
    """The server may have executed the request, or not.

    `error` is what a read ends with, where the answer's status says more than a `NoAnswerError`.
    """

    reason: str
    status: int | None = None
    body: bytes = b""
    retry_after: float | None = None
    error: APIStatusError | None = None


Failure = NotSent | Refused | Ambiguous


@attrs.frozen
class Ended(Generic[T]):
    """How a call's attempts ended: the last, how many there were, and the last ambiguous one before.

    `refused_before` where the request was sent, and refused, before the last time.
    """

    last: Done[T] | Failure
    attempts: int
    before: Ambiguous | None
    refused_before: bool = False


def next_delay(
    policy: RetryPolicy,
    failure: Failure,
    attempt: int,
    *,
    repeatable: bool,
    remaining: float,
    randomness: float,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None when there is to be none.

    `repeatable` says whether the request may be sent again after it may have been executed; `remaining`
    is the time that the call has left. A wait that does not fit into it is not begun.
    """
    match failure:
        case NotSent(permanent=True) | Refused(again=False):
            return None
        case Ambiguous() if not repeatable:
            return None
        case _:
            pass
    if attempt >= policy.max_attempts:
        return None
    delay = max(policy.backoff(attempt, randomness), failure.retry_after or 0.0)
    return delay if delay < remaining else None


class Quota(Protocol):
    """What all calls of a client may repeat together."""

    def try_take(self) -> bool: ...

    async def take(self, *, deadline: float) -> bool: ...

    def succeed(self, *, repeated: bool) -> None: ...

    @property
    def seconds_to_next(self) -> float: ...


async def run_attempts(
    attempt: Callable[[], Awaitable[Done[T] | Failure]],
    *,
    policy: RetryPolicy,
    repeatable: bool,
    deadline: float,
    quota: Quota,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    random: Callable[[], float],
    paid: bool = False,
    reserve: float = 0.0,
    first: Done[T] | Failure | None = None,
    on_retry: Callable[[str, float], None] | None = None,
) -> Ended[T]:
    """Attempt until it is done, may not be repeated, or does not fit into the time left.

    Every repetition is paid for from the `quota`. Where there is none left, a call that is in doubt waits
    for it, because its outcome is to be found out; any other ends, and is told when to come again. `paid`
    where the first attempt was paid for too; `reserve` is how many seconds a call in doubt keeps for finding
    out; `first` is how the first attempt ended, where that was made before; `on_retry` is told why, and after
    how many seconds, a request is repeated. Raises nothing of its own; `deadline` is a reading of `clock`.
    """
    count = 0
    before: Ambiguous | None = None
    refused = False
    while True:
        count += 1
        outcome = await attempt() if first is None else first
        first = None
        if isinstance(outcome, Done) or (isinstance(outcome, Refused) and not outcome.again):
            quota.succeed(repeated=paid or count > 1)
            return Ended(
                outcome, count, before, refused or (isinstance(outcome, Refused) and outcome.replayed)
            )
        refused = refused or isinstance(outcome, Refused)
        in_doubt = before is not None or isinstance(outcome, Ambiguous)
        delay = next_delay(
            policy,
            outcome,
            count,
            repeatable=repeatable,
            remaining=deadline - clock() - (reserve if in_doubt else 0.0),
            randomness=random(),
        )
        if delay is None:
            return Ended(outcome, count, before)
        if not isinstance(outcome, Ambiguous) and before is None:
            # Taken only after the wait: who is cancelled in it has sent nothing.
            if quota.seconds_to_next > 0:
                return Ended(_told_when(outcome, quota.seconds_to_next), count, before)
            await sleep(delay)
            if not quota.try_take():
                return Ended(_told_when(outcome, quota.seconds_to_next), count, before)
        else:
            await sleep(delay)
            if not await quota.take(deadline=deadline):
                return Ended(outcome, count, before)
            if isinstance(outcome, Ambiguous):
                before = outcome
        if on_retry is not None:
            on_retry(outcome.reason, delay)


def _told_when(outcome: NotSent | Refused, seconds: float) -> NotSent | Refused:
    """Say that the quota is used up, and when to come again, where the server does not say."""
    if isinstance(outcome, Refused):
        return outcome
    return attrs.evolve(
        outcome,
        reason=f"{outcome.reason}; not tried again now, because too many calls fail",
        retry_after=max(outcome.retry_after or 0.0, seconds),
    )
