"""What OpenTelemetry is told, as an application would export it; and nothing without it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.fake_server import HANG, RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    OutcomeUnknownError,
    RefConflictError,
    RetryPolicy,
)
from dintero_claims_client._otel import ROUTES, make_telemetry
from dintero_claims_client.events import Retried

ROOT = Path(__file__).resolve().parents[2]
CLAIM = "POST /accounts/{aid}/discounts/available_for_receipt/claims"
LIST = "GET /accounts/{aid}/discounts/available_for_receipt/claims"
TOKEN = "POST /accounts/{oid}/auth/token"


class Told:
    """What OpenTelemetry was told."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])

    def spans(self, name=None):
        return [span for span in self._exporter.get_finished_spans() if name in (None, span.name)]

    def span(self, name):
        (span,) = self.spans(name)
        return span

    def bounds(self):
        """Return the bounds of each histogram's buckets."""
        return {
            metric.name: point.explicit_bounds
            for resource in self._reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if hasattr(point, "explicit_bounds")
        }

    def shown_metrics(self):
        return self._reader.get_metrics_data().to_json()

    def points(self, name):
        """Return the points of a metric: the attributes, and the sum or the number of values."""
        data = self._reader.get_metrics_data()
        return {
            tuple(sorted(point.attributes.items())): getattr(point, "value", getattr(point, "count", None))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def told(monkeypatch):
    """Set OpenTelemetry up for one test."""
    told = Told()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: told.tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: told.meters)
    monkeypatch.setattr(trace, "get_tracer", lambda *args, **kwargs: told.tracers.get_tracer(*args, **kwargs))
    monkeypatch.setattr(metrics, "get_meter", lambda *args, **kwargs: told.meters.get_meter(*args, **kwargs))
    return told


def _is_instrumented():
    """Say what `opentelemetry.instrumentation` does, by which libraries that are instrumented go."""
    return not context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)


def _parent(span):
    return None if span.parent is None else span.parent.span_id


async def test_spans_of_a_claim(engine, told, server, make_client, make_request):
    """A claim is a span, and its request a client span in it, by the HTTP conventions."""
    client = await make_client(engine)
    claim = await client.claim(make_request("order-1"))
    call = told.span("dintero.claim_discounts")
    assert call.kind is SpanKind.INTERNAL
    assert call.attributes == {
        "dintero.operation": "claim_discounts",
        "dintero.claim.ref": "order-1",
        "dintero.claim.id": claim.id,
        "dintero.call.outcome": "taken",
        "dintero.call.requests": 1,
    }
    assert call.status.status_code is StatusCode.UNSET
    request = told.span(CLAIM)
    assert request.kind is SpanKind.CLIENT
    assert _parent(request) == call.context.span_id
    assert request.attributes == {
        "http.request.method": "POST",
        "url.full": f"{server.base_url}/accounts/T12345678/discounts/available_for_receipt/claims",
        "url.scheme": "http",
        "url.template": "/accounts/{aid}/discounts/available_for_receipt/claims",
        "server.address": "localhost",
        "server.port": server.port,
        "http.response.status_code": 200,
    }
    assert request.status.status_code is StatusCode.UNSET
    assert call.start_time <= request.start_time <= request.end_time <= call.end_time
    assert told.span(TOKEN).attributes["http.response.status_code"] == 200


async def test_the_trace_goes_on_at_the_server(engine, told, server, make_client, make_request):
    """Each request carries its own span as W3C trace context, and none of the application's baggage."""
    client = await make_client(engine)
    carried = context.attach(baggage.set_baggage("shopper", "912"))
    await client.claim(make_request())
    context.detach(carried)
    request = told.span(CLAIM)
    headers = server.posts[0].headers
    ids = f"{request.context.trace_id:032x}-{request.context.span_id:016x}"
    assert headers["traceparent"] == f"00-{ids}-{request.context.trace_flags:02x}"
    assert "baggage" not in headers
    token = told.span(TOKEN)
    assert f"{token.context.span_id:016x}" in server.token_requests[0].headers["traceparent"]


async def test_a_call_is_part_of_what_called_it(told, make_client, make_request):
    """The span of a call is below the one that the application is in."""
    client = await make_client()
    with told.tracers.get_tracer("shop").start_as_current_span("checkout") as checkout:
        await client.claim(make_request())
        assert trace.get_current_span() is checkout
    assert _parent(told.span("dintero.claim_discounts")) == checkout.get_span_context().span_id


async def test_repetitions_are_counted(told, server, make_client, make_request):
    """Each attempt is a span with its resend count, and what failed has an error type."""
    client = await make_client()
    server.on_claim += [error_answer(503), RESET, error_answer(401)]
    await client.claim(make_request())
    attempts = told.spans(CLAIM)
    facts = [
        (
            span.attributes.get("http.request.resend_count"),
            span.attributes.get("http.response.status_code"),
            span.attributes.get("error.type"),
            span.status.status_code.name,
        )
        for span in attempts
    ]
    assert facts == [
        (None, 503, "503", "ERROR"),
        (1, None, "no_answer", "ERROR"),
        (2, 401, "401", "ERROR"),
        (3, 200, None, "UNSET"),
    ]
    assert told.points("dintero.claims.retries") == {(("dintero.operation", "claim_discounts"),): 3}
    assert told.span("dintero.claim_discounts").attributes["dintero.call.requests"] == 4


async def test_another_page_is_no_repetition(told, server, make_client, make_request):
    """A page counts as asked for again where the same one was, and not where it is another of the call."""

    def take_and_bury(incoming):
        server.commit(incoming)
        server.claims += [{"id": f"claim-{n}", "ref": f"other-{n}"} for n in range(150)]
        return RESET

    client = await make_client()
    server.on_claim.append(take_and_bury)
    server.on_read += [server._page, error_answer(503)]
    await client.claim(make_request())
    pages = [
        (span.attributes["url.full"].partition("?")[2], span.attributes.get("http.request.resend_count"))
        for span in told.spans(LIST)
    ]
    assert pages == [
        ("limit=100", None),
        ("limit=100&starting_after=claim-50", None),
        ("limit=100&starting_after=claim-50", 1),
    ]


async def test_looking_for_a_claim_is_one_span(told, server, make_client):
    """All pages that are read to find a claim are spans of one call, which counts once."""
    client = await make_client()
    server.claims += [{"id": f"claim-{n}", "ref": f"order-{n}"} for n in range(250)]
    await client.find_claim(ref="order-0")
    call = told.span("dintero.list_claims")
    assert call.attributes["dintero.claim.ref"] == "order-0"
    pages = told.spans(LIST)
    assert len(pages) == call.attributes["dintero.call.requests"] == 3
    assert {_parent(page) for page in pages} == {call.context.span_id}
    assert list(told.points("dintero.claims.calls").values()) == [1]
    assert list(told.points("dintero.claims.calls.active").values()) == [0]


async def test_a_repetition_that_is_not_sent_does_not_count(told, server, make_client, make_request):
    """A claim whose token is refused, and that gets no other, adds nothing to what is repeated."""
    client = await make_client()
    server.on_claim.append(error_answer(401))
    server.on_token += [server.give_token, error_answer(401)]
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    assert told.points("dintero.claims.retries") == {}


async def test_a_look_is_part_of_its_claim(told, server, make_client, make_request):
    """The pages that are read to find a claim are spans of its call, and it is marked as recovered."""
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    server.on_claim.append(server.commit_then(RESET))
    await client.claim(make_request())
    call = told.span("dintero.claim_discounts")
    assert _parent(told.span(LIST)) == call.context.span_id
    assert call.attributes["dintero.claim.recovered"] is True


@pytest.mark.parametrize(
    ("step", "raised", "outcome"),
    [(error_answer(409), RefConflictError, "refused"), (HANG, OutcomeUnknownError, "unknown")],
)
async def test_what_fails_is_an_error(told, server, make_client, make_request, step, raised, outcome):
    """A call that raises is a span with an error, and counts with its outcome and error."""
    client = await make_client()
    server.on_claim += [step] * 9
    server.on_read += [HANG] * 9
    with pytest.raises(raised):
        await client.claim(make_request(), timeout=0.3)
    call = told.span("dintero.claim_discounts")
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["error.type"] == raised.__name__
    assert call.attributes["dintero.call.outcome"] == outcome
    (key,) = told.points("dintero.claims.calls")
    assert dict(key) == {
        "dintero.operation": "claim_discounts",
        "dintero.call.outcome": outcome,
        "error.type": raised.__name__,
    }


async def test_metrics(told, server, make_client, make_request):
    """Durations, outcomes, tokens, waits and calls under way are measured."""
    client = await make_client(max_connections=1)
    server.gate.clear()
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(3)]
    await server.until(lambda: server.held)
    operation = ("dintero.operation", "claim_discounts")
    assert told.points("dintero.claims.calls.active") == {(operation,): 3}
    server.gate.set()
    await asyncio.gather(*calls)
    assert told.points("dintero.claims.calls.active") == {(operation,): 0}
    taken = (("dintero.call.outcome", "taken"), operation)
    assert told.points("dintero.claims.calls") == {taken: 3}
    assert told.points("dintero.claims.call.duration") == {taken: 3}
    assert told.points("dintero.claims.limiter.wait") == {(operation,): 3}
    assert told.points("dintero.claims.token.refreshes") == {(("dintero.token.outcome", "issued"),): 1}
    durations = told.points("http.client.request.duration")
    by_route = {dict(key)["url.template"]: count for key, count in durations.items()}
    assert by_route == {ROUTES["claim_discounts"][1]: 3, ROUTES["token"][1]: 1}
    assert all(dict(key)["http.response.status_code"] == 200 for key in durations)


async def test_buckets_are_for_seconds(told, make_client, make_request):
    """All durations are in the buckets that the HTTP conventions advise for seconds."""
    client = await make_client()
    await client.claim(make_request())
    advised = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert told.bounds() == dict.fromkeys(
        ("http.client.request.duration", "dintero.claims.call.duration", "dintero.claims.limiter.wait"),
        advised,
    )


async def test_instrumented_libraries_make_no_second_span(told, make_client, make_request):
    """Below a request its span is the current one, and HTTP libraries are told that there is one already."""
    seen = []

    def answer(request):
        here = trace.get_current_span().get_span_context().span_id
        seen.append((here, _is_instrumented()))
        if request.url.path.endswith("/auth/token"):
            return httpx.Response(200, json={"access_token": "t", "token_type": "Bearer", "expires_in": 9})
        return httpx.Response(200, json=json.loads(request.content) | {"id": "claim-1"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = await make_client(http_client=http)
        await client.claim(make_request())
    spans = {told.span(TOKEN).context.span_id, told.span(CLAIM).context.span_id}
    assert set(seen) == {(span, False) for span in spans}
    assert _is_instrumented()


async def test_a_caller_that_goes_away(told, server, make_client, make_request):
    """A cancelled call ends its spans, is no longer under way, and leaves the caller's context as it was."""
    client = await make_client()
    server.on_claim.append(HANG)
    call = asyncio.create_task(client.claim(make_request()))
    await server.until(lambda: server.posts)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert told.span(CLAIM).attributes["error.type"] == "cancelled"
    assert told.span("dintero.claim_discounts").attributes["dintero.call.outcome"] == "cancelled"
    assert set(told.points("dintero.claims.calls.active").values()) == {0}
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
async def test_telemetry_that_fails_fails_no_claim(
    told, server, make_client, make_request, monkeypatch, moment
):
    """A processor of spans that raises has no effect on the call, which is repeated and looked up as ever."""

    class Failing(SpanProcessor):
        def on_start(self, span, parent_context=None):
            if moment == "on_start":
                raise ValueError("what nobody may know")

        def on_end(self, span):
            if moment == "on_end":
                raise ValueError("what nobody may know")

    told.tracers.add_span_processor(Failing())
    client = await make_client()
    server.on_claim += [error_answer(503), error_answer(401)]
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "name",
    [
        "http.client.request.duration", "dintero.claims.call.duration", "dintero.claims.calls",
        "dintero.claims.calls.active", "dintero.claims.limiter.wait", "dintero.claims.retries",
        "dintero.claims.token.refreshes",
    ],
)  # fmt: skip
async def test_a_metric_that_fails_leaves_no_span_open(
    told, server, make_client, make_request, monkeypatch, caplog, name
):
    """A metric that raises fails neither the call nor the others, and each span that was begun ends."""
    begun, ended = [], []

    class Counting(SpanProcessor):
        def on_start(self, span, parent_context=None):
            begun.append(span.name)

        def on_end(self, span):
            ended.append(span.name)

    class Failing:
        def add(self, *_, **__):
            raise ValueError("what nobody may know")

        record = add

    told.tracers.add_span_processor(Counting())
    meter = told.meters.get_meter("dintero_claims_client")
    for kind in ("create_counter", "create_histogram", "create_up_down_counter"):
        real = getattr(meter, kind)
        monkeypatch.setattr(
            meter,
            kind,
            lambda made, *args, real=real, **kwargs: (
                Failing() if made == name else real(made, *args, **kwargs)
            ),
        )
    monkeypatch.setattr(metrics, "get_meter", lambda *_, **__: meter)
    client = await make_client()
    server.on_claim += [error_answer(503)]
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert "event=watching_failed error=ValueError" in caplog.messages
    assert sorted(begun) == sorted(ended)
    if name != "dintero.claims.calls.active":
        assert set(told.points("dintero.claims.calls.active").values()) == {0}
        assert bool(told.points("dintero.claims.calls")) == (name != "dintero.claims.calls")
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_set_up_that_fails_fails_no_claim(
    told, server, make_client, make_request, monkeypatch, caplog
):
    """Where OpenTelemetry cannot be asked because its set-up is wrong, claims go on without it."""

    def fail():
        raise ValueError("what nobody may know")

    monkeypatch.setattr(trace, "get_tracer_provider", fail)
    client = await make_client()
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert "event=watching_failed error=ValueError" in caplog.messages
    assert "nobody may know" not in caplog.text


async def test_a_turn_that_is_not_waited_for(told, server, make_client, make_request):
    """How long a call waited is measured also where its caller goes away meanwhile."""
    client = await make_client(max_connections=1)
    server.gate.clear()
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(2)]
    await server.until(lambda: server.held)
    calls[1].cancel()
    server.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert told.points("dintero.claims.limiter.wait") == {(("dintero.operation", "claim_discounts"),): 2}


async def test_no_secret_and_no_customer(told, server, make_client, make_request):
    """Spans hold neither the customer nor anything of the credentials."""
    client = await make_client()
    await client.claim(make_request(customer_id="customer-912"))
    shown = "".join(span.to_json() for span in told.spans())
    assert "customer-912" not in shown
    assert "Bearer" not in shown
    assert "Basic" not in shown


async def test_nothing_that_the_server_says_is_told(engine, told, server, make_client, make_request, caplog):
    """Whatever a server says of customers is in no event, no line and no span: only its statuses are."""
    events = []
    said = "customer-912 and customer-947"

    def say(status, **headers):
        form = {"code": said, "message": said, "errors": [{"message": said}]}
        answer = json_answer({"error": form}, status, headers={"X-Request-Id": said} | headers)
        return Answer(raw=answer.bytes().replace(b" X\r\n", f" {said}\r\n".encode(), 1))

    nonsense = Answer(raw=f"{said}\r\n\r\n".encode(), then="close")
    later = {"Retry-After": "0"}
    client = await make_client(engine, on_event=events.append)
    server.on_claim += [say(429, **later), say(401), say(503), server.commit_then(nonsense), say(409)]
    server.on_read += [say(401), say(401), say(429, **later), say(503), nonsense, say(400)]
    await client.claim(make_request("order-2", customer_id="customer-912"))
    for status in (400, 403, 409):
        server.on_claim += [say(status)]
        with pytest.raises(APIStatusError, match=said):
            await client.claim(make_request("order-3", customer_id="customer-912"))
    refused = await make_client(engine, on_event=events.append)
    server.on_token += [say(401)]
    with pytest.raises(AuthenticationError, match=said):
        await refused.claim(make_request("order-4", customer_id="customer-912"))
    lines = [record for record in caplog.records if record.name == "dintero_claims_client"]
    spans = told.spans()
    for shown in (
        repr(events),
        "".join(f"{line.getMessage()} {line.__dict__}" for line in lines),
        "".join(span.to_json() for span in spans),
        told.shown_metrics(),
    ):
        assert "order-2" in shown or "dintero.claims.retries" in shown
        assert "customer-9" not in shown
    reasons = {event.reason for event in events if isinstance(event, Retried)}
    assert reasons >= {
        *(f"the server answered {status}" for status in (401, 429, 503)),
        "the token was refused",
    }
    assert not server.on_claim
    assert not server.on_read


def test_the_routes_are_the_contracts():
    """The names of spans are methods and paths of the contract."""
    document = yaml.safe_load((ROOT / "openapi/discounts.yaml").read_text())
    operations = {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    }
    assert {name: ROUTES[name] for name in operations} == operations
    assert set(ROUTES) - set(operations) == {"token"}


def test_what_is_not_set_up_is_not_told():
    """Where the application has set up nothing there is nobody to tell."""
    assert make_telemetry() is None


@pytest.mark.parametrize("tracers", [trace.ProxyTracerProvider, trace.NoOpTracerProvider])
def test_what_stands_in_for_a_provider_is_not_told(monkeypatch, tracers):
    """What the API itself puts in the place of a provider is nobody to tell, whichever it is."""
    monkeypatch.setattr(trace, "get_tracer_provider", tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)
    assert make_telemetry() is None


async def test_providers_that_are_named_proxies(told, server, make_client, make_request, monkeypatch):
    """Providers of others that pass on to those of the SDK are told, though their names are of proxies."""

    class ProxyTracerProvider(trace.TracerProvider):
        def get_tracer(self, *args, **kwargs):
            return told.tracers.get_tracer(*args, **kwargs)

    class ProxyMeterProvider(metrics.MeterProvider):
        def get_meter(self, *args, **kwargs):
            return told.meters.get_meter(*args, **kwargs)

    monkeypatch.setattr(trace, "get_tracer_provider", ProxyTracerProvider)
    monkeypatch.setattr(metrics, "get_meter_provider", ProxyMeterProvider)
    client = await make_client()
    await client.claim(make_request())
    assert told.span("dintero.claim_discounts")
    assert told.points("dintero.claims.calls")
    assert "traceparent" in server.posts[0].headers


@pytest.mark.parametrize("imported", ["", "import opentelemetry.trace, opentelemetry.metrics"])
def test_without_opentelemetry(imported):
    """Where the package is absent nothing breaks; where it is there and not used, it is not imported."""
    code = f"""
import asyncio, sys
if not {imported!r}:
    class Absent:
        def find_spec(self, name, *_):
            if name.partition(".")[0] == "opentelemetry":
                raise ModuleNotFoundError(name, name=name)
    sys.meta_path.insert(0, Absent())
{imported}
from dintero_claims_client import ClaimsClient, NotSentError
async def main():
    async with ClaimsClient(
        account_id="T12345678", client_id="c", client_secret="s", base_url="http://127.0.0.1:9", timeout=0.2
    ) as client:
        try:
            await client.get_claim("x")
        except NotSentError:
            print("not sent", "opentelemetry" in sys.modules, "dintero_claims_client._otel" in sys.modules)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    there = bool(imported)
    assert done.stdout == f"not sent {there} {there}\n"
