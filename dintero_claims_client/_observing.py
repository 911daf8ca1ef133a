"""Who watches a client, and what they are told: the log, a function of the caller's, and OpenTelemetry.

Nothing of this is made for a call that nobody watches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from . import _logs
from ._harmless import harmless
from .errors import ConfigurationError
from .events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    Ending,
    Event,
    EventHook,
    Operation,
    Paused,
    Refreshed,
    Retried,
)

if TYPE_CHECKING:
    from ._otel import AttemptSpan, CallSpan, Telemetry

_NO_HEADERS: Mapping[str, str] = {}

AttemptFailure: TypeAlias = Literal["not_sent", "no_answer", "cancelled"]
"""Why a request has no answer."""


def check_hook(on_event: object) -> None:
    """Raise `ConfigurationError` for what is no function, and for an async one: nobody would await it."""
    if not callable(on_event):
        raise ConfigurationError("on_event: must be a function that takes an event")
    called: object = on_event
    while isinstance(called, partial):
        called = cast("partial[object]", called).func
    for function in (called, type(called).__call__):
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            raise ConfigurationError(
                "on_event: must be a plain function, and not an async one, which nobody would await; give "
                "the put_nowait of an asyncio.Queue, and read that in a task of yours"
            )


class Observer:
    """Tells all that watch one client; on one event loop. None of this raises."""

    def __init__(
        self, on_event: EventHook | None, telemetry: Telemetry | None, *, clock: Callable[[], float]
    ) -> None:
        self._on_event = on_event
        self._telemetry = telemetry
        self._is_watched = on_event is not None or telemetry is not None
        self.clock = clock
        self._calls = 0

    def begin(
        self,
        operation: Operation,
        *,
        ref: str | None = None,
        customer_id: str | None = None,
        of_batch: bool = False,
    ) -> Trace | None:
        """Begin to watch a call; None where nobody would be told."""
        if not self._is_watched and not _logs.LOGGER.isEnabledFor(
            logging.DEBUG if of_batch else logging.INFO
        ):
            return None
        return self._trace(operation, ref, customer_id, of_batch=of_batch)

    def begin_late(
        self, began: float, requests: int, *, ref: str | None, customer_id: str | None, of_batch: bool
    ) -> Trace | None:
        """Begin to watch a claim that nobody watched, after so many requests that did not bring it.

        It may end as unknown, which is logged where nothing else is.
        """
        if not _logs.LOGGER.isEnabledFor(logging.WARNING):
            return None
        trace = self._trace("claim_discounts", ref, customer_id, of_batch=of_batch)
        trace.began_before(began, requests)
        return trace

    def _trace(
        self, operation: Operation, ref: str | None, customer_id: str | None, *, of_batch: bool
    ) -> Trace:
        self._calls += 1
        span = None
        if self._telemetry is not None:
            with harmless():
                span = self._telemetry.begin_call(operation, ref)
        return Trace(self, self._calls, operation, ref, customer_id, span, of_batch=of_batch)

    def attempt_token(self, url: str) -> Attempt | None:
        """Begin to watch a token request; None where nobody would be told."""
        if not self._is_watched and not _logs.LOGGER.isEnabledFor(logging.DEBUG):
            return None
        span = None
        if self._telemetry is not None:
            with harmless():
                span = self._telemetry.begin_attempt(None, "token", url)
        self.tell(AttemptSent(operation="token", call=None, attempt=1))
        return Attempt(self, None, "token", 1, None, span)

    def refreshed(self, seconds: float, reason: str | None) -> None:
        """Tell that an access token was asked for."""
        self.tell(Refreshed(seconds=seconds, reason=reason))
        if self._telemetry is not None:
            with harmless():
                self._telemetry.refreshed(reason)

    def paused(self, seconds: float) -> None:
        """Tell that all calls pause."""
        self.tell(Paused(seconds=seconds))

    def tell(self, event: Event, *, of_batch: bool = False, customer_id: str | None = None) -> None:
        """Tell the caller's function, and the log."""
        level = _logs.level(event, of_batch=of_batch)
        if _logs.LOGGER.isEnabledFor(level):
            with harmless():
                _logs.log(event, level, customer_id=customer_id)
        if self._on_event is not None:
            with harmless():
                self._on_event(event)


class Trace:
    """A call that is watched."""

    __slots__ = (
        "_again", "_attempts", "_began", "_customer_id", "_observer", "_of_batch", "_operation", "_ref",
        "_span", "_waited", "number",
    )  # fmt: skip

    def __init__(
        self,
        observer: Observer,
        number: int,
        operation: Operation,
        ref: str | None,
        customer_id: str | None,
        span: CallSpan | None,
        *,
        of_batch: bool,
    ) -> None:
        self._observer = observer
        self.number = number
        self._operation: Operation = operation
        self._ref = ref
        self._customer_id = customer_id
        self._span = span
        self._of_batch = of_batch
        self._began = observer.clock()
        self._waited: float | None = 0.0
        self._attempts: dict[Operation, int] = {}
        self._again: tuple[Operation, str, float] | None = None

    def began_before(self, began: float, requests: int) -> None:
        """Count what was not watched; nobody knows how long it waited."""
        self._began, self._waited = began, None
        self._attempts[self._operation] = requests

    def waited(self, since: float) -> None:
        """Count how long the call waited for its turn."""
        seconds = self._observer.clock() - since
        if self._waited is not None:
            self._waited += seconds
        if self._span is not None:
            with harmless():
                self._span.waited(seconds)

    def attempt(self, operation: Operation, url: str) -> Attempt:
        """Begin a request of the call, which may be a repetition."""
        self._tell_again(operation)
        count = self._attempts[operation] = self._attempts.get(operation, 0) + 1
        span = None
        if self._span is not None:
            with harmless():
                span = self._span.begin_attempt(operation, url)
        self._observer.tell(AttemptSent(operation=operation, call=self.number, attempt=count, ref=self._ref))
        return Attempt(self._observer, self.number, operation, count, self._ref, span)

    def again(self, operation: Operation, reason: str, delay: float) -> None:
        """Note that the last request is to be repeated, which is told only when it is.

        There may be no connection for it, no token or no time.
        """
        self._again = operation, reason, delay

    def _tell_again(self, operation: Operation) -> None:
        """Tell that a request is repeated, where this is one that is."""
        again, self._again = self._again, None
        attempt = self._attempts.get(operation)
        if again is None or again[0] != operation or attempt is None:
            return
        if self._span is not None:
            with harmless():
                self._span.retried(operation)
        _, reason, delay = again
        self._observer.tell(
            Retried(
                operation=operation,
                call=self.number,
                attempt=attempt,
                reason=reason,
                delay=delay,
                ref=self._ref,
            )
        )

    def ended(
        self,
        ending: Ending,
        *,
        error: BaseException | None = None,
        claim_id: str | None = None,
        recovered: bool = False,
    ) -> None:
        """Tell how the call ended."""
        status: object = getattr(error, "status", None)
        event = CallEnded(
            operation=self._operation,
            call=self.number,
            ending=ending,
            attempts=sum(self._attempts.values()),
            seconds=self._observer.clock() - self._began,
            waited=self._waited,
            ref=self._ref,
            claim_id=claim_id,
            status=status if isinstance(status, int) else None,
            error=None if error is None else type(error).__name__,
            recovered=recovered,
        )
        if self._span is not None:
            with harmless():
                self._span.end(event)
        self._observer.tell(event, of_batch=self._of_batch, customer_id=self._customer_id)


class Attempt:
    """A request that is watched."""

    __slots__ = ("_began", "_call", "_count", "_observer", "_operation", "_ref", "_span")

    def __init__(
        self,
        observer: Observer,
        call: int | None,
        operation: Operation,
        count: int,
        ref: str | None,
        span: AttemptSpan | None,
    ) -> None:
        self._observer = observer
        self._call = call
        self._operation: Operation = operation
        self._count = count
        self._ref = ref
        self._span = span
        self._began = observer.clock()

    @property
    def headers(self) -> Mapping[str, str]:
        """What is to be sent besides, so that the server's trace goes on from here."""
        return _NO_HEADERS if self._span is None else self._span.headers

    def ended(
        self, status: int | None, failure: AttemptFailure | None = None, reason: str | None = None
    ) -> None:
        """Tell how the request ended: with a status, or with a failure and its reason."""
        seconds = self._observer.clock() - self._began
        if self._span is not None:
            with harmless():
                self._span.end(status, failure, seconds)
        self._observer.tell(
            AttemptEnded(
                operation=self._operation,
                call=self._call,
                attempt=self._count,
                seconds=seconds,
                status=status,
                reason=failure if reason is None else reason,
                ref=self._ref,
            )
        )
