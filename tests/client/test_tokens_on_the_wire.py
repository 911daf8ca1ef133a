"""Access tokens, from the token endpoint to the header, on every engine."""

import asyncio
import base64
import json
import random
from contextlib import AsyncExitStack

import httpx
import pytest
from conftest import SECRET
from support.canary import TOKEN
from support.fake_server import HANG, RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    AuthenticationError,
    ClaimsError,
    ConfigurationError,
    NotSentError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
)


async def test_the_request_for_a_token(engine, server, make_client, make_request):
    """A token is asked for with HTTP Basic and the account as audience, and used for all calls after it."""
    client = await make_client(engine)
    for n in range(3):
        await client.claim(make_request(f"order-{n}"))
    (asked,) = server.token_requests
    assert asked.path == "/v1/accounts/T12345678/auth/token"
    assert f"client-1:{SECRET}".encode() == base64.b64decode(
        asked.headers["authorization"].removeprefix("Basic ")
    )
    assert {
        "grant_type": "client_credentials",
        "audience": f"{server.base_url}/accounts/T12345678",
    } == asked.json
    assert asked.headers["user-agent"].startswith("dintero-claims-client/")
    assert (asked.headers["accept"], asked.headers["accept-encoding"]) == ("application/json", "identity")
    assert client.stats().token_requests == 1


async def test_audience_and_token_url_can_be_set(server, make_client, make_request):
    """The token's audience and the address it comes from can differ from the account's."""
    client = await make_client(
        audience="https://other/accounts/T1", token_url=f"{server.base_url}/else/auth/token"
    )
    await client.claim(make_request())
    (asked,) = server.token_requests
    assert (asked.path, asked.json["audience"]) == ("/v1/else/auth/token", "https://other/accounts/T1")


async def test_the_secret_of_the_moment(server, make_client, make_request):
    """A secret that a function gives is asked for anew for each token, also where the function is async."""
    secrets = iter(["first", "second"])

    async def secret() -> str:
        return next(secrets)

    client = await make_client(client_secret=secret)
    await client.claim(make_request("order-1"))
    server.good_tokens.clear()
    await client.claim(make_request("order-2"))
    sent = [
        base64.b64decode(asked.headers["authorization"].removeprefix("Basic "))
        for asked in server.token_requests
    ]
    assert sent == [b"client-1:first", b"client-1:second"]


@pytest.mark.parametrize("given", [None, "", "a\nb", 7], ids=repr)
async def test_a_function_that_gives_no_secret(server, make_client, make_request, given):
    """A secret function that gives something else than text is a configuration error; nothing is sent."""
    client = await make_client(client_secret=lambda: given)
    with pytest.raises(ConfigurationError, match="client_secret"):
        await client.claim(make_request())
    assert server.connections == 0


async def test_a_secret_function_that_fails(server, make_client, make_request):
    """An error of the secret function is named by its class only, for its text may hold the secret."""

    def secret() -> str:
        raise LookupError(SECRET)

    client = await make_client(client_secret=secret)
    with pytest.raises(ConfigurationError, match="LookupError") as caught:
        await client.claim(make_request())
    assert SECRET not in str(caught.value)


async def test_a_secret_function_that_hangs(server, make_client, make_request):
    """A secret function that does not return costs one attempt's time, and is asked again."""
    answers = iter([asyncio.Event().wait(), asyncio.sleep(0, "secret")])
    client = await make_client(
        client_secret=lambda: next(answers), retry=RetryPolicy(attempt_timeout=0.1, base_delay=0.001)
    )
    await client.claim(make_request())
    assert len(server.claims) == 1


async def test_a_secret_function_whose_inside_is_cancelled(server, make_client, make_request):
    """A cancellation inside of the secret function is its failure, and not the call's."""

    async def secret():
        raise asyncio.CancelledError

    client = await make_client(client_secret=secret)
    with pytest.raises(ConfigurationError, match="cancelled"):
        await client.claim(make_request())


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refused the client's credentials"),
        (404, "check base_url"),
        (302, "check base_url"),
        (500, "in trouble"),
    ],
)
async def test_what_is_said_of_a_token_endpoint_without_words(
    server, make_client, make_request, status, words
):
    """The error says what is likely wrong where the token endpoint does not."""
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    server.on_token.append(Answer(status))
    with pytest.raises(ClaimsError, match=words):
        await client.claim(make_request(), timeout=0.5)


class _Refusing:
    """Answers in process: refuses the first token only when all the calls have presented it."""

    def __init__(self, count):
        self.left = count
        self.all_here = asyncio.Event()
        self.token_requests = 0
        self.on_second_token = lambda: None
        self.refs = []

    async def __call__(self, request):
        if request.url.path.endswith("/auth/token"):
            self.token_requests += 1
            if self.token_requests == 2:
                self.on_second_token()
            return httpx.Response(
                200, json={"access_token": f"token-{self.token_requests}", "expires_in": 60}
            )
        if request.headers["authorization"] == "Bearer token-1":
            self.left -= 1
            if self.left == 0:
                self.all_here.set()
            await self.all_here.wait()
            return httpx.Response(401)
        ref = json.loads(request.content)["ref"]
        self.refs.append(ref)
        return httpx.Response(200, json={"id": f"id-{ref}", "ref": ref})

    async def client(self, make_client, stack):
        transport = httpx.MockTransport(self)
        http_client = await stack.enter_async_context(httpx.AsyncClient(transport=transport))
        return await make_client(
            http_client=http_client,
            max_connections=10_000,
            timeout=300,
            retry=RetryPolicy(attempt_timeout=300),
        )


async def test_10000_calls_that_meet_a_401_ask_for_one_token(make_client, make_request):
    """Ten thousand calls that all meet a 401 at once cause exactly one token request."""
    refusing = _Refusing(10_000)
    async with AsyncExitStack() as stack:
        client = await refusing.client(make_client, stack)
        claims = await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(10_000)))
    assert [f"id-order-{n}" for n in range(10_000)] == [claim.id for claim in claims]
    assert refusing.token_requests == 1 + 1


async def test_the_same_with_half_the_callers_cancelled(make_client, make_request):
    """Half of them cancelled during the fetch, the one that began it too: still one token request."""
    refusing = _Refusing(10_000)
    async with AsyncExitStack() as stack:
        client = await refusing.client(make_client, stack)
        calls = [asyncio.ensure_future(client.claim(make_request(f"order-{n}"))) for n in range(10_000)]
        refusing.on_second_token = lambda: [call.cancel() for call in calls[::2]]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert refusing.token_requests == 1 + 1
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert [f"id-order-{n}" for n in range(1, 10_000, 2)] == [claim.id for claim in results[1::2]]
    assert len(refusing.refs) == len(set(refusing.refs))


async def test_a_burst_of_401s_over_sockets(server, make_client, make_request):
    """The same over real connections: 3,000 calls on 200 connections, one token request."""
    client = await make_client(max_connections=200, timeout=120, retry=RetryPolicy(attempt_timeout=120))
    await client.claim(make_request("warm-up"))
    server.good_tokens.clear()
    claims = await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(3000)))
    assert len({claim.id for claim in claims}) == 3000
    assert len(server.token_requests) == 1 + 1


async def test_a_late_401_takes_the_newer_token(server, make_client, make_request):
    """A 401 for a token that has been replaced meanwhile causes no further fetch."""
    client = await make_client()
    await client.claim(make_request("warm-up"))
    old = server.token_requests[-1]
    gate = asyncio.Event()

    late = asyncio.ensure_future(client.claim(make_request("late")))
    server.on_claim.append(lambda incoming: (gate.set(), error_answer(401))[1])
    await gate.wait()
    await asyncio.gather(late, client.claim(make_request("other")))
    assert len(server.token_requests) == 2
    assert old is server.token_requests[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_by_the_token_endpoint_is_final(engine, server, make_client, make_request, status):
    """A token endpoint that refuses ends the call at once, and the secret is in no word of it."""
    client = await make_client(engine)
    basic = base64.b64encode(f"client-1:{SECRET}".encode()).decode()
    server.on_token.append(error_answer(status, f"no {SECRET} {basic}", "INVALID CLIENT"))
    with pytest.raises(AuthenticationError) as caught:
        await client.claim(make_request("order-1"))
    error = caught.value
    assert (status, "INVALID CLIENT", "order-1") == (error.status, error.code, error.ref)
    assert SECRET not in repr(error.__dict__)
    assert basic not in repr(error.__dict__)
    assert (len(server.token_requests), len(server.posts)) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "a\nb"},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "x y"},
        {"token_type": "Bearer"},
        {"access_token": "good", "token_type": "mac"},
        {"access_token": "good", "error": "mfa_required"},
    ],
    ids=repr,
)
async def test_a_token_that_cannot_be_used(server, make_client, make_request, answer):
    """An answer without a usable bearer token is refused, and not echoed."""
    client = await make_client()
    server.on_token.append(json_answer(answer))
    with pytest.raises(AuthenticationError, match="gave no token") as caught:
        await client.claim(make_request())
    assert "good" not in repr(caught.value.__dict__)
    assert caught.value.body == b""


@pytest.mark.parametrize(
    "answer",
    [
        error_answer(503),
        error_answer(429, headers={"Retry-After": "0"}),
        Answer(520, b"<html>"),
        Answer(200, b"<html>"),
        Answer(200, b" " * 65_537 + b"{}"),
        Answer(204),
        RESET,
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", then="close"),
        Answer(raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"access_token": "half"}', then="close"),
    ],
    ids=["503", "429", "520", "HTML", "64 KiB and more", "204", "reset", "cut off", "half a body"],
)
async def test_a_token_endpoint_in_trouble_is_asked_again(server, make_client, make_request, answer):
    """A call outlives a token endpoint that fails once."""
    client = await make_client(timeout=20)
    server.on_token.append(answer)
    await client.claim(make_request())
    assert (len(server.token_requests), len(server.posts)) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(error_answer(503), ServerError), (error_answer(429), RateLimitedError), (RESET, NotSentError)],
    ids=["503", "429", "reset"],
)
async def test_a_token_endpoint_that_stays_in_trouble(
    engine, server, make_client, make_request, answer, kind
):
    """A call that gets no token in its time ends with what the token endpoint said, and nothing was sent."""
    client = await make_client(engine)
    server.on_token.extend([answer] * 9)
    with pytest.raises(kind) as caught:
        await client.claim(make_request("order-1"), timeout=0.5)
    assert caught.value.ref == "order-1"
    assert server.posts == []


async def test_a_token_request_has_its_own_limit(server, make_client, make_request):
    """A token endpoint that is silent once costs one attempt's time, not the call's."""
    client = await make_client(retry=RetryPolicy(attempt_timeout=0.1, base_delay=0.001), timeout=600)
    server.on_token.append(HANG)
    async with asyncio.timeout(30):
        await client.claim(make_request())
    assert len(server.token_requests) == 2


async def test_a_token_endpoint_that_is_silent(engine, server, make_client, make_request):
    """A call whose token does not come is not sent."""
    client = await make_client(engine)
    server.on_token.append(HANG)
    with pytest.raises(NotSentError):
        await client.claim(make_request(), timeout=0.2)
    assert server.posts == []


async def test_those_that_share_a_failure_have_each_their_own_error(server, make_client, make_request):
    """A refusal that several calls wait for is an error of its own for each, with that call's ref."""
    client = await make_client()
    server.on_token.append(error_answer(401))
    calls = [client.claim(make_request(f"order-{n}")) for n in range(3)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.ref for error in errors] == ["order-0", "order-1", "order-2"]


async def test_1000_waiters_share_a_failure(server, make_client, make_request):
    """A thousand calls at a token endpoint that is down cause at most three requests, and all end in time."""
    client = await make_client(max_connections=1000)
    server.on_token.extend([error_answer(503)] * 1000)
    calls = [client.claim(make_request(f"order-{n}"), timeout=3) for n in range(1000)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, ServerError | NotSentError) for result in results)
    assert len(server.token_requests) <= 3
    assert server.posts == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_of_a_token_request_is_refused(engine, server, make_client, make_request, status):
    """The credentials are not carried to another place."""
    client = await make_client(engine)
    server.on_token.append(error_answer(status, headers={"Location": f"{server.base_url}/x/auth/token"}))
    with pytest.raises(AuthenticationError) as caught:
        await client.claim(make_request())
    assert status == caught.value.status
    assert len(server.token_requests) == 1


async def test_random_401s(server, make_client, make_request):
    """Tokens that expire at random moments cost no claim."""
    chance = random.Random(7)
    client = await make_client()
    for n in range(200):
        if chance.random() < 0.1:
            server.good_tokens.clear()
        try:
            await client.claim(make_request(f"order-{n}"))
        except ClaimsError as error:
            pytest.fail(f"{n}: {error!r}")
    assert len(server.claims) == 200


@pytest.mark.parametrize("status", [400, 500, 999])
async def test_a_refusal_that_holds_a_token(engine, server, make_client, make_request, status):
    """What a token endpoint answers with a token in it is not kept on an error, whatever its status."""
    client = await make_client(engine)
    server.on_token.append(json_answer({"access_token": TOKEN}, status))
    with pytest.raises(ClaimsError) as caught:
        await client.claim(make_request("order-1"), timeout=0.5)
    assert getattr(caught.value, "body", b"") == b""


class _Expiring:
    """Refuses the tokens of one order, each after it has served another order."""

    def __init__(self, refusals):
        self.refusals = refusals
        self.sent = []
        self.tokens = 0
        self.waits = asyncio.Event()
        self.served = asyncio.Event()

    async def answer(self, request):
        if request.url.path.endswith("/auth/token"):
            self.tokens += 1
            token = {"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": 900}
            return httpx.Response(200, json=token)
        claim = json.loads(request.content)
        if claim["ref"] != "order-1":
            return httpx.Response(200, json=claim | {"id": claim["ref"]})
        self.sent.append(request.headers["authorization"])
        if len(self.sent) > self.refusals:
            return httpx.Response(200, json=claim | {"id": "claim-1"})
        self.waits.set()
        await self.served.wait()
        self.served.clear()
        return httpx.Response(401, json={})


@pytest.mark.parametrize(("refusals", "taken"), [(1, True), (2, True), (3, True), (4, False)])
async def test_tokens_that_are_expired_from_elsewhere(make_client, make_request, refusals, taken):
    """A refused token that was good for others is replaced, up to three times for each request."""
    server = _Expiring(refusals)
    async with httpx.AsyncClient(transport=httpx.MockTransport(server.answer)) as http:
        client = await make_client(http_client=http)
        call = asyncio.create_task(client.claim(make_request("order-1")))
        for number in range(refusals):
            await server.waits.wait()
            server.waits.clear()
            await client.claim(make_request(f"other-{number}"))
            server.served.set()
        if taken:
            assert (await call).id == "claim-1"
        else:
            with pytest.raises(AuthenticationError):
                await call
    sends = min(refusals + 1, 4)
    assert server.sent == [f"Bearer token-{number + 1}" for number in range(sends)]


async def test_a_new_token_that_nobody_could_use_is_not_replaced(make_client, make_request):
    """Where a new token is refused too, and was good for nobody, the credentials are not good enough."""
    server = _Expiring(9)
    server.served.set()
    async with httpx.AsyncClient(transport=httpx.MockTransport(server.answer)) as http:
        client = await make_client(http_client=http)
        call = asyncio.create_task(client.claim(make_request("order-1")))
        while len(server.sent) < 2:
            await server.waits.wait()
            server.waits.clear()
        server.served.set()
        with pytest.raises(AuthenticationError):
            await call
    assert server.sent == ["Bearer token-1", "Bearer token-2"]
