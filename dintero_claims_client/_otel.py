"""What OpenTelemetry is told, where it is installed and set up: spans by its HTTP conventions, and metrics.

A span for each call, and in it one for each request. The only importer of `opentelemetry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._harmless import harmless
from ._version import __version__
from .events import CallEnded, Operation

if TYPE_CHECKING:
    from opentelemetry.context import Context


_NAME = "dintero_claims_client"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

ROUTES: Mapping[Operation, tuple[str, str]] = {
    "claim_discounts": ("POST", "/accounts/{aid}/discounts/available_for_receipt/claims"),
    "list_claims": ("GET", "/accounts/{aid}/discounts/available_for_receipt/claims"),
    "get_claim": ("GET", "/accounts/{aid}/discounts/available_for_receipt/claims/{claim_id}"),
    "token": ("POST", "/accounts/{oid}/auth/token"),
}
"""The contract's paths: a URL has ids in it, and would be another name for each."""

_SUPPRESSED = (getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"), True)
"""Told to instrumented HTTP libraries below, which would make a second span of each request. They share the
key, which is made anew in each process, under a private name, and older ones a plain one."""

# Only the trace: what else an application propagates within itself is nothing for another company.
_PROPAGATOR = TraceContextTextMapPropagator()

_SECONDS = "s"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Those of the HTTP conventions. The SDK's own are made for milliseconds: most is below their first, 5."""


def make_telemetry() -> Telemetry | None:
    """Return what tells OpenTelemetry; None where the application has set up neither traces nor metrics."""
    providers = (trace.get_tracer_provider(), metrics.get_meter_provider())
    if not any(_is_set_up(provider) for provider in providers):
        return None
    return Telemetry()


def _is_set_up(provider: object) -> bool:
    # What stands in for a provider until there is one is the API's own. Its name says nothing: others have
    # providers that are set up and are named proxies.
    module = f"{type(provider).__module__}."
    return not module.startswith(("opentelemetry.trace.", "opentelemetry.metrics."))


def _durations(meter: metrics.Meter, name: str, description: str) -> metrics.Histogram:
    return meter.create_histogram(name, _SECONDS, description, explicit_bucket_boundaries_advisory=_BUCKETS)


class Telemetry:
    """Spans and metrics of one client."""

    def __init__(self) -> None:
        self.tracer = trace.get_tracer(_NAME, __version__, schema_url=_SCHEMA)
        meter = metrics.get_meter(_NAME, __version__, schema_url=_SCHEMA)
        self.request_duration = _durations(
            meter, "http.client.request.duration", "Duration of HTTP client requests."
        )
        self.call_duration = _durations(
            meter, "dintero.claims.call.duration", "Duration of calls, with all their requests, by outcome."
        )
        self.outcomes = meter.create_counter(
            "dintero.claims.calls", "{call}", "Calls that ended, by outcome."
        )
        self.retries = meter.create_counter(
            "dintero.claims.retries", "{request}", "Requests that were repeated."
        )
        self.refreshes = meter.create_counter(
            "dintero.claims.token.refreshes", "{request}", "Access tokens that were asked for, by outcome."
        )
        self.in_flight = meter.create_up_down_counter(
            "dintero.claims.calls.active", "{call}", "Calls that are under way."
        )
        self.limiter_wait = _durations(
            meter, "dintero.claims.limiter.wait", "How long requests waited for a connection."
        )

    def begin_call(self, operation: Operation, ref: str | None) -> CallSpan:
        """Begin the span of a call, below whatever span the caller is in."""
        return CallSpan(self, operation, ref)

    def begin_attempt(
        self, parent: Context | None, operation: Operation, url: str, *, resends: int = 0
    ) -> AttemptSpan:
        """Begin the span of a request, the same of which was sent so many times before."""
        return AttemptSpan(self, parent, operation, url, resends)

    def refreshed(self, reason: str | None) -> None:
        """Count a token that was asked for."""
        self.refreshes.add(1, {"dintero.token.outcome": "issued" if reason is None else "failed"})


class CallSpan:
    """A call, as OpenTelemetry sees it."""

    def __init__(self, telemetry: Telemetry, operation: Operation, ref: str | None) -> None:
        self._telemetry = telemetry
        self._facts: dict[str, str] = {"dintero.operation": operation}
        self._sent: Counter[tuple[Operation, str]] = Counter()
        self._span = telemetry.tracer.start_span(f"dintero.{operation}", attributes=self._facts)
        try:
            if ref is not None:
                self._span.set_attribute("dintero.claim.ref", ref)
            self._context = trace.set_span_in_context(self._span)
            telemetry.in_flight.add(1, self._facts)
        except BaseException:
            # Nobody has it, to end it later.
            self._span.end()
            raise

    def waited(self, seconds: float) -> None:
        """Count how long a request waited for its turn."""
        self._telemetry.limiter_wait.record(seconds, self._facts)

    def begin_attempt(self, operation: Operation, url: str) -> AttemptSpan:
        """Begin the span of a request of the call."""
        # Another page is another request, and no repetition.
        resends = self._sent[operation, url]
        self._sent[operation, url] += 1
        return self._telemetry.begin_attempt(self._context, operation, url, resends=resends)

    def retried(self, operation: Operation) -> None:
        """Count a request that is repeated."""
        self._telemetry.retries.add(1, {"dintero.operation": operation})

    def end(self, ended: CallEnded) -> None:
        """End the span, and count how the call ended."""
        facts = {**self._facts, "dintero.call.outcome": ended.ending}
        if ended.error is not None:
            facts["error.type"] = ended.error
        # Each alone: one that fails is no reason for the others to be wrong, and for the span to stay open.
        with harmless():
            self._telemetry.in_flight.add(-1, self._facts)
        with harmless():
            self._telemetry.outcomes.add(1, facts)
        with harmless():
            self._telemetry.call_duration.record(ended.seconds, facts, self._context)
        span = self._span
        span.set_attributes(facts)
        span.set_attribute("dintero.call.requests", ended.attempts)
        if ended.recovered:
            span.set_attribute("dintero.claim.recovered", ended.recovered)
        if ended.claim_id is not None:
            span.set_attribute("dintero.claim.id", ended.claim_id)
        if ended.error is not None:
            span.set_status(Status(StatusCode.ERROR, ended.ending))
        span.end()


class AttemptSpan:
    """A request, as OpenTelemetry sees it; it is the current span until it ends."""

    def __init__(
        self, telemetry: Telemetry, parent: Context | None, operation: Operation, url: str, resends: int
    ) -> None:
        self._telemetry = telemetry
        method, route = ROUTES[operation]
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._facts: dict[str, str | int] = {
            "http.request.method": method,
            "server.address": parts.hostname or "",
            "server.port": port,
            "url.scheme": parts.scheme,
            "url.template": route,
        }
        self._span = telemetry.tracer.start_span(
            f"{method} {route}", parent, SpanKind.CLIENT, {**self._facts, "url.full": url}
        )
        self.headers: dict[str, str] = {}
        """What tells the server which trace this is part of."""
        try:
            if resends:
                self._span.set_attribute("http.request.resend_count", resends)
            suppressed = context.set_value(*_SUPPRESSED, parent)
            self._context = trace.set_span_in_context(self._span, suppressed)
            _PROPAGATOR.inject(self.headers, self._context)
            self._attached: Token[Context] = context.attach(self._context)
        except BaseException:
            # As above.
            self._span.end()
            raise

    def end(self, status: int | None, failure: str | None, seconds: float) -> None:
        """End the span, in the task that began it."""
        context.detach(self._attached)
        facts, span = self._facts, self._span
        if status is not None and status >= 400:
            failure = str(status)
        if status is not None:
            facts["http.response.status_code"] = status
            span.set_attribute("http.response.status_code", status)
        if failure is not None:
            facts["error.type"] = failure
            span.set_attribute("error.type", failure)
            span.set_status(Status(StatusCode.ERROR))
        with harmless():
            self._telemetry.request_duration.record(seconds, facts, self._context)
        span.end()
