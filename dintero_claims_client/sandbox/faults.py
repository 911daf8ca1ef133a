"""Which requests go wrong, and how: by seed and rate, or one by one on request."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_Named = TypeVar("_Named", bound=StrEnum)


class Operation(StrEnum):
    """What a request asks for; the claim operations have the contract's operation ids."""

    CLAIM = "claim_discounts"
    LIST = "list_claims"
    GET = "get_claim"
    TOKEN = "token"  # noqa: S105 - the name of an operation


class Fault(StrEnum):
    """One way for a request to go wrong."""

    LATENCY = "latency"
    """The server waits before it does anything."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """Nothing is done; the answer is 429 with `Retry-After`."""
    UNAVAILABLE = "unavailable"
    """Nothing is done; the answer is 503, or another server error that was asked for."""
    DROP_BEFORE_COMMIT = "drop_before_commit"
    """Nothing is done, and the connection is reset instead of answering."""
    DROP_AFTER_COMMIT = "drop_after_commit"
    """Everything is done, and the connection is reset instead of answering."""
    EXPIRE_TOKEN = "expire_token"  # noqa: S105 - the name of a fault
    """The presented token is worthless from now on, so that the answer is 401."""


_EVERY_KIND = frozenset(Fault)
_BY_RATE: Mapping[Operation, frozenset[Fault]] = {
    Operation.CLAIM: _EVERY_KIND,
    Operation.LIST: _EVERY_KIND - {Fault.EXPIRE_TOKEN},
    Operation.GET: _EVERY_KIND - {Fault.EXPIRE_TOKEN},
    Operation.TOKEN: frozenset({Fault.LATENCY, Fault.UNAVAILABLE}),
}


def _equal_weights() -> Mapping[Fault, float]:
    return MappingProxyType(dict.fromkeys(Fault, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """How often requests go wrong by themselves, and how; without arguments, never.

    `rate` is the share of claims and reads that go wrong, `token_rate` that of token requests, which
    know only latency and 503. `kinds` weighs the faults against each other; a kind that is not named
    does not happen. `latency` is a range in seconds, `retry_after` the whole seconds that a 429 names.
    """

    rate: float = 0.0
    seed: int = 0
    kinds: Mapping[Fault, float] = field(default_factory=_equal_weights, hash=False)
    token_rate: float = 0.0
    latency: tuple[float, float] = (0.05, 0.5)
    retry_after: int = 1

    def __post_init__(self) -> None:
        for name, share in (("rate", self.rate), ("token_rate", self.token_rate)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1")
        if not all(0 <= weight < math.inf for weight in self.kinds.values()):
            raise ValueError("the weights of kinds must be finite and not negative")
        shortest, longest = self.latency
        if not 0 <= shortest <= longest < math.inf:
            raise ValueError("latency must be a range of seconds, the shorter first")
        if self.retry_after < 0:
            raise ValueError("retry_after must not be negative")


@dataclass(frozen=True, slots=True)
class Injection:
    """The decision that one request goes wrong: the kind, and what that kind needs to know."""

    fault: Fault
    delay: float = 0.0
    status: int | None = None
    retry_after: int | None = None


@dataclass(slots=True)
class ScriptedFault:
    """A fault on request: how often it was asked for, and how often it is still to happen."""

    operation: Operation
    injection: Injection
    times: int
    left: int

    def __str__(self) -> str:
        status = "" if self.injection.status is None else f" {self.injection.status}"
        return f"{self.injection.fault}{status} to {self.operation}, {self.left} of {self.times} left"


class FaultInjector:
    """Decides for each request, in the order of arrival, whether it goes wrong.

    The n-th request of an operation meets the same fault for the same seed, whatever requests of other
    operations come between. A fault on request replaces what the seed would have given its request.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._scripted: dict[Operation, deque[ScriptedFault]] = {
            operation: deque() for operation in Operation
        }
        self._random = {operation: Random(f"{plan.seed} {operation}") for operation in Operation}  # noqa: S311
        self._kinds = {
            operation: {kind: weight for kind, weight in plan.kinds.items() if kind in kinds and weight > 0}
            for operation, kinds in _BY_RATE.items()
        }

    def next(self, fault: Fault, *, operation: Operation = Operation.CLAIM, times: int = 1) -> None:
        """Let the next `times` requests of an operation go wrong, after those that already wait for it.

        Latency on request is the longest of the plan's range.
        """
        fault = _named("fault", Fault, fault)
        if fault is Fault.EXPIRE_TOKEN and operation == Operation.TOKEN:
            raise ValueError("a token request presents no token that could expire")
        self._script(operation, self._injection(fault, self.plan.latency[1]), times)

    def fail_next(self, status: int, *, operation: Operation = Operation.CLAIM, times: int = 1) -> None:
        """Let the next `times` requests of an operation be answered with 429 or a server error."""
        if status == 429:
            self.next(Fault.TOO_MANY_REQUESTS, operation=operation, times=times)
        elif status in range(500, 600):
            self._script(operation, Injection(Fault.UNAVAILABLE, status=status), times)
        else:
            raise ValueError("status must be 429, or between 500 and 599")

    @property
    def scripted(self) -> list[ScriptedFault]:
        """The faults on request that are still to happen, by operation and in their order; a copy."""
        return [fault for waiting in self._scripted.values() for fault in list(waiting)]

    def _script(self, operation: Operation, injection: Injection, times: int) -> None:
        operation = _named("operation", Operation, operation)
        check_times(times, least=1)
        self._scripted[operation].append(ScriptedFault(operation, injection, times, times))

    def decide(self, operation: Operation) -> Injection | None:
        """Return what happens to the request that arrived now, or None if it goes well."""
        # Drawn even where a queued fault replaces it: the requests after it keep their faults.
        drawn = self._draw(operation)
        waiting = self._scripted[operation]
        if not waiting:
            return drawn
        first = waiting[0]
        first.left -= 1
        if not first.left:
            waiting.popleft()
        return first.injection

    def _draw(self, operation: Operation) -> Injection | None:
        rate = self.plan.token_rate if operation is Operation.TOKEN else self.plan.rate
        kinds = self._kinds[operation]
        random = self._random[operation]
        if random.random() >= rate or not kinds:
            return None
        (fault,) = random.choices(list(kinds), weights=list(kinds.values()))
        return self._injection(fault, random.uniform(*self.plan.latency))

    def _injection(self, fault: Fault, delay: float) -> Injection:
        if fault is Fault.LATENCY:
            return Injection(fault, delay=delay)
        if fault is Fault.TOO_MANY_REQUESTS:
            return Injection(fault, status=429, retry_after=self.plan.retry_after)
        if fault is Fault.UNAVAILABLE:
            return Injection(fault, status=503)
        return Injection(fault)


def check_times(times: object, *, least: int) -> None:
    """Refuse what is no number of times."""
    if isinstance(times, bool) or not isinstance(times, int) or times < least:
        raise ValueError(f"times must be a whole number, {least} or more")


def _named(field: str, names: type[_Named], value: str) -> _Named:
    """Return one of an enumeration's names, which may be given as text."""
    try:
        return names(value)
    except ValueError:
        raise ValueError(f"{field} must be one of {', '.join(names)}") from None
