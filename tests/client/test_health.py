"""What a client says of itself, and how it is drained."""

import asyncio

import pytest
from support.fake_server import HANG, RESET, error_answer

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claimed,
    ClaimsClient,
    ClientHealth,
    ClientStateError,
    ClientStats,
    ConfigurationError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RefConflictError,
)


def _new():
    return ClaimsClient(account_id="T12345678", client_id="c", client_secret="s")


async def test_a_new_client_is_well(server):
    """A client that has made no call is ok, and has done nothing."""
    client = _new()
    assert client.health() == ClientHealth(ok=True, state="new", retries_left=500)
    assert client.stats() == ClientStats(retries_left=500)
    await client.aclose()
    assert client.health() == ClientHealth(ok=False, state="closed", retries_left=500)


async def test_a_client_that_claims_is_well(engine, server, make_client, make_request):
    """After a claim it says when it was answered and how long its token lives, and asks nobody for that."""
    client = await make_client(engine)
    await client.claim(make_request())
    before = len(server.posts + server.reads + server.token_requests)
    health = client.health()
    assert (health.ok, health.state, health.problems) == (True, "open", ())
    assert 0 <= health.answered_ago < 60
    assert 0 < health.token_expires_in <= 86400
    assert (health.in_flight, health.waiting, health.paused_for) == (0, 0, 0)
    assert len(server.posts + server.reads + server.token_requests) == before


async def test_counts(server, make_client, make_request):
    """Claims are counted by how they ended."""
    client = await make_client(timeout=0.3)
    server.on_read += [HANG] * 9
    await client.claim(make_request("order-1"))
    server.on_claim.append(error_answer(409))
    with pytest.raises(RefConflictError):
        await client.claim(make_request("order-1"))
    server.on_claim += [HANG] * 9
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-2"))
    stats = client.stats()
    assert (stats.taken, stats.refused, stats.unknown, stats.not_sent) == (1, 1, 1, 0)
    assert stats.in_flight == 0


async def test_refused_credentials(server, make_client, make_request):
    """Credentials that were refused are a problem, until others are taken."""
    client = await make_client()
    server.on_token.append(error_answer(401))
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    health = client.health()
    assert (health.ok, health.problems) == (False, ("the token endpoint answered 401",))
    assert (health.answered_ago, health.token_expires_in) == (None, None)
    assert client.stats().not_sent == 1


async def test_a_server_that_is_gone(server, make_client, make_request):
    """Failures without an answer between them are a problem when they last as long as a call may."""
    client = await make_client(timeout=0.2)
    await client.claim(make_request("order-1"))
    server.on_claim += [error_answer(503)] * 99
    server.on_read += [error_answer(503)] * 99
    while client.health().ok:
        with pytest.raises((OutcomeUnknownError, NotSentError)):
            await client.claim(make_request("order-2"))
    health = client.health()
    assert health.answered_ago >= 0.2
    assert health.problems == ("all requests failed for 0 s",)
    server.on_claim.clear()
    await client.claim(make_request("order-4"), timeout=5)
    assert client.health().ok


async def test_a_token_endpoint_that_is_gone(server, make_client, make_request):
    """To get no token for as long as a call may take is a problem, as to get no answer is."""
    client = await make_client(timeout=0.2)
    server.on_token += [error_answer(503)] * 99
    while client.health().ok:
        with pytest.raises(APIStatusError):
            await client.claim(make_request())
    assert client.health().problems == ("all requests failed for 0 s",)
    assert client.stats().claim_requests == 0


async def test_what_is_long_ago_is_no_problem(server, make_client, make_request):
    """One failure does not become an outage because nobody calls, and one of long ago is none of now."""
    client = await make_client(timeout=30)
    await client.claim(make_request("order-1"))
    operations, now = client._opened.operations, asyncio.get_running_loop().time()
    for since, last, ok in ((31, 2, True), (32, 2, False), (90, 61, True), (91, 59, False)):
        operations.failing_since, operations.failed_at = now - since, now - last
        assert client.health().ok is ok


async def test_a_refusal_of_long_ago_is_no_problem(server, make_client, make_request):
    """Who was taken out of service because of a refused token makes no call, and is well after a minute."""
    client = await make_client()
    server.on_token.append(error_answer(403))
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    tokens = client._opened.tokens
    for ago, ok in ((59, False), (61, True)):
        tokens._failed_at = asyncio.get_running_loop().time() - ago
        assert client.health().ok is ok


async def test_one_failure_is_no_problem(server, make_client, make_request):
    """A client is well while failures have lasted for less time than a call may take."""
    client = await make_client()
    server.on_claim.append(error_answer(503))
    await client.claim(make_request())
    server.on_claim += [error_answer(503)] * 99
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-2"), timeout=0.1)
    assert client.health().ok


async def test_a_pause_shows(server, make_client, make_request):
    """A pause that the server asked for shows, and is no problem."""
    client = await make_client()
    server.on_claim.append(error_answer(429, headers={"Retry-After": "50"}))
    with pytest.raises(RateLimitedError):
        await client.claim(make_request(), timeout=0.5)
    health = client.health()
    assert 40 < health.paused_for <= 50
    assert health.ok


async def test_draining_waits_for_what_is_under_way(engine, server, make_client, make_request):
    """Draining lets a call end, takes no new one, and says when all have ended."""
    client = await make_client(engine)
    server.gate.clear()
    call = asyncio.create_task(client.claim(make_request()))
    await server.until(lambda: server.held)
    assert client.stats().in_flight == client.health().in_flight == 1
    drained = asyncio.create_task(client.drain(10))
    await asyncio.sleep(0)
    assert client.health().state == "draining"
    assert not client.health().ok
    for refused in (client.claim(make_request("order-2")), client.get_claim("x")):
        with pytest.raises(ClientStateError, match="draining"):
            await refused
    with pytest.raises(ClientStateError, match="draining"):
        client.claim_many([])
    assert not drained.done()
    server.gate.set()
    assert await drained
    assert (await call).ref == "order-1"
    assert client.stats().in_flight == 0
    assert len(server.claims) == 1
    assert await client.drain(1)


async def test_draining_ends_with_its_time(server, make_client, make_request):
    """Draining gives up when its time is over; the call goes on until the client is closed."""
    client = await make_client()
    server.on_claim.append(HANG)
    call = asyncio.create_task(client.claim(make_request()))
    await server.until(lambda: server.posts)
    assert not await client.drain(0.01)
    assert not call.done()
    await client.aclose()
    with pytest.raises((OutcomeUnknownError, NotSentError, ClientStateError)):
        await call


async def test_draining_stops_batches(server, make_client, make_request):
    """A batch whose client is drained takes no more rows, gives out what is under way, and says so then."""
    client = await make_client()
    taken, drained = [], None
    rows = (make_request(f"order-{n}") for n in range(1000))

    async def go_through():
        nonlocal drained
        async for outcome in client.claim_many(rows, concurrency=5):
            taken.append(outcome)
            if drained is None:
                drained = asyncio.create_task(client.drain(10))

    with pytest.raises(ClientStateError, match="drained during the batch"):
        await go_through()
    assert await drained
    assert 1 <= len(taken) < 100
    assert all(isinstance(outcome, Claimed) for outcome in taken)
    assert len(server.claims) == len(taken)


async def test_a_batch_that_was_stopped_is_drained_quietly(server, make_client, make_request):
    """Who stopped a batch knows that rows are left, and is not told so by draining."""
    client = await make_client()
    batch = client.claim_many((make_request(f"order-{n}") for n in range(1000)), concurrency=5)
    await anext(batch)
    batch.stop()
    drained = asyncio.create_task(client.drain(10))
    assert all([isinstance(outcome, Claimed) async for outcome in batch])
    assert await drained


async def test_draining_ends_lists(server, make_client, make_request):
    """A list reads no more pages when its client is drained."""
    client = await make_client()
    for n in range(3):
        await client.claim(make_request(f"order-{n}"))
    listed = client.list_claims(page_size=1)
    await anext(listed)
    assert await client.drain(10)
    with pytest.raises(ClientStateError, match="draining"):
        await anext(listed)
    assert len(server.reads) == 1


async def test_a_claim_that_is_looked_up_is_one(server, make_client, make_request):
    """A claim that looks itself up is under way once."""
    client = await make_client()
    server.on_claim += [server.commit_then(RESET), *[error_answer(503)] * 99]
    server.on_read.append(HANG)
    call = asyncio.create_task(client.claim(make_request(), timeout=5))
    await server.until(lambda: server.reads)
    assert client.stats().in_flight == client.health().in_flight == 1
    await client.aclose()
    with pytest.raises((OutcomeUnknownError, ClientStateError)):
        await call


async def test_draining_waits_until_a_batch_is_over(server, make_client, make_request):
    """A batch whose outcomes nobody takes is not over, though no claim is under way."""
    client = await make_client()
    batch = client.claim_many([make_request(f"order-{n}") for n in range(3)])
    await anext(batch)
    assert not await client.drain(0.01)
    assert len([outcome async for outcome in batch]) == 2
    assert await client.drain(10)


async def test_draining_waits_for_no_batch_that_nobody_began(server, make_client, make_request):
    """A batch that nobody goes through does not hold up draining."""
    client = await make_client()
    batch = client.claim_many([make_request()])
    assert await client.drain(10)
    await batch.aclose()


async def test_draining_elsewhere_leaves_the_client_as_it_is(server, make_client, make_request):
    """Draining from another event loop is refused, and the client takes calls as before."""
    client = await make_client()
    await client.claim(make_request("order-1"))
    with pytest.raises(ClientStateError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, client.drain(1))
    await client.claim(make_request("order-2"))
    assert client.health().state == "open"


async def test_draining_a_client_that_was_not_used():
    """A client without a call is drained at once, and takes none any more."""
    client = _new()
    assert await client.drain(1)
    with pytest.raises(ClientStateError, match="draining"):
        await client.get_claim("x")
    with pytest.raises(ConfigurationError, match="timeout"):
        await client.drain(0)
