"""What a client tells those who watch it: the events of a call, and the log."""

import asyncio
import json
import logging
import re
from functools import partial
from unittest.mock import AsyncMock, Mock

import pytest
from support.fake_server import HANG, RESET, error_answer

from dintero_claims_client import (
    AuthenticationError,
    Claimed,
    ClaimsClient,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    RetryPolicy,
    Unknown,
)
from dintero_claims_client._harmless import harmless
from dintero_claims_client._observing import Observer
from dintero_claims_client.events import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    Paused,
    Refreshed,
    Retried,
)

LOGGER = "dintero_claims_client"


def _kinds(events):
    return [type(event).__name__ for event in events]


def _lines(caplog, least=logging.INFO):
    return [record for record in caplog.records if record.name == LOGGER and record.levelno >= least]


async def test_a_claim_that_is_taken_at_once(engine, make_client, make_request):
    """A token is asked for, the claim sent and answered, and the call ends as taken."""
    events = []
    client = await make_client(engine, on_event=events.append)
    claim = await client.claim(make_request("order-1"))
    sent, answered, refreshed, claim_sent, claim_answered, ended = events
    assert (sent.operation, sent.call) == (answered.operation, answered.call) == ("token", None)
    assert answered.status == 200
    assert refreshed == Refreshed(seconds=refreshed.seconds)
    assert claim_sent == AttemptSent(operation="claim_discounts", call=1, attempt=1, ref="order-1")
    assert claim_answered == AttemptEnded(
        operation="claim_discounts",
        call=1,
        attempt=1,
        seconds=claim_answered.seconds,
        status=200,
        ref="order-1",
    )
    assert ended == CallEnded(
        operation="claim_discounts",
        call=1,
        ending="taken",
        attempts=1,
        seconds=ended.seconds,
        waited=ended.waited,
        ref="order-1",
        claim_id=claim.id,
    )
    assert 0 <= ended.waited < ended.seconds
    assert claim_answered.seconds <= ended.seconds


async def test_a_claim_that_is_repeated(server, make_client, make_request):
    """Each repetition is told with its reason and delay, and counts as an attempt of the same call."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim += [error_answer(503), RESET]
    await client.claim(make_request())
    told = [event for event in events if getattr(event, "call", None) == 1]
    assert _kinds(told) == [
        *("AttemptSent", "AttemptEnded", "Retried") * 2, "AttemptSent", "AttemptEnded", "CallEnded",
    ]  # fmt: skip
    first, second = told[2], told[5]
    assert (first.attempt, first.reason, first.ref) == (1, "the server answered 503", "order-1")
    assert second.attempt == 2
    assert 0 <= first.delay <= 0.01
    lost = told[4]
    assert lost.status is None
    assert lost.reason in second.reason
    assert (told[-1].ending, told[-1].attempts) == ("taken", 3)


async def test_a_refused_token_is_a_repetition(server, make_client, make_request):
    """A 401 is told, and so is the repetition with a new token."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim.append(error_answer(401))
    await client.claim(make_request())
    (retried,) = (event for event in events if isinstance(event, Retried))
    assert (retried.attempt, retried.reason, retried.delay) == (1, "the token was refused", 0.0)
    assert len([event for event in events if isinstance(event, Refreshed)]) == 2


async def test_a_token_that_is_not_replaced(server, make_client, make_request):
    """A claim whose token is refused, and that gets no other, is not sent again and not told as repeated."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim.append(error_answer(401))
    server.on_token += [server.give_token, error_answer(401)]
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    assert len(server.posts) == 1
    assert "Retried" not in _kinds(events)
    assert events[-1].attempts == 1


def test_a_repetition_is_told_when_it_is_sent():
    """What is to be repeated is told with the request that repeats it, and where one was sent before."""
    events = []
    observer = Observer(events.append, None, clock=lambda: 0.0)
    trace = observer.begin("claim_discounts")
    trace.again("claim_discounts", "no token", 1.0)
    trace.attempt("claim_discounts", "http://localhost/")
    trace.again("claim_discounts", "the server answered 503", 2.0)
    trace.attempt("list_claims", "http://localhost/")
    trace.attempt("claim_discounts", "http://localhost/")
    assert _kinds(events) == ["AttemptSent"] * 3
    trace.again("claim_discounts", "the server answered 503", 2.0)
    assert _kinds(events) == ["AttemptSent"] * 3
    trace.attempt("claim_discounts", "http://localhost/")
    assert _kinds(events[3:]) == ["Retried", "AttemptSent"]
    assert events[3] == Retried(
        operation="claim_discounts", call=1, attempt=2, reason="the server answered 503", delay=2.0
    )


async def test_a_claim_that_is_looked_up(server, make_client, make_request):
    """The pages that are read to find a claim are attempts of its call, which ends as recovered."""
    events = []
    client = await make_client(on_event=events.append, retry=RetryPolicy(max_attempts=1))
    server.on_claim.append(server.commit_then(RESET))
    await client.claim(make_request())
    ended = events[-1]
    assert (ended.ending, ended.recovered, ended.attempts) == ("taken", True, 2)
    assert [(event.operation, event.call) for event in events if isinstance(event, AttemptSent)] == [
        ("token", None),
        ("claim_discounts", 1),
        ("list_claims", 1),
    ]
    assert len([event for event in events if isinstance(event, CallEnded)]) == 1


@pytest.mark.parametrize(
    ("step", "raised", "ending", "status"),
    [
        (error_answer(409), RefConflictError, "refused", 409),
        (error_answer(429, headers={"Retry-After": "99"}), RateLimitedError, "refused", 429),
        (error_answer(403), PermissionDeniedError, "refused", 403),
        (HANG, OutcomeUnknownError, "unknown", None),
    ],
)
async def test_a_claim_that_is_not_taken(server, make_client, make_request, step, raised, ending, status):
    """The end of a call says how it ended, and the error's name and status."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim += [step] * 20
    server.on_read += [HANG] * 20
    with pytest.raises(raised) as error:
        await client.claim(make_request(), timeout=0.3)
    ended = events[-1]
    assert (ended.ending, ended.status, ended.error) == (ending, status, type(error.value).__name__)


async def test_a_caller_that_goes_away(server, make_client, make_request):
    """A call that is cancelled ends as cancelled, and so does its request, which was sent."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim.append(HANG)
    call = asyncio.create_task(client.claim(make_request()))
    await server.until(lambda: server.posts)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    attempt, ended = events[-2:]
    assert (attempt.status, attempt.reason) == (None, "cancelled")
    assert (ended.ending, ended.attempts, ended.error) == ("cancelled", 1, None)
    assert client.stats().cancelled == 1


async def test_without_credentials_that_are_good(server, make_client, make_request):
    """A token that is refused is told with its reason, and the claim as not sent."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_token.append(error_answer(401))
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    (refreshed,) = (event for event in events if isinstance(event, Refreshed))
    assert refreshed.reason == "the token endpoint answered 401"
    assert (events[-1].ending, events[-1].attempts, events[-1].status) == ("not_sent", 0, 401)


async def test_a_pause_of_all(server, make_client, make_request):
    """When the server asks one of many to slow down, the pause is told once."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_claim += [error_answer(429, headers={"Retry-After": "1"})] * 5
    calls = [client.claim(make_request(f"order-{n}"), timeout=0.5) for n in range(5)]
    await asyncio.gather(*calls, return_exceptions=True)
    (paused,) = (event for event in events if isinstance(event, Paused))
    assert 0.5 < paused.seconds <= 1


async def test_a_pause_that_grows(server, make_client, make_request):
    """A longer pause than the one that was told is told too, also where both answers are to one push-back."""
    events = []
    client = await make_client(on_event=events.append)
    server.gate.clear()
    server.on_claim += [
        error_answer(429, headers={"Retry-After": str(seconds)}) for seconds in (2, 1, 2, 20, 20)
    ]
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"), timeout=1)) for n in range(5)]
    await server.until(lambda: server.held == 5)
    server.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)
    # Their answers come in any order; what is told last is what holds.
    told = [event.seconds for event in events if isinstance(event, Paused)]
    assert told == sorted(told)
    assert 1 <= len(told) <= 3
    assert 19 < told[-1] <= 20


async def test_reads_are_calls(server, make_client, make_request):
    """Reading a claim, and each page of the list, is a call; one that is refused or not answered says so."""
    events = []
    client = await make_client(on_event=events.append, timeout=0.3)
    claim = await client.claim(make_request())
    await client.get_claim(claim.id)
    async for _ in client.list_claims():
        pass
    with pytest.raises(NotFoundError):
        await client.get_claim("none")
    server.on_read.append(HANG)
    with pytest.raises(NoAnswerError):
        await client.get_claim(claim.id)
    ended = [(event.operation, event.ending) for event in events if isinstance(event, CallEnded)]
    assert ended[0] == ("claim_discounts", "taken")
    assert ended[1] == ("get_claim", "read")
    assert set(ended[2:-2]) == {("list_claims", "read")}
    assert ended[-2:] == [("get_claim", "refused"), ("get_claim", "no_answer")]


@pytest.mark.parametrize("ref", ["order-0", "none"])
async def test_looking_for_a_claim_is_one_call(server, make_client, make_request, caplog, ref):
    """However many pages are read to find a claim, that is one call and one line, with the ref."""
    events = []
    client = await make_client(on_event=events.append)
    server.claims += [{"id": f"claim-{n}", "ref": f"order-{n}"} for n in range(250)]
    found = await client.find_claim(ref=ref)
    assert (found is None) == (ref == "none")
    (ended,) = (event for event in events if isinstance(event, CallEnded))
    assert (ended.operation, ended.ending, ended.ref) == ("list_claims", "read", ref)
    assert ended.attempts == len(server.reads) > 2
    sent = [event for event in events if isinstance(event, AttemptSent) and event.call is not None]
    assert {(event.call, event.ref) for event in sent} == {(ended.call, ref)}
    assert len(_lines(caplog)) == 1


@pytest.mark.parametrize(
    ("steps", "raised", "ending"),
    [
        ([error_answer(403)], PermissionDeniedError, "refused"),
        ([HANG] * 9, NoAnswerError, "no_answer"),
        (None, NotSentError, "not_sent"),
    ],
)
async def test_a_claim_that_cannot_be_looked_for(server, make_client, steps, raised, ending):
    """Looking for a claim ends as its last page does, and the error is told with it."""
    events = []
    nobody = "http://127.0.0.1:9"
    where = {"base_url": nobody, "token_url": f"{nobody}/t"} if steps is None else {}
    client = await make_client(on_event=events.append, timeout=0.3, **where)
    server.claims.append({"id": "claim-1", "ref": "order-1"})
    server.on_read += [server._page, *(steps or ())]
    with pytest.raises(raised):
        await client.find_claim(ref="order-2")
    (ended,) = (event for event in events if isinstance(event, CallEnded))
    assert (ended.ending, ended.error, ended.ref) == (ending, raised.__name__, "order-2")


async def test_a_caller_that_looks_no_longer(server, make_client):
    """Looking for a claim that is cancelled ends as cancelled, and is no longer under way."""
    events = []
    client = await make_client(on_event=events.append)
    server.on_read.append(HANG)
    call = asyncio.create_task(client.find_claim(ref="order-1"))
    await server.until(lambda: server.reads)
    assert client.stats().in_flight == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (events[-1].ending, events[-1].ref) == ("cancelled", "order-1")
    assert client.stats().in_flight == 0


async def test_draining_while_a_claim_is_looked_for(server, make_client):
    """Looking for a claim goes on through all pages while the client drains, which waits for its end."""
    client = await make_client()
    server.claims += [{"id": f"claim-{n}", "ref": f"order-{n}"} for n in range(250)]
    drains, under_way = [], []

    def drain(incoming):
        drains.append(asyncio.create_task(client.drain(10)))
        return server._page(incoming)

    def count(incoming):
        under_way.append(client.stats().in_flight)
        return server._page(incoming)

    server.on_read += [drain, count]
    found = await client.find_claim(ref="order-0")
    assert found.id == "claim-0"
    assert under_way == [1]
    assert await drains[0]
    with pytest.raises(ClientStateError):
        await client.find_claim(ref="order-0")


async def test_what_is_refused_before_it_begins_is_no_call(server, make_client, make_request, caplog):
    """A claim that breaks a rule, and what a client that drains does not take, has no event and no line."""
    events = []
    client = await make_client(on_event=events.append)
    with pytest.raises(InvalidClaimError):
        await client.claim(make_request(customer_id=""))
    await client.drain(1)
    for call in (client.claim(make_request()), client.get_claim("claim-1"), client.find_claim(ref="order-1")):
        with pytest.raises(ClientStateError):
            await call
    assert events == []
    assert _lines(caplog, logging.DEBUG) == []


async def test_rows_of_a_batch_are_calls(server, make_client, make_request):
    """Each row of a batch is told as a claim of its own."""
    events = []
    client = await make_client(on_event=events.append)
    rows = [make_request(f"order-{n}") for n in range(5)]
    async for outcome in client.claim_many(rows):
        assert isinstance(outcome, Claimed)
    ended = [event for event in events if isinstance(event, CallEnded)]
    assert {event.ref for event in ended} == {f"order-{n}" for n in range(5)}
    assert {event.ending for event in ended} == {"taken"}
    assert len({event.call for event in ended}) == 5


async def test_a_function_that_fails_fails_no_claim(server, make_client, make_request, caplog):
    """What the caller's function raises has no effect on the call, and is logged without its text."""

    def fail(_event):
        raise ValueError("what nobody may know")

    client = await make_client(on_event=fail)
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]
    failures = [record.getMessage() for record in _lines(caplog, logging.ERROR)]
    assert set(failures) == {"event=watching_failed error=ValueError"}
    assert "nobody may know" not in caplog.text


@pytest.mark.parametrize("kind", [AttemptSent, AttemptEnded, Refreshed, Retried, CallEnded])
async def test_a_function_that_cancels_fails_no_claim(server, make_client, make_request, caplog, kind):
    """A cancellation that the caller's function raises is an error of its own, and cancels no claim."""

    def fail(event):
        if isinstance(event, kind):
            raise asyncio.CancelledError

    client = await make_client(on_event=fail)
    server.on_claim.append(error_answer(503))
    outcomes = [outcome async for outcome in client.claim_many([make_request("order-1")])]
    claim = await client.claim(make_request("order-2"))
    assert [type(outcome) for outcome in outcomes] == [Claimed]
    assert [outcomes[0].claim.id, claim.id] == [taken["id"] for taken in server.claims]
    failures = {record.getMessage() for record in _lines(caplog, logging.ERROR)}
    assert failures == {"event=watching_failed error=CancelledError"}


class _Failed(BaseException):
    """As pytest's own: what `pytest.fail` raises is no `Exception`."""


@pytest.mark.parametrize("failure", [_Failed, pytest.fail.Exception])
async def test_what_is_no_exception_fails_no_claim(server, make_client, make_request, caplog, failure):
    """Whatever a function or the log raises, a claim that was taken is told as taken."""

    def fail(_):
        raise failure("what nobody may know")

    logger = logging.getLogger(LOGGER)
    client = await make_client(on_event=fail)
    logger.addFilter(fail)
    try:
        claim = await client.claim(make_request("order-1"))
    finally:
        logger.removeFilter(fail)
    again = await client.claim(make_request("order-2"))
    assert [claim.id, again.id] == [taken["id"] for taken in server.claims]
    failures = {record.getMessage() for record in _lines(caplog, logging.ERROR)}
    assert failures == {f"event=watching_failed error={failure.__name__}"}


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_is_not_kept(ending):
    """What is to end the program ends it, also where it comes while somebody is told."""
    with pytest.raises(ending), harmless():
        raise ending


async def test_a_log_that_fails_fails_no_claim(server, make_client, make_request):
    """A filter of the application's that raises has no effect on the call."""

    def fail(_record):
        raise ValueError("what nobody may know")

    logger = logging.getLogger(LOGGER)
    client = await make_client()
    logger.addFilter(fail)
    try:
        claim = await client.claim(make_request())
    finally:
        logger.removeFilter(fail)
    assert [claim.id] == [taken["id"] for taken in server.claims]


def test_what_is_no_function_is_refused():
    """An `on_event` that cannot be called is refused when the client is made."""
    with pytest.raises(ConfigurationError, match="on_event: must be a function"):
        ClaimsClient(account_id="T12345678", client_id="c", client_secret="s", on_event=1)


async def _watch(_event):
    pass


async def _watch_again(_event):
    yield


class _Watch:
    async def __call__(self, _event):
        pass

    async def see(self, _event, _more=None):
        pass


@pytest.mark.parametrize(
    "hook",
    [
        _watch, _watch_again, _Watch(), _Watch().see, partial(_Watch().see, _more=1), partial(_Watch()),
        partial(partial(_watch)), AsyncMock(),
    ],
    ids=[
        "function", "generator", "object", "method", "partial method", "partial object", "partial partial",
        "mock",
    ],
)  # fmt: skip
def test_what_would_have_to_be_awaited_is_refused(hook):
    """An async function would see no event, in whatever form it is given: it is refused at once."""
    with pytest.raises(ConfigurationError, match="on_event: must be a plain function"):
        ClaimsClient(account_id="T12345678", client_id="c", client_secret="s", on_event=hook)


@pytest.mark.parametrize(
    "hook", [print, [].append, asyncio.Queue().put_nowait, partial(print, "seen"), Mock(), _Watch]
)
def test_what_returns_at_once_is_taken(hook):
    """Functions, methods, partial ones and classes are taken."""
    ClaimsClient(account_id="T12345678", client_id="c", client_secret="s", on_event=hook)


async def test_one_line_for_a_call(engine, make_client, make_request, caplog):
    """At INFO a claim is one line of fields, which are also in the record; its customer is only a hash."""
    client = await make_client(engine)
    claim = await client.claim(make_request("order 1", customer_id="+47 912 34 567"))
    (line,) = _lines(caplog)
    assert line.levelno == logging.INFO
    fields = line.dintero
    assert fields == {
        "event": "call",
        "operation": "claim_discounts",
        "call": 1,
        "ending": "taken",
        "attempts": 1,
        "seconds": fields["seconds"],
        "waited": fields["waited"],
        "ref": "order 1",
        "claim_id": claim.id,
        "recovered": False,
        "customer": fields["customer"],
    }
    assert re.fullmatch("[0-9a-f]{16}", fields["customer"])
    assert line.getMessage() == " ".join(
        f"{name}={json.dumps(value) if value == 'order 1' or not isinstance(value, str) else value}"
        for name, value in fields.items()
    )
    assert "912 34 567" not in caplog.text


async def test_a_customer_is_the_same_hash(make_client, make_request, caplog):
    """The lines of one customer have one hash, and those of another have another."""
    client = await make_client()
    for customer in ("a", "b", "a"):
        await client.claim(make_request(None, customer_id=customer))
    first, second, third = (line.dintero["customer"] for line in _lines(caplog))
    assert first == third != second


async def test_a_ref_cannot_forge_a_line(make_client, make_request, caplog):
    """A ref with what looks like another field, or another line, is one quoted value."""
    client = await make_client()
    await client.claim(make_request("x ending=refused\nevent=call"))
    (line,) = _lines(caplog)
    assert r'ref="x ending=refused\nevent=call"' in line.getMessage()
    assert "\n" not in line.getMessage()


async def test_waiting_for_a_connection_is_told(server, make_client, make_request):
    """A call that waits until another gives its connection back is told to have waited for as long."""
    events = []
    client = await make_client(on_event=events.append, max_connections=1)
    server.gate.clear()
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(2)]
    await server.until(lambda: server.held)
    server.gate.set()
    await asyncio.gather(*calls)
    first = next(event for event in events if isinstance(event, AttemptEnded) and event.call == 1)
    second = next(event for event in events if isinstance(event, CallEnded) and event.call == 2)
    assert second.waited >= first.seconds


async def test_what_is_unknown_is_a_warning(server, make_client, make_request, caplog):
    """A claim of which nobody knows is one line at WARNING, also where only warnings are logged."""
    caplog.set_level(logging.WARNING)
    client = await make_client()
    server.on_claim += [HANG] * 9
    server.on_read += [HANG] * 9
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request(), timeout=0.3)
    (line,) = _lines(caplog, logging.DEBUG)
    assert line.levelno == logging.WARNING
    fields = line.dintero
    assert (fields["ending"], fields["ref"], fields["error"]) == ("unknown", "order-1", "OutcomeUnknownError")
    assert fields["attempts"] >= 1
    assert fields["seconds"] >= 0.25
    assert "waited" not in fields


async def test_what_was_not_sent_is_no_attempt(server, make_client, make_request, caplog):
    """A claim that is watched late, after its first request, counts what was sent of it."""
    caplog.set_level(logging.WARNING)
    ended = []

    class Seeing(Observer):
        def tell(self, event, **_):
            if isinstance(event, CallEnded):
                ended.append(event)

    for steps, raised in ((server.on_claim, PermissionDeniedError), (server.on_token, AuthenticationError)):
        client = await make_client()
        client._open().calls.observer.__class__ = Seeing
        steps.append(error_answer(403))
        with pytest.raises(raised):
            await client.claim(make_request())
    assert [event.attempts for event in ended] == [1, 0]


async def test_attempts_are_at_debug(server, make_client, make_request, caplog):
    """What a call did is logged at DEBUG, and nothing of it at INFO."""
    client = await make_client()
    server.on_claim.append(error_answer(503))
    await client.claim(make_request())
    assert len(_lines(caplog)) == 1
    events = [line.dintero["event"] for line in _lines(caplog, logging.DEBUG)]
    assert events == [
        "attempt_sent", "attempt_ended", "refreshed",
        "attempt_sent", "attempt_ended", "retried", "attempt_sent", "attempt_ended", "call",
    ]  # fmt: skip


async def test_rows_of_a_batch_are_at_debug(server, make_client, make_request, caplog):
    """The rows of a batch are too many for INFO; what is unknown is a warning there too."""
    caplog.set_level(logging.INFO)
    client = await make_client()
    rows = [make_request(f"order-{n}") for n in range(3)]
    async for _ in client.claim_many(rows):
        pass
    assert _lines(caplog, logging.DEBUG) == []
    caplog.set_level(logging.DEBUG)
    async for _ in client.claim_many([make_request("order-8")]):
        pass
    assert {line.levelno for line in _lines(caplog, logging.DEBUG)} == {logging.DEBUG}
    caplog.clear()
    caplog.set_level(logging.INFO)
    server.on_claim += [HANG] * 99
    server.on_read += [HANG] * 99
    outcomes = []
    batch = client.claim_many([make_request("order-9")], timeout=0.1, patience=0.2)
    outcomes.append(type(await anext(batch)))
    with pytest.raises(NotSentError, match="nothing got through"):
        await anext(batch)
    assert outcomes == [Unknown]
    assert {line.dintero["ref"] for line in _lines(caplog) if line.dintero["event"] == "call"} == {"order-9"}
    assert {line.levelno for line in _lines(caplog)} == {logging.WARNING}


async def test_trouble_with_tokens_is_a_warning(server, make_client, make_request, caplog):
    """A token that cannot be had is a warning with its reason."""
    client = await make_client()
    server.on_token.append(error_answer(401))
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    warned = [line.getMessage() for line in _lines(caplog, logging.WARNING)]
    assert len(warned) == 1
    assert warned[0].startswith("event=refreshed seconds=")
    assert 'reason="the token endpoint answered 401"' in warned[0]


def test_nothing_is_made_that_nobody_is_told(caplog):
    """Without a function, OpenTelemetry and a log at INFO a call is not watched at all."""
    caplog.set_level(logging.WARNING)
    observer = Observer(None, None, clock=lambda: 0.0)
    assert observer.begin("claim_discounts") is None
    assert observer.attempt_token("http://localhost/") is None
    caplog.set_level(logging.INFO)
    assert observer.begin("claim_discounts", of_batch=True) is None
    assert observer.begin("claim_discounts") is not None
    assert observer.attempt_token("http://localhost/") is None
    caplog.set_level(logging.ERROR)
    assert observer.begin_late(0.0, 1, ref=None, customer_id=None, of_batch=False) is None
