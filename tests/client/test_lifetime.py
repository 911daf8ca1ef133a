"""Opening and closing, other event loops, forks, cancellations."""

import asyncio
import gc
import os
import random
import warnings

import httpx
import pytest
from conftest import QUICK, SECRET
from support.fake_server import HANG, RESET, Answer, FakeServer, error_answer

from dintero_claims_client import (
    Claim,
    ClaimsClient,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
)


def _client(server, **settings):
    return ClaimsClient(
        **{
            "account_id": "T12345678",
            "client_id": "c",
            "client_secret": SECRET,
            "base_url": server.base_url,
            "retry": QUICK,
        }
        | settings
    )


async def test_a_closed_client_says_so(engine, server, make_client, make_request):
    """Every call on a closed client is ClientStateError, and closing again is nothing."""
    client = await make_client(engine)
    await client.claim(make_request())
    await client.aclose()
    await client.aclose()
    for call in (
        client.claim(make_request()),
        client.get_claim("x"),
        client.find_claim(ref="x"),
        anext(client.list_claims()),
        client.__aenter__(),
    ):
        with pytest.raises(ClientStateError, match="closed"):
            await call
    assert "closed" in repr(client)
    assert len(server.posts) == 1


async def test_without_async_with(server, make_request):
    """A client opens at its first call and is closed by aclose()."""
    client = _client(server)
    await client.claim(make_request())
    assert "open" in repr(client)
    await client.aclose()


async def test_closing_a_client_that_was_never_used(server):
    """A client that was never opened can be closed."""
    client = _client(server)
    assert client.stats().claim_requests == 0
    await client.aclose()
    with pytest.raises(ClientStateError):
        await client.get_claim("x")


async def test_a_callers_client_stays_open(server, make_request):
    """Closing our client leaves the caller's http_client open."""
    async with httpx.AsyncClient() as http_client:
        async with _client(server, http_client=http_client) as client:
            await client.claim(make_request())
        assert not http_client.is_closed


async def test_a_callers_client_that_is_closed(server, make_request):
    """A caller's http_client that has been closed sends nothing, and that is what is said."""
    async with httpx.AsyncClient() as http_client:
        pass
    async with _client(server, http_client=http_client) as client:
        with pytest.raises(NotSentError, match="closed"):
            await client.claim(make_request())


def test_another_event_loop(server_in_thread, make_request):
    """A client that was opened on one event loop refuses to work on another, before anything is sent."""
    client = _client(server_in_thread)

    async def first():
        await client.claim(make_request("order-1"))

    async def second():
        with pytest.raises(ClientStateError, match="event loop"):
            await client.claim(make_request("order-2"))
        with pytest.raises(ClientStateError, match="event loop"):
            await client.aclose()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(first())
        asyncio.run(second())
        loop.run_until_complete(client.aclose())
    finally:
        loop.close()
    assert len(server_in_thread.posts) == 1


@pytest.fixture
def server_in_thread():
    """Return a server that runs on an event loop of its own."""
    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeServer()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    run(server.__aenter__())
    yield server
    run(server.__aexit__())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_a_fork_says_so(server, make_client, make_request):
    """A client that a fork inherits refuses to work there, and goes on working where it was opened."""
    client = await make_client()
    await client.claim(make_request("order-1"))
    dropped = [_client(server)]
    await dropped[0].claim(make_request("order-2"))
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - in another process
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                # Not the child's to close, nor to warn of.
                dropped.clear()
            client.claim(make_request("order-3")).send(None)
        except ClientStateError as error:
            os.write(writer, f"{error} {[str(warning.message) for warning in caught]}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = await asyncio.to_thread(pipe.read)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert b"fork" in said
    assert b"never closed" not in said
    await client.claim(make_request("order-4"))
    await dropped[0].claim(make_request("order-5"))
    await dropped[0].aclose()
    assert [claim["ref"] for claim in server.claims] == ["order-1", "order-2", "order-4", "order-5"]


async def test_a_client_that_was_never_closed_warns(server, make_request):
    """A client that is dropped without closing warns once, and its connections are closed."""
    clients = [_client(server)]
    await clients[0].claim(make_request())
    assert server.open_now == 1
    with pytest.warns(ResourceWarning, match="never closed") as caught:
        clients.clear()
    await server.until(lambda: not server.open_now)
    gc.collect()
    assert len(caught) == 1


def test_a_client_dropped_after_its_loop_warns_only(server_in_thread, make_request):
    """A client that is dropped when its event loop is gone warns, and nothing breaks."""
    clients = [_client(server_in_thread)]

    async def use():
        await clients[0].claim(make_request())

    asyncio.run(use())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clients.clear()
        gc.collect()
    assert any("never closed" in str(warning.message) for warning in caught)
    assert all(issubclass(warning.category, ResourceWarning) for warning in caught)


async def test_a_close_that_was_cancelled_can_be_repeated(server, make_client, make_request):
    """Closing again after a close that was cancelled on its way closes the connections."""
    client = await make_client()
    await client.claim(make_request())
    server.good_tokens.clear()
    server.on_token.append(HANG)
    call = asyncio.create_task(client.claim(make_request("order-2")))
    await server.until(lambda: len(server.token_requests) == 2)
    close = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    close.cancel()
    await asyncio.gather(close, call, return_exceptions=True)
    await server.until(lambda: not server.open_now)
    await client.aclose()
    await server.until(lambda: not server.open_now)


async def test_closing_under_a_read(engine, server, make_client):
    """A read that is under way when the client is closed ends at once, and says why."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=60), timeout=60)
    server.on_read.append(HANG)
    call = asyncio.create_task(client.get_claim("x"))
    await server.until(lambda: server.reads)
    await client.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(ClientStateError):
            await call


async def test_closing_under_a_call_in_flight(engine, server, make_client, make_request):
    """A call whose claim is out when the client is closed ends soon, as unknown."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=60))
    server.on_claim.append(server.commit_then(HANG))
    call = asyncio.create_task(client.claim(make_request("order-1")))
    await server.until(lambda: server.claims)
    await client.aclose()
    with pytest.raises(OutcomeUnknownError):
        await call


async def test_closing_under_a_call_that_waits(server, make_client, make_request):
    """A call that waits for its next attempt when the client is closed ends at once, and was not sent."""
    client = await make_client()
    server.on_claim.append(error_answer(429, headers={"Retry-After": "8"}))
    call = asyncio.create_task(client.claim(make_request("order-1")))
    await server.until(lambda: server.posts)
    async with asyncio.timeout(4):
        await asyncio.sleep(0.01)
        await client.aclose()
        with pytest.raises(ClientStateError) as caught:
            await call
    assert caught.value.ref == "order-1"


async def test_closing_under_a_call_that_waits_for_a_token(server, make_client, make_request):
    """A call that waits for a token when the client is closed ends at once."""
    client = await make_client()
    server.on_token.append(HANG)
    call = asyncio.create_task(client.claim(make_request("order-1")))
    await server.until(lambda: server.token_requests)
    await client.aclose()
    with pytest.raises(ClientStateError):
        await call
    assert server.posts == []


@pytest.mark.parametrize("connections", [5, 100])
async def test_cancellations_leave_nothing_behind(server, make_client, make_request, connections):
    """Thousands of calls cancelled at random moments leave the client working, and no claim is doubled."""
    chance = random.Random(53)
    client = await make_client(max_connections=connections, timeout=60)
    await client.claim(make_request("warm-up"))
    before = asyncio.all_tasks()
    for _ in range(20):
        calls = [
            asyncio.create_task(client.claim(make_request(f"{n}-{chance.random()}"))) for n in range(100)
        ]
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        for call in chance.sample(calls, 80):
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, Claim | asyncio.CancelledError) for result in results)
        assert sum(isinstance(result, Claim) for result in results) >= 20
    async with asyncio.timeout(10):
        assert (
            len(await asyncio.gather(*(client.claim(make_request(f"after-{n}")) for n in range(100)))) == 100
        )
    refs = [claim["ref"] for claim in server.claims]
    assert len(refs) == len(set(refs))
    await client.aclose()
    await server.until(lambda: not server.open_now)
    # The server's own tasks end with their connections.
    assert {task for task in asyncio.all_tasks() if "dintero" in task.get_name()} <= before


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "1"])
async def test_timeouts_that_cannot_be(server, make_client, make_request, timeout):
    """A call's timeout is a number of seconds above 0."""
    client = await make_client()
    with pytest.raises(ConfigurationError, match="timeout"):
        await client.claim(make_request(), timeout=timeout)
    assert server.posts == []


async def test_if_exists_that_cannot_be(server, make_client, make_request):
    """if_exists has two values."""
    client = await make_client()
    with pytest.raises(ConfigurationError, match="if_exists"):
        await client.claim(make_request(), if_exists="ignore")


async def test_an_invalid_claim_is_not_sent(server, make_client, make_request):
    """A claim that breaks a rule opens no connection."""
    client = await make_client()
    with pytest.raises(InvalidClaimError) as caught:
        await client.claim(make_request("order-1", customer_id=""))
    assert caught.value.ref == "order-1"
    with pytest.raises(InvalidClaimError) as caught:
        await client.claim(None)
    assert caught.value.ref is None
    assert server.connections == 0


async def test_one_client_is_used_by_many_tasks(engine, server, make_client, make_request):
    """Each of many concurrent callers gets its own claim."""
    client = await make_client(engine, max_connections=20)
    claims = await asyncio.gather(
        *(client.claim(make_request(f"order-{n}", customer_id=f"customer-{n}")) for n in range(300))
    )
    assert all(
        (f"order-{n}", f"customer-{n}") == (claim.ref, claim.customer_id) for n, claim in enumerate(claims)
    )
    assert server.open_most <= 20
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("operation", ["claim", "read"])
async def test_closing_under_a_call_that_waits_for_the_quota(
    server, make_client, make_request, monkeypatch, operation
):
    """A call in doubt that waits for a repetition when the client is closed ends at once."""
    monkeypatch.setattr("dintero_claims_client._quota.PER_SECOND", 1e-9)
    client = await make_client(timeout=600)
    opened, waits = client._open(), asyncio.Event()
    quota = opened.calls.quota if operation == "claim" else opened.calls.read_quota
    while quota.try_take():
        pass
    take = quota.take

    def remember(*, deadline):
        waits.set()
        return take(deadline=deadline)

    monkeypatch.setattr(quota, "take", remember)
    server.on_claim.append(server.commit_then(RESET))
    server.on_read.append(Answer(200, b"<html>"))
    request = client.claim(make_request("order-1")) if operation == "claim" else client.get_claim("claim-1")
    call = asyncio.create_task(request)
    async with asyncio.timeout(20):
        await waits.wait()
        await client.aclose()
        with pytest.raises(OutcomeUnknownError if operation == "claim" else ClientStateError):
            await call


async def test_closing_under_a_secret_function_that_hangs(server, make_client, make_request):
    """A call that waits for the function that gives the secret ends at once when the client is closed."""
    asked = asyncio.Event()

    async def secret():
        asked.set()
        await asyncio.Event().wait()

    client = await make_client(client_secret=secret, retry=RetryPolicy(attempt_timeout=600), timeout=600)
    call = asyncio.create_task(client.claim(make_request("order-1")))
    async with asyncio.timeout(20):
        await asked.wait()
        await client.aclose()
        with pytest.raises(ClientStateError):
            await call


@pytest.mark.parametrize("operation", ["list", "find"])
async def test_closing_under_a_walk(engine, server, make_client, operation):
    """A walk through the list that is under way when the client is closed ends at once, and says why."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=60), timeout=60)
    server.on_read.append(HANG)
    walk = anext(client.list_claims()) if operation == "list" else client.find_claim(ref="x")
    call = asyncio.ensure_future(walk)
    await server.until(lambda: server.reads)
    await client.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(ClientStateError):
            await call


async def test_a_close_that_was_cancelled_closes_idle_connections(
    server, make_client, make_request, monkeypatch
):
    """A close that is cancelled while a token is being fetched has closed the connections all the same."""
    monkeypatch.setattr("dintero_claims_client._engines.IDLE_SECONDS", 600)
    client = await make_client()
    await asyncio.gather(client.claim(make_request("order-1")), client.claim(make_request("order-2")))
    assert server.open_now > 1
    server.good_tokens.clear()
    server.on_token.append(HANG)
    call = asyncio.create_task(client.claim(make_request("order-3")))
    await server.until(lambda: len(server.token_requests) == 2)
    close = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    close.cancel()
    await asyncio.gather(close, call, return_exceptions=True)
    async with asyncio.timeout(20):
        await server.until(lambda: not server.open_now)
