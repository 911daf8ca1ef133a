"""The engine on a caller's httpx.AsyncClient: what the caller's own settings may not change."""

import asyncio
import gzip

import httpx
import pytest
import respx
from conftest import QUICK
from support.fake_server import RESET, FakeServer

from dintero_claims_client import APIStatusError, ClaimsClient, NotSentError, OutcomeUnknownError, RetryPolicy
from dintero_claims_client._engines import make_engine
from dintero_claims_client._engines.base import EngineRequest, RequestNotSent
from dintero_claims_client.sandbox import Sandbox

BASE_URL = "https://api.example.test/v1"
CLAIMS = f"{BASE_URL}/accounts/T12345678/discounts/available_for_receipt/claims"
TOKEN = f"{BASE_URL}/accounts/T12345678/auth/token"


def _client(http_client, **settings):
    defaults = {
        "account_id": "T12345678",
        "client_id": "c",
        "client_secret": "s",
        "base_url": BASE_URL,
        "retry": QUICK,
    }
    return ClaimsClient(**(defaults | settings), http_client=http_client)


@pytest.fixture
def api():
    with respx.mock(assert_all_called=False) as router:
        router.post(TOKEN).respond(json={"access_token": "token-1", "expires_in": 60})
        yield router


async def test_respx_sees_the_requests(api, make_request):
    """A caller who mocks httpx sees what is sent, and answers it."""
    route = api.post(CLAIMS).respond(json={"id": "claim-1"})
    async with httpx.AsyncClient() as http_client, _client(http_client) as client:
        assert (await client.claim(make_request())).id == "claim-1"
    assert route.calls.last.request.headers["Authorization"] == "Bearer token-1"


async def test_credentials_redirects_and_timeouts_of_the_callers_client(api, make_request):
    """Credentials, redirects and timeouts that the caller's client has of its own are not used."""
    elsewhere = api.post("https://elsewhere.test/").respond(json={"id": "stranger"})
    route = api.post(CLAIMS).respond(307, headers={"Location": "https://elsewhere.test/"})
    settings = {"auth": ("user", "pass"), "follow_redirects": True, "timeout": 0.001}
    async with httpx.AsyncClient(**settings) as http_client, _client(http_client) as client:
        with pytest.raises(Exception, match="307"):
            await client.claim(make_request())
    request = route.calls.last.request
    assert request.headers["Authorization"] == "Bearer token-1"
    timeouts = dict(request.extensions["timeout"])
    assert timeouts.pop("connect") > 1
    assert timeouts == {"read": None, "write": None, "pool": None}
    assert not elsewhere.called


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
    ],
)
async def test_errors_that_prove_that_nothing_was_sent(api, make_request, error):
    """What fails before the request is out is NotSentError."""
    api.post(CLAIMS).mock(side_effect=error("no"))
    async with httpx.AsyncClient() as http_client, _client(http_client, generate_refs=False) as client:
        with pytest.raises(NotSentError, match=error.__name__):
            await client.claim(make_request(None))


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError,
        httpx.ReadTimeout,
        httpx.WriteError,
        httpx.WriteTimeout,
        httpx.CloseError,
        httpx.RemoteProtocolError,
        httpx.LocalProtocolError,
        httpx.DecodingError,
        httpx.TooManyRedirects,
        RuntimeError,
        OSError,
    ],
)
async def test_errors_that_prove_nothing(api, make_request, error):
    """Whatever else fails leaves the outcome open, and is no exception of httpx."""
    route = api.post(CLAIMS).mock(side_effect=error("no"))
    async with httpx.AsyncClient() as http_client, _client(http_client, generate_refs=False) as client:
        with pytest.raises(OutcomeUnknownError, match=error.__name__):
            await client.claim(make_request(None))
    assert route.call_count == 1


async def test_every_exception_of_httpx_is_covered():
    """No class of httpx's errors is left without a meaning: it is among the ones above, or a base of them."""
    not_sent = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
    known_after = {
        "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "CloseError", "RemoteProtocolError",
        "LocalProtocolError", "DecodingError", "TooManyRedirects",
    }  # fmt: skip
    leaves = {
        cls.__name__
        for cls in vars(httpx).values()
        if isinstance(cls, type)
        and issubclass(cls, httpx.TransportError | httpx.RequestError)
        and not cls.__subclasses__()
    }
    assert leaves == not_sent | known_after


async def test_a_transport_that_tries_again_by_itself(make_request):
    """What a caller's transport sent on its first try may have been taken, however its last try failed."""

    class Retrying(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            try:
                return await super().handle_async_request(request)
            except httpx.ReadError:
                raise httpx.ConnectError("the second try") from None

    async with FakeServer() as server:
        server.on_claim.append(server.commit_then(RESET))
        async with (
            httpx.AsyncClient(transport=Retrying()) as http_client,
            _client(http_client, base_url=server.base_url, generate_refs=False) as client,
        ):
            with pytest.raises(OutcomeUnknownError):
                await client.claim(make_request(None))
        assert (len(server.posts), len(server.claims)) == (1, 1)


async def test_a_hook_that_raises_for_a_status(api, make_request):
    """A hook that raises for a status does not hide it."""

    async def check(response):
        response.raise_for_status()

    api.post(CLAIMS).respond(422)
    async with (
        httpx.AsyncClient(event_hooks={"response": [check]}) as http_client,
        _client(http_client) as client,
    ):
        with pytest.raises(APIStatusError) as caught:
            await client.claim(make_request())
    assert caught.value.status == 422


async def test_a_hook_that_fails_on_another_request(api, make_request):
    """The refusal of a request that a hook makes by itself is not that of the claim, which was taken."""
    api.get("https://elsewhere.test/log").respond(400)
    route = api.post(CLAIMS).respond(json={"id": "claim-1"})

    async def report(_response):
        async with httpx.AsyncClient() as other:
            (await other.get("https://elsewhere.test/log")).raise_for_status()

    async with (
        httpx.AsyncClient(event_hooks={"response": [report]}) as http_client,
        _client(http_client, generate_refs=False, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        # Only the claim's own exchange is to meet the hook.
        http_client.event_hooks = {"response": []}
        await client.claim(make_request("warm-up"))
        http_client.event_hooks = {"response": [report]}
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request(None))
    assert route.call_count == 2


@pytest.mark.parametrize("response", ["text", {"status": 400}, 7])
async def test_an_error_with_something_else_as_its_response(api, make_request, response):
    """What an error of a caller's transport calls its response may be anything."""
    error = OSError("no")
    error.response = response
    api.post(CLAIMS).mock(side_effect=error)
    async with httpx.AsyncClient() as http_client, _client(http_client, generate_refs=False) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request(None))


async def test_a_hook_that_reads_the_answer(api, make_request):
    """A hook of the caller's client may read the answer before we do."""

    async def read(response):
        await response.aread()

    body = gzip.compress(b'{"id": "claim-1"}')
    api.post(CLAIMS).respond(content=body, headers={"Content-Encoding": "gzip"})
    async with (
        httpx.AsyncClient(event_hooks={"response": [read]}) as http_client,
        _client(http_client) as client,
    ):
        assert (await client.claim(make_request())).id == "claim-1"


async def test_a_hook_that_uses_the_answer_up(api, make_request):
    """A hook that leaves nothing of the answer costs the answer, and is no exception."""

    async def use_up(response):
        async for _ in response.aiter_raw():
            pass

    api.post(CLAIMS).mock(side_effect=lambda _: httpx.Response(200, stream=_Stream()))
    async with (
        httpx.AsyncClient(event_hooks={"response": [use_up]}) as http_client,
        _client(http_client, generate_refs=False, token_url="https://api.example.test/t") as client,
    ):
        api.post("https://api.example.test/t").respond(json={"access_token": "t"})
        with pytest.raises((OutcomeUnknownError, NotSentError)):
            await client.claim(make_request(None), timeout=0.5)


class _Stream(httpx.AsyncByteStream):
    async def __aiter__(self):
        yield b'{"id": "claim-1"}'


async def test_the_sandbox_in_process(make_request):
    """A client of the sandbox without any socket claims, meets a lost answer, and gets its claim."""
    sandbox = Sandbox()
    async with (
        sandbox.http_client() as http_client,
        ClaimsClient(
            account_id=sandbox.account_id,
            client_id=sandbox.client_id,
            client_secret=sandbox.client_secret,
            base_url=sandbox.base_url,
            retry=QUICK,
            http_client=http_client,
        ) as client,
    ):
        sandbox.drop_after_commit()
        claim = await client.claim(make_request("order-1"))
        assert claim == await client.get_claim(claim.id)
        assert (len(sandbox.ledger.claims), sandbox.ledger.arrivals["order-1"]) == (1, 2)


async def test_a_cancellation_inside_the_callers_client(make_request):
    """Something that is cancelled inside the caller's client does not cancel the call."""

    async def answer(request):
        if request.url.path.endswith("/auth/token"):
            return httpx.Response(200, json={"access_token": "token-1", "expires_in": 60})
        raise asyncio.CancelledError

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
        _client(http_client, retry=RetryPolicy(max_attempts=2, base_delay=0.001)) as client,
    ):
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request("order-1"), timeout=1)


async def test_an_error_before_the_body():
    """What fails before the body is handed over is not sent, where the transport tells how far it was."""

    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await request.extensions["trace"]("http11.send_request_headers.failed", {"request": request})
            raise httpx.WriteError("no")

    async with httpx.AsyncClient(transport=Failing()) as http_client:
        engine = make_engine(http_client, max_connections=1, ssl_context=None, proxy=None, trust_env=False)
        with pytest.raises(RequestNotSent):
            await engine.send(
                EngineRequest("POST", CLAIMS, {}, b"{}"), deadline=asyncio.get_running_loop().time() + 5
            )


async def test_a_hook_that_reads_an_answer_over_the_cap(api, make_request):
    """An answer that a hook has read is kept up to the cap all the same, and is then not the whole."""

    async def read(response):
        await response.aread()

    api.post(CLAIMS).respond(json={"id": "claim-1", "note": "x" * 1024 * 1024})
    async with (
        httpx.AsyncClient(event_hooks={"response": [read]}) as http_client,
        _client(http_client, generate_refs=False) as client,
    ):
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request(None))
