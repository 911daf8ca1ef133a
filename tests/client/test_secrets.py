"""A secret that is put into the settings comes out nowhere but on the wire."""

import asyncio
import copy
import json
import logging
import pickle

import pytest
from support.canary import BASIC, SECRET, TOKEN, is_clean, shown
from support.fake_server import CLOSE, HANG, RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    ClaimsClient,
    ClaimsError,
    ConfigurationError,
    OutcomeUnknownError,
    RetryPolicy,
)


def _echo(incoming):
    """Answer with everything that was sent, as some servers do when they refuse."""
    return error_answer(
        400, f"you sent {incoming.headers['authorization']}", code=incoming.headers["authorization"]
    )


PATHS = {
    "taken": [],
    "reset": [RESET] * 20,
    "closed": [CLOSE] * 20,
    "silent": [HANG] * 20,
    "garbage": [Answer(raw=b"\x00garbage\r\n\r\n", then="close")] * 20,
    "400 that echoes": [_echo] * 20,
    "401": [error_answer(401, f"bad token {TOKEN}")] * 20,
    "409": [error_answer(409)] * 20,
    "429": [error_answer(429, headers={"Retry-After": "99"})] * 20,
    "503": [error_answer(503, f"{TOKEN}")] * 20,
    "307": [error_answer(307, headers={"Location": "http://localhost:9/"})] * 20,
    "HTML that echoes": [Answer(200, f"<html>{TOKEN}".encode())] * 20,
}
TOKEN_PATHS = {
    "400 that echoes": [_echo] * 5,
    "401": [error_answer(401, f"{SECRET} {BASIC}")] * 5,
    "503": [error_answer(503, f"{SECRET} {BASIC}")] * 5,
    "reset": [RESET] * 5,
    "silent": [HANG] * 5,
    "not a token": [json_answer({"access_token": f"{TOKEN}\n", "hint": SECRET})] * 5,
    "HTML": [Answer(200, f"<html>{SECRET}".encode())] * 5,
}


async def _call_everything(client, make_request):
    """Make each kind of call, and return what it raised."""
    raised = []
    for call in (
        lambda: client.claim(make_request("order-1"), timeout=0.3),
        lambda: client.claim(make_request(None), timeout=0.3),
        lambda: client.get_claim("claim-1", timeout=0.3),
        lambda: client.find_claim(ref="order-1", timeout=0.3),
    ):
        try:
            await call()
        except ClaimsError as error:
            raised.append(error)
    return raised


@pytest.mark.parametrize(
    ("on_token", "on_claim"),
    [
        *(pytest.param([], steps, id=name) for name, steps in PATHS.items()),
        *(pytest.param(steps, [], id=f"token: {name}") for name, steps in TOKEN_PATHS.items()),
    ],
)
async def test_no_path_shows_a_secret(
    engine, server, make_client, make_request, caplog, capfd, on_token, on_claim
):
    """No log line at DEBUG, no error, no traceback with its locals and no repr of any path shows a secret."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(enabled=True)
    client = await make_client(engine)
    server.token_answer = {"access_token": TOKEN, "expires_in": 60}
    server.give_token = lambda incoming: (server.good_tokens.add(TOKEN), json_answer(server.token_answer))[1]
    server.on_token.extend(on_token)
    server.on_claim.extend(on_claim)
    server.on_read.extend(on_claim)
    for error in await _call_everything(client, make_request):
        assert is_clean(shown(error)), shown(error)
        assert is_clean(pickle.dumps(error).decode("latin-1"))
        assert is_clean(repr(copy.deepcopy(error).__dict__))
    assert is_clean(caplog.text), caplog.text
    assert is_clean("".join(capfd.readouterr()))
    assert is_clean(f"{client!r} {client._settings!r} {client._opened!r} {vars(client)}")
    sent = [incoming.headers["authorization"] for incoming in server.token_requests]
    assert {f"Basic {BASIC}"} == set(sent)


async def test_a_cancelled_call_shows_no_secret(engine, server, make_client, make_request):
    """The traceback of a cancellation, with its locals, holds no token."""
    client = await make_client(engine)
    server.give_token = lambda incoming: (
        server.good_tokens.add(TOKEN),
        json_answer({"access_token": TOKEN}),
    )[1]
    server.on_claim.append(HANG)
    call = asyncio.create_task(client.claim(make_request("order-1")))
    await server.until(lambda: server.posts)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert f"Bearer {TOKEN}" == server.posts[0].headers["authorization"]
    assert is_clean(shown(caught.value)), shown(caught.value)


async def _shown_when_cancelled(call):
    """Return what the cancellation of a call shows; awaited, because only then it has its traceback."""
    try:
        await call
    except asyncio.CancelledError as error:
        return shown(error)
    return ""


async def test_a_call_cancelled_at_any_step_shows_no_secret(engine, server, make_client, make_request):
    """Nor does one that is cancelled while its request is being written."""
    client = await make_client(engine)
    server.give_token = lambda incoming: (
        server.good_tokens.add(TOKEN),
        json_answer({"access_token": TOKEN}),
    )[1]
    await client.claim(make_request("warm-up"))
    for steps in range(60):
        call = asyncio.create_task(client.claim(make_request(f"order-{steps}")))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        shown = await _shown_when_cancelled(call)
        assert is_clean(shown), shown


async def test_garbage_that_echoes(engine, server, make_client, make_request):
    """What is said of an answer that is not HTTP holds nothing of it."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1))
    garbage = Answer(raw=f"HTTP/1.1 {TOKEN} {TOKEN}\r\n{TOKEN}\r\n\r\n".encode(), then="close")
    server.on_claim.append(garbage)
    server.on_read.append(garbage)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert is_clean(shown(caught.value)), shown(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_id": "x"},
        {"base_url": "http://example.com"},
        {"timeout": 0},
        {"client_secret": f"{SECRET}\n"},
        {"proxy": f"nothing://user:{SECRET}@host"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_refused_setting_shows_no_secret(wrong):
    """A client that cannot be made shows nothing of its secret, nor of its proxy's password."""
    settings = {"account_id": "T12345678", "client_id": "c", "client_secret": SECRET} | wrong
    with pytest.raises(ConfigurationError) as caught:
        ClaimsClient(**settings)
    assert is_clean(shown(caught.value)), shown(caught.value)


def test_the_environment_shows_no_secret(monkeypatch):
    """A setting from the environment that is refused shows nothing of the secret beside it."""
    monkeypatch.setenv("DINTERO_ACCOUNT_ID", "wrong")
    monkeypatch.setenv("DINTERO_CLIENT_ID", "c")
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    with pytest.raises(ConfigurationError) as caught:
        ClaimsClient.from_env()
    assert is_clean(shown(caught.value)), shown(caught.value)


async def test_an_echo_in_other_words(engine, make_client, make_request):
    """A secret that comes back escaped, or in a header, is blotted out of the error all the same."""
    from support.fake_server import FakeServer

    secret = f'{SECRET}/p"q\u00e4'
    for escape in (lambda text: text, lambda text: text.replace("/", "\\/")):
        async with FakeServer() as server:
            client = await make_client(engine, base_url=server.base_url, client_secret=secret)
            body = escape(json.dumps({"error": {"message": f"bad {secret}", "code": secret}}))
            server.on_token.append(Answer(401, body.encode(), {"X-Request-Id": "request-1"}))
            with pytest.raises(ClaimsError) as caught:
                await client.claim(make_request("order-1"))
            assert (caught.value.message, caught.value.code) == ("bad [secret]", "[secret]")
            assert SECRET not in shown(caught.value)
        async with FakeServer() as server:
            token = f"{TOKEN}/x"
            client = await make_client(engine, base_url=server.base_url)
            server.on_token.append(json_answer({"access_token": token}))
            echo = escape(json.dumps({"error": {"message": token, "errors": [{"token": [token]}]}}))
            server.on_claim.append(Answer(400, echo.encode(), {"X-Request-Id": token}))
            with pytest.raises(ClaimsError) as caught:
                await client.claim(make_request("order-1"))
            assert (caught.value.message, caught.value.request_id) == ("[secret]", "[secret]")
            assert caught.value.errors == ({"token": ["[secret]"]},)


@pytest.mark.parametrize("token", ["item", "item-1", "1", "customer", "order-1", "id"])
async def test_a_token_that_is_a_common_word(engine, server, make_client, make_request, token):
    """What is believed of an answer does not depend on what the token is."""
    server.give_token = lambda incoming: (
        server.good_tokens.add(token),
        json_answer({"access_token": token}),
    )[1]
    client = await make_client(engine)
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert claim.discounts[0].refs[0].id == "item-1"
    assert (claim.ref, claim.customer_id) == ("order-1", "customer-1")


async def test_an_echo_in_escapes(engine, server, make_client, make_request):
    """A secret whose every letter comes back escaped is blotted out of all that an error says in words."""

    def echo(secret):
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
        error = f'{{"message": "{escaped}", "code": "{escaped}", "errors": [{{"{escaped}": "{escaped}"}}]}}'
        return Answer(400, f'{{"error": {error}}}'.encode())

    token = f"{TOKEN}-of-this-test"
    for steps, secret in ((server.on_token, SECRET), (server.on_claim, token)):
        client = await make_client(engine)
        if steps is server.on_claim:
            server.on_token.append(json_answer({"access_token": token}))
        steps.append(echo(secret))
        with pytest.raises(ClaimsError) as caught:
            await client.claim(make_request("order-1"))
        error = caught.value
        assert (error.message, error.code) == ("[secret]", "[secret]")
        assert error.errors == ({"[secret]": "[secret]"},)
        assert secret not in f"{error} {error.args}"
        assert error.body == b"[secret]"
