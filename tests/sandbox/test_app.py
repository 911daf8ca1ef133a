"""The API in process: what each request is answered with, and what goes wrong on request."""

import hashlib
import json
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from dintero_claims_client import SPEC_VERSION
from dintero_claims_client.sandbox import Client, Fault, FaultPlan, Operation, Sandbox
from dintero_claims_client.sandbox.wire import MAX_BODY

ROOT = Path(__file__).resolve().parents[2]


def error(response: httpx.Response, status: int, code: str) -> dict:
    """Assert that an answer is an error of the API, and return it."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    found = response.json()["error"]
    assert found["code"] == code
    assert found["message"]
    return found


async def test_a_token_for_the_account(api):
    """Client credentials give a bearer token with its lifetime, which nobody may store."""
    response = await api.ask_token()
    assert response.status_code == 200
    assert response.json() == {
        "access_token": response.json()["access_token"],
        "token_type": "Bearer",
        "expires_in": 14_400,
    }
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("client_id", "secret"), [("", ""), ("unknown", "secret"), (None, "wrong"), (None, "")]
)
async def test_wrong_client_credentials(api, client_id, secret):
    """Only the account's own credentials give a token."""
    wrong = Client(client_id if client_id is not None else api.sandbox.client_id, secret)
    response = await api.ask_token(client=wrong)
    error(response, 401, "UNAUTHORIZED")
    assert response.headers["WWW-Authenticate"] == "Basic"


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_type": "password"},
        {"grant_type": None},
        {"audience": None},
        {"audience": ["https://api.dintero.com/v1/accounts/T12345678"]},
        {"audience": "T12345678"},
        {"audience": "/v1/accounts/T12345678"},
        {"audience": "https:///v1/accounts/T12345678"},
        {"audience": "ftp://api.dintero.com/v1/accounts/T12345678"},
        {"audience": "https://api.dintero.com/accounts/T12345678"},
        {"audience": "https://api.dintero.com/v1/accounts/T12345678/"},
        {"audience": "https://api.dintero.com/v1/accounts/T12345678?a=b"},
        {"audience": "https://api.dintero.com/v1/accounts/12345678"},
    ],
    ids=str,
)
async def test_wrong_token_requests(api, changes):
    """Another grant, or an audience that is no account's address, is refused."""
    error(await api.ask_token(**changes), 400, "BAD REQUEST")


@pytest.mark.parametrize("host", ["http://127.0.0.1:8080", "https://checkout.dintero.com"])
async def test_the_audience_may_have_any_host(api, host):
    """Only the account in the audience counts, so that a client of the real API needs no change."""
    response = await api.ask_token(audience=f"{host}/v1/accounts/T12345678")
    assert response.status_code == 200


async def test_a_token_is_for_accounts_of_the_client(api):
    """The owner in the path and the account in the audience are the client's own."""
    api.sandbox.add_account("T00000002")
    error(await api.ask_token(account_id="T00000002"), 403, "FORBIDDEN")
    error(await api.ask_token(account_id="T99999999"), 403, "FORBIDDEN")
    error(await api.ask_token(owner_id="T00000002"), 403, "FORBIDDEN")
    api.sandbox.add_account("P00000001", client=api.sandbox.client)
    assert (await api.ask_token(owner_id="P00000001")).status_code == 200


async def test_claim_and_read_back(api, body):
    """A claim is answered with what was sent and what the server adds, and reads the same afterwards."""
    claim = (await api.claim(ref="r", type="pos")).json()
    assert body | {"ref": "r", "type": "pos"} == {name: claim[name] for name in (*body, "ref", "type")}
    assert claim["created_by"] == api.sandbox.client_id
    assert (await api.get(claim["id"])).json() == claim
    assert (await api.page()).json() == [claim]
    assert [stored.data for stored in api.sandbox.ledger.claims] == [claim]


async def test_a_claim_in_use(api):
    """A ref that is in use is a conflict, whatever else is sent with it."""
    await api.claim(ref="r")
    error(await api.claim(ref="r", customer_id="customer-2"), 409, "CONFLICT")
    assert len(api.sandbox.ledger.claims) == 1


async def test_an_invalid_claim(api):
    """A claim against the contract is refused with everything that is wrong in it."""
    found = error(await api.claim(customer_id="", discounts=[]), 400, "BAD REQUEST")
    assert {detail["path"] for detail in found["errors"]} == {"/customer_id", "/discounts"}
    assert all(detail["message"] for detail in found["errors"])


@pytest.mark.parametrize("content", [b"", b"{", b"[NaN]", b"\xff", b"[]", b"null", b'"text"'])
async def test_a_body_that_is_no_claim(api, content):
    """A body that is not JSON, or no object, is a bad request."""
    error(await api.send(content), 400, "BAD REQUEST")


@pytest.mark.parametrize(
    ("media_type", "is_json"),
    [
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
async def test_media_types(api, body, media_type, is_json):
    """A body is read as JSON only where it says that it is."""
    response = await api.send(json.dumps(body).encode(), **{"Content-Type": media_type})
    assert response.status_code == (200 if is_json else 400)


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 400), (MAX_BODY + 1, 413)])
async def test_a_body_has_a_largest_size(api, size, status):
    """A body of one byte more than a MiB is refused, and is no arrival."""
    response = await api.send(b" " * (size - 2) + b"{}")
    error(response, status, HTTPStatus(status).phrase.upper())
    assert api.sandbox.ledger.arrivals_without_ref == (status == 400)


async def test_a_body_without_announced_size_is_limited_too(api):
    """The limit counts what arrives, and not what was announced."""

    async def chunks():
        for _ in range(3):
            yield b" " * (MAX_BODY // 2)

    response = await api.http.post(api.path(), content=chunks())
    assert response.status_code == 413


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer ", "Bearer unknown", "Basic dTpw", "x"])
async def test_wrong_access_tokens(api, authorization):
    """Without a good token every operation is refused, before anything else is checked."""
    api.authorization = {"Authorization": authorization} if authorization else {}
    for response in (
        await api.claim(),
        await api.send(b"{"),
        await api.page(limit=0),
        await api.get("unknown"),
        await api.claim("X"),
    ):
        error(response, 401, "UNAUTHORIZED")
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_another_account(api):
    """A token is good for its own account, and an account id has a form."""
    for account_id in ("T00000002", "P12345678"):
        for response in (
            await api.claim(account_id),
            await api.page(account_id),
            await api.get("x", account_id),
        ):
            error(response, 403, "FORBIDDEN")
    error(await api.page("12345678"), 400, "BAD REQUEST")


async def test_a_token_expires(open_api, clock):
    """A token that was good is refused when its lifetime is over, and a new one is good again."""
    api = await open_api(Sandbox(token_lifetime=60, monotonic=clock)).log_in()
    assert (await api.ask_token()).json()["expires_in"] == 60
    assert (await api.claim()).status_code == 200
    clock.seconds += 60
    error(await api.claim(), 401, "UNAUTHORIZED")
    assert (await (await api.log_in()).claim()).status_code == 200


async def test_an_unknown_claim(api):
    """An id that is no claim of the account is not found."""
    error(await api.get("unknown"), 404, "NOT FOUND")
    await api.claim()
    other = api.sandbox.add_account("T00000002")
    await api.log_in(client=other, account_id="T00000002")
    error(await api.get(api.sandbox.ledger.claims[0].id, "T00000002"), 404, "NOT FOUND")


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages(open_api, order):
    """The cursor leads through all claims in the sandbox's order, ten a page where nothing else is asked."""
    api = await open_api(Sandbox(order=order)).log_in()
    for ref in range(25):
        await api.claim(ref=str(ref))
    refs, query = [], {}
    while page := (await api.page(**query)).json():
        refs.append([claim["ref"] for claim in page])
        query["starting_after"] = page[-1]["id"]
    assert [len(page) for page in refs] == [10, 10, 5]
    expected = range(25) if order == "oldest" else range(24, -1, -1)
    assert [ref for page in refs for ref in page] == [str(ref) for ref in expected]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"starting_after": "unknown"}]
)
async def test_wrong_pages(api, query):
    """A limit against the contract and a cursor that is no claim are bad requests."""
    error(await api.page(**query), 400, "BAD REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "nothing", 404, "NOT FOUND"),
        ("GET", "accounts/T12345678/discounts/available_for_receipt/claims/", 404, "NOT FOUND"),
        ("GET", "accounts/T12345678/auth/token", 405, "METHOD NOT ALLOWED"),
        ("DELETE", "accounts/T12345678/discounts/available_for_receipt/claims/x", 405, "METHOD NOT ALLOWED"),
        ("PUT", "accounts/T12345678/discounts/available_for_receipt/claims", 405, "METHOD NOT ALLOWED"),
    ],
)
async def test_unknown_paths_and_methods(api, method, path, status, code):
    """What the API does not have is an error in its own form, and never a redirect."""
    response = await api.http.request(method, path)
    error(response, status, code)
    assert ("Allow" in response.headers) is (status == 405)


async def test_every_answer_has_a_request_id(api):
    """Each answer can be named, errors of routing included."""
    responses = [await api.claim(), await api.get("unknown"), await api.http.get("nothing")]
    assert len({response.headers["X-Request-Id"] for response in responses}) == 3


async def test_control_endpoints(api):
    """Health and ledger answer without a token; the claims come along where they are asked for."""
    await api.claim(ref="r")
    health = await api.http.get("http://localhost/__sandbox__/health")
    digest = hashlib.sha256((ROOT / "openapi/discounts.yaml").read_bytes()).hexdigest()
    contract = {"version": SPEC_VERSION, "sha256": digest}
    assert health.json() == {"status": "ok", "contract": contract}
    ledger = (await api.http.get("http://localhost/__sandbox__/ledger")).json()
    assert ledger == api.sandbox.ledger.summary()
    full = (await api.http.get("http://localhost/__sandbox__/ledger?claims=1")).json()
    assert full == ledger | {"claimed": [claim.data for claim in api.sandbox.ledger.claims]}


async def test_failing_next(api):
    """A status on request is answered once, with nothing done."""
    api.sandbox.fail_next()
    error(await api.claim(ref="r"), 503, "SERVICE UNAVAILABLE")
    api.sandbox.fail_next(502, times=2)
    error(await api.claim(ref="r"), 502, "BAD GATEWAY")
    error(await api.claim(ref="r"), 502, "BAD GATEWAY")
    assert api.sandbox.ledger.claims == []
    assert (await api.claim(ref="r")).status_code == 200


@pytest.mark.parametrize("seconds", [0, 7])
async def test_too_many_requests(open_api, seconds):
    """429 names the plan's seconds, with nothing done."""
    sandbox = Sandbox(faults=FaultPlan(retry_after=seconds))
    api = await open_api(sandbox).log_in()
    sandbox.fail_next(429)
    response = await api.claim()
    error(response, 429, "TOO MANY REQUESTS")
    assert response.headers["Retry-After"] == str(seconds)
    assert sandbox.ledger.claims == []


async def test_dropping_after_commit(api):
    """The claim is taken and the answer lost: repeating it is a conflict."""
    api.sandbox.drop_after_commit()
    with pytest.raises(httpx.ReadError):
        await api.claim(ref="r")
    error(await api.claim(ref="r"), 409, "CONFLICT")
    assert [claim.ref for claim in api.sandbox.ledger.claims] == ["r"]


async def test_dropping_after_a_refusal(api):
    """Where there is nothing to commit, the refusal is what gets lost."""
    api.sandbox.drop_after_commit()
    with pytest.raises(httpx.ReadError):
        await api.claim(customer_id="")
    assert api.sandbox.ledger.claims == []


async def test_dropping_before_commit(api):
    """Nothing is done, though the client sees the same as after the commit."""
    api.sandbox.faults.next(Fault.DROP_BEFORE_COMMIT)
    with pytest.raises(httpx.ReadError):
        await api.claim(ref="r")
    assert api.sandbox.ledger.claims == []
    assert (await api.claim(ref="r")).status_code == 200


async def test_dropping_reads_and_token_requests(api):
    """Every operation can lose its answer."""
    for operation, ask in [
        (Operation.LIST, api.page),
        (Operation.GET, lambda: api.get("unknown")),
        (Operation.TOKEN, api.ask_token),
    ]:
        api.sandbox.faults.next(Fault.DROP_AFTER_COMMIT, operation=operation)
        with pytest.raises(httpx.ReadError):
            await ask()
    assert api.sandbox.ledger.tokens_issued == 2


async def test_expiring_tokens(api):
    """The presented token is refused from then on, and a new one is good."""
    api.sandbox.expire_tokens()
    error(await api.claim(), 401, "UNAUTHORIZED")
    error(await api.claim(), 401, "UNAUTHORIZED")
    await api.log_in()
    assert (await api.claim()).status_code == 200
    api.sandbox.expire_tokens(operation=Operation.LIST)
    error(await api.page(), 401, "UNAUTHORIZED")


async def test_latency(open_api):
    """A delayed request waits before anything is done, and then goes well."""
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append((seconds, len(sandbox.ledger.claims)))

    sandbox = Sandbox(faults=FaultPlan(latency=(1, 2)), sleep=sleep)
    api = await open_api(sandbox).log_in()
    sandbox.faults.next(Fault.LATENCY)
    assert (await api.claim()).status_code == 200
    assert waited == [(2, 0)]


async def test_faults_by_seed(open_api):
    """The same seed gives the same answers to the same requests."""

    async def outcomes() -> list[int | str]:
        plan = FaultPlan(rate=0.5, seed=3, latency=(0, 0))
        api = await open_api(Sandbox(faults=plan)).log_in()
        found: list[int | str] = []
        for ref in range(60):
            try:
                found.append((await api.claim(ref=str(ref))).status_code)
            except httpx.ReadError:
                found.append("dropped")
            if found[-1] == 401:
                await api.log_in()
        return found

    first = await outcomes()
    assert first == await outcomes()
    assert set(first) == {200, 401, 429, 503, "dropped"}
